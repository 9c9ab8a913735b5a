// SPDX-License-Identifier: Apache-2.0
// The virtual GIC's state as the architecture names it (struct amphion_gic), to and fro.
#include "hyp/vgic.hpp"

namespace amphion::hyp {

namespace {

constexpr std::uint32_t gicc_ctlr_defined = 0x7ff;  // what any GICv2 CPU interface may show
constexpr std::uint32_t gicc_ctlr_kept = 0x21f;     // enables, AckCtl, FIQEn, CBPR; EOImode
constexpr std::uint32_t line_flags = AMPHION_LINE_ENABLED | AMPHION_LINE_PENDING | AMPHION_LINE_ACTIVE |
                                     AMPHION_LINE_LEVEL | AMPHION_LINE_EDGE | AMPHION_LINE_GROUP1;
constexpr std::uint8_t priority_mask = 0xf8;

static_assert(AMPHION_IRQ_LINES == Vgic::lines);

constexpr std::uint32_t vmcr_of(const amphion_gic_cpu& cpu) {
  return (cpu.ctlr & gicc_ctlr_kept) | cpu.abpr << 18 | cpu.bpr << 21 | cpu.pmr >> 3 << 27;
}

bool line_is_valid(const amphion_gic_line& l, std::uint32_t all) {
  return (l.flags & ~line_flags) == 0 && (l.targets & ~all) == 0;
}

bool sgis_are_valid(const amphion_gic_cpu& cpu, std::uint32_t all) {
  for (std::uint32_t i = 0; i < Vgic::sgis; ++i) {
    const bool pending = (cpu.line[i].flags & AMPHION_LINE_PENDING) != 0;
    if ((cpu.sgi_sources[i] & ~all) != 0 || pending != (cpu.sgi_sources[i] != 0)) return false;
  }
  return true;
}

bool cpu_is_valid(const amphion_gic_cpu& cpu, std::uint32_t all) {
  for (const amphion_gic_line& l : cpu.line) {
    if (!line_is_valid(l, all)) return false;
  }
  return sgis_are_valid(cpu, all) && (cpu.ctlr & ~gicc_ctlr_defined) == 0 && cpu.pmr <= 0xff && cpu.bpr <= 7 &&
         cpu.abpr <= 7;
}

bool state_is_valid(const amphion_gic& state, std::uint32_t vcpus) {
  const std::uint32_t all = (1u << vcpus) - 1;
  if (state.gicd_ctlr > 3) return false;
  for (const amphion_gic_line& l : state.spi) {
    if (!line_is_valid(l, all)) return false;
  }
  for (std::uint32_t v = 0; v < vcpus; ++v) {
    if (!cpu_is_valid(state.cpu[v], all)) return false;
  }
  return true;
}

}  // namespace

void Vgic::get(amphion_gic& state) {
  const LockGuard guard(lock_);
  state = amphion_gic{};
  state.gicd_ctlr = ctlr_;
  for (std::uint32_t i = private_lines; i < lines; ++i) get_line(0, i, state.spi[i - private_lines]);
  for (std::uint32_t v = 0; v < vcpus_; ++v) {
    amphion_gic_cpu& out = state.cpu[v];
    for (std::uint32_t i = 0; i < private_lines; ++i) get_line(v, i, out.line[i]);
    for (std::uint32_t i = 0; i < sgis; ++i) out.sgi_sources[i] = line(v, i).sources;
    const std::uint32_t vmcr = cpus_[v].interface.vmcr;
    out.ctlr = vmcr & gicc_ctlr_kept;
    out.abpr = vmcr >> 18 & 7;
    out.bpr = vmcr >> 21 & 7;
    out.pmr = vmcr >> 27 << 3;
    out.apr = cpus_[v].interface.apr;
  }
}

void Vgic::get_line(std::uint32_t vcpu, std::uint32_t intid, amphion_gic_line& out) {
  const Line& l = line(vcpu, intid);
  const bool raised_edge = l.hw && l.edge && l.raised;
  const bool raised_level = l.hw && !l.edge && l.raised;
  std::uint32_t flags = 0;
  if (l.enabled) flags |= AMPHION_LINE_ENABLED;
  if (l.latch || l.sources != 0 || raised_edge) flags |= AMPHION_LINE_PENDING;
  if (l.active) flags |= AMPHION_LINE_ACTIVE;
  if (l.level || raised_level) flags |= AMPHION_LINE_LEVEL;
  if (l.edge) flags |= AMPHION_LINE_EDGE;
  if (l.group1) flags |= AMPHION_LINE_GROUP1;
  out = {static_cast<std::uint8_t>(flags), l.priority, l.targets, 0};
}

Vgic::Status Vgic::set(const amphion_gic& state) {
  const LockGuard guard(lock_);
  if (!state_is_valid(state, vcpus_)) return Status::invalid;
  ctlr_ = state.gicd_ctlr;
  for (std::uint32_t v = 0; v < vcpus_; ++v) {
    VgicCpu& interface = cpus_[v].interface;
    interface = VgicCpu{};
    interface.vmcr = vmcr_of(state.cpu[v]);
    interface.apr = state.cpu[v].apr;
    for (std::uint32_t i = 0; i < private_lines; ++i) {
      line(v, i).sources = i < sgis ? state.cpu[v].sgi_sources[i] : std::uint8_t{0};
      set_one(v, i, state.cpu[v].line[i]);
    }
  }
  for (std::uint32_t i = private_lines; i < lines; ++i) set_one(0, i, state.spi[i - private_lines]);
  return Status::ok;
}

// For a line bound to hardware a high level means: raised, and unless it is active, not yet acknowledged.
void Vgic::set_one(std::uint32_t vcpu, std::uint32_t intid, const amphion_gic_line& in) {
  Line& l = line(vcpu, intid);
  const auto has = [&](std::uint32_t flag) { return (in.flags & flag) != 0; };
  const bool sgi = intid < sgis;
  l.enabled = sgi || has(AMPHION_LINE_ENABLED);
  l.edge = sgi || has(AMPHION_LINE_EDGE);
  l.latch = !sgi && has(AMPHION_LINE_PENDING);
  l.active = has(AMPHION_LINE_ACTIVE);
  l.level = has(AMPHION_LINE_LEVEL);
  l.group1 = has(AMPHION_LINE_GROUP1);
  l.raised = l.hw && !l.edge && l.level && !l.active;
  l.priority = in.priority & priority_mask;
  l.source = nobody;
  if (intid >= private_lines) {
    l.targets = vcpus_ == 1 ? std::uint8_t{1} : in.targets;
    if (l.active) l.home = static_cast<std::uint8_t>(home_of_active(l));
  }
  static_cast<void>(refresh(vcpu, intid));
}

// The state does not say which vCPU has an SPI active. That vCPU's active priorities contain its priority; a target is
// the likelier, since it was one when the interrupt was taken.
std::uint32_t Vgic::home_of_active(const Line& l) const {
  std::uint32_t likely = 0;
  for (std::uint32_t v = 0; v < vcpus_; ++v) {
    const VgicCpu& interface = cpus_[v].interface;
    const std::uint32_t group = 0xffu << ((interface.vmcr >> 21 & 7) + 1);
    if ((interface.apr >> ((l.priority & group) >> 3) & 1) != 0) likely |= 1u << v;
  }
  const std::uint32_t both = likely & l.targets;
  const std::uint32_t choice = both != 0 ? both : likely != 0 ? likely : l.targets;
  return choice == 0 ? 0 : static_cast<std::uint32_t>(__builtin_ctz(choice));
}

}  // namespace amphion::hyp
