// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>

#include "machine/cold_start.hpp"
#include "machine/device_tree.hpp"
#include "machine/envelope.hpp"
#include "machine/validate.hpp"
#include "machine/virtio_features.hpp"

extern "C" {
#include <libfdt.h>
}

namespace amphion::machine::test {
namespace {

constexpr Shape shape{2, 64ull << 20};
InstanceState good() { return cold_state(shape, 62'500'000, 4096); }

TEST(Validate, AColdStateIsValid) {
  for (std::uint32_t vcpus = 1; vcpus <= max_vcpus; ++vcpus) {
    const auto problem = validate(cold_state({vcpus, max_memory_bytes}, 24'000'000, 1));
    EXPECT_FALSE(problem) << *problem;
  }
}

VirtQueue& queue(InstanceState& s) {
  auto& q = *s.mutable_virtio(0)->mutable_queues(0);
  q.set_size(64);
  q.set_ready(true);
  q.set_desc(ram_base);
  q.set_driver(ram_base + 0x1000);
  q.set_device(ram_base + 0x2000);
  return q;
}

TEST(Validate, AStateMayLackADeviceThatTheMachineGotLater) {
  InstanceState state = good();
  ASSERT_EQ(state.virtio(4).device_id(), virtio_id_entropy);
  state.mutable_virtio()->DeleteSubrange(4, 1);
  EXPECT_FALSE(validate(state));
  state.mutable_virtio()->DeleteSubrange(1, 1);  // the network
  EXPECT_FALSE(validate(state));
  state.mutable_virtio()->DeleteSubrange(1, 1);  // the console was always there
  EXPECT_TRUE(validate(state));
}

// Each changes a good state by the first value that is not allowed.
TEST(Validate, TheFirstIllegalValueOfEachFieldIsRefused) {
  const std::pair<const char*, std::function<void(InstanceState&)>> changes[] = {
      {"no vcpus", [](auto& s) { s.mutable_shape()->set_vcpus(0); }},
      {"too many vcpus", [](auto& s) { s.mutable_shape()->set_vcpus(max_vcpus + 1); }},
      {"other number of vcpus", [](auto& s) { s.mutable_shape()->set_vcpus(3); }},
      {"little memory", [](auto& s) { s.mutable_shape()->set_memory_bytes(min_memory_bytes - (2 << 20)); }},
      {"odd memory", [](auto& s) { s.mutable_shape()->set_memory_bytes(min_memory_bytes + 4096); }},
      {"frequency", [](auto& s) { s.set_counter_frequency(0); }},
      {"allowed", [](auto& s) { s.set_vcpus_allowed(3); }},
      {"r", [](auto& s) { s.mutable_vcpus(0)->add_r(0); }},
      {"r_fiq", [](auto& s) { s.mutable_vcpus(0)->add_r_fiq(0); }},
      {"d", [](auto& s) { s.mutable_vcpus(0)->add_d(0); }},
      {"hyp mode", [](auto& s) { s.mutable_vcpus(0)->set_cpsr(0x1da); }},
      {"monitor mode", [](auto& s) { s.mutable_vcpus(0)->set_cpsr(0x1d6); }},
      {"timer", [](auto& s) { s.mutable_vcpus(1)->mutable_virtual_timer()->set_ctl(4); }},
      {"gicd", [](auto& s) { s.mutable_gic()->set_gicd_ctlr(4); }},
      {"spis", [](auto& s) { s.mutable_gic()->add_spis(); }},
      {"gic cpus", [](auto& s) { s.mutable_gic()->add_cpus(); }},
      {"priority", [](auto& s) { s.mutable_gic()->mutable_spis(255)->set_priority(256); }},
      {"targets", [](auto& s) { s.mutable_gic()->mutable_spis(0)->set_targets(256); }},
      {"group", [](auto& s) { s.mutable_gic()->mutable_spis(0)->set_group(2); }},
      {"sgi source", [](auto& s) { s.mutable_gic()->mutable_cpus(0)->set_sgi_sources(0, 4); }},
      {"pmr", [](auto& s) { s.mutable_gic()->mutable_cpus(0)->set_gicc_pmr(256); }},
      {"fifo", [](auto& s) { s.mutable_pl011()->set_dr_fifo_count(1); }},
      {"fifo size",
       [](auto& s) {
         s.mutable_pl011()->set_dr_fifo_count(17);
         s.mutable_pl011()->set_rx_fifo(std::string(17, 'x'));
       }},
      {"fbrd", [](auto& s) { s.mutable_pl011()->set_fbrd(64); }},
      {"slot order", [](auto& s) { s.mutable_virtio()->SwapElements(0, 1); }},
      {"slot missing", [](auto& s) { s.mutable_virtio()->RemoveLast(); }},
      {"slot twice", [](auto& s) { *s.add_virtio() = s.virtio(3); }},
      {"device", [](auto& s) { s.mutable_virtio(0)->set_device_id(1); }},
      {"feature", [](auto& s) { s.mutable_virtio(0)->set_driver_features(1u << 28); }},
      {"status", [](auto& s) { s.mutable_virtio(0)->set_status(256); }},
      {"isr", [](auto& s) { s.mutable_virtio(0)->set_interrupt_status(4); }},
      {"queues", [](auto& s) { s.mutable_virtio(0)->add_queues(); }},
      {"size max", [](auto& s) { queue(s).set_size_max(128); }},
      {"queue size", [](auto& s) { queue(s).set_size(128); }},
      {"not a power", [](auto& s) { queue(s).set_size(48); }},
      {"ready and empty", [](auto& s) { queue(s).set_size(0); }},
      {"index", [](auto& s) { queue(s).set_last_avail(65536); }},
      {"used index", [](auto& s) { queue(s).set_used(65536); }},
      {"below memory", [](auto& s) { queue(s).set_desc(ram_base - 16); }},
      {"descriptor end", [](auto& s) { queue(s).set_desc(ram_base + shape.memory_bytes - 1024 + 16); }},
      {"available end", [](auto& s) { queue(s).set_driver(ram_base + shape.memory_bytes - 134 + 2); }},
      {"used end", [](auto& s) { queue(s).set_device(ram_base + shape.memory_bytes - 516); }},
      {"far away", [](auto& s) { queue(s).set_desc(~0ull << 4); }},
      {"alignment", [](auto& s) { queue(s).set_desc(ram_base + 8); }},
      {"capacity", [](auto& s) { s.mutable_virtio(0)->mutable_blk()->set_capacity_sectors(0); }},
      {"wrong part", [](auto& s) { s.mutable_virtio(0)->mutable_balloon(); }},
      {"no network", [](auto& s) { s.mutable_virtio(1)->clear_network(); }},
      {"short address", [](auto& s) { s.mutable_virtio(1)->mutable_network()->mutable_mac()->pop_back(); }},
      {"a group's address", [](auto& s) { s.mutable_virtio(1)->mutable_network()->mutable_mac()->at(0) = 3; }},
      {"a maker's address", [](auto& s) { s.mutable_virtio(1)->mutable_network()->mutable_mac()->at(0) = 0; }},
      {"subnet 0", [](auto& s) { s.mutable_virtio(1)->mutable_network()->mutable_mac()->at(5) = 0; }},
      {"ports", [](auto& s) { s.mutable_virtio(2)->mutable_console()->add_ports(); }},
      {"port order", [](auto& s) { s.mutable_virtio(2)->mutable_console()->mutable_ports(0)->set_id(1); }},
      {"entropy", [](auto& s) { s.mutable_virtio(4)->mutable_balloon(); }},
      {"balloon", [](auto& s) { s.mutable_virtio(5)->mutable_balloon()->set_num_pages((64u << 20) / 4096 + 1); }},
      {"bridge", [](auto& s) { s.mutable_pcie()->mutable_host_bridge()->pop_back(); }},
      {"ports of pcie", [](auto& s) { s.mutable_pcie()->mutable_root_ports()->RemoveLast(); }},
      {"port config", [](auto& s) { s.mutable_pcie()->mutable_root_ports(0)->mutable_config()->push_back('x'); }},
      {"intx", [](auto& s) { s.mutable_pcie()->mutable_root_ports(0)->set_intx_level(16); }},
  };
  InstanceState control = good();
  queue(control);
  EXPECT_FALSE(validate(control));
  for (const auto& [name, change] : changes) {
    InstanceState state = good();
    change(state);
    const auto problem = validate(state);
    ASSERT_TRUE(problem) << name;
    EXPECT_EQ(problem->find('\n'), std::string::npos);
  }
}

// Or it could keep itself from ever being moved.
TEST(Validate, WhatTheBalloonsDriverSaysIsItsOwn) {
  InstanceState state = good();
  state.mutable_virtio(5)->mutable_balloon()->set_actual(~0u);
  const auto problem = validate(state);
  EXPECT_FALSE(problem) << *problem;
}

TEST(Validate, AQueueMayEndWithMemory) {
  InstanceState state = good();
  queue(state).set_desc(ram_base + shape.memory_bytes - 1024);
  EXPECT_FALSE(validate(state));
}

TEST(Envelope, OpensWhatItSealed) {
  const InstanceState state = good();
  InstanceState opened;
  const auto problem = open_envelope(seal(state), opened);
  ASSERT_FALSE(problem) << *problem;
  EXPECT_EQ(opened.SerializeAsString(), state.SerializeAsString());
}

TEST(Envelope, EveryDamagedByteAndEveryTruncationIsRefused) {
  const std::string sealed = seal(good());
  InstanceState opened;
  for (std::size_t at = 0; at < sealed.size(); at += at < 64 ? 1 : 101) {
    std::string bytes = sealed;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    EXPECT_TRUE(open_envelope(bytes, opened)) << at;
    EXPECT_TRUE(open_envelope(sealed.substr(0, at), opened)) << at;
  }
  EXPECT_TRUE(open_envelope(sealed + "x", opened));
  EXPECT_EQ(opened.ByteSizeLong(), 0u);
}

TEST(Envelope, SaysWhatIsWrong) {
  std::string bytes = seal(good());
  InstanceState opened;
  bytes[8] = 9;
  EXPECT_NE(open_envelope(bytes, opened)->find("format version 9"), std::string::npos);
  bytes[8] = 1;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  EXPECT_NE(open_envelope(bytes, opened)->find("damaged"), std::string::npos);
  bytes[15] = 0x7f;
  EXPECT_NE(open_envelope(bytes, opened)->find("longer than"), std::string::npos);
}

TEST(Envelope, AnInvalidStateInAGoodEnvelopeIsRefused) {
  InstanceState state = good();
  state.set_counter_frequency(0);
  InstanceState opened;
  EXPECT_TRUE(open_envelope(seal(state), opened));
}

TEST(DeviceTree, NamesEveryDevice) {
  DeviceTreeInput in{{4, 256ull << 20}, 24'000'000, "quiet"};
  in.initrd_start = ram_base + initrd_offset;
  in.initrd_end = in.initrd_start + 4096;
  const auto tree = make_device_tree(in);
  ASSERT_EQ(fdt_check_full(tree.data(), tree.size()), 0);
  for (const char* path : {"/cpus/cpu@3", "/psci", "/timer", "/intc@8000000", "/pl011@9000000", "/virtio_mmio@a000000",
                           "/virtio_mmio@a000e00", "/pcie@10000000", "/memory@40000000",
                           "/reserved-memory/screen@4fc00000", "/chosen/framebuffer@4fc00000"})
    EXPECT_GE(fdt_path_offset(tree.data(), path), 0) << path;
  EXPECT_LT(fdt_path_offset(tree.data(), "/cpus/cpu@4"), 0);
  EXPECT_LT(fdt_path_offset(tree.data(), "/virtio_mmio@a001000"), 0);
}

TEST(DeviceTree, RefusesWhatDoesNotFit) {
  const DeviceTreeInput fits{{1, 64ull << 20}, 1, ""};
  EXPECT_FALSE(make_device_tree(fits).empty());
  auto in = fits;
  in.shape.vcpus = 5;
  EXPECT_TRUE(make_device_tree(in).empty());
  in = fits;
  in.cmdline.assign(2048, 'x');
  EXPECT_TRUE(make_device_tree(in).empty());
  in = fits;
  in.counter_frequency = 0;
  EXPECT_TRUE(make_device_tree(in).empty());
  in = fits;
  in.initrd_start = ram_base + (32u << 20);
  in.initrd_end = static_cast<std::uint32_t>(in.shape.screen_base()) + 1;
  EXPECT_TRUE(make_device_tree(in).empty());
}

}  // namespace
}  // namespace amphion::machine::test
