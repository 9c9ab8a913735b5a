// SPDX-License-Identifier: Apache-2.0
// The adapter against templates that the clones' QEMU saves here and now; needs only that QEMU from the cache.
#include "cloud-side/qemu/adapter.hpp"

#include <google/protobuf/message_lite.h>
#include <gtest/gtest.h>

#include "cloud-side/qemu/lines.hpp"
#include "cloud-side/qemu/stream.hpp"
#include "cloud-side/qemu/templates.hpp"
#include "cloud-side/qemu/virtio.hpp"
#include "machine/cold_start.hpp"
#include "machine/validate.hpp"
#include "machine/virtio_features.hpp"
#include "tests/unit/qemu/guest.hpp"

namespace amphion::qemu::test {
namespace {

constexpr std::uint64_t sectors = 2048;

class Adapter : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<Folder>();
    base_ = template_for(two);
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static Bytes template_for(const machine::Shape& shape) {
    auto made = template_stream(options(folder_->path()).qemu, folder_->path(), shape, frequency);
    if (!made) throw std::runtime_error(made.error().text);
    return *made;
  }
  static machine::InstanceState cold() { return machine::cold_state(two, frequency, sectors); }
  // A state whose every register has a value of its own.
  static machine::InstanceState busy();
  static Bytes written(const machine::InstanceState& state) {
    Bytes stream;
    const auto problem = to_qemu(base_, state, ram_, stream);
    EXPECT_FALSE(problem) << *problem;
    return stream;
  }
  static machine::InstanceState read(const Bytes& stream) {
    machine::InstanceState state;
    const auto problem = from_qemu(stream, {ram_, sectors, frequency}, state);
    EXPECT_FALSE(problem) << *problem;
    return state;
  }

