// SPDX-License-Identifier: Apache-2.0
// Between phoned's and the instance's words; see hypervisor_instance.hpp.
#include "phone-side/phoned/hypervisor_instance.hpp"

#include <spdlog/spdlog.h>

#include <deque>
#include <mutex>
#include <numeric>
#include <thread>

#include "machine/envelope.hpp"
#include "phone-side/instance/instance.hpp"

namespace amphion::phoned {
namespace {

using instance::Instance;
using link::Status;

constexpr std::chrono::seconds console_patience{2};
constexpr std::chrono::milliseconds console_pause{5};

Status status_of(const instance::Problem& problem) {
  return problem ? Status(link::ErrorCode::io, *problem) : Status();
}

void merge(link::Bitmap& into, const instance::Bitmap& from) {
  for (std::size_t i = 0; i < std::min(into.size(), from.size()); ++i) into[i] |= from[i];
}

class HypervisorInstance : public LiveInstance {
 public:
  // `instance` is set right after construction, before anything happens: its events need this object.
  explicit HypervisorInstance(Events events) : events_(std::move(events)) {}

  [[nodiscard]] instance::InstanceEvents wire(const std::string& name) {
    instance::InstanceEvents to;
    to.serial = events_.serial;
    to.console = events_.console;
    to.keys_reached = [this](std::uint64_t sequence) {
      events_.keys_reached(sequence);
      offer_keys();
    };
    to.off = events_.off;
    to.out_of_memory = events_.out_of_memory;
    to.restarted = [this, name](const instance::Problem& problem) {
      spdlog::info("{}: restarts{}{}", name, problem ? ", and fails: " : "", problem.value_or(""));
      if (problem) events_.off();
    };
    return to;
  }
  void set(std::unique_ptr<Instance> instance) { instance_ = std::move(instance); }

  Status boot() override {
    if (auto status = status_of(instance_->boot()); !status.ok()) return status;
    touch_screen();
    return run();
  }

  Status load(const std::string& sealed, std::uint64_t input_sequence) override {
    machine::InstanceState state;
    if (const auto problem = machine::open_envelope(sealed, state)) return {link::ErrorCode::damaged, *problem};
    state.set_input_sequence(input_sequence);
    if (auto status = status_of(instance_->restore(state)); !status.ok()) return status;
    touch_screen();
    return {};
  }

  Status run() override { return status_of(instance_->run()); }
  Status pause() override { return status_of(instance_->pause()); }

  link::Result<link::SavedState> save() override {
    if (const auto flushed = status_of(instance_->flush_disk()); !flushed.ok()) return flushed.error();
    machine::InstanceState state;
    if (const auto saved = status_of(instance_->save(state)); !saved.ok()) return saved.error();
    return link::SavedState{machine::seal(state), state.input_sequence()};
  }

  std::span<std::byte> memory() override { return instance_->memory(); }

  Status populated(link::Bitmap& out) override {
    instance::Bitmap pages(out.size());
    auto status = status_of(instance_->populated(pages));
    if (status.ok()) merge(out, pages);
    return status;
  }

  Status discard(std::uint64_t first_page, std::uint64_t pages) override {
    return status_of(instance_->discard(static_cast<std::uint32_t>(first_page), static_cast<std::uint32_t>(pages)));
  }

  Status track(bool on) override { return status_of(instance_->track(on)); }

  Status take_dirty(link::pb::Region region, link::Bitmap& out) override {
    if (region != link::pb::REGION_MEMORY) {
      merge(out, instance_->take_dirty_disk());
      return {};
    }
    instance::Bitmap pages(out.size());
    auto status = status_of(instance_->take_dirty_memory(pages));
    if (status.ok()) merge(out, pages);
    return status;
  }

  void keys(std::span<const NumberedEvent> events) override {
    {
      const std::lock_guard lock(keys_mutex_);
      for (const NumberedEvent& one : events) {
        waiting_.push_back({one.sequence, one.event.type, one.event.code, one.event.value});
      }
    }
    offer_keys();
  }

  void console_input(std::string_view bytes) override {
    push(bytes, [this](std::string_view rest) { return instance_->console_input(rest); });
  }
  void serial_input(std::string_view bytes) override {
    push(bytes, [this](std::string_view rest) { return instance_->serial_input(rest); });
  }

  LiveStats stats() override {
    const auto stats = instance_->stats();
    return {stats.populated_bytes, stats.bound_bytes,
            std::accumulate(stats.run_ns.begin(), stats.run_ns.end(), std::uint64_t{0}), stats.waits_for_memory};
  }

  std::span<const std::uint16_t> screen() override { return instance_->screen(); }

 private:
  // Now there is room for it; later, beyond the bound, looking at the screen would be a bus error.
  void touch_screen() {
    volatile std::uint16_t sum = 0;
    const auto pixels = screen();
    for (std::size_t i = 0; i < pixels.size(); i += machine::page_bytes / sizeof(std::uint16_t)) {
      sum = static_cast<std::uint16_t>(sum + pixels[i]);
    }
  }

  // A guest takes console bytes as fast as it reads them; one that has not read for a while loses the rest.
  template <typename Take>
  static void push(std::string_view bytes, Take take) {
    auto until = link::in(console_patience);
    while (!bytes.empty() && link::Clock::now() < until) {
      const std::size_t taken = take(bytes);
      bytes.remove_prefix(taken);
      if (taken > 0) until = link::in(console_patience);
      if (!bytes.empty()) std::this_thread::sleep_for(console_pause);
    }
  }

  // What the instance does not take now is offered again when its guest has taken some.
  void offer_keys() {
    const std::lock_guard lock(keys_mutex_);
    if (!instance_ || waiting_.empty()) return;
    const std::vector<devices::InputEvent> events(waiting_.begin(), waiting_.end());
    const std::size_t taken = instance_->keys(events);
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
  }

  Events events_;
  std::mutex keys_mutex_;
  std::deque<devices::InputEvent> waiting_;
  std::unique_ptr<Instance> instance_;  // last: ends first, while its events still have somewhere to go
};

}  // namespace

InstanceFactory hypervisor_factory(instance::Hypervisor& hypervisor) {
  return [&hypervisor](const InstanceConfig& config, const std::string& disk,
                       LiveInstance::Events events) -> link::Result<std::shared_ptr<LiveInstance>> {
    instance::InstanceConfig wanted;
    wanted.shape = config.shape;
    wanted.vcpus_allowed = config.vcpus_allowed;
    wanted.bound_bytes = config.bound_bytes;
    wanted.boot = {config.kernel, config.initrd, config.cmdline};
    wanted.disk = disk;
    auto live = std::make_shared<HypervisorInstance>(std::move(events));
    instance::Problem problem;
    auto made = Instance::create(hypervisor, wanted, live->wire(config.name), problem);
    if (!made) return link::Error{link::ErrorCode::io, problem.value_or("cannot be made")};
    live->set(std::move(made));
    return std::shared_ptr<LiveInstance>(std::move(live));
  };
}

}  // namespace amphion::phoned
