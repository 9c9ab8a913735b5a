// SPDX-License-Identifier: Apache-2.0
// An Instance over a double of the hypervisor: life, events, dirty pages, saving and restoring.
#include "phone-side/instance/instance.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <fstream>

#include "machine/device_tree.hpp"
#include "machine/validate.hpp"
#include "phone-side/instance/outside_memory.hpp"

namespace amphion::instance {
namespace {

using devices::OwnedFd;

constexpr std::uint64_t memory_bytes = 64ull << 20;
constexpr std::uint32_t pages = memory_bytes / 4096;

// What the test and the instance share of one fake partition. Accesses are put by access() and answered by the
// instance's thread.
struct FakeState {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Happening> happenings;
  std::deque<std::uint32_t> answers;
  OwnedFd news{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool running = false, destroyed = false;
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
      if (!s_->running) return "not running";
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

TEST_F(InstanceTest, RefusesWhatCannotBe) {
  Problem problem;
  const auto refused = [&](auto change) {
    InstanceConfig c = config;
    change(c);
    return create_partition(hypervisor, c, problem).partition == nullptr && problem.has_value();
  };
  EXPECT_TRUE(refused([](auto& c) { c.shape.vcpus = 5; }));
  EXPECT_TRUE(refused([](auto& c) { c.vcpus_allowed = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.vcpus_allowed = 3; }));
  EXPECT_TRUE(refused([](auto& c) { c.bound_bytes = c.shape.memory_bytes + 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.bound_bytes = 0; }));
  std::string error;
  EXPECT_EQ(devices::FileDisk::open("/nowhere", error), nullptr);
  EXPECT_EQ(error, "cannot open the disk /nowhere: No such file or directory");
}

TEST_F(InstanceTest, BootsAtTheKernel) {
  make();
  EXPECT_EQ(hypervisor.last.memory_pages, pages);
  EXPECT_EQ(hypervisor.last.bound_pages, 48u * 256);
  ASSERT_EQ(instance->boot(), Problem{});
  EXPECT_EQ(std::memcmp(fake->memory.data() + machine::kernel_offset, "a kernel", 8), 0);
  EXPECT_EQ(std::memcmp(fake->memory.data() + machine::device_tree_offset, "\xd0\x0d\xfe\xed", 4), 0);
  const auto& v = fake->vcpus[0];
  EXPECT_EQ(v.power, 1u);
  EXPECT_EQ(v.pc, machine::ram_base + machine::kernel_offset);
  EXPECT_EQ(v.r[2], machine::ram_base + machine::device_tree_offset);
  EXPECT_EQ(v.sctlr, 0xc5'0078u);
  EXPECT_EQ(fake->vcpus[1].power, 0u);
}

TEST_F(InstanceTest, AMissingKernelIsOneLine) {
  config.boot.kernel = -1;
  make();
  EXPECT_EQ(*instance->boot(), "the kernel cannot be read: Bad file descriptor");
}

TEST_F(InstanceTest, ServesAccessesAndReports) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_EQ(fake->registers[0], machine::virtio_mmio_magic);
  EXPECT_EQ(fake->access(machine::virtio.base + 0x70, true, 3), 0u);
  EXPECT_EQ(fake->registers[0x70 / 4], 3u);
  fake->serial("h");
  wait_for([&] { return serial == "h"; });
  {
    const std::lock_guard lock(fake->mutex);
    fake->sent = "i";  // and stops before anybody was told
  }
  ASSERT_EQ(instance->pause(), Problem{});
  wait_for([&] { return serial == "hi"; });
  EXPECT_TRUE(instance->stopped());
  ASSERT_EQ(instance->pause(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_TRUE(instance->run().has_value());
}

TEST_F(InstanceTest, SerialInputIsFedAsTheGuestReads) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  const std::string text(100, 'x');
  EXPECT_EQ(instance->serial_input(text), 100u);
  for (std::size_t given = 0; given < 100; given += 10) {
    fake->serial("", 10);
    std::unique_lock lock(fake->mutex);
    fake->changed.wait(lock, [&] { return fake->given.size() == given + 10; });
  }
  EXPECT_EQ(fake->given, text);
}

TEST_F(InstanceTest, OffStopsAndResetStartsAgain) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  fake->vcpus[0].pc = 0;
  fake->happen({.events = AMPHION_EVENT_SYSTEM_RESET});
  wait_for([&] { return restarts == 1; });
  EXPECT_EQ(fake->vcpus[0].pc, machine::ram_base + machine::kernel_offset);
  EXPECT_TRUE(fake->running);
  EXPECT_FALSE(instance->stopped());
  EXPECT_EQ(fake->discards, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, pages}}));
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  fake->happen({.events = AMPHION_EVENT_SYSTEM_OFF | AMPHION_EVENT_OUT_OF_MEMORY});
  wait_for([&] { return off; });
  EXPECT_TRUE(starved);
  EXPECT_TRUE(instance->stopped());
  EXPECT_EQ(instance->pause(), Problem{});
}

TEST_F(InstanceTest, DirtyPagesAreTheGuestsAndTheDevices) {
  make();
  fake->populated[0] = 0xff;
  ASSERT_EQ(instance->boot(), Problem{});  // writes memory: before the log starts
  ASSERT_EQ(outside->log(true), Problem{});
  EXPECT_NE(instance->take_written_memory(), Bitmap(pages / 32)) << "the kernel, before the log";
  EXPECT_EQ(instance->take_written_memory(), Bitmap(pages / 32));
  fake->dirty[1] = 0x10;
  Bitmap bits;
  ASSERT_EQ(outside->take_dirty(bits), Problem{});
  EXPECT_EQ(bits[1], 0x10u);
  EXPECT_EQ(std::count(bits.begin(), bits.end(), 0u), static_cast<long>(bits.size()) - 1);
  ASSERT_EQ(outside->take_dirty(bits), Problem{});
  EXPECT_EQ(bits[1], 0u);
  EXPECT_EQ(instance->take_written_disk(), Bitmap(8));
}

// The guest reset itself, and before the thread hears of it somebody asks for a pause.
TEST_F(InstanceTest, APauseDuringAResetHoldsTheNewStart) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  std::thread late([&] {
    usleep(50'000);
    fake->happen({.events = AMPHION_EVENT_SYSTEM_RESET});
  });
  EXPECT_EQ(instance->pause(), Problem{});
  late.join();
  EXPECT_TRUE(instance->stopped());
  EXPECT_FALSE(fake->running);
  EXPECT_EQ(fake->vcpus[0].pc, machine::ram_base + machine::kernel_offset);
  ASSERT_EQ(instance->run(), Problem{});
}

TEST_F(InstanceTest, TheBalloonDoesNotTakeTheScreen) {
  make();
  const std::uint32_t screen_page = pages - machine::screen_region_bytes / 4096;
  const auto put = [&](std::uint32_t offset, std::uint32_t value) {
    fake->access(machine::virtio_window(machine::VirtioSlot::balloon).base + offset, true, value);
  };
  const std::uint32_t ring = machine::ram_base, buffer = ring + 0x4000;
  for (const auto& [offset, value] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0x70, 3},
                                                                                          {0x24, 1},
                                                                                          {0x20, 1},
                                                                                          {0x70, 11},
                                                                                          {0x30, 0},
                                                                                          {0x38, 64},
                                                                                          {0x80, ring},
                                                                                          {0x90, ring + 0x1000},
                                                                                          {0xa0, ring + 0x2000},
                                                                                          {0x44, 1},
                                                                                          {0x70, 15}})
    put(offset, value);
  auto* words = reinterpret_cast<std::uint32_t*>(fake->memory.data());
  words[0] = buffer;
  words[2] = 12;                // bytes
  words[0x1000 / 4] = 1 << 16;  // index 1
  for (std::uint32_t i = 0; i < 3; ++i) words[0x4000 / 4 + i] = machine::ram_base / 4096 + screen_page - 2 + i;
  fake->ring(static_cast<std::uint32_t>(machine::VirtioSlot::balloon), 1);
  fake->access(machine::virtio.base, false);  // served after it
  EXPECT_EQ(fake->discards, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{screen_page - 2, 2}}));
}

