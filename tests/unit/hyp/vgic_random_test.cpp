// SPDX-License-Identifier: Apache-2.0
// Random operations on the virtual GIC, with the list registers played by FakeGicv, against a naive GIC that knows
// nothing of list registers: whatever is acknowledged must be the same. vCPUs run all the time and exit when they are
// kicked, when a maintenance interrupt is due, and for their own distributor accesses. Now and then all state moves to
// another Vgic.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "hyp/vgic.hpp"
#include "tests/unit/hyp/fake_gicv.hpp"
#include "tests/unit/hyp/seed.hpp"

namespace amphion::hyp {
namespace {

constexpr std::uint32_t timer = 27;
constexpr std::uint32_t spurious = FakeGicv::spurious;

struct NaiveLine {
  bool enabled = false, latch = false, active = false, level = false, edge = false, group1 = false;
  bool hw = false, raised = false;
  std::uint32_t priority = 0, targets = 0, home = 0;
  std::uint32_t sources = 0;
  [[nodiscard]] bool pending() const { return latch || sources != 0 || (hw ? raised : !edge && level); }
};

// One GICv2 as IHI 0048B chapter 3 tells it.
class NaiveGic {
 public:
  explicit NaiveGic(std::uint32_t vcpus) : vcpus_(vcpus) {
    for (std::uint32_t v = 0; v < vcpus; ++v) {
      for (std::uint32_t i = 0; i < 16; ++i) at(v, i).enabled = at(v, i).edge = true;
      at(v, timer).hw = true;
    }
    for (std::uint32_t i = 32; i < 288; ++i) at(0, i).targets = vcpus == 1 ? 1 : 0;
  }
  NaiveLine& at(std::uint32_t vcpu, std::uint32_t intid) { return intid < 32 ? banked_[vcpu][intid] : spi_[intid]; }

  std::uint32_t highest(std::uint32_t vcpu) {
    std::uint32_t best = spurious;
    for (std::uint32_t i = 0; i < 288; ++i) {
      const NaiveLine& l = at(vcpu, i);
      if (!l.enabled || !l.pending() || l.active || (ctlr >> (l.group1 ? 1 : 0) & 1) == 0) continue;
      if ((cpu_ctlr[vcpu] >> (l.group1 ? 1 : 0) & 1) == 0) continue;
      if (i >= 32 && (l.targets == 0 || static_cast<std::uint32_t>(__builtin_ctz(l.targets)) != vcpu)) continue;
      if (best == spurious || l.priority < at(vcpu, best).priority) best = i;
    }
    if (best == spurious) return spurious;
    const std::uint32_t priority = at(vcpu, best).priority;
    const bool preempts = running[vcpu].empty() || priority < running[vcpu].back();
    return priority < pmr[vcpu] && preempts ? best : spurious;
  }
  std::uint32_t acknowledge(std::uint32_t vcpu) {
    const std::uint32_t intid = highest(vcpu);
    if (intid == spurious) return spurious;
    NaiveLine& l = at(vcpu, intid);
    running[vcpu].push_back(l.priority);
    l.active = true;
    l.home = vcpu;
    l.latch = l.raised = false;
    if (intid >= 16) return intid;
    const auto source = static_cast<std::uint32_t>(__builtin_ctz(l.sources));
    l.sources &= l.sources - 1;
    return intid | source << 10;
  }
  void end(std::uint32_t vcpu, std::uint32_t iar) {
    running[vcpu].pop_back();
    at(vcpu, iar & 1023).active = false;
  }

  std::uint32_t ctlr = 3;
  std::array<std::uint32_t, 4> cpu_ctlr{3, 3, 3, 3};
  std::array<std::uint32_t, 4> pmr{0xf8, 0xf8, 0xf8, 0xf8};
  std::array<std::vector<std::uint32_t>, 4> running;

 private:
  [[maybe_unused]] std::uint32_t vcpus_;
  std::array<std::array<NaiveLine, 32>, 4> banked_{};
  std::array<NaiveLine, 288> spi_{};
};

class Bench {
  struct Physical final : PhysicalLines {
    explicit Physical(Bench& owner) : bench(owner) {}
    void enable(std::uint32_t) override {}
    void disable(std::uint32_t) override {}
    void configure(std::uint32_t, bool) override {}
    void target(std::uint32_t, std::uint32_t) override {}
    void deactivate(std::uint32_t vcpu, std::uint32_t) override { bench.physically_active_[vcpu] = false; }
    Bench& bench;
  };

