// SPDX-License-Identifier: Apache-2.0
#include "phone-side/phoned/confined_instance.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <system_error>
#include <thread>

#include "machine/envelope.hpp"
#include "phone-side/instance/instance.hpp"
#include "phone-side/instance/outside_memory.hpp"
#include "phone-side/phoned/device_model_process.hpp"
#include "phone-side/phoned/picture.hpp"

namespace amphion::phoned {
namespace {

using devices::OwnedFd;
using instance::pb::Answer;
using instance::pb::Report;
using instance::pb::Request;
using link::ErrorCode;
using link::Status;

constexpr std::chrono::seconds console_patience{2};
constexpr std::chrono::milliseconds console_pause{5};
constexpr std::size_t most_input_bytes = 4096;

Status status_of(const instance::Problem& problem) { return problem ? Status(ErrorCode::io, *problem) : Status(); }

link::Result<OwnedFd> open_file(const std::string& path, int flags, const char* what) {
  OwnedFd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd.valid())
    return link::Error{ErrorCode::io,
                       std::string("cannot open ") + what + " " + path + ": " + std::generic_category().message(errno)};
  return fd;
}

void merge(link::Bitmap& into, std::span<const std::uint32_t> from) {
  for (std::size_t i = 0; i < std::min(into.size(), from.size()); ++i) into[i] |= from[i];
}

class ConfinedInstance : public LiveInstance {
 public:
  ConfinedInstance(const InstanceConfig& config, std::string disk, std::string program, Networks* networks,
                   instance::NewPartition made, Events events)
      : config_(config),
        networks_(networks),
        disk_(std::move(disk)),
        program_(std::move(program)),
        events_(std::move(events)),
        reset_vcpu_(made.vcpu),
        reset_gic_(made.gic),
        counter_frequency_(made.counter_frequency),
        partition_(std::move(made.partition)),
        memory_(std::in_place, *partition_) {}
  ~ConfinedInstance() override { retire(); }

  // ---- Life ----

  Status boot(std::uint64_t input_sequence) override {
    if (auto status = start_process(input_sequence); !status.ok()) return status;
    Request request;
    request.mutable_boot()->set_input_sequence(input_sequence);
    if (auto status = perform(request); !status.ok()) return status;
    return run();
  }

  Status load(const std::string& sealed, std::uint64_t input_sequence) override {
    if (auto status = start_process(input_sequence); !status.ok()) return status;
    Request request;
    request.mutable_restore()->set_sealed(sealed);
    request.mutable_restore()->set_input_sequence(input_sequence);
    return perform(request);
  }

  Status run() override {
    runs_ = true;  // before: the guest may switch itself off at once
    Request request;
    request.mutable_run();
    return perform(request);
  }

  Status pause() override {
    if (!process()) return {};
    Request request;
    request.mutable_pause();
    return perform(request);
  }

  // What cannot be a state of this instance is no failed dock but a broken device model.
  link::Result<link::SavedState> save() override {
    Request request;
    request.mutable_save();
    auto answer = ask(request);
    if (!answer.ok()) return answer.error();
    machine::InstanceState state;
    const std::string& sealed = answer->state();
    const auto wrong = machine::open_envelope(sealed, state);
    if (wrong) return breach("its device model saved what is no state: " + *wrong);
    const bool its_own = state.shape().vcpus() == config_.shape.vcpus &&
                         state.shape().memory_bytes() == config_.shape.memory_bytes &&
                         state.input_sequence() <= last_given_;
    if (!its_own) return breach("its device model saved the state of another instance");
    return link::SavedState{sealed, state.input_sequence()};
  }

  void retire() override {
    {
      std::shared_ptr<DeviceModelProcess> last;
      const std::lock_guard lock(process_mutex_);
      last.swap(process_);
    }
    cable_ = Networks::Cable();
  }

  bool lost() override {
    const std::shared_lock lock(memory_mutex_);
    return !memory_;
  }

  // ---- Memory ----

  std::uint64_t memory_bytes() const override { return config_.shape.memory_bytes; }

  Status read(std::uint64_t offset, std::span<std::byte> out) override {
    return with_memory([&](auto& memory) { return memory.read(offset, out); });
  }
  Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    return with_memory([&](auto& memory) { return memory.write(offset, in); });
  }
  Status populated(link::Bitmap& out) override {
    instance::Bitmap pages;
    auto status = with_memory([&](auto& memory) { return memory.populated(pages); });
    if (status.ok()) merge(out, pages);
    return status;
  }
  Status discard(std::uint64_t first_page, std::uint64_t pages) override {
    return with_memory([&](auto& memory) { return memory.discard(first_page, pages); });
  }
  bool screen(std::span<std::uint16_t> picture) override {
    return read(config_.shape.screen_base() - machine::ram_base, std::as_writable_bytes(picture)).ok();
  }

  // ---- What is written ----