TEST_F(InstanceTest, ReadsAndWritesFromOutside) {
  make();
  fake->memory[5 * 4096 + 7] = std::byte{9};
  std::vector<std::byte> out(2 * 4096);
  ASSERT_EQ(outside->read(5 * 4096, out), Problem{});
  EXPECT_EQ(out[7], std::byte{9});
  ASSERT_EQ(outside->write(memory_bytes - 1, std::span(out).subspan(7, 1)), Problem{});
  EXPECT_EQ(fake->memory[memory_bytes - 1], std::byte{9});
  EXPECT_TRUE(outside->read(memory_bytes - 4096, out).has_value());
  EXPECT_TRUE(outside->read(~0ull, out).has_value());
  EXPECT_TRUE(outside->write(memory_bytes, std::span(out).first(1)).has_value());
}

TEST_F(InstanceTest, DiscardIsBounded) {
  make();
  EXPECT_EQ(outside->discard(pages - 1, 1), Problem{});
  EXPECT_EQ(outside->discard(pages, 0), Problem{});
  EXPECT_TRUE(outside->discard(pages, 1).has_value());
  EXPECT_TRUE(outside->discard(pages - 1, 2).has_value());
  EXPECT_TRUE(outside->discard(1, ~0ull).has_value());
}

TEST_F(InstanceTest, StateRoundTrips) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  fake->counter = 12345;
  fake->vcpus[1].r[3] = 77;
  fake->gic.spi[10] = {AMPHION_LINE_ENABLED | AMPHION_LINE_EDGE, 0xa0, 1, 0};
  fake->uart.imsc = 0x30;
  fake->uart.fifo[0] = 'q';
  fake->uart.received = 1;
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  EXPECT_EQ(machine::validate(state), std::nullopt);
  EXPECT_EQ(state.counter(), 12345u);
  EXPECT_EQ(state.vcpus(1).r(3), 77u);

  make();  // another one
  ASSERT_EQ(instance->restore(state), Problem{});
  EXPECT_EQ(fake->counter, 12345u);
  EXPECT_EQ(fake->gic.spi[10].priority, 0xa0);
  EXPECT_EQ(fake->uart.imsc, 0x30u);
  EXPECT_EQ(fake->uart.fifo[0], 'q');
  machine::InstanceState again;
  ASSERT_EQ(instance->save(again), Problem{});
  EXPECT_EQ(again.SerializeAsString(), state.SerializeAsString());
}