 public:
  Bench(std::uint32_t seed, std::uint32_t vcpus, std::uint32_t list_registers)
      : random_(seed), vcpus_(vcpus), list_registers_(list_registers), naive_(vcpus) {
    vgic_ = make();
    exit_all();
    write(0, 0x000, 3);
    for (std::uint32_t v = 0; v < vcpus; ++v) {
      gicv(v).load();
      gicv(v).write_ctlr(3);
      gicv(v).write_pmr(0xf8);
    }
    for (std::uint32_t i = 0; i < 4; ++i) lines_.push_back(i * 5);  // SGIs
    for (const std::uint32_t i : {20u, timer, 30u, 32u, 33u, 64u, 65u, 66u, 67u, 100u, 101u, 287u}) lines_.push_back(i);
    for (const std::uint32_t intid : lines_) {
      for (std::uint32_t v = 0; v < vcpus; ++v) set_priority(v, intid);
      if (intid >= 32) set_target(0, intid);
      for (std::uint32_t v = 0; v < vcpus; ++v) set_enable(v, intid, true);
    }
  }

  void step() {
    const std::uint32_t v = below(vcpus_);
    const std::uint32_t intid = lines_[below(static_cast<std::uint32_t>(lines_.size()))];
    switch (below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        acknowledge(v);
        break;
      case 5:
      case 6:
      case 7:
      case 8:
        end(v);
        break;
      case 9:
      case 10:
      case 11:
        input(v, intid);
        break;
      case 12:
      case 13:
        send_sgi(v);
        break;
      case 14:
        pend(v, intid);
        break;
      case 15:
        unpend(v, intid);
        break;
      case 16:
        set_enable(v, intid, below(3) != 0);
        break;
      case 17:
        configure(v, intid);
        break;
      case 18:
        cpu_interface(v);
        break;
      default:
        if (below(10) == 0) move();
        if (below(2) == 0) repeat_sgi(v);
        break;
    }
    check(v);
  }

  std::uint32_t resent = 0;

 private:
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }

  std::unique_ptr<Vgic> make() {
    auto vgic = std::make_unique<Vgic>();
    vgic->init(vcpus_, list_registers_, &physical_);
    for (std::uint32_t v = 0; v < vcpus_; ++v) {
      vgic->bind_hw(v, timer, timer);
      vgic->flush(v);
    }
    return vgic;
  }
  FakeGicv gicv(std::uint32_t v) {
    FakeGicv gicv(vgic_->cpu(v), hardware_[v]);
    gicv.deactivate_physical = [this, v](std::uint32_t intid) {
      EXPECT_EQ(intid, timer);
      physically_active_[v] = false;
    };
    return gicv;
  }

  Vgic::Mask sync(std::uint32_t v) {
    gicv(v).leave();
    return vgic_->sync(v);
  }

  // Until the guest may run; returns whom else that concerns.
  Vgic::Mask enter(std::uint32_t v) {
    Vgic::Mask others = 0;
    vgic_->flush(v);
    for (int exits = 0; gicv(v).maintenance(); ++exits) {
      if (exits == 3) {
        ADD_FAILURE() << "a maintenance interrupt without end";
        break;
      }
      others |= sync(v);
      vgic_->flush(v);
    }
    return others;
  }

  // Exits of those who must, until nobody must. Who has not changed enters again as it is.
  void kick(Vgic::Mask mask) {
    while (mask != 0) {
      const auto v = static_cast<std::uint32_t>(__builtin_ctz(mask));
      mask &= mask - 1;
      if (vgic_->changed(v)) mask |= reload(v);
    }
  }
  Vgic::Mask reload(std::uint32_t v) {
    const Vgic::Mask others = sync(v);
    return others | enter(v);
  }
  void exit_all() { kick((1u << vcpus_) - 1); }
  void maintain(std::uint32_t v) {
    if (gicv(v).maintenance()) kick(reload(v));
  }
  void write(std::uint32_t v, std::uint32_t offset, std::uint32_t value, std::uint32_t bytes = 4) {
    Vgic::Mask mask = 0;
    const bool synced = Vgic::asks_lists(offset);
    if (synced) mask |= sync(v);
    if (offset == Vgic::sgir && resend(v, value)) return;
    mask |= vgic_->write(v, offset, bytes, value);
    if (synced) mask |= enter(v);
    kick(mask | 1u << v);
  }
  bool resend(std::uint32_t v, std::uint32_t value) {
    const std::uint32_t index = vgic_->list_of_own_sgi(v, value);
    if (index == VgicCpu::max_lrs) return false;
    // The fake's list registers stand where the vGIC keeps what it loaded: only the state's bits differ.
    std::uint32_t& lr = vgic_->cpu(v).lr[index];
    if ((lr >> 28 & 3) != 0) return false;
    lr |= 1u << 28;
    ++resent;
    return true;
  }

