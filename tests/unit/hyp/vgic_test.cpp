// SPDX-License-Identifier: Apache-2.0
#include "hyp/vgic.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "tests/unit/hyp/fake_gicv.hpp"

namespace amphion::hyp {
namespace {

using Mask = Vgic::Mask;
constexpr std::uint32_t igroupr = 0x80, isenabler = 0x100, icenabler = 0x180, ispendr = 0x200, icpendr = 0x280;
constexpr std::uint32_t isactiver = 0x300, icactiver = 0x380, ipriorityr = 0x400, itargetsr = 0x800, icfgr = 0xc00;
constexpr std::uint32_t sgir = 0xf00, cpendsgir = 0xf10, spendsgir = 0xf20;

class RecordingLines final : public PhysicalLines {
 public:
  void enable(std::uint32_t intid) override { log.push_back("enable " + std::to_string(intid)); }
  void disable(std::uint32_t intid) override { log.push_back("disable " + std::to_string(intid)); }
  void configure(std::uint32_t intid, bool edge) override {
    log.push_back((edge ? "edge " : "level ") + std::to_string(intid));
  }
  void target(std::uint32_t intid, std::uint32_t vcpu) override {
    log.push_back("target " + std::to_string(intid) + " " + std::to_string(vcpu));
  }
  void deactivate(std::uint32_t, std::uint32_t intid) override { log.push_back("deactivate " + std::to_string(intid)); }
  std::vector<std::string> log;
};
using Log = std::vector<std::string>;

struct VgicTest : testing::Test {
  VgicTest() { reset(2, 4, nullptr); }
  void reset(std::uint32_t vcpus, std::uint32_t list_registers, PhysicalLines* physical) {
    vgic.init(vcpus, list_registers, physical);
    write(0, 0, 1);
    for (std::uint32_t v = 0; v < vcpus; ++v) {
      gicv_of(v).load();
      gicv_of(v).write_ctlr(1);
      gicv_of(v).write_pmr(0xf0);
    }
  }
  FakeGicv gicv_of(std::uint32_t vcpu) {
    FakeGicv gicv(vgic.cpu(vcpu), hardware[vcpu]);
    gicv.deactivate_physical = [this](std::uint32_t intid) { deactivated.push_back(intid); };
    return gicv;
  }
  Mask sync(std::uint32_t vcpu) {
    gicv_of(vcpu).leave();
    return vgic.sync(vcpu);
  }
  bool deliverable(std::uint32_t vcpu) {
    gicv_of(vcpu).save();
    return vgic.deliverable(vcpu);
  }
  Mask write(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value) {
    return vgic.write(vcpu, offset, 4, value);
  }
  std::uint32_t read(std::uint32_t vcpu, std::uint32_t offset) { return vgic.read(vcpu, offset, 4); }
  void enable(std::uint32_t intid, std::uint32_t target = 1) {
    static_cast<void>(vgic.write(0, itargetsr + intid, 1, target));
    write(0, isenabler + intid / 32 * 4, 1u << intid % 32);
  }
  // One entry of the guest: what it acknowledges and ends, in order.
  std::vector<std::uint32_t> run(std::uint32_t vcpu) {
    std::vector<std::uint32_t> taken;
    FakeGicv gicv = gicv_of(vcpu);
    vgic.flush(vcpu);
    for (int guard = 0; guard < 20; ++guard) {
      const std::uint32_t iar = gicv.acknowledge();
      if (iar == FakeGicv::spurious) {
        if (!gicv.maintenance()) break;
        static_cast<void>(sync(vcpu));
        vgic.flush(vcpu);
        continue;
      }
      taken.push_back(iar);
      gicv.end(iar);
    }
    static_cast<void>(sync(vcpu));
    return taken;
  }