TEST_F(InstanceTest, RefusesTheStateOfAnother) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  auto other = state;
  other.set_counter_frequency(24'000'000);
  EXPECT_EQ(*instance->restore(other), "the saved state's counter runs at 24000000 Hz, this board's at 62500000");
  other = state;
  other.mutable_shape()->set_memory_bytes(128u << 20);
  EXPECT_TRUE(instance->restore(other).has_value());
  other = state;
  other.mutable_virtio(0)->mutable_blk()->set_capacity_sectors(5);
  EXPECT_EQ(*instance->restore(other), "the saved state is of an instance with a disk of another size");
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_TRUE(instance->save(state).has_value());
  EXPECT_TRUE(instance->restore(state).has_value());
}

TEST_F(InstanceTest, RefusesTheStateOfAnotherAddress) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  state.mutable_virtio(1)->mutable_network()->mutable_mac()->at(4) ^= 1;
  EXPECT_EQ(instance->restore(state), Problem("the saved state is of an instance with another network address"));
}

// Its state may have been saved: what changed behind that would be in memory and not in the state.
TEST_F(InstanceTest, TakesNothingWhileItIsStopped) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  ASSERT_EQ(instance->pause(), Problem{});
  const devices::InputEvent key{1, 1, 30, 1};
  EXPECT_EQ(instance->keys(std::span(&key, 1)), 0u);
  EXPECT_EQ(instance->serial_input("x"), 0u);
  EXPECT_EQ(instance->console_input("x"), 0u);
}

TEST_F(InstanceTest, KeysAreTakenUpToTheBoundAndWait) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  std::vector<devices::InputEvent> many(devices::VirtioInput::most_waiting + 10);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = {i + 1, 1, 30, 1};
  EXPECT_EQ(instance->keys(many), devices::VirtioInput::most_waiting);
  EXPECT_EQ(instance->keys_reached(), 0u);
}

