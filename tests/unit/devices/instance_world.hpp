// SPDX-License-Identifier: Apache-2.0
// An Instance over a double of the hypervisor, for the tests of it. What the guest does, the test says to FakeState.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <fstream>

#include "machine/phone.hpp"
#include "phone-side/instance/instance.hpp"
#include "phone-side/instance/outside_memory.hpp"

namespace amphion::instance {

using devices::OwnedFd;

inline constexpr std::uint64_t memory_bytes = 64ull << 20;
inline constexpr std::uint32_t pages = memory_bytes / 4096;

// What the test and the instance share of one fake partition. Accesses are put by access() and answered by the
// instance's thread.
struct FakeState {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Happening> happenings;
  std::deque<std::uint32_t> answers;
  OwnedFd news{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool running = false, destroyed = false, refused_to_pause = false;
  std::array<amphion_vcpu, 4> vcpus{};
  amphion_gic gic{};
  std::uint64_t counter = 0;
  Bitmap dirty = Bitmap(pages / 32), populated = Bitmap(pages / 32);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> discards;
  std::array<bool, 288> lines{};
  std::array<std::uint32_t, 1024> registers{};
  amphion_uart uart{};
  std::string sent, given;  // through the PL011
  std::size_t serial_room = 0;
  std::span<std::byte> memory;

  void happen(const Happening& h) {
    const std::lock_guard lock(mutex);
    happenings.push_back(h);
    (void)eventfd_write(news.get(), 1);
  }
  std::uint32_t access(std::uint32_t address, bool write, std::uint32_t data = 0) {
    happen({.address = address, .bytes = 4, .write = write, .data = data});
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return !answers.empty(); });
    const auto answer = answers.front();
    answers.pop_front();
    return answer;
  }
  void ring(std::uint32_t slot, std::uint32_t queues) {
    Happening h{.rung = 1u << slot};
    h.doorbell[slot] = queues;
    happen(h);
  }
  // The guest sends; or has read what it was given.
  void serial(std::string_view text, std::size_t room = 0) {
    {
      const std::lock_guard lock(mutex);
      sent += text;
      serial_room = room;
    }
    happen({.rung = AMPHION_RUNG_UART});
  }
};

class FakePartition final : public Partition {
 public:
  explicit FakePartition(std::shared_ptr<FakeState> s) : s_(std::move(s)) {
    void* p = mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory_ = {static_cast<std::byte*>(p), memory_bytes};
    s_->memory = memory_;
  }
  ~FakePartition() override {
    munmap(memory_.data(), memory_.size());
    s_->destroyed = true;
  }
  FakePartition(const FakePartition&) = delete;
  FakePartition& operator=(const FakePartition&) = delete;

  std::span<std::byte> memory() override { return memory_; }
  std::span<std::byte> registers() override { return std::as_writable_bytes(std::span(s_->registers)); }
  int descriptor() const override { return -1; }
  Problem run() override {
    const std::lock_guard lock(s_->mutex);
    if (s_->running) return "already running";
    s_->running = true;
    return {};
  }
  Problem ask_pause() override {
    {
      const std::lock_guard lock(s_->mutex);
      if (!s_->running) {
        s_->refused_to_pause = true;
        s_->changed.notify_all();
        return "not running";
      }
      s_->running = false;
    }
    s_->happen({.events = AMPHION_EVENT_PAUSED});
    return {};
  }
  Problem allow(std::uint32_t) override { return {}; }
  void wait(int also) override {
    pollfd fds[2] = {{s_->news.get(), POLLIN, 0}, {also, POLLIN, 0}};
    poll(fds, 2, -1);
    eventfd_t count = 0;
    (void)eventfd_read(s_->news.get(), &count);
  }
  void wake() override { (void)eventfd_write(s_->news.get(), 1); }
  std::optional<Happening> next() override {
    const std::lock_guard lock(s_->mutex);
    if (s_->happenings.empty()) return {};
    const auto h = s_->happenings.front();
    s_->happenings.pop_front();
    return h;
  }
  void complete(std::uint32_t, std::uint32_t data) override {
    const std::lock_guard lock(s_->mutex);
    s_->answers.push_back(data);
    s_->changed.notify_all();
  }
  void set_line(std::uint32_t intid, bool level) override { s_->lines[intid] = level; }
  void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) override {
    const std::lock_guard lock(s_->mutex);
    const std::atomic_ref status(s_->registers[(slot * 0x200 + 0x60) / 4]);
    status = (status & ~clear) | set;
    s_->lines[machine::virtio_irq + slot] = status != 0;
  }
  std::string take_serial() override {
    const std::lock_guard lock(s_->mutex);
    return std::exchange(s_->sent, {});
  }
  std::size_t give_serial(std::string_view bytes) override {
    const std::lock_guard lock(s_->mutex);
    const std::size_t taken = std::min(bytes.size(), std::exchange(s_->serial_room, 0));
    s_->given += bytes.substr(0, taken);
    s_->changed.notify_all();
    return taken;
  }
  Problem discard(std::uint32_t first, std::uint32_t count) override {
    const std::lock_guard lock(s_->mutex);
    s_->discards.emplace_back(first, count);
    madvise(memory_.data() + std::size_t{first} * 4096, std::size_t{count} * 4096, MADV_DONTNEED);
    return {};
  }
  Problem log(bool) override { return {}; }
  Problem bitmap(std::uint32_t kind, std::span<std::uint32_t> bits) override {
    const std::lock_guard lock(s_->mutex);
    auto& from = kind == AMPHION_BITMAP_DIRTY ? s_->dirty : s_->populated;
    std::copy(from.begin(), from.end(), bits.begin());
    if (kind == AMPHION_BITMAP_DIRTY) from.assign(from.size(), 0);
    return {};
  }
  Problem stats(amphion_stats& out) override {
    out.populated_pages = 3;
    out.parked = 1;
    return {};
  }
  Problem get_vcpu(std::uint32_t n, amphion_vcpu& out) override { return out = s_->vcpus[n], Problem{}; }
  Problem set_vcpu(std::uint32_t n, const amphion_vcpu& in) override { return s_->vcpus[n] = in, Problem{}; }
  Problem get_gic(amphion_gic& out) override { return out = s_->gic, Problem{}; }
  Problem set_gic(const amphion_gic& in) override { return s_->gic = in, Problem{}; }
  Problem get_uart(amphion_uart& out) override { return out = s_->uart, Problem{}; }
  Problem set_uart(const amphion_uart& in) override { return s_->uart = in, Problem{}; }
  Problem get_counter(std::uint64_t& out) override { return out = s_->counter, Problem{}; }
  Problem set_counter(std::uint64_t ticks) override { return s_->counter = ticks, Problem{}; }

 private:
  std::shared_ptr<FakeState> s_;
  std::span<std::byte> memory_;
};