  void acknowledge(std::uint32_t v) {
    const std::uint32_t expected = naive_.acknowledge(v);
    const std::uint32_t iar = gicv(v).acknowledge();
    if (iar != spurious && (iar & 1023) < 16 && (expected & 1023) == (iar & 1023)) {
      // Which of several sources comes first is nobody's promise.
      NaiveLine& l = naive_.at(v, iar & 1023);
      l.sources = (l.sources | 1u << (expected >> 10)) & ~(1u << (iar >> 10));
    } else {
      ASSERT_EQ(iar, expected);
    }
    if (iar != spurious) taken_[v].push_back(iar);
    maintain(v);
  }
  void end(std::uint32_t v) {
    if (taken_[v].empty()) return;
    naive_.end(v, taken_[v].back());
    gicv(v).end(taken_[v].back());
    taken_[v].pop_back();
    maintain(v);
  }
  void input(std::uint32_t v, std::uint32_t intid) {
    if (intid < 16) return;
    NaiveLine& l = naive_.at(v, intid);
    if (l.hw) {
      if (physically_active_[v]) return;
      physically_active_[v] = l.raised = true;
      kick(vgic_->raise_hw(v, intid, intid));
      return;
    }
    const bool level = !l.level;
    l.level = level;
    if (level && l.edge) l.latch = true;
    kick(intid < 32 ? vgic_->set_private_line(v, intid, level) : vgic_->set_line(intid, level));
  }
  // To itself, taken at once: what an idle list register is for.
  void repeat_sgi(std::uint32_t v) {
    for (int i = 0; i < 3; ++i) {
      send_sgi(v, 1u << v, lines_[0]);
      if (naive_.highest(v) != lines_[0]) return;
      acknowledge(v);
      end(v);
    }
  }
  void send_sgi(std::uint32_t v) { send_sgi(v, 1 + below((1u << vcpus_) - 1), lines_[below(4)]); }
  void send_sgi(std::uint32_t v, std::uint32_t targets, std::uint32_t intid) {
    for (std::uint32_t to = 0; to < vcpus_; ++to) {
      if ((targets >> to & 1) != 0) naive_.at(to, intid).sources |= 1u << v;
    }
    write(v, 0xf00, targets << 16 | intid);
  }
  void pend(std::uint32_t v, std::uint32_t intid) {
    if (intid >= 16 && intid != timer) naive_.at(v, intid).latch = true;
    if (intid != timer) write(v, 0x200 + intid / 32 * 4, 1u << intid % 32);
  }
  void unpend(std::uint32_t v, std::uint32_t intid) {
    naive_.at(v, intid).latch = false;
    write(v, 0x280 + intid / 32 * 4, 1u << intid % 32);
  }
  void set_enable(std::uint32_t v, std::uint32_t intid, bool enabled) {
    if (intid >= 16) naive_.at(v, intid).enabled = enabled;
    write(v, (enabled ? 0x100 : 0x180) + intid / 32 * 4, 1u << intid % 32);
  }
  void configure(std::uint32_t v, std::uint32_t intid) {
    switch (below(4)) {
      case 0:
        return set_priority(v, intid);
      case 1:
        return set_target(v, intid);
      case 2: {
        NaiveLine& l = naive_.at(v, intid);
        l.group1 = !l.group1;
        const std::uint32_t offset = 0x80 + intid / 8;
        const std::uint32_t old = vgic_->read(v, offset, 1);
        return write(v, offset, old ^ 1u << intid % 8, 1);
      }
      default: {
        if (intid < 16 || intid == timer) return;
        NaiveLine& l = naive_.at(v, intid);
        l.edge = !l.edge;
        const std::uint32_t offset = 0xc00 + intid / 4;
        const std::uint32_t old = vgic_->read(v, offset, 1);
        return write(v, offset, old ^ 2u << intid % 4 * 2, 1);
      }
    }
  }
  void set_priority(std::uint32_t v, std::uint32_t intid) {
    NaiveLine& l = naive_.at(v, intid);
    if (l.active) return;  // its end is found by the priority that it had
    l.priority = below(12) * 16;
    write(v, 0x400 + intid, l.priority | below(8), 1);
  }
  void set_target(std::uint32_t v, std::uint32_t intid) {
    if (intid < 32 || vcpus_ == 1) return;
    naive_.at(v, intid).targets = below(1u << vcpus_);
    write(v, 0x800 + intid, naive_.at(v, intid).targets, 1);
  }
  void cpu_interface(std::uint32_t v) {
    if (below(2) != 0) {
      naive_.pmr[v] = below(4) == 0 ? below(32) * 8 : 0xf8;
      gicv(v).write_pmr(naive_.pmr[v]);
    } else if (below(3) == 0) {
      naive_.ctlr = below(3) == 0 ? below(4) : 3;
      write(v, 0, naive_.ctlr);
    } else {
      naive_.cpu_ctlr[v] = below(3) == 0 ? below(4) : 3;
      gicv(v).write_ctlr(naive_.cpu_ctlr[v]);
      maintain(v);
    }
  }