// A guest's driver of the network device, with one buffer to receive into and one frame to send.
class NetworkGuest {
 public:
  explicit NetworkGuest(FakeState& fake) : fake_(fake) {}
  void start() {
    for (const auto& [offset, value] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
             {0x70, 0}, {0x70, 3}, {0x24, 1}, {0x20, 1}, {0x70, 11}})
      write(offset, value);
    for (std::uint32_t n : {0u, 1u}) {
      const auto at = static_cast<std::uint32_t>(ring(n));
      for (const auto& [offset, value] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
               {0x30, n}, {0x38, 64}, {0x80, at}, {0x90, at + 0x400}, {0xa0, at + 0x800}, {0x44, 1}})
        write(offset, value);
    }
    write(0x70, 15);
  }
  void offer(std::uint32_t n, std::uint32_t bytes) {
    put<std::uint64_t>(ring(n), buffer(n));
    put<std::uint32_t>(ring(n) + 8, bytes);
    put<std::uint16_t>(ring(n) + 12, n == 0 ? 2 : 0);
    put<std::uint16_t>(ring(n) + 0x402, ++offered_[n]);
    fake_.ring(static_cast<std::uint32_t>(machine::VirtioSlot::network), 1u << n);
  }
  [[nodiscard]] char* at(std::uint64_t address) {
    return reinterpret_cast<char*>(fake_.memory.data() + (address - machine::ram_base));
  }
  [[nodiscard]] std::uint16_t used(std::uint32_t n) {
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(at(ring(n) + 0x802))).load();
  }
  void wait_used(std::uint32_t n, std::uint16_t count) {
    while (used(n) != count) std::this_thread::yield();
  }
  static std::uint64_t buffer(std::uint32_t n) { return machine::ram_base + 0x20'0000 + 0x1000 * n; }

 private:
  static std::uint64_t ring(std::uint32_t n) { return machine::ram_base + 0x10'0000 + 0x1000 * n; }
  void write(std::uint32_t offset, std::uint32_t value) {
    fake_.access(machine::virtio_window(machine::VirtioSlot::network).base + offset, true, value);
  }
  template <typename T>
  void put(std::uint64_t address, T value) {
    std::memcpy(at(address), &value, sizeof value);
  }
  FakeState& fake_;
  std::array<std::uint16_t, 2> offered_{};
};

TEST_F(InstanceTest, FramesWakeItWhileTheGuestRunsAndHasRoom) {
  constexpr std::size_t header = machine::virtio_net_header_bytes;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
  config.network.tap = pair[0];
  const OwnedFd outside_end(pair[1]);
  const auto send = [&](const std::string& frame) {
    EXPECT_EQ(::write(pair[1], frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
  };
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  NetworkGuest guest(*fake);
  guest.start();
  send(std::string(60, '1'));
  guest.offer(0, 2048);
  guest.wait_used(0, 1);
  EXPECT_EQ(std::string(guest.at(guest.buffer(0) + header), 60), std::string(60, '1'));

  std::memset(guest.at(guest.buffer(1)), 's', header + 100);
  guest.offer(1, header + 100);
  char frame[200];
  EXPECT_EQ(::read(pair[1], frame, sizeof frame), 100);

  guest.offer(0, 2048);
  ASSERT_EQ(instance->pause(), Problem{});
  send(std::string(60, '2'));
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  EXPECT_EQ(guest.used(0), 1) << "a stopped guest receives nothing";
  ASSERT_EQ(instance->run(), Problem{});
  guest.wait_used(0, 2);
  EXPECT_EQ(std::string(guest.at(guest.buffer(0) + header), 60), std::string(60, '2'));
}

TEST_F(InstanceTest, EndsWithTheObject) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  instance.reset();
  EXPECT_TRUE(fake->destroyed);
}

TEST(MappedMemory, ATouchThatCannotBePopulatedIsAnAnswer) {
  char name[] = "/tmp/amphion-memory-XXXXXX";
  const int fd = mkstemp(name);
  unlink(name);
  ASSERT_EQ(ftruncate(fd, 32 * 4096), 0);
  // Pages beyond the file's end: SIGBUS, as beyond an instance's bound.
  void* p = mmap(nullptr, 64 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MappedMemory memory({static_cast<std::byte*>(p), 64 * 4096});
  std::array<std::byte, 8> bytes{};
  EXPECT_TRUE(memory.write(machine::ram_base + 5 * 4096 - 4, bytes));
  EXPECT_TRUE(memory.store16(machine::ram_base + 8 * 4096, 1));
  EXPECT_EQ(memory.take_dirty()[0], 0b1'0011'0000u);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(memory.write(machine::ram_base + 40 * 4096, bytes));
    EXPECT_FALSE(memory.read(machine::ram_base + 40 * 4096, bytes));
    EXPECT_EQ(memory.load16(machine::ram_base + 40 * 4096), std::nullopt);
    EXPECT_FALSE(memory.touch(40));
  }
  EXPECT_TRUE(memory.touch(31));
  EXPECT_FALSE(memory.read(machine::ram_base + 64 * 4096 - 7, bytes));
  EXPECT_FALSE(memory.contains(machine::ram_base - 1, 1));
  EXPECT_EQ(memory.load16(machine::ram_base + 1), std::nullopt);
  munmap(p, 64 * 4096);
  close(fd);
}

}  // namespace
}  // namespace amphion::instance