  Vgic vgic;
  std::array<FakeGicv::Hardware, Vgic::max_vcpus> hardware{};
  std::vector<std::uint32_t> deactivated;
};
using Taken = std::vector<std::uint32_t>;

TEST_F(VgicTest, ShowsTheIdentityOfQemusGic) {
  EXPECT_EQ(read(0, 4), 8u | 1u << 5);
  EXPECT_EQ(read(0, 8), 0x43bu);
  const std::uint32_t id[] = {4, 0, 0, 0, 0x90, 0xb4, 0x2b, 0, 0x0d, 0xf0, 5, 0xb1};
  for (std::uint32_t i = 0; i < 12; ++i) EXPECT_EQ(read(1, 0xfd0 + 4 * i), id[i]);
  EXPECT_EQ(read(0, icfgr), 0xaaaa'aaaau);
  EXPECT_EQ(read(0, icfgr + 4), 0u);
  EXPECT_EQ(read(0, isenabler), 0xffffu);
  EXPECT_EQ(read(0, itargetsr), 0x0101'0101u);
  EXPECT_EQ(read(1, itargetsr + 28), 0x0202'0202u);
  EXPECT_EQ(read(1, itargetsr + 32), 0u);
  vgic.init(1, 4, nullptr);
  EXPECT_EQ(read(0, 4), 8u);
  EXPECT_EQ(read(0, itargetsr), 0u) << "a uniprocessor's targets read as zero";
}

TEST_F(VgicTest, KeepsWhatRegistersKeep) {
  write(0, 0, 0xffff'ffff);
  EXPECT_EQ(read(1, 0), 3u);
  write(0, isenabler + 4, 0x8000'0001);
  write(0, icenabler + 4, 1);
  EXPECT_EQ(read(0, isenabler + 4), 0x8000'0000u);
  EXPECT_EQ(read(1, icenabler + 4), 0x8000'0000u);
  write(0, icenabler, 0xffff'ffff);
  EXPECT_EQ(read(0, isenabler), 0xffffu) << "SGIs are always enabled";
  write(0, isenabler, 1u << 27);
  EXPECT_EQ(read(0, isenabler), 0x0800'ffffu);
  EXPECT_EQ(read(1, isenabler), 0xffffu) << "banked";
  write(1, igroupr, 0x55);
  EXPECT_EQ(read(1, igroupr), 0x55u);
  write(1, igroupr, 0);
  EXPECT_EQ(read(1, igroupr), 0u);
  write(0, ipriorityr + 40, 0xffff'a5a0);
  EXPECT_EQ(read(0, ipriorityr + 40), 0xf8f8'a0a0u);
  EXPECT_EQ(vgic.read(0, ipriorityr + 43, 1), 0xf8u);
  static_cast<void>(vgic.write(0, ipriorityr + 42, 1, 0x1234'5610));
  EXPECT_EQ(read(0, ipriorityr + 40), 0xf810'a0a0u);
  write(0, itargetsr + 40, 0xff03'0201);
  EXPECT_EQ(read(0, itargetsr + 40), 0x0303'0201u);
  write(0, icfgr + 8, 0xffff'ffff);
  EXPECT_EQ(read(0, icfgr + 8), 0xaaaa'aaaau);
  write(0, icfgr, 0);
  EXPECT_EQ(read(0, icfgr), 0xaaaa'aaaau);
  write(0, spendsgir + 4, 0xff03'0201);
  EXPECT_EQ(read(0, cpendsgir + 4), 0x0303'0201u);
  EXPECT_EQ(read(0, ispendr), 0xf0u);
  EXPECT_EQ(read(1, ispendr), 0u);
  write(0, cpendsgir + 4, 0x0101'0101);
  EXPECT_EQ(read(0, spendsgir + 4), 0x0202'0200u);
  write(0, ispendr, 0xffff);
  write(0, icpendr, 0xffff);
  EXPECT_EQ(read(0, spendsgir + 4), 0x0202'0200u);
}

TEST_F(VgicTest, IgnoresTheFirstIllegalAccesses) {
  amphion_gic before, after;
  vgic.get(before);
  for (const std::uint32_t offset : {0xcu, 0x7cu, isenabler + 0x24, igroupr + 0x24, ipriorityr + 288, itargetsr + 288,
                                     icfgr + 72, 0xd00u, 0xf30u, 0xfccu, 0x1000u, 0xfffcu, 0xffff'fffcu}) {
    EXPECT_EQ(write(0, offset, 0xffff'ffff), 0u) << offset;
    EXPECT_EQ(read(0, offset), 0u) << offset;
  }
  for (const std::uint32_t bytes : {0u, 3u, 5u, 8u, 0xffff'ffffu}) {
    EXPECT_EQ(vgic.write(0, isenabler + 4, bytes, ~0u), 0u);
    EXPECT_EQ(vgic.read(0, 4, bytes), 0u);
  }
  EXPECT_EQ(vgic.write(0, isenabler + 6, 4, ~0u), 0u) << "not aligned";
  EXPECT_EQ(vgic.write(0, isenabler + 5, 2, ~0u), 0u);
  EXPECT_EQ(vgic.write(2, isenabler + 4, 4, ~0u), 0u) << "no such vCPU";
  EXPECT_EQ(vgic.read(2, 4, 4), 0u);
  EXPECT_EQ(vgic.write(0, sgir, 1, 0xff), 0u) << "SGIR is a word";
  EXPECT_EQ(vgic.set_line(31, true) | vgic.set_line(288, true) | vgic.pend(31) | vgic.pend(288), 0u);
  EXPECT_EQ(vgic.set_private_line(0, 15, true) | vgic.set_private_line(0, 32, true), 0u);
  EXPECT_EQ(vgic.set_private_line(2, 27, true) | vgic.raise_hw(2, 27, 27) | vgic.raise_hw(0, 288, 27), 0u);
  vgic.get(after);
  EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
}

TEST_F(VgicTest, DeliversALevelUntilItFalls) {
  enable(49);
  EXPECT_EQ(vgic.set_line(49, true), 1u);
  EXPECT_EQ(vgic.set_line(49, true), 0u) << "nothing new";
  EXPECT_TRUE(deliverable(0));
  EXPECT_FALSE(deliverable(1));
  EXPECT_GT(run(0).size(), 5u) << "it never fell";
  EXPECT_EQ(vgic.set_line(49, false), 0u);
  EXPECT_FALSE(deliverable(0));
  EXPECT_EQ(run(0), Taken{});
}

TEST_F(VgicTest, ALevelThatFallsInTheHandlerIsTakenOnce) {
  enable(49);
  static_cast<void>(vgic.set_line(49, true));
  FakeGicv gicv = gicv_of(0);
  vgic.flush(0);
  ASSERT_EQ(gicv.acknowledge(), 49u);
  static_cast<void>(sync(0));  // the guest's access to the device
  EXPECT_EQ(read(0, isactiver + 4), 1u << 17);
  EXPECT_EQ(vgic.set_line(49, false), 0u);
  vgic.flush(0);
  gicv.end(49);
  EXPECT_FALSE(gicv.maintenance()) << "no exit for nothing";
  EXPECT_EQ(gicv.acknowledge(), FakeGicv::spurious);
  static_cast<void>(sync(0));
  EXPECT_EQ(read(0, isactiver + 4), 0u);
}

TEST_F(VgicTest, KicksWhenAListRegisterIsOutOfDate) {
  enable(49);
  static_cast<void>(vgic.set_line(49, true));
  vgic.flush(0);
  EXPECT_EQ(vgic.set_line(49, false), 1u) << "must be withdrawn";
  static_cast<void>(sync(0));
  EXPECT_EQ(run(0), Taken{});
  write(0, icfgr + 12, 2u << 2);  // 49 is an edge now
  static_cast<void>(vgic.set_line(49, true));
  static_cast<void>(vgic.set_line(49, false));
  FakeGicv gicv = gicv_of(0);
  vgic.flush(0);
  ASSERT_EQ(gicv.acknowledge(), 49u);
  EXPECT_EQ(vgic.set_line(49, true), 1u) << "a new edge";
  gicv.end(49);
  static_cast<void>(sync(0));
  EXPECT_EQ(run(0), Taken{49});
}

TEST_F(VgicTest, MovesAPendingLineWithItsTarget) {
  enable(49);
  EXPECT_EQ(vgic.pend(49), 1u);
  vgic.flush(0);
  EXPECT_EQ(vgic.write(1, itargetsr + 49, 1, 2), 1u) << "withdraw it there";
  EXPECT_EQ(sync(0), 2u) << "it is the other's now";
  EXPECT_EQ(run(0), Taken{});
  EXPECT_EQ(run(1), Taken{49});
}

TEST_F(VgicTest, ALineThatIsActiveHereAndPendingElsewhereGoesThereAtItsEnd) {
  for (const bool unlisted : {false, true}) {
    reset(2, 1, nullptr);
    enable(40);
    enable(49);
    static_cast<void>(vgic.write(0, ipriorityr + 40, 1, 0x40));
    static_cast<void>(vgic.write(0, ipriorityr + 49, 1, 0x80));
    FakeGicv gicv = gicv_of(0);
    static_cast<void>(vgic.set_line(49, true));
    vgic.flush(0);
    ASSERT_EQ(gicv.acknowledge(), 49u);
    static_cast<void>(sync(0));
    static_cast<void>(vgic.write(0, itargetsr + 49, 1, 2));
    if (unlisted) static_cast<void>(vgic.pend(40));  // takes the list register
    vgic.flush(0);
    EXPECT_EQ(gicv.acknowledge(), unlisted ? 40u : FakeGicv::spurious);
    if (unlisted) gicv.end(40);
    gicv.end(49);
    EXPECT_TRUE(gicv.maintenance());
    EXPECT_EQ(sync(0), 2u) << "it is the other's now";
    EXPECT_EQ(run(0), Taken{});
    vgic.flush(1);
    EXPECT_EQ(gicv_of(1).acknowledge(), 49u);
  }
}

TEST_F(VgicTest, SendsSgisBySource) {
  EXPECT_EQ(write(0, sgir, 1u << 24 | 5), 2u) << "all but self";
  EXPECT_EQ(write(1, sgir, 2u << 24 | 5), 2u) << "self";
  EXPECT_EQ(write(0, sgir, 3u << 16 | 7), 3u);
  EXPECT_EQ(write(0, sgir, 3u << 24 | 8), 0u) << "reserved filter";
  EXPECT_EQ(write(0, sgir, 0xfcu << 16 | 8), 0u) << "nobody there";
  EXPECT_EQ(run(1), (Taken{5, 7, 5 | 1u << 10}));
  EXPECT_EQ(run(0), Taken{7});
}

TEST_F(VgicTest, BringsMoreThanTheListRegistersHold) {
  for (std::uint32_t i = 0; i < 12; ++i) {
    enable(40 + i);
    static_cast<void>(vgic.write(0, ipriorityr + 40 + i, 1, 0xb0 - i * 8));
    static_cast<void>(vgic.pend(40 + i));
  }
  EXPECT_EQ(run(0), (Taken{51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40}));
}

TEST_F(VgicTest, NestsDeeperThanTheListRegisters) {
  FakeGicv gicv = gicv_of(0);
  for (std::uint32_t i = 0; i < 10; ++i) {
    enable(40 + i);
    static_cast<void>(vgic.write(0, ipriorityr + 40 + i, 1, 0xb0 - i * 8));
    static_cast<void>(vgic.pend(40 + i));
    vgic.flush(0);
    ASSERT_EQ(gicv.acknowledge(), 40 + i);
    static_cast<void>(sync(0));
  }
  EXPECT_EQ(read(0, isactiver + 4), 0x3ffu << 8);
  vgic.flush(0);
  for (std::uint32_t i = 10; i-- > 0;) {
    gicv.end(40 + i);
    if (gicv.maintenance()) {
      static_cast<void>(sync(0));
      vgic.flush(0);
    }
  }
  static_cast<void>(sync(0));
  EXPECT_EQ(read(0, isactiver + 4), 0u);
  EXPECT_EQ(vgic.cpu(0).apr, 0u);
}

TEST_F(VgicTest, DeliverableHonoursTheCpuInterface) {
  enable(40);
  static_cast<void>(vgic.write(0, ipriorityr + 40, 1, 0xa0));
  static_cast<void>(vgic.pend(40));
  VgicCpu& cpu = vgic.cpu(0);
  FakeGicv gicv = gicv_of(0);
  EXPECT_TRUE(deliverable(0));
  gicv.write_pmr(0xa0);
  EXPECT_FALSE(deliverable(0));
  gicv.write_pmr(0xa8);
  EXPECT_TRUE(deliverable(0));
  cpu.apr = 1u << 20;
  EXPECT_FALSE(deliverable(0)) << "the same group priority is running";
  cpu.apr = 1u << 21;
  EXPECT_TRUE(deliverable(0));
  hardware[0].vmcr |= 7u << 21;  // no preemption at all
  EXPECT_FALSE(deliverable(0) && cpu.apr == 1);
  cpu.apr = 0;
  gicv.write_ctlr(2);
  EXPECT_FALSE(deliverable(0)) << "group 0 is off";
  write(0, igroupr + 4, 1u << 8);
  EXPECT_FALSE(deliverable(0)) << "group 1 is off in the distributor";
  write(0, 0, 2);
  EXPECT_TRUE(deliverable(0));
  write(0, icenabler + 4, 1u << 8);
  EXPECT_FALSE(deliverable(0));
}

TEST_F(VgicTest, EndsHardwareInterrupts) {
  vgic.bind_hw(1, 27, 27);
  write(1, isenabler, 1u << 27);
  EXPECT_FALSE(vgic.hw_active(1, 27));
  EXPECT_EQ(vgic.raise_hw(1, 27, 27), 2u);
  EXPECT_TRUE(vgic.hw_active(1, 27));
  FakeGicv gicv = gicv_of(1);
  vgic.flush(1);
  ASSERT_EQ(gicv.acknowledge(), 27u);
  static_cast<void>(sync(1));
  EXPECT_TRUE(vgic.hw_active(1, 27));
  vgic.flush(1);
  gicv.end(27);
  EXPECT_FALSE(gicv.maintenance());
  static_cast<void>(sync(1));
  EXPECT_FALSE(vgic.hw_active(1, 27));
  EXPECT_EQ(deactivated, Taken{27});
  EXPECT_EQ(run(1), Taken{});
}

TEST_F(VgicTest, MirrorsTheHostsLines) {
  RecordingLines physical;
  reset(2, 4, &physical);
  enable(60, 3);
  enable(60, 2);
  write(0, icfgr + 12, 2u << 24);
  write(0, icenabler + 4, 1u << 28);
  write(0, isenabler, 1u << 27);
  EXPECT_EQ(physical.log, (Log{"target 60 0", "enable 60", "target 60 1", "edge 60", "disable 60"}));
  physical.log.clear();
  EXPECT_EQ(vgic.raise_hw(0, 60, 60), 0u) << "disabled";
  EXPECT_EQ(write(0, isenabler + 4, 1u << 28), 2u);
  write(0, icpendr + 4, 1u << 28);  // cancelled by the host
  EXPECT_EQ(physical.log, (Log{"enable 60", "deactivate 60"}));
  EXPECT_EQ(run(1), Taken{});
  physical.log.clear();
  EXPECT_EQ(vgic.raise_hw(0, 60, 60), 2u);
  vgic.flush(1);
  EXPECT_EQ(write(0, icpendr + 4, 1u << 28), 2u) << "cancelled while in a list register";
  static_cast<void>(sync(1));
  EXPECT_EQ(physical.log, Log{"deactivate 60"});
  EXPECT_EQ(run(1), Taken{});
  EXPECT_EQ(vgic.pend(60), 2u);  // software asks for it again: nothing physical to end
  EXPECT_EQ(run(1), Taken{60});
  EXPECT_EQ(deactivated, Taken{});
  static_cast<void>(vgic.raise_hw(0, 60, 60));
  EXPECT_EQ(run(1), Taken{60});
  EXPECT_EQ(deactivated, Taken{60});
}

TEST_F(VgicTest, SoftwareChangesTheActiveState) {
  enable(49);
  static_cast<void>(vgic.pend(49));
  write(1, isactiver + 4, 1u << 17);
  EXPECT_FALSE(deliverable(0)) << "active and pending";
  vgic.flush(0);
  EXPECT_EQ(write(1, icactiver + 4, 1u << 17), 1u) << "it stands in a list register";
  static_cast<void>(sync(0));
  EXPECT_EQ(read(0, isactiver + 4), 0u);
  EXPECT_EQ(run(0), Taken{49});
}

TEST_F(VgicTest, ResetsACpuInterface) {
  vgic.cpu(1).apr = 5;
  vgic.reset_cpu(1);
  EXPECT_EQ(vgic.cpu(1).apr, 0u);
  EXPECT_EQ(vgic.cpu(1).vmcr, 3u << 18 | 2u << 21);
}

TEST_F(VgicTest, RefusesBadStatesWhole) {
  amphion_gic good;
  enable(40);
  static_cast<void>(vgic.pend(40));
  for (std::uint32_t v = 0; v < 2; ++v) gicv_of(v).save();
  vgic.get(good);
  ASSERT_EQ(vgic.set(good), Vgic::Status::ok);
  const auto refused = [&](auto change) {
    amphion_gic bad = good;
    bad.spi[200].flags = AMPHION_LINE_PENDING;
    change(bad);
    EXPECT_EQ(vgic.set(bad), Vgic::Status::invalid);
    amphion_gic after;
    vgic.get(after);
    EXPECT_EQ(std::memcmp(&good, &after, sizeof good), 0) << "half done";
  };
  refused([](amphion_gic& s) { s.gicd_ctlr = 4; });
  refused([](amphion_gic& s) { s.spi[255].flags = 64; });
  refused([](amphion_gic& s) { s.spi[255].targets = 4; });
  refused([](amphion_gic& s) { s.cpu[1].line[31].flags = 128; });
  refused([](amphion_gic& s) { s.cpu[1].line[31].targets = 4; });
  refused([](amphion_gic& s) { s.cpu[0].sgi_sources[15] = 1; });
  refused([](amphion_gic& s) { s.cpu[0].line[15].flags |= AMPHION_LINE_PENDING; });
  refused([](amphion_gic& s) {
    s.cpu[0].line[15].flags |= AMPHION_LINE_PENDING;
    s.cpu[0].sgi_sources[15] = 4;
  });
  refused([](amphion_gic& s) { s.cpu[1].ctlr = 0x800; });
  refused([](amphion_gic& s) { s.cpu[1].pmr = 0x100; });
  refused([](amphion_gic& s) { s.cpu[1].bpr = 8; });
  refused([](amphion_gic& s) { s.cpu[1].abpr = 8; });
  amphion_gic other = good;
  other.cpu[2].pmr = 0x1000;  // a vCPU that this instance does not have
  EXPECT_EQ(vgic.set(other), Vgic::Status::ok);
}

TEST_F(VgicTest, RestoresAnInterruptThatIsBeingHandled) {
  enable(49, 2);
  static_cast<void>(vgic.write(0, ipriorityr + 49, 1, 0xa0));
  static_cast<void>(vgic.set_line(49, true));
  vgic.flush(1);
  ASSERT_EQ(gicv_of(1).acknowledge(), 49u);
  static_cast<void>(sync(1));
  static_cast<void>(vgic.write(0, itargetsr + 49, 1, 1));  // retargeted meanwhile
  amphion_gic state;
  for (std::uint32_t v = 0; v < 2; ++v) gicv_of(v).save();
  vgic.get(state);
  EXPECT_EQ(state.spi[17].flags, AMPHION_LINE_ENABLED | AMPHION_LINE_ACTIVE | AMPHION_LINE_LEVEL);
  EXPECT_EQ(state.cpu[1].apr, 1u << 20);
  Vgic there;
  there.init(2, 4, nullptr);
  ASSERT_EQ(there.set(state), Vgic::Status::ok);
  there.flush(1);
  FakeGicv::Hardware elsewhere;
  FakeGicv gicv(there.cpu(1), elsewhere);
  gicv.load();
  EXPECT_EQ(gicv.acknowledge(), FakeGicv::spurious);
  gicv.end(49);
  static_cast<void>(there.sync(1));
  EXPECT_TRUE(there.deliverable(0)) << "the level is still high, and vCPU 0 is its target now";
}

TEST_F(VgicTest, RestoresAnSgiThatIsBeingHandled) {
  write(1, sgir, 1u << 16 | 3);
  vgic.flush(0);
  const std::uint32_t iar = gicv_of(0).acknowledge();
  ASSERT_EQ(iar, 3u | 1u << 10);
  static_cast<void>(sync(0));
  amphion_gic state;
  for (std::uint32_t v = 0; v < 2; ++v) gicv_of(v).save();
  vgic.get(state);
  Vgic there;
  there.init(2, 4, nullptr);
  ASSERT_EQ(there.set(state), Vgic::Status::ok);
  FakeGicv::Hardware elsewhere;
  FakeGicv gicv(there.cpu(0), elsewhere);
  gicv.load();
  there.flush(0);
  gicv.end(iar);
  EXPECT_TRUE(gicv.maintenance());
  static_cast<void>(there.sync(0));
  EXPECT_EQ(there.read(0, isactiver, 4), 0u);
}

TEST_F(VgicTest, TellsOnceWhenTheGuestTurnsAGroup) {
  reset(1, 1, nullptr);
  write(0, 0, 3);
  write(0, igroupr + 4, 1u << 8);  // 40 is in group 1, which the guest has off
  for (const std::uint32_t intid : {40u, 41u, 42u}) {
    enable(intid);
    static_cast<void>(vgic.pend(intid));
  }
  FakeGicv gicv = gicv_of(0);
  const auto exits = [&] {  // until the guest may run
    int count = 0;
    for (; gicv.maintenance() && count < 5; ++count) {
      static_cast<void>(sync(0));
      vgic.flush(0);
    }
    return count;
  };
  vgic.flush(0);
  EXPECT_LE(exits(), 1) << "what the guest had set before was not known";
  for (const std::uint32_t ctlr : {3u, 2u, 0u, 1u}) {
    gicv.write_ctlr(ctlr);
    EXPECT_LE(exits(), 1) << ctlr;
  }
  static_cast<void>(sync(0));
  EXPECT_EQ(run(0), (Taken{41, 42}));
  gicv.write_ctlr(3);
  EXPECT_EQ(run(0), Taken{40});
}

TEST_F(VgicTest, AWriteThatChangesNothingKicksNobody) {
  enable(49, 2);
  EXPECT_EQ(write(0, sgir, 2u << 16 | 5), 2u);
  EXPECT_EQ(write(0, sgir, 2u << 16 | 5), 0u) << "the same SGI of the same source is pending there";
  EXPECT_EQ(write(0, sgir, 2u << 16 | 6), 2u);
  EXPECT_EQ(vgic.pend(49), 2u);
  EXPECT_EQ(vgic.pend(49), 0u);
  EXPECT_EQ(write(0, ispendr + 4, 1u << 17), 0u);
  EXPECT_EQ(write(0, isenabler + 4, 1u << 17), 0u);
  EXPECT_EQ(vgic.write(0, itargetsr + 49, 1, 2), 0u);
  EXPECT_EQ(vgic.write(0, ipriorityr + 49, 1, 0), 0u);
  EXPECT_EQ(write(0, icfgr + 12, 0), 0u);
  EXPECT_EQ(write(0, 0, 1), 0u);
  vgic.flush(1);  // SGI 5 stands in a list register
  EXPECT_EQ(write(0, sgir, 2u << 16 | 5), 2u) << "a new one";
  EXPECT_EQ(write(0, sgir, 2u << 16 | 5), 0u);
  EXPECT_EQ(vgic.pend(49), 2u);
  EXPECT_EQ(vgic.pend(49), 0u);
  static_cast<void>(sync(1));
  EXPECT_EQ(run(1), (Taken{5, 6, 49}));
}

TEST_F(VgicTest, ResetsTheInputsOfACpu) {
  vgic.bind_hw(1, 27, 27);
  write(1, isenabler, 1u << 27 | 1u << 30);
  static_cast<void>(vgic.raise_hw(1, 27, 27));
  static_cast<void>(vgic.set_private_line(1, 30, true));
  EXPECT_TRUE(vgic.level(1, 30));
  EXPECT_FALSE(vgic.level(0, 30));
  vgic.reset_cpu(1);
  EXPECT_FALSE(vgic.level(1, 30));
  EXPECT_FALSE(vgic.hw_active(1, 27));
  EXPECT_EQ(read(1, isenabler), 0x4800'ffffu) << "the lines keep what they were told";
  EXPECT_FALSE(deliverable(1));
  gicv_of(1).load();
  gicv_of(1).write_ctlr(1);
  gicv_of(1).write_pmr(0xf0);
  EXPECT_EQ(run(1), Taken{});
}

}  // namespace
}  // namespace amphion::hyp