  // Pause, get, set into a new one, and go on there.
  void move() {
    if (!homes_are_known()) return;
    for (std::uint32_t v = 0; v < vcpus_; ++v) {
      static_cast<void>(sync(v));
      gicv(v).save();
    }
    auto there = make();
    for (std::uint32_t v = 0; v < vcpus_; ++v) static_cast<void>(there->sync(v));
    amphion_gic state, again;
    vgic_->get(state);
    ASSERT_EQ(there->set(state), Vgic::Status::ok);
    there->get(again);
    ASSERT_EQ(std::memcmp(&state, &again, sizeof state), 0);
    for (std::uint32_t v = 0; v < vcpus_; ++v) {
      there->flush(v);
      ASSERT_EQ(there->hw_active(v, timer) || in_list(*there, v, timer), physically_active_[v]);
    }
    vgic_ = std::move(there);
    for (std::uint32_t v = 0; v < vcpus_; ++v) gicv(v).load();
  }
  static bool in_list(Vgic& vgic, std::uint32_t v, std::uint32_t intid) {
    const VgicCpu& cpu = vgic.cpu(v);
    return std::any_of(cpu.lr.begin(), cpu.lr.begin() + cpu.used, [&](auto lr) { return (lr & 1023) == intid; });
  }
  // The saved state names no vCPU for an active SPI: move only where the active priorities tell.
  bool homes_are_known() {
    for (const std::uint32_t intid : lines_) {
      const NaiveLine& l = naive_.at(0, intid);
      if (intid < 32 || !l.active) continue;
      std::uint32_t at = 0;
      for (std::uint32_t v = 0; v < vcpus_; ++v) {
        const auto& running = naive_.running[v];
        if (std::find(running.begin(), running.end(), l.priority) != running.end()) at |= 1u << v;
      }
      if (at != 1u << l.home) return false;
    }
    return true;
  }

  void check(std::uint32_t v) {
    for (std::uint32_t other = 0; other < vcpus_; ++other) {
      ASSERT_EQ(gicv(other).signalled(), naive_.highest(other) != spurious) << "vCPU " << other;
    }
    if (below(4) != 0) return;  // otherwise nothing would stay loaded for long
    const Vgic::Mask others = sync(v);
    const std::uint32_t known = vgic_->cpu(v).vmcr;
    gicv(v).save();
    ASSERT_EQ(vgic_->deliverable(v), naive_.highest(v) != spurious);
    vgic_->cpu(v).vmcr = known;  // most exits ask for no more than leave()
    for (const std::uint32_t intid : lines_) {
      if (intid >= 32) continue;
      const NaiveLine& l = naive_.at(v, intid);
      ASSERT_EQ((vgic_->read(v, 0x200, 4) >> intid & 1) != 0, l.pending()) << intid;
      ASSERT_EQ((vgic_->read(v, 0x300, 4) >> intid & 1) != 0, l.active) << intid;
    }
    kick(others | enter(v));
  }

  std::mt19937 random_;
  std::uint32_t vcpus_;
  std::uint32_t list_registers_;
  NaiveGic naive_;
  std::unique_ptr<Vgic> vgic_;
  std::vector<std::uint32_t> lines_;
  std::array<std::vector<std::uint32_t>, 4> taken_;
  std::array<bool, 4> physically_active_{};
  std::array<FakeGicv::Hardware, 4> hardware_{};
  Physical physical_{*this};
};

class VgicRandom : public testing::TestWithParam<std::tuple<std::uint32_t, std::uint32_t>> {};

TEST_P(VgicRandom, AgreesWithANaiveGic) {
  const auto [vcpus, list_registers] = GetParam();
  std::uint32_t resent = 0;
  for (std::uint32_t fixed = 1; fixed <= 16; ++fixed) {
    Bench bench(seed(fixed), vcpus, list_registers);
    for (int i = 0; i < 4000; ++i) {
      bench.step();
      ASSERT_FALSE(HasFailure()) << "seed " << seed(fixed) << " step " << i;
    }
    resent += bench.resent;
  }
  EXPECT_GT(resent, 0u);
}

INSTANTIATE_TEST_SUITE_P(Shapes, VgicRandom,
                         testing::Combine(testing::Values(1u, 2u, 4u), testing::Values(1u, 2u, 4u, 16u)));

}  // namespace
}  // namespace amphion::hyp
