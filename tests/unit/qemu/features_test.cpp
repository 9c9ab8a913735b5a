// SPDX-License-Identifier: Apache-2.0
// machine/virtio_features.hpp and machine/pcie_config.hpp against the clones' QEMU: every register that a guest can
// cache, read through QEMU's qtest protocol.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/port.hpp"
#include "cloud-side/qemu/process.hpp"
#include "machine/pcie_config.hpp"
#include "machine/virtio_features.hpp"
#include "tests/unit/qemu/guest.hpp"

namespace amphion::qemu::test {
namespace {

using namespace std::chrono_literals;
using machine::VirtioSlot;
constexpr std::uint64_t sectors = 2048;

class Features : public testing::Test {
 protected:
  void SetUp() override {
    const Machine m{{4, 64u << 20}, frequency, place_ / "memory", place_ / "disk0", place_};
    for (const auto& [file, size] : {std::pair{m.memory, m.shape.memory_bytes}, {m.disk, sectors * 512}}) {
      std::ofstream(file, std::ios::binary);
      std::filesystem::resize_file(file, size);
    }
    auto arguments = machine_arguments(m);
    arguments.insert(arguments.end(), {"-qtest", "unix:" + (place_ / "qtest").string() + ",server=on,wait=off"});
    arguments.insert(arguments.end(), {"-qtest-log", "none"});
    const auto started = run_daemon(options(place_).qemu, arguments);
    ASSERT_TRUE(started) << started.error().text;
    ASSERT_TRUE(port_.connect(place_ / "qtest", 10s));
  }
  void TearDown() override { kill_and_wait(read_pid_file(place_ / pid_file), place_); }

  std::uint64_t ask(const std::string& command) {
    EXPECT_TRUE(port_.write(command + "\n"));
    std::string answer;
    while (answer.find('\n') == std::string::npos) {
      const auto more = port_.read(4096, 5s);
      if (!more || more->empty()) throw std::runtime_error("qtest does not answer " + command);
      answer += *more;
    }
    return answer.size() > 4 ? std::stoull(answer.substr(3), nullptr, 16) : 0;
  }
  static std::string hex(std::uint64_t n) {
    char text[20];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
    return text;
  }
  std::uint32_t read32(std::uint64_t at) { return static_cast<std::uint32_t>(ask("readl " + hex(at))); }
  std::uint8_t read8(std::uint64_t at) { return static_cast<std::uint8_t>(ask("readb " + hex(at))); }
  void write32(std::uint64_t at, std::uint32_t value) { ask("writel " + hex(at) + " " + hex(value)); }
  void write8(std::uint64_t at, std::uint8_t value) { ask("writeb " + hex(at) + " " + hex(value)); }

  template <typename Expected>
  void expect_config(VirtioSlot slot, std::uint32_t from, const Expected& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_EQ(read8(machine::virtio_window(slot).base + 0x100 + from + i), expected[i]) << "config " << from + i;
  }
  template <typename Expected>
  void expect_input(std::uint8_t select, std::uint8_t subsel, const Expected& expected) {
    const std::uint32_t config = machine::virtio_window(VirtioSlot::keyboard).base + 0x100;
    write8(config, select);
    write8(config + 1, subsel);
    EXPECT_EQ(read8(config + 2), expected.size());
    expect_config(VirtioSlot::keyboard, 8, expected);
  }

  Folder folder_;
  std::filesystem::path place_ = folder_.clone("f");
  Port port_;
};

TEST_F(Features, EverySlotIsWhatTheMachineSays) {
  for (std::uint32_t n = 0; n < machine::virtio_slots; ++n) {
    const auto slot = static_cast<VirtioSlot>(n);
    const std::uint32_t base = machine::virtio_window(slot).base;
    const auto* model = machine::virtio_model(slot);
    EXPECT_EQ(read32(base), machine::virtio_mmio_magic);
    EXPECT_EQ(read32(base + 4), machine::virtio_mmio_version);
    EXPECT_EQ(read32(base + 8), model != nullptr ? model->device_id : machine::virtio_id_none) << n;
    EXPECT_EQ(read32(base + 12), machine::virtio_mmio_vendor);
    if (model == nullptr) continue;
    write32(base + 0x14, 0);
    std::uint64_t features = read32(base + 0x10);
    write32(base + 0x14, 1);
    features |= std::uint64_t{read32(base + 0x10)} << 32;
    EXPECT_EQ(features, model->features) << n;
    for (std::uint32_t queue = 0; queue <= model->queues; ++queue) {
      write32(base + 0x30, queue);
      EXPECT_EQ(read32(base + 0x34), queue < model->queues ? machine::virtio_queue_size_max : 0u) << n;
    }
    EXPECT_EQ(read8(base + 0x100 + model->config_bytes), 0xff) << n;
  }
}

TEST_F(Features, ConfigurationSpacesAreTheMachines) {
  expect_config(VirtioSlot::disk0, 0, machine::virtio_blk_config(sectors));
  expect_config(VirtioSlot::network, 0, machine::virtio_network_config({2, 0, 0, 0, 0, 1}, true));
  expect_config(VirtioSlot::console, 0, machine::virtio_console_config);
  expect_config(VirtioSlot::balloon, 0, std::array<std::uint8_t, 8>{});
  const std::string_view name(machine::virtio_keyboard_name, sizeof machine::virtio_keyboard_name);
  expect_input(machine::virtio_input_id_name, 0, name);
  expect_input(machine::virtio_input_id_devids, 0, machine::virtio_keyboard_devids);
  expect_input(machine::virtio_input_ev_bits, machine::ev_key, machine::virtio_keyboard_keys);
  expect_input(machine::virtio_input_ev_bits, machine::ev_led, machine::virtio_keyboard_leds);
  expect_input(machine::virtio_input_ev_bits, machine::ev_rep, machine::virtio_keyboard_rep);
  expect_input(2, 0, std::array<std::uint8_t, 0>{});
}

TEST_F(Features, PcieFunctionsAreTheMachines) {
  for (const auto& word : machine::pcie_host_bridge)
    EXPECT_EQ(read32(machine::pcie_ecam.base + word.offset), word.reset) << hex(word.offset);
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    for (const auto& word : machine::pcie_root_port)
      EXPECT_EQ(read32(machine::pcie_ecam.base + (port + 1) * 0x8000 + word.offset),
                machine::pcie_root_port_reset(word, port))
          << port << " " << hex(word.offset);
  EXPECT_EQ(read32(machine::pcie_ecam.base + 5 * 0x8000), ~0u);
}

}  // namespace
}  // namespace amphion::qemu::test