  static constexpr machine::Shape two{2, 64u << 20};
  inline static std::unique_ptr<Folder> folder_;
  inline static Bytes base_;
  inline static const Bytes ram_ = Bytes(two.memory_bytes);
};

machine::InstanceState Adapter::busy() {
  machine::InstanceState s = cold();
  s.set_counter(123'456'789'012);
  for (int n = 0; n < 2; ++n) {
    auto& v = *s.mutable_vcpus(n);
    std::uint32_t next = 0x1000u * static_cast<std::uint32_t>(n + 1);
    v.set_power(machine::Vcpu::POWER_ON);
    for (int r = 0; r < 16; ++r) v.set_r(r, ++next);
    for (int r = 0; r < 5; ++r) v.set_r_fiq(r, ++next);
    for (int d = 0; d < 32; ++d) v.set_d(d, std::uint64_t{++next} << 32 | 0x8000'0001u);
    v.set_cpsr(n == 0 ? 0x6000'0010 : 0x6000'01d1);  // user, and FIQ with its own banks
    for (auto* bank : {v.mutable_svc(), v.mutable_abt(), v.mutable_und(), v.mutable_irq(), v.mutable_fiq()}) {
      bank->set_sp(++next);
      bank->set_lr(++next);
      bank->set_spsr(++next);
    }
    v.set_fpscr(0x6000'0000);
    v.set_fpexc(0x4000'0000);
    auto& c = *v.mutable_cp15();
    c.set_ttbr0(0x0012'0000'4567'8000);
    c.set_ttbr1(0x4020'7000);
    c.set_ttbcr(0xb502'3500);
    c.set_cpacr(0x00f0'0000);
    c.set_dacr(0x55);
    c.set_dfsr(0x207);
    c.set_ifsr(0x20b);
    c.set_dfar(++next);
    c.set_ifar(++next);
    c.set_par(0x1234);
    c.set_mair0(0xeeaa'4400);
    c.set_mair1(0xff00'0004);
    c.set_vbar(0xffff'0000);
    c.set_contextidr(++next);
    c.set_tpidrurw(++next);
    c.set_tpidruro(++next);
    c.set_tpidrprw(++next);
    c.set_cntkctl(0xc6);
    v.mutable_virtual_timer()->set_ctl(1);
    v.mutable_virtual_timer()->set_cval(123'456'800'000);
    v.mutable_physical_timer()->set_ctl(3);
    v.mutable_physical_timer()->set_cval(77);
  }
  auto& gic = *s.mutable_gic();
  gic.set_gicd_ctlr(1);
  for (auto& cpu : *gic.mutable_cpus()) {
    cpu.set_gicc_ctlr(1);
    cpu.set_gicc_pmr(0xf0);
    cpu.set_gicc_apr(1u << 20);
    for (auto& line : *cpu.mutable_private_lines()) line.set_priority(0xa0);
    cpu.mutable_private_lines(27)->set_enabled(true);
  }
  gic.mutable_cpus(1)->set_sgi_sources(3, 1);
  gic.mutable_cpus(1)->mutable_private_lines(3)->set_pending(true);
  for (int i = 0; i < gic.spis_size(); ++i) {
    gic.mutable_spis(i)->set_targets(i % 2 == 0 ? 1 : 2);
    gic.mutable_spis(i)->set_priority(0xa0);
    gic.mutable_spis(i)->set_edge(i % 3 == 0);
    gic.mutable_spis(i)->set_enabled(i % 5 == 0);
    gic.mutable_spis(i)->set_pending(i % 7 == 0);
    gic.mutable_spis(i)->set_active(i % 11 == 0);
    gic.mutable_spis(i)->set_level(i % 13 == 0);
  }
  s.mutable_pl011()->set_lcr_h(0x70);
  s.mutable_pl011()->set_rx_fifo("typed");
  s.mutable_pl011()->set_dr_fifo_count(5);
  s.mutable_pl011()->set_imsc(0x50);
  s.mutable_pl011()->set_ris(0x20);
  // No line may contradict its device.
  s.mutable_virtio(2)->set_interrupt_status(1);
  *s.mutable_gic() = settle_lines(s);
  return s;
}

TEST_F(Adapter, ATemplateIsReproducedByteForByte) {
  EXPECT_EQ(Stream::parse(base_).bytes(), base_);
  for (const auto& [name, id] : {std::pair{"virtio-mmio@000000000a000000/virtio-blk", machine::virtio_id_block},
                                 {"virtio-mmio@000000000a000400/virtio-net", machine::virtio_id_network},
                                 {"virtio-mmio@000000000a000600/virtio-console", machine::virtio_id_console},
                                 {"virtio-mmio@000000000a000800/virtio-input", machine::virtio_id_input},
                                 {"virtio-mmio@000000000a000c00/virtio-rng", machine::virtio_id_entropy},
                                 {"virtio-mmio@000000000a000e00/virtio-balloon", machine::virtio_id_balloon}}) {
    const Stream stream = Stream::parse(base_);
    const View field = stream.section(name).view("virtio");
    EXPECT_EQ(write_virtio(parse_virtio(field, id)), Bytes(field.begin(), field.end())) << name;
  }
}

TEST_F(Adapter, AResetMachineReadsAsTheColdState) {
  machine::InstanceState expected = cold();
  auto& boot = *expected.mutable_vcpus(0);
  for (const int r : {1, 2, 15}) boot.set_r(r, 0);
  machine::InstanceState state = read(base_);
  for (int n = 0; n < 2; ++n) {  // condition flags are unknown after a reset
    state.mutable_vcpus(n)->set_cpsr(state.vcpus(n).cpsr() & 0x0fff'ffff);
    state.mutable_vcpus(n)->mutable_svc()->set_spsr(0);
  }
  for (auto& line : *state.mutable_gic()->mutable_spis()) line.set_targets(0);
  EXPECT_EQ(state.gic().SerializeAsString(), expected.gic().SerializeAsString());
  EXPECT_EQ(state.pl011().SerializeAsString(), expected.pl011().SerializeAsString());
  EXPECT_EQ(state.pcie().SerializeAsString(), expected.pcie().SerializeAsString());
  for (int n = 0; n < 2; ++n) EXPECT_EQ(state.vcpus(n).SerializeAsString(), expected.vcpus(n).SerializeAsString()) << n;
  for (int n = 0; n < state.virtio_size(); ++n)
    EXPECT_EQ(state.virtio(n).SerializeAsString(), expected.virtio(n).SerializeAsString()) << n;
}

TEST_F(Adapter, ABusyStateComesBackAsItWent) {
  const machine::InstanceState went = busy();
  const machine::InstanceState came = read(written(went));
  for (int n = 0; n < 2; ++n) EXPECT_EQ(came.vcpus(n).SerializeAsString(), went.vcpus(n).SerializeAsString()) << n;
  EXPECT_EQ(came.gic().SerializeAsString(), went.gic().SerializeAsString());
  EXPECT_EQ(came.SerializeAsString(), went.SerializeAsString());
}

TEST_F(Adapter, WritingIsRepeatable) {
  const Bytes once = written(busy());
  EXPECT_EQ(written(read(once)), once);
}

TEST_F(Adapter, ADueTimerExpiresAtOnceAndAnotherInItsTime) {
  machine::InstanceState s = busy();
  s.mutable_vcpus(0)->mutable_virtual_timer()->set_cval(s.counter());      // due now
  s.mutable_vcpus(1)->mutable_virtual_timer()->set_cval(s.counter() + 1);  // not yet
  const Stream stream = Stream::parse(written(s));
  EXPECT_EQ(stream.section("cpu", 0).get("gt_timer[GTIMER_VIRT]"), s.counter() * 16);
  EXPECT_EQ(stream.section("cpu", 1).get("gt_timer[GTIMER_VIRT]"), (s.counter() + 1) * 16);
  EXPECT_EQ(stream.section("timer").get("cpu_clock_offset"), s.counter() * 16);
}

TEST_F(Adapter, LinesFollowTheirDevices) {
  machine::InstanceState s = cold();
  s.set_counter(1000);
  s.mutable_vcpus(1)->mutable_virtual_timer()->set_ctl(1);
  s.mutable_vcpus(1)->mutable_virtual_timer()->set_cval(1000);
  s.mutable_vcpus(0)->mutable_virtual_timer()->set_ctl(3);  // due, but masked
  s.mutable_virtio(0)->set_interrupt_status(1);
  s.mutable_gic()->mutable_spis(16)->set_edge(true);
  s.mutable_gic()->mutable_spis(1)->set_level(true);  // stale
  const machine::Gic gic = settle_lines(s);
  EXPECT_TRUE(gic.cpus(1).private_lines(27).level());
  EXPECT_FALSE(gic.cpus(0).private_lines(27).level());
  EXPECT_TRUE(gic.spis(16).level());
  EXPECT_TRUE(gic.spis(16).pending());
  EXPECT_FALSE(gic.spis(1).level());
}

TEST_F(Adapter, AnotherNumberOfVcpusIsRefused) {
  Bytes stream;
  const auto problem = to_qemu(base_, machine::cold_state({3, 64u << 20}, frequency, sectors), ram_, stream);
  ASSERT_TRUE(problem);
  EXPECT_NE(problem->find("3"), std::string::npos);
  EXPECT_TRUE(stream.empty());
}

TEST_F(Adapter, AnInvalidStateIsRefused) {
  machine::InstanceState s = cold();
  s.mutable_virtio(0)->set_driver_features(1ull << 28);
  Bytes stream;
  EXPECT_TRUE(to_qemu(base_, s, ram_, stream));
  s = cold();
  s.set_counter(~0ull);
  EXPECT_TRUE(to_qemu(base_, s, ram_, stream));
}

TEST_F(Adapter, DamagedStreamsAreRefusedOrReadButNeverHarm) {
  for (std::size_t at = 0; at < base_.size(); at += 1499) {
    Bytes bytes = base_;
    bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 0xff);
    machine::InstanceState state;
    (void)from_qemu(bytes, {ram_, sectors, frequency}, state);
    EXPECT_TRUE(from_qemu(View(bytes).first(at), {ram_, sectors, frequency}, state));
  }
}

}  // namespace
}  // namespace amphion::qemu::test
