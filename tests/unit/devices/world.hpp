// SPDX-License-Identifier: Apache-2.0
// A device model with everything around it in memory, and a guest driver that speaks virtio-mmio to it. For tests.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "machine/phone.hpp"
#include "machine/virtio_features.hpp"
#include "phone-side/devices/device_model.hpp"

namespace amphion::devices::testing {

// Noise with a fixed seed.
class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

 private:
  std::mt19937 engine_;
};

class FakeMemory final : public GuestMemory {
 public:
  explicit FakeMemory(std::size_t bytes = 2u << 20) : bytes_(bytes) {}

  [[nodiscard]] bool contains(std::uint64_t a, std::uint64_t n) const override {
    return a >= machine::ram_base && a - machine::ram_base <= bytes_.size() &&
           n <= bytes_.size() - (a - machine::ram_base);
  }
  [[nodiscard]] bool read(std::uint64_t a, std::span<std::byte> out) override {
    if (!contains(a, out.size())) return false;
    std::copy_n(at(a), out.size(), out.data());
    return true;
  }
  [[nodiscard]] bool write(std::uint64_t a, std::span<const std::byte> in) override {
    if (!contains(a, in.size()) || refuse_writes) return false;
    std::copy_n(in.data(), in.size(), at(a));
    return true;
  }
  [[nodiscard]] std::optional<std::uint16_t> load16(std::uint64_t a) override {
    if (!contains(a, 2) || a % 2 != 0) return {};
    return get<std::uint16_t>(a);
  }
  [[nodiscard]] bool store16(std::uint64_t a, std::uint16_t v) override {
    if (!contains(a, 2) || a % 2 != 0 || refuse_writes) return false;
    put<std::uint16_t>(a, v);
    if (after_store16) after_store16(a);
    return true;
  }

  template <typename T>
  [[nodiscard]] T get(std::uint64_t a) const {
    T v;
    std::memcpy(&v, bytes_.data() + (a - machine::ram_base), sizeof v);
    return v;
  }
  template <typename T>
  void put(std::uint64_t a, T v) {
    std::memcpy(at(a), &v, sizeof v);
  }
  [[nodiscard]] std::string text(std::uint64_t a, std::size_t n) const {
    return {reinterpret_cast<const char*>(bytes_.data() + (a - machine::ram_base)), n};
  }

  bool refuse_writes = false;
  std::function<void(std::uint64_t)> after_store16;  // what another vCPU does meanwhile

 private:
  std::byte* at(std::uint64_t a) { return bytes_.data() + (a - machine::ram_base); }
  std::vector<std::byte> bytes_;
};

// The hypervisor's part of the slots: InterruptStatus and the lines.
class FakePage final : public RegisterPage {
 public:
  [[nodiscard]] std::span<std::byte> registers() override { return std::as_writable_bytes(std::span(words_)); }
  void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) override {
    show(slot, interrupt_status, (shown(slot, interrupt_status) & ~clear) | set);
    levels[machine::virtio_irq + slot] = shown(slot, interrupt_status) != 0;
  }
  std::map<std::uint32_t, bool> levels;

 private:
  std::array<std::uint32_t, page_bytes / 4> words_{};
};

class MemoryDisk final : public Disk {
 public:
  explicit MemoryDisk(std::size_t bytes) : data(bytes) {}
  [[nodiscard]] std::uint64_t size_bytes() const override { return data.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<std::byte> out) override {
    if (fail) return false;
    std::copy_n(data.data() + offset, out.size(), out.data());
    return true;
  }
  [[nodiscard]] bool write(std::uint64_t offset, std::span<const std::byte> in) override {
    if (fail) return false;
    std::copy_n(in.data(), in.size(), data.data() + offset);
    return true;
  }
  [[nodiscard]] bool flush() override { return ++flushes, !fail; }

  std::vector<std::byte> data;
  int flushes = 0;
  bool fail = false;
};

// Frames that wait for the guest, and what it has sent.
class FakePort final : public FramePort {
 public:
  [[nodiscard]] std::size_t receive(std::span<std::byte> frame) override {
    if (waiting.empty()) return 0;
    const std::size_t bytes = std::min(waiting.front().size(), frame.size());
    std::memcpy(frame.data(), waiting.front().data(), bytes);
    waiting.pop_front();
    return bytes;
  }
  void send(std::span<const std::byte> frame) override {
    sent.emplace_back(reinterpret_cast<const char*>(frame.data()), frame.size());
  }

  std::deque<std::string> waiting;
  std::vector<std::string> sent;
};

struct World {
  FakeMemory memory;
  FakePage page;
  MemoryDisk disk{1u << 20};
  FakePort cable;
  std::map<std::uint32_t, std::string> ports;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> discarded;
  DeviceModel model{memory, page, disk,
                    Outlets{[this](std::uint32_t port, std::span<const std::byte> bytes) {
                              ports[port].append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                            },
                            [](std::span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{'r'}); },
                            [this](std::uint32_t first, std::uint32_t n) { discarded.emplace_back(first, n); },
                            {{0x02, 0, 0, 0, 0, 7}, &cable}}};
};

// Offsets of virtio-mmio registers that tests use.
enum Mmio : std::uint32_t {
  m_magic = 0x00,
  m_version = 0x04,
  m_device_id = 0x08,
  m_vendor = 0x0c,
  m_features = 0x10,
  m_features_sel = 0x14,
  m_driver_features = 0x20,
  m_driver_features_sel = 0x24,
  m_queue_sel = 0x30,
  m_queue_num_max = 0x34,
  m_queue_num = 0x38,
  m_queue_ready = 0x44,
  m_notify = 0x50,
  m_interrupt_status = 0x60,
  m_interrupt_ack = 0x64,
  m_status = 0x70,
  m_desc = 0x80,
  m_driver = 0x90,
  m_device = 0xa0,
  m_config = 0x100,
};

