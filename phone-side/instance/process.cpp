// SPDX-License-Identifier: Apache-2.0
// amphion-instance: the device model of one instance, in a process that phoned starts and that can reach nothing but
// this instance (confine.hpp). It begins with the descriptors of wire.hpp, does what phoned requests (process.proto),
// and ends with its socket. Threads: this one answers requests; the Instance's own serves the guest and reports. No
// others: none can be made.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

#include "machine/envelope.hpp"
#include "phone-side/instance/confine.hpp"
#include "phone-side/instance/instance.hpp"
#include "phone-side/instance/linux_hypervisor.hpp"
#include "phone-side/instance/process.pb.h"
#include "phone-side/instance/wire.hpp"

namespace {

using namespace amphion::instance;
using amphion::devices::OwnedFd;

class Process {
 public:
  [[nodiscard]] Problem set_up(const pb::Setup& setup);
  void answer(const pb::Request& request);

 private:
  [[nodiscard]] InstanceEvents events();
  [[nodiscard]] Problem perform(const pb::Request& request, pb::Answer& answer);
  [[nodiscard]] Problem restore(const pb::Restore& from);
  [[nodiscard]] Problem save(pb::Answer& answer);
  void take_keys(const pb::Keys& keys);
  void offer_keys();
  void report(const pb::Report& report);