class FakeHypervisor final : public Hypervisor {
 public:
  Problem info(amphion_info& out) override {
    out = {};
    out.counter_frequency = 62'500'000;
    return {};
  }
  Problem scheduling(amphion_sched&) override { return "none"; }
  Problem set_scheduling(const amphion_sched&) override { return "none"; }
  std::unique_ptr<Partition> create(const PartitionConfig& config, Problem&) override {
    last = config;
    state = std::make_shared<FakeState>();
    for (auto& v : state->vcpus) {
      v.cpsr = 0x1d3;
      v.sctlr = 0xc5'0078;
    }
    return std::make_unique<FakePartition>(state);
  }
  PartitionConfig last{};
  std::shared_ptr<FakeState> state;
};

class InstanceTest : public ::testing::Test {
 protected:
  InstanceTest() {
    char name[] = "/tmp/amphion-instance-XXXXXX";
    folder_ = mkdtemp(name);
    write("kernel", "a kernel");
    write("disk", std::string(1u << 20, '\0'));
    config.shape = {2, memory_bytes};
    config.bound_bytes = 48u << 20;
    kernel_ = OwnedFd(open((folder_ + "/kernel").c_str(), O_RDONLY));
    config.boot = {kernel_.get(), -1, "console=ttyAMA0"};
    events.serial = [this](std::string_view text) { note([&] { serial += text; }); };
    events.off = [this] { note([&] { off = true; }); };
    events.restarted = [this](const Problem&) { note([&] { ++restarts; }); };
    events.keys_reached = [this](std::uint64_t n) { note([&] { reached = n; }); };
    events.out_of_memory = [this] { note([&] { starved = true; }); };
  }
  ~InstanceTest() override {
    for (const char* f : {"kernel", "disk"}) unlink((folder_ + "/" + f).c_str());
    rmdir(folder_.c_str());
  }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
  }
  void make() {
    Problem problem;
    std::string error;
    auto partition = create_partition(hypervisor, config, problem);
    ASSERT_NE(partition.partition, nullptr) << *problem;
    outside = std::make_unique<OutsideMemory>(*partition.partition);
    instance = std::make_unique<Instance>(std::move(partition), devices::FileDisk::open(folder_ + "/disk", error),
                                          config, events);
    fake = hypervisor.state;
  }
  template <typename Change>
  void note(Change change) {
    const std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  template <typename Condition>
  void wait_for(Condition condition) {
    std::unique_lock lock(mutex);
    changed.wait(lock, condition);
  }

  FakeHypervisor hypervisor;
  InstanceConfig config;
  InstanceEvents events;
  std::unique_ptr<Instance> instance;
  std::unique_ptr<OutsideMemory> outside;
  std::shared_ptr<FakeState> fake;
  std::mutex mutex;
  std::condition_variable changed;
  std::string serial;
  bool off = false, starved = false;
  int restarts = 0;
  std::uint64_t reached = 0;

 private:
  std::string folder_;
  OwnedFd kernel_;
};

}  // namespace amphion::instance