// A descriptor as a driver writes it.
struct Piece {
  std::uint64_t address;
  std::uint32_t bytes;
  bool writable = false;
};

// One slot's driver. Queue n lies at queue_base(n); pages from buffer() on are free for the test.
class Driver {
 public:
  static constexpr std::uint32_t size = machine::virtio_queue_size_max;
  static constexpr std::uint64_t buffers = machine::ram_base + 0x10'0000;

  Driver(World& world, machine::VirtioSlot slot) : w_(world), slot_(slot) {}

  [[nodiscard]] std::uint32_t read(std::uint32_t offset, std::uint32_t bytes = 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, w_.page.registers().data() + number() * machine::virtio_slot_bytes + offset, bytes);
    return value;
  }
  // Two registers are the hypervisor's.
  void write(std::uint32_t offset, std::uint32_t value, std::uint32_t bytes = 4) {
    if (offset == m_notify && bytes == 4) return w_.model.ring(number(), value < 32 ? 1u << value : 0);
    if (offset == m_interrupt_ack && bytes == 4) return w_.page.change_interrupt(number(), value, 0);
    w_.model.write(machine::virtio_window(slot_).base + offset, bytes, value);
  }
  [[nodiscard]] bool line() const { return w_.page.levels[machine::virtio_slot_irq(slot_)]; }

  [[nodiscard]] std::uint64_t queue_base(std::uint32_t n) const {
    return machine::ram_base + 0x1'0000 * (static_cast<std::uint32_t>(slot_) + 1) + 0x1000 * n;
  }
  [[nodiscard]] std::uint64_t avail(std::uint32_t n) const { return queue_base(n) + 16 * size; }
  [[nodiscard]] std::uint64_t used(std::uint32_t n) const { return queue_base(n) + 0x800; }

  void negotiate() {
    write(m_status, 0);
    write(m_status, 3);
    for (std::uint32_t i = 0; i < 2; ++i) {
      write(m_features_sel, i);
      write(m_driver_features_sel, i);
      write(m_driver_features, read(m_features));
    }
    write(m_status, 11);
  }
  void start() {
    negotiate();
    const auto* model = machine::virtio_model(slot_);
    for (std::uint32_t n = 0; n < model->queues; ++n) set_up_queue(n);
    write(m_status, 15);
  }
  void set_up_queue(std::uint32_t n) {
    write(m_queue_sel, n);
    write(m_queue_num, size);
    write_address(m_desc, queue_base(n));
    write_address(m_driver, avail(n));
    write_address(m_device, used(n));
    write(m_queue_ready, 1);
  }
  void write_address(std::uint32_t offset, std::uint64_t a) {
    write(offset, static_cast<std::uint32_t>(a));
    write(offset + 4, static_cast<std::uint32_t>(a >> 32));
  }

  void put_desc(std::uint32_t n, std::uint32_t i, std::uint64_t address, std::uint32_t bytes, std::uint16_t flags,
                std::uint16_t next) {
    const std::uint64_t d = queue_base(n) + 16 * i;
    w_.memory.put<std::uint64_t>(d, address);
    w_.memory.put<std::uint32_t>(d + 8, bytes);
    w_.memory.put<std::uint16_t>(d + 12, flags);
    w_.memory.put<std::uint16_t>(d + 14, next);
  }
  void offer(std::uint32_t n, std::uint16_t head) {
    auto index = w_.memory.get<std::uint16_t>(avail(n) + 2);
    w_.memory.put<std::uint16_t>(avail(n) + 4 + 2ull * (index % size), head);
    w_.memory.put<std::uint16_t>(avail(n) + 2, static_cast<std::uint16_t>(index + 1));
  }
  // Writes a chain from descriptor `head` on and offers it; does not notify.
  void add(std::uint32_t n, const std::vector<Piece>& pieces, std::uint16_t head = 0) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      const auto flags = static_cast<std::uint16_t>((last ? 0 : 1) | (pieces[i].writable ? 2 : 0));
      put_desc(n, static_cast<std::uint32_t>(head + i), pieces[i].address, pieces[i].bytes, flags,
               static_cast<std::uint16_t>(head + i + 1));
    }
    offer(n, head);
  }
  void notify(std::uint32_t n) { write(m_notify, n); }
  // From here on another vCPU offers descriptor 0 again as soon as a chain comes back; not for ever, for the test's
  // sake.
  void refill(std::uint32_t n) {
    w_.memory.after_store16 = [this, n, rounds = 0](std::uint64_t address) mutable {
      if (address == used(n) + 2 && ++rounds < 100'000) offer(n, 0);
    };
  }
  [[nodiscard]] std::uint16_t used_index(std::uint32_t n) const { return w_.memory.get<std::uint16_t>(used(n) + 2); }
  [[nodiscard]] std::uint32_t used_id(std::uint32_t n, std::uint32_t i) const {
    return w_.memory.get<std::uint32_t>(used(n) + 4 + 8 * (i % size));
  }
  [[nodiscard]] std::uint32_t used_bytes(std::uint32_t n, std::uint32_t i) const {
    return w_.memory.get<std::uint32_t>(used(n) + 8 + 8 * (i % size));
  }
  [[nodiscard]] bool needs_reset() { return (read(m_status) & 64) != 0; }

 private:
  [[nodiscard]] std::uint32_t number() const { return static_cast<std::uint32_t>(slot_); }

  World& w_;
  machine::VirtioSlot slot_;
};

}  // namespace amphion::devices::testing