  std::mutex socket_mutex_;
  std::mutex keys_mutex_;
  std::deque<amphion::devices::InputEvent> keys_;  // that the keyboard has not taken yet
  std::unique_ptr<Instance> instance_;
};

// Nobody to speak to: nothing to do.
void Process::report(const pb::Report& report) {
  const std::lock_guard lock(socket_mutex_);
  if (!write_message(inherited::socket, report)) _exit(0);
}

InstanceEvents Process::events() {
  InstanceEvents events;
  events.serial = [this](std::string_view text) {
    pb::Report news;
    news.set_serial(text.data(), text.size());
    report(news);
  };
  events.console = [this](std::string_view text) {
    pb::Report news;
    news.set_console(text.data(), text.size());
    report(news);
  };
  events.grow = [this](std::string_view text) {
    pb::Report news;
    news.set_grow(text.data(), text.size());
    report(news);
  };
  events.keys_reached = [this](std::uint64_t sequence) {
    pb::Report news;
    news.set_keys_reached(sequence);
    report(news);
    offer_keys();
  };
  events.off = [this] {
    pb::Report news;
    news.mutable_off();
    report(news);
  };
  events.out_of_memory = [this] {
    pb::Report news;
    news.mutable_out_of_memory();
    report(news);
  };
  events.restarted = [this](const Problem& problem) {
    pb::Report news;
    news.mutable_restarted()->set_problem(problem.value_or(""));
    report(news);
  };
  return events;
}

Problem Process::set_up(const pb::Setup& setup) {
  InstanceConfig config;
  config.shape = {setup.vcpus(), setup.memory_bytes()};
  config.vcpus_allowed = setup.vcpus_allowed();
  config.bound_bytes = setup.bound_bytes();
  config.boot = {inherited::kernel, setup.has_initrd() ? inherited::initrd : -1, setup.cmdline()};
  if (setup.mac().size() != config.network.mac.size()) return "phoned and amphion-instance are not of the same build";
  std::copy(setup.mac().begin(), setup.mac().end(), config.network.mac.begin());
  if (setup.has_network()) config.network.tap = inherited::network;
  NewPartition partition;
  partition.counter_frequency = setup.counter_frequency();
  if (setup.reset_vcpu().size() != sizeof partition.vcpu || setup.reset_gic().size() != sizeof partition.gic)
    return "phoned and amphion-instance are not of the same build";
  std::memcpy(&partition.vcpu, setup.reset_vcpu().data(), sizeof partition.vcpu);
  std::memcpy(&partition.gic, setup.reset_gic().data(), sizeof partition.gic);

  std::string error;
  auto disk = amphion::devices::FileDisk::adopt(OwnedFd(inherited::disk), "of the instance", error);
  if (disk == nullptr) return error;
  if (auto problem = give_up_privileges(disk->size_bytes())) return problem;
  Problem problem;
  partition.partition =
      adopt_partition(OwnedFd(inherited::partition), static_cast<std::uint32_t>(setup.memory_bytes() / 4096), problem);
  if (!problem) problem = partition.partition->get_uart(partition.uart);  // it is new
  if (problem) return problem;
  instance_ = std::make_unique<Instance>(std::move(partition), std::move(disk), config, events());
  return filter_system_calls();
}

void Process::answer(const pb::Request& request) {
  pb::Report news;
  pb::Answer& answer = *news.mutable_answer();
  answer.set_id(request.id());
  if (const auto problem = perform(request, answer)) answer.set_problem(*problem);
  if (request.id() != 0) report(news);
}

Problem Process::perform(const pb::Request& request, pb::Answer& answer) {
  if (request.what_case() == pb::Request::kSetup)
    return instance_ ? Problem("set up already") : set_up(request.setup());
  if (!instance_) return "not set up";
  switch (request.what_case()) {
    case pb::Request::kBoot:
      return instance_->boot(request.boot().input_sequence());
    case pb::Request::kRestore:
      return restore(request.restore());
    case pb::Request::kRun:
      return instance_->run();
    case pb::Request::kPause:
      return instance_->pause();
    case pb::Request::kSave:
      return save(answer);
    case pb::Request::kWritten: {
      const Bitmap written =
          request.written().disk() ? instance_->take_written_disk() : instance_->take_written_memory();
      answer.set_written(written.data(), written.size() * sizeof(written[0]));
      return {};
    }
    case pb::Request::kKeys:
      take_keys(request.keys());
      return {};
    case pb::Request::kInput: {
      const std::string& data = request.input().data();
      const std::size_t taken =
          request.input().serial() ? instance_->serial_input(data) : instance_->console_input(data);
      answer.set_taken(static_cast<std::uint32_t>(taken));
      return {};
    }
    case pb::Request::kGrow:
      if (!instance_->grow_open()) return "no service listens at the grow port";
      answer.set_taken(static_cast<std::uint32_t>(instance_->grow_input(request.grow())));
      return {};
    default:
      return "unknown request";
  }
}

Problem Process::restore(const pb::Restore& from) {
  amphion::machine::InstanceState state;
  if (const auto problem = amphion::machine::open_envelope(from.sealed(), state)) return problem;
  state.set_input_sequence(from.input_sequence());
  return instance_->restore(state);
}

Problem Process::save(pb::Answer& answer) {
  if (const auto problem = instance_->flush_disk()) return problem;
  amphion::machine::InstanceState state;
  if (const auto problem = instance_->save(state)) return problem;
  answer.set_state(amphion::machine::seal(state));
  return {};
}

void Process::take_keys(const pb::Keys& keys) {
  {
    const std::lock_guard lock(keys_mutex_);
    for (const auto& key : keys.keys())
      keys_.push_back({key.sequence(), static_cast<std::uint16_t>(key.type()), static_cast<std::uint16_t>(key.code()),
                       key.value()});
  }
  offer_keys();
}

// What the keyboard does not take now is offered again when its guest has taken some.
void Process::offer_keys() {
  const std::lock_guard lock(keys_mutex_);
  if (!instance_ || keys_.empty()) return;
  const std::vector<amphion::devices::InputEvent> events(keys_.begin(), keys_.end());
  const std::size_t taken = instance_->keys(events);
  keys_.erase(keys_.begin(), keys_.begin() + static_cast<std::ptrdiff_t>(taken));
}

}  // namespace

int main() {
  mallopt(M_ARENA_MAX, 1);  // else the C library asks how many CPUs there are, some time
  Process process;
  pb::Request request;
  while (read_message(inherited::socket, request)) process.answer(request);
  _exit(0);  // phoned has ended, or ends this instance
}
