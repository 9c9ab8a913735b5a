// SPDX-License-Identifier: Apache-2.0
// An instance's life, memory and input; serving the guest is in serve.cpp, its state in instance_state.cpp.
#include "phone-side/instance/instance.hpp"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace amphion::instance {
namespace {

constexpr std::size_t serial_waiting_bytes = 64 * 1024;
constexpr std::chrono::seconds stop_patience{10};  // until an end that is on its way is heard of

// What nobody has taken yet; more than that is dropped, the oldest stays.
constexpr std::size_t most_output_bytes = 1 << 20;

void append(std::string& out, std::span<const std::byte> bytes) {
  bytes = bytes.first(std::min(bytes.size(), most_output_bytes - std::min(out.size(), most_output_bytes)));
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void random_bytes(std::span<std::byte> out) {
  while (getrandom(out.data(), out.size(), 0) != static_cast<ssize_t>(out.size())) {  // interrupted by a signal
  }
}

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

Problem check(const InstanceConfig& config) {
  if (!config.shape.valid()) return "an instance has 1 to 4 vCPUs and 64 MiB to 2 GiB of memory in steps of 2 MiB";
  if (config.vcpus_allowed < 1 || config.vcpus_allowed > config.shape.vcpus)
    return "an instance may use 1 to as many vCPUs as it has";
  if (config.bound_bytes < machine::page_bytes || config.bound_bytes > config.shape.memory_bytes)
    return "an instance's memory bound must not exceed its memory";
  return {};
}

PartitionConfig partition_config(const InstanceConfig& config) {
  return {config.shape.vcpus, config.vcpus_allowed,
          static_cast<std::uint32_t>(config.shape.memory_bytes / machine::page_bytes),
          static_cast<std::uint32_t>(config.bound_bytes / machine::page_bytes)};
}

}  // namespace

NewPartition create_partition(Hypervisor& hypervisor, const InstanceConfig& config, Problem& problem) {
  NewPartition made;
  amphion_info info{};
  problem = check(config);
  if (!problem) problem = hypervisor.info(info);
  if (problem) return made;
  made.counter_frequency = info.counter_frequency;
  auto partition = hypervisor.create(partition_config(config), problem);
  if (partition == nullptr) return made;
  problem = partition->get_vcpu(0, made.vcpu);
  if (!problem) problem = partition->get_gic(made.gic);
  if (!problem) problem = partition->get_uart(made.uart);
  made.vcpu.power = 0;
  if (!problem) made.partition = std::move(partition);
  return made;
}

Instance::Instance(NewPartition made, std::unique_ptr<devices::Disk> disk, const InstanceConfig& config,
                   InstanceEvents events)
    : config_(config),
      events_(std::move(events)),
      counter_frequency_(made.counter_frequency),
      partition_(std::move(made.partition)),
      reset_vcpu_(made.vcpu),
      reset_gic_(made.gic),
      reset_uart_(made.uart),
      memory_(partition_->memory()),
      disk_(std::move(disk)),
      tap_(config.network.tap < 0 ? std::nullopt
                                  : std::make_optional<devices::TapPort>(devices::OwnedFd(config.network.tap))),
      model_(memory_, *this, disk_,
             devices::Outlets{
                 .port =
                     [this](std::uint32_t port, std::span<const std::byte> bytes) {
                       append(port == machine::grow_port ? outbox_.grow : outbox_.console, bytes);
                     },
                 .entropy = random_bytes,
                 .discard = [this](std::uint32_t first, std::uint32_t count) { balloon_took(first, count); },
                 .network = {config.network.mac, tap_ ? &*tap_ : nullptr},
             }),
      thread_(&Instance::serve, this) {}

Instance::~Instance() {
  {
    const std::lock_guard lock(life_mutex_);
    ending_ = true;
  }
  partition_->wake();
  if (thread_.joinable()) thread_.join();
}

// ---- Life ----

void Instance::set_stopped(bool stopped) {
  const std::lock_guard lock(life_mutex_);
  stopped_ = stopped;
  if (stopped) pause_asked_ = false;
  life_changed_.notify_all();
}

bool Instance::stopped() const {
  const std::lock_guard lock(life_mutex_);
  return stopped_;
}

Problem Instance::run() {
  set_stopped(false);  // before: the guest may stop itself at once
  auto problem = partition_->run();
  if (problem) set_stopped(true);
  partition_->wake();  // frames that arrive are waited for again
  return problem;
}

Problem Instance::pause() {
  std::unique_lock lock(life_mutex_);
  if (stopped_) return {};
  pause_asked_ = true;
  const Problem problem = partition_->ask_pause();
  if (!problem) {
    life_changed_.wait(lock, [this] { return stopped_; });
    return {};
  }
  // It is refused when the guest has just ended or reset itself: the thread will say so.
  if (life_changed_.wait_for(lock, stop_patience, [this] { return stopped_; })) return {};
  pause_asked_ = false;
  return problem;
}

Problem Instance::allow(std::uint32_t vcpus) { return partition_->allow(vcpus); }

Problem Instance::boot(std::uint64_t keys_reached) {
  if (!stopped()) return "only a stopped instance can be started";
  {
    const std::lock_guard lock(model_mutex_);
    model_.keyboard().restore_sequence(keys_reached);
  }
  return start_cold();
}

Problem Instance::start_cold() {
  if (auto problem = reset_processors()) return problem;
  const std::lock_guard lock(model_mutex_);
  model_.reset();
  if (!std::exchange(fresh_, false)) drop_pages(0, pages());
  if (auto problem = load(config_.boot, config_.shape, counter_frequency_, memory_)) return problem;
  const std::uint64_t held = config_.shape.memory_bytes - config_.bound_bytes;
  model_.balloon().set_target(static_cast<std::uint32_t>(held / machine::page_bytes));
  if (auto problem = hold_screen()) return problem;
  return partition_->set_vcpu(0, entry_state(reset_vcpu_));
}

// ---- Memory ----

void Instance::drop_pages(std::uint32_t first_page, std::uint32_t count) {
  (void)partition_->discard(first_page, count);  // fails only for pages outside memory, which were sorted out before
}

// Whoever shows the screen reads it at any time, so the guest cannot give its pages away.
void Instance::balloon_took(std::uint32_t first_page, std::uint32_t count) {
  const auto screen_page =
      static_cast<std::uint32_t>((config_.shape.screen_base() - machine::ram_base) / machine::page_bytes);
  if (first_page >= screen_page) return;
  drop_pages(first_page, std::min(count, screen_page - first_page));
}

Problem Instance::hold_screen() {
  constexpr std::uint32_t bytes = machine::Screen::stride_bytes * machine::Screen::height;
  const auto first =
      static_cast<std::uint32_t>((config_.shape.screen_base() - machine::ram_base) / machine::page_bytes);
  for (std::uint32_t page = first; page < first + (bytes + machine::page_bytes - 1) / machine::page_bytes; ++page)
    if (!memory_.touch(page)) return "the screen does not fit below the instance's memory bound; raise the bound";
  return {};
}

// ---- What is written ----

Bitmap Instance::take_written_memory() {
  const std::lock_guard lock(model_mutex_);
  return memory_.take_dirty();
}

Bitmap Instance::take_written_disk() {
  const std::lock_guard lock(model_mutex_);
  return disk_.take_dirty();
}

Problem Instance::flush_disk() {
  const std::lock_guard lock(model_mutex_);
  if (!disk_.flush()) return "the disk cannot be flushed";
  return {};
}

// ---- Input ----

std::size_t Instance::keys(std::span<const devices::InputEvent> events) {
  std::size_t taken = 0;
  {
    const std::lock_guard lock(model_mutex_);
    if (stopped()) return 0;  // its state may have been saved: nothing changes behind that
    while (taken < events.size() && model_.keyboard().offer(events[taken])) ++taken;
  }
  partition_->wake();
  return taken;
}

std::uint64_t Instance::keys_reached() {
  const std::lock_guard lock(model_mutex_);
  return model_.keyboard().reached();
}

void Instance::take_serial() { append(outbox_.serial, as_bytes(partition_->take_serial())); }

void Instance::feed_serial() {
  if (!serial_waiting_.empty()) serial_waiting_.erase(0, partition_->give_serial(serial_waiting_));
}

std::size_t Instance::serial_input(std::string_view bytes) {
  const std::lock_guard lock(model_mutex_);
  if (stopped()) return 0;
  const std::size_t taken = std::min(bytes.size(), serial_waiting_bytes - serial_waiting_.size());
  serial_waiting_.append(bytes.substr(0, taken));
  feed_serial();
  return taken;
}

std::size_t Instance::port_input(std::uint32_t port, std::string_view bytes) {
  const std::lock_guard lock(model_mutex_);
  if (stopped()) return 0;
  return model_.console().send(port, as_bytes(bytes));
}

std::size_t Instance::console_input(std::string_view bytes) { return port_input(machine::console_port, bytes); }
std::size_t Instance::grow_input(std::string_view bytes) { return port_input(machine::grow_port, bytes); }

bool Instance::grow_open() {
  const std::lock_guard lock(model_mutex_);
  return model_.console().open(machine::grow_port);
}

void Instance::set_balloon(std::uint64_t bytes) {
  const std::lock_guard lock(model_mutex_);
  const std::uint64_t most = config_.shape.memory_bytes / machine::page_bytes;
  model_.balloon().set_target(static_cast<std::uint32_t>(std::min(bytes / machine::page_bytes, most)));
}

std::uint64_t Instance::balloon_bytes() {
  const std::lock_guard lock(model_mutex_);
  return std::uint64_t{model_.balloon().actual()} * machine::page_bytes;
}

InstanceStats Instance::stats() {
  amphion_stats raw{};
  InstanceStats out;
  if (partition_->stats(raw)) return out;
  out.populated_bytes = std::uint64_t{raw.populated_pages} * machine::page_bytes;
  out.bound_bytes = std::uint64_t{raw.bound_pages} * machine::page_bytes;
  std::transform(std::begin(raw.sched), std::end(raw.sched), out.run_ns.begin(),
                 [](const amphion_sched_vcpu& one) { return one.run_ns; });
  std::copy(std::begin(raw.exits), std::end(raw.exits), out.exits.begin());
  out.waits_for_memory = raw.parked != 0;
  return out;
}

}  // namespace amphion::instance
