// SPDX-License-Identifier: Apache-2.0
// An instance's life, memory and input; serving the guest is in serve.cpp, its state in instance_state.cpp.
#include "phone-side/instance/instance.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace amphion::instance {
namespace {

constexpr std::size_t uart_waiting_bytes = 64 * 1024;
constexpr std::chrono::seconds stop_patience{10};  // until an end that is on its way is heard of
constexpr std::uint32_t touch_batch = 1024;        // pages touched without letting the guest's accesses in between

void append(std::string& out, std::span<const std::byte> bytes) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

bool bit(const Bitmap& bits, std::uint32_t n) { return (bits[n / 32] >> (n % 32) & 1) != 0; }

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

std::unique_ptr<Instance> Instance::create(Hypervisor& hypervisor, const InstanceConfig& config, InstanceEvents events,
                                           Problem& problem) {
  problem = check(config);
  if (problem) return nullptr;
  std::string error;
  auto file = devices::FileDisk::open(config.disk, error);
  if (file == nullptr) {
    problem = error;
    return nullptr;
  }
  amphion_info info{};
  problem = hypervisor.info(info);
  if (problem) return nullptr;
  auto partition = hypervisor.create(partition_config(config), problem);
  if (partition == nullptr) return nullptr;
  std::unique_ptr<Instance> made(new Instance(std::move(partition),
                                              std::make_unique<devices::TrackedDisk>(std::move(file)), config,
                                              std::move(events), info.counter_frequency));
  problem = made->remember_reset_state();
  if (problem) return nullptr;
  made->thread_ = std::thread(&Instance::serve, made.get());
  return made;
}

Instance::Instance(std::unique_ptr<Partition> partition, std::unique_ptr<devices::TrackedDisk> disk,
                   const InstanceConfig& config, InstanceEvents events, std::uint32_t counter_frequency)
    : config_(config),
      events_(std::move(events)),
      counter_frequency_(counter_frequency),
      partition_(std::move(partition)),
      memory_(partition_->memory()),
      disk_(std::move(disk)),
      touched_(pages() / 32),
      model_(memory_, *this, *disk_,
             devices::Outlets{
                 .uart = [this](std::uint8_t byte) { outbox_.serial.push_back(static_cast<char>(byte)); },
                 .port =
                     [this](std::uint32_t port, std::span<const std::byte> bytes) {
                       append(port == machine::grow_port ? outbox_.grow : outbox_.console, bytes);
                     },
                 .discard = [this](std::uint32_t first, std::uint32_t count) { balloon_took(first, count); },
             }) {}

Instance::~Instance() {
  {
    const std::lock_guard lock(life_mutex_);
    ending_ = true;
  }
  partition_->wake();
  if (thread_.joinable()) thread_.join();
}

// A new partition is in its reset state; resets need it again.
Problem Instance::remember_reset_state() {
  if (auto problem = partition_->get_vcpu(0, reset_vcpu_)) return problem;
  reset_vcpu_.power = 0;
  return partition_->get_gic(reset_gic_);
}

void Instance::set(std::uint32_t intid, bool level) {
  if (std::exchange(levels_[intid], level) != level) partition_->set_line(intid, level);
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

Problem Instance::boot() {
  if (!stopped()) return "only a stopped instance can be started";
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

std::span<std::byte> Instance::memory() { return partition_->memory(); }

Problem Instance::populated(Bitmap& bits) {
  bits.assign(pages() / 32, 0);
  return partition_->bitmap(AMPHION_BITMAP_POPULATED, bits);
}

void Instance::drop_pages(std::uint32_t first_page, std::uint32_t count) {
  for (std::uint32_t page = first_page; page < first_page + count; ++page) touched_[page / 32] &= ~(1u << (page % 32));
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
  const std::span<const std::byte> pixels = std::as_bytes(screen());
  const auto first =
      static_cast<std::uint32_t>((config_.shape.screen_base() - machine::ram_base) / machine::page_bytes);
  const auto count = static_cast<std::uint32_t>((pixels.size() + machine::page_bytes - 1) / machine::page_bytes);
  for (std::uint32_t page = first; page < first + count; ++page)
    if (!memory_.touch(page)) return "the screen does not fit below the instance's memory bound; raise the bound";
  return {};
}

Problem Instance::read_pages(std::uint32_t first_page, std::span<std::byte> out) {
  const std::size_t count = out.size() / machine::page_bytes;
  if (out.size() % machine::page_bytes != 0 || count > pages() || first_page > pages() - count)
    return "pages outside the instance's memory";
  const std::lock_guard lock(model_mutex_);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto page = out.subspan(std::size_t{i} * machine::page_bytes, machine::page_bytes);
    if (!memory_.read(machine::ram_base + std::uint64_t{first_page + i} * machine::page_bytes, page))
      std::fill(page.begin(), page.end(), std::byte{0});
  }
  return {};
}

Problem Instance::discard(std::uint32_t first_page, std::uint32_t count) {
  if (count > pages() || first_page > pages() - count) return "pages outside the instance's memory";
  if (count == 0) return {};
  const std::lock_guard lock(model_mutex_);
  for (std::uint32_t page = first_page; page < first_page + count; ++page) touched_[page / 32] &= ~(1u << (page % 32));
  return partition_->discard(first_page, count);
}

std::span<const std::uint16_t> Instance::screen() {
  const auto* pixels = partition_->memory().data() + (config_.shape.screen_base() - machine::ram_base);
  return {reinterpret_cast<const std::uint16_t*>(pixels),
          std::size_t{machine::Screen::width} * machine::Screen::height};
}

// ---- What is written ----

// Maps pages that have memory but are not mapped here. Mapping counts as a write for the dirty log, so it is done
// before a page's contents are read, not by reading them. True if there were any.
bool Instance::touch_pages(const Bitmap& wanted, const Bitmap& populated_pages) {
  bool any = false;
  for (std::uint32_t first = 0; first < pages(); first += touch_batch) {
    const std::lock_guard lock(model_mutex_);
    for (std::uint32_t page = first; page < std::min(pages(), first + touch_batch); ++page) {
      if (!bit(wanted, page) || !bit(populated_pages, page) || bit(touched_, page)) continue;
      any = true;
      if (memory_.touch(page)) touched_[page / 32] |= 1u << (page % 32);
    }
  }
  return any;
}

Problem Instance::track(bool on) {
  if (on) {
    Bitmap have;
    if (auto problem = populated(have)) return problem;
    touch_pages(have, have);
  }
  const std::lock_guard lock(model_mutex_);
  if (auto problem = partition_->log(on)) return problem;
  (void)memory_.take_dirty();
  (void)disk_->take_dirty();
  return {};
}

Problem Instance::take_dirty_memory(Bitmap& bits) {
  Bitmap have, more(pages() / 32);
  bits.assign(pages() / 32, 0);
  if (auto problem = partition_->bitmap(AMPHION_BITMAP_DIRTY, bits)) return problem;
  if (auto problem = populated(have)) return problem;
  if (touch_pages(bits, have))
    if (auto problem = partition_->bitmap(AMPHION_BITMAP_DIRTY, more)) return problem;
  const std::lock_guard lock(model_mutex_);
  const Bitmap own = memory_.take_dirty();
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] |= more[i] | own[i];
  return {};
}

Bitmap Instance::take_dirty_disk() {
  const std::lock_guard lock(model_mutex_);
  return disk_->take_dirty();
}

Problem Instance::flush_disk() {
  const std::lock_guard lock(model_mutex_);
  if (!disk_->flush()) return "the disk " + config_.disk + " cannot be flushed";
  return {};
}

// ---- Input ----

std::size_t Instance::keys(std::span<const devices::InputEvent> events) {
  std::size_t taken = 0;
  {
    const std::lock_guard lock(model_mutex_);
    while (taken < events.size() && model_.keyboard().offer(events[taken])) ++taken;
  }
  partition_->wake();
  return taken;
}

std::uint64_t Instance::keys_reached() {
  const std::lock_guard lock(model_mutex_);
  return model_.keyboard().reached();
}

void Instance::feed_uart() {
  std::size_t fed = 0;
  while (fed < uart_waiting_.size() && model_.uart().receive(static_cast<std::uint8_t>(uart_waiting_[fed]))) ++fed;
  uart_waiting_.erase(0, fed);
}

std::size_t Instance::serial_input(std::string_view bytes) {
  const std::lock_guard lock(model_mutex_);
  const std::size_t taken = std::min(bytes.size(), uart_waiting_bytes - uart_waiting_.size());
  uart_waiting_.append(bytes.substr(0, taken));
  feed_uart();
  return taken;
}

std::size_t Instance::port_input(std::uint32_t port, std::string_view bytes) {
  const std::lock_guard lock(model_mutex_);
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
  std::copy(std::begin(raw.run_ns), std::end(raw.run_ns), out.run_ns.begin());
  std::copy(std::begin(raw.exits), std::end(raw.exits), out.exits.begin());
  out.waits_for_memory = raw.parked != 0;
  return out;
}

}  // namespace amphion::instance