  Status track(bool on) override {
    if (auto status = with_memory([&](auto& memory) { return memory.log(on); }); !status.ok() || !on) return status;
    link::Bitmap none;
    if (auto status = take_written(false, none); !status.ok()) return status;
    return take_written(true, none);
  }

  Status take_dirty(link::pb::Region region, link::Bitmap& out) override {
    if (region != link::pb::REGION_MEMORY) return take_written(true, out);
    instance::Bitmap pages;
    auto status = with_memory([&](auto& memory) { return memory.take_dirty(pages); });
    if (!status.ok()) return status;
    merge(out, pages);
    return take_written(false, out);
  }

  // ---- Input ----

  void keys(std::span<const NumberedEvent> events) override {
    const auto process = this->process();
    if (!process || events.empty()) return;
    Request request;
    for (const NumberedEvent& one : events) {
      auto& key = *request.mutable_keys()->add_keys();
      key.set_sequence(one.sequence);
      key.set_type(one.event.type);
      key.set_code(one.event.code);
      key.set_value(one.event.value);
    }
    last_given_ = events.back().sequence;
    process->tell(request);
  }

  void console_input(std::string_view bytes) override { input(false, bytes); }
  void serial_input(std::string_view bytes) override { input(true, bytes); }
  Status grow(std::string_view line) override {
    Request request;
    request.set_grow(std::string(line));
    return perform(request);
  }
  Status allow(std::uint32_t vcpus) override {
    return with_memory([&](auto&) { return partition_->allow(vcpus); });
  }

  LiveStats stats() override {
    amphion_stats raw{};
    if (!with_memory([&](auto&) { return partition_->stats(raw); }).ok()) return {};
    LiveStats stats{std::uint64_t{raw.populated_pages} * machine::page_bytes,
                    std::uint64_t{raw.bound_pages} * machine::page_bytes,
                    0,
                    raw.parked != 0,
                    {raw.sched, raw.sched + config_.shape.vcpus}};
    for (const amphion_sched_vcpu& one : stats.vcpus) stats.run_ns += one.run_ns;
    return stats;
  }

 private:
  [[nodiscard]] std::shared_ptr<DeviceModelProcess> process() {
    const std::lock_guard lock(process_mutex_);
    return process_;
  }

  Status start_process(std::uint64_t input_sequence) {
    retire();
    auto disk = open_file(disk_, O_RDWR, "the disk");
    if (!disk.ok()) return disk.error();
    auto kernel = open_file(config_.kernel, O_RDONLY, "the kernel");
    if (!kernel.ok()) return kernel.error();
    auto nothing = open_file("/dev/null", O_RDWR, "nothing");
    if (!nothing.ok()) return nothing.error();
    if (networks_ != nullptr) {
      auto cable = networks_->attach(config_);
      if (!cable.ok()) return cable.error();
      cable_ = std::move(*cable);
    }
    std::vector<int> files{-1, disk->get(), kernel->get(), cable_.joined() ? cable_.descriptor() : nothing->get()};
    OwnedFd initrd;
    if (!config_.initrd.empty()) {
      auto opened = open_file(config_.initrd, O_RDONLY, "the initial file system");
      if (!opened.ok()) return opened.error();
      initrd = std::move(*opened);
      files.push_back(initrd.get());
    }
    OwnedFd partition;
    const auto copied = with_memory([&](auto&) -> instance::Problem {
      partition = OwnedFd(fcntl(partition_->descriptor(), F_DUPFD_CLOEXEC, 0));
      return {};
    });
    if (!copied.ok()) return copied;
    files[0] = partition.get();
    last_given_ = input_sequence;
    auto made = std::make_shared<DeviceModelProcess>(
        program_, config_.name, files,
        DeviceModelProcess::Listener{[this](const Report& report) { return take(report); },
                                     [this](const std::string& why) { lose(why); }});
    {
      const std::lock_guard lock(process_mutex_);
      process_ = std::move(made);
    }
    return set_up();
  }

  Status set_up() {
    Request request;
    auto& setup = *request.mutable_setup();
    setup.set_vcpus(config_.shape.vcpus);
    setup.set_vcpus_allowed(config_.vcpus_allowed);
    setup.set_memory_bytes(config_.shape.memory_bytes);
    setup.set_bound_bytes(config_.bound_bytes);
    setup.set_cmdline(config_.cmdline);
    setup.set_has_initrd(!config_.initrd.empty());
    setup.set_counter_frequency(counter_frequency_);
    setup.set_mac(cable_.mac().data(), cable_.mac().size());
    setup.set_has_network(cable_.joined());
    setup.set_reset_vcpu(&reset_vcpu_, sizeof reset_vcpu_);
    setup.set_reset_gic(&reset_gic_, sizeof reset_gic_);
    return perform(request);
  }

  link::Result<Answer> ask(const Request& request) {
    const auto process = this->process();
    if (!process) return link::Error{ErrorCode::io, lost() ? "its device model has ended" : "it does not run"};
    return process->ask(request);
  }
  Status perform(const Request& request) {
    const auto answer = ask(request);
    return answer.ok() ? Status() : Status(answer.error());
  }
  link::Error breach(const std::string& what) {
    if (const auto process = this->process()) process->breach(what);
    return {ErrorCode::protocol, what};
  }

  // What the devices have written since the last call. `out` empty: nobody wants to know.
  Status take_written(bool disk, link::Bitmap& out) {
    Request request;
    request.mutable_written()->set_disk(disk);
    const auto answer = ask(request);
    if (!answer.ok()) return answer.error();
    if (out.empty()) return {};
    if (answer->written().size() != out.size() * sizeof(out[0]))
      return breach("its device model does not know what it has written");
    instance::Bitmap written(out.size());
    std::memcpy(written.data(), answer->written().data(), answer->written().size());
    merge(out, written);
    return {};
  }

  // A guest takes bytes as fast as it reads them; one that has not read for a while loses the rest.
  void input(bool serial, std::string_view bytes) {
    auto until = link::in(console_patience);
    while (!bytes.empty() && link::Clock::now() < until) {
      Request request;
      request.mutable_input()->set_serial(serial);
      request.mutable_input()->set_data(std::string(bytes.substr(0, most_input_bytes)));
      const auto answer = ask(request);
      if (!answer.ok()) return;
      if (answer->taken() > request.input().data().size()) {
        (void)breach("its device model took more than it was given");
        return;
      }
      bytes.remove_prefix(answer->taken());
      if (answer->taken() > 0) until = link::in(console_patience);
      if (!bytes.empty()) std::this_thread::sleep_for(console_pause);
    }
  }

  // On the process's thread, like lose().
  bool take(const Report& report) {
    switch (report.what_case()) {
      case Report::kKeysReached:
        if (report.keys_reached() > last_given_) return false;
        events_.keys_reached(report.keys_reached());
        return true;
      case Report::kConsole:
        events_.console(report.console());
        return true;
      case Report::kSerial:
        events_.serial(report.serial());
        return true;
      case Report::kGrow:
        events_.grow(report.grow());
        return true;
      case Report::kOff:
        return off();
      case Report::kOutOfMemory:
        if (seldom()) events_.out_of_memory();
        return true;
      case Report::kRestarted: {
        const bool fails = !report.restarted().problem().empty();
        if (fails || seldom()) spdlog::info("{}: restarts{}", config_.name, fails ? ", and fails" : "");
        return !fails || off();
      }
      default:
        return false;
    }
  }

  // Once for a run().
  bool off() {
    if (!runs_.exchange(false)) return false;
    events_.off();
    return true;
  }

  // What is repeated without end must not fill the log.
  bool seldom() {
    const auto now = link::Clock::now();
    if (now - told_ < std::chrono::seconds(1)) return false;
    told_ = now;
    return true;
  }

  // Its vCPUs must not run on without devices: the last reference to the partition goes, whoever looks at it.
  void lose(const std::string& why) {
    {
      const std::unique_lock lock(memory_mutex_);
      memory_.reset();
      partition_.reset();
    }
    events_.lost(why);
  }

  template <typename Access>
  Status with_memory(Access access) {
    const std::shared_lock lock(memory_mutex_);
    if (!memory_) return {ErrorCode::io, "its device model has ended, and its memory is gone"};
    return status_of(access(*memory_));
  }

  const InstanceConfig config_;
  Networks* const networks_;
  const std::string disk_, program_;
  const Events events_;
  const amphion_vcpu reset_vcpu_;
  const amphion_gic reset_gic_;
  const std::uint32_t counter_frequency_;
  std::atomic<std::uint64_t> last_given_{0};  // the last key's number
  std::atomic<bool> runs_{false};
  link::Clock::time_point told_{};  // the process's thread's own

  std::shared_mutex memory_mutex_;  // guards the two below; nothing is waited for while it is held
  std::unique_ptr<instance::Partition> partition_;
  std::optional<instance::OutsideMemory> memory_;

  Networks::Cable cable_;  // while there is a process

  std::mutex process_mutex_;
  std::shared_ptr<DeviceModelProcess> process_;
};

}  // namespace

InstanceFactory confined_factory(instance::Hypervisor& hypervisor, std::string program, Networks* networks) {
  return [&hypervisor, networks, program = std::move(program)](
             const InstanceConfig& config, const std::string& disk,
             LiveInstance::Events events) -> link::Result<std::shared_ptr<LiveInstance>> {
    instance::InstanceConfig wanted;
    wanted.shape = config.shape;
    wanted.vcpus_allowed = config.vcpus_allowed;
    wanted.bound_bytes = config.bound_bytes;
    instance::Problem problem;
    auto made = instance::create_partition(hypervisor, wanted, problem);
    if (problem) return link::Error{ErrorCode::io, *problem};
    return std::shared_ptr<LiveInstance>(
        std::make_shared<ConfinedInstance>(config, disk, program, networks, std::move(made), std::move(events)));
  };
}

}  // namespace amphion::phoned
