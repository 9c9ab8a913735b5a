// SPDX-License-Identifier: Apache-2.0
// The distributor's registers (IHI 0048B, 4.3). Every access becomes one word with a mask of the bytes that are meant;
// the registers that set or clear by ones need nothing more.
#include "hyp/vgic.hpp"

namespace amphion::hyp {

namespace {

constexpr std::uint32_t register_space = 0x1000;
constexpr std::uint32_t gicd_ctlr = 0x000;
constexpr std::uint32_t gicd_typer = 0x004;
constexpr std::uint32_t gicd_iidr = 0x008;
constexpr std::uint32_t gicd_icfgr = 0xc00;
constexpr std::uint32_t gicd_identification = 0xfd0;

constexpr std::uint32_t iidr = 0x43b;  // Arm; as QEMU's
constexpr std::array<std::uint8_t, 12> identification{0x04, 0x00, 0x00, 0x00, 0x90, 0xb4,
                                                      0x2b, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
constexpr std::uint32_t priority_mask = 0xf8;

// Registers with a bit a line lie in blocks of 0x80 bytes; those with a byte a line in blocks of 0x400.
enum BitGroup : std::uint32_t {
  igroupr = 1,
  isenabler = 2,
  icenabler = 3,
  ispendr = 4,
  icpendr = 5,
  isactiver = 6,
  icactiver = 7
};
constexpr std::uint32_t bit_groups_end = 0x400;
constexpr std::uint32_t ipriorityr = 0x400;
constexpr std::uint32_t itargetsr = 0x800;
constexpr std::uint32_t cpendsgir = 0xf10;
constexpr std::uint32_t spendsgir = 0xf20;

constexpr bool access_is_valid(std::uint32_t offset, std::uint32_t bytes) {
  return (bytes == 1 || bytes == 2 || bytes == 4) && offset % bytes == 0 && offset < register_space;
}
constexpr std::uint32_t byte_mask(std::uint32_t offset, std::uint32_t bytes) {
  return (0xffff'ffffu >> (32 - 8 * bytes)) << 8 * (offset % 4);
}

}  // namespace

static_assert(Vgic::lines % 32 == 0);

std::uint32_t Vgic::read(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t bytes) {
  if (vcpu >= vcpus_ || !access_is_valid(offset, bytes)) return 0;
  const LockGuard guard(lock_);
  return (read_word(vcpu, offset & ~3u) & byte_mask(offset, bytes)) >> 8 * (offset % 4);
}

Vgic::Mask Vgic::write(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t bytes, std::uint32_t value) {
  if (vcpu >= vcpus_ || !access_is_valid(offset, bytes)) return 0;
  const LockGuard guard(lock_);
  const std::uint32_t mask = byte_mask(offset, bytes);
  return write_word(vcpu, offset & ~3u, value << 8 * (offset % 4) & mask, mask);
}

std::uint32_t Vgic::read_word(std::uint32_t vcpu, std::uint32_t offset) {
  if (offset == gicd_ctlr) return ctlr_;
  if (offset == gicd_typer) return (lines / 32 - 1) | (vcpus_ - 1) << 5;
  if (offset == gicd_iidr) return iidr;
  if (offset >= 0x80 && offset < bit_groups_end) return read_bits(vcpu, offset >> 7, offset % 0x80 / 4);
  if (offset >= ipriorityr && offset < gicd_icfgr) return read_bytes(vcpu, offset);
  if (offset >= gicd_icfgr && offset < gicd_icfgr + 0x100) return read_config(vcpu, (offset - gicd_icfgr) * 4);
  if (offset >= cpendsgir && offset < spendsgir + sgis) return read_sgi_sources(vcpu, offset % 0x10);
  if (offset >= gicd_identification) return identification[(offset - gicd_identification) / 4];
  return 0;
}

Vgic::Mask Vgic::write_word(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value, std::uint32_t mask) {
  if (offset == gicd_ctlr) {
    const std::uint32_t before = ctlr_;
    if ((mask & 0xff) != 0) ctlr_ = value & 3;
    Mask kick = 0;
    for (std::uint32_t v = 0; ctlr_ != before && v < vcpus_; ++v) kick |= concern(v);
    return kick;
  }
  if (offset >= 0x80 && offset < bit_groups_end) return write_bits(vcpu, offset >> 7, offset % 0x80 / 4, value, mask);
  if (offset >= ipriorityr && offset < gicd_icfgr) return write_bytes(vcpu, offset, value, mask);
  if (offset >= gicd_icfgr && offset < gicd_icfgr + 0x100) {
    return write_config(vcpu, (offset - gicd_icfgr) * 4, value, mask);
  }
  if (offset == sgir && mask == 0xffff'ffff) return send_sgi(vcpu, value);
  if (offset >= cpendsgir && offset < spendsgir + sgis) return write_sgi_sources(vcpu, offset, value);
  return 0;
}

// What stands in the list registers of another vCPU is told as of its last sync; whoever asks again hears of the next.
void Vgic::look_soon(std::uint32_t vcpu, const Line& l) {
  if (l.loaded && l.home != vcpu) static_cast<void>(concern(l.home));
}

std::uint32_t Vgic::read_bits(std::uint32_t vcpu, std::uint32_t group, std::uint32_t index) {
  if (index >= words) return 0;
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < 32; ++i) {
    const Line& l = line(vcpu, index * 32 + i);
    bool bit = false;
    switch (group) {
      case igroupr:
        bit = l.group1;
        break;
      case isenabler:
      case icenabler:
        bit = l.enabled;
        break;
      case ispendr:
      case icpendr:
        look_soon(vcpu, l);
        bit = pending(l) || (l.loaded && l.lr_latch);
        break;
      case isactiver:
      case icactiver:
        look_soon(vcpu, l);
        bit = l.active;
        break;
      default:
        break;
    }
    value |= (bit ? 1u : 0u) << i;
  }
  return value;
}

Vgic::Mask Vgic::write_bits(std::uint32_t vcpu, std::uint32_t group, std::uint32_t index, std::uint32_t value,
                            std::uint32_t mask) {
  if (index >= words) return 0;
  Mask kick = 0;
  const std::uint32_t concerned = group == igroupr ? mask : value;  // the others act on ones only
  for (std::uint32_t rest = concerned; rest != 0; rest &= rest - 1) {
    const auto i = static_cast<std::uint32_t>(__builtin_ctz(rest));
    kick |= write_line_bit(vcpu, index * 32 + i, group, (value >> i & 1) != 0);
  }
  return kick;
}

Vgic::Mask Vgic::write_line_bit(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t group, bool value) {
  Line& l = line(vcpu, intid);
  const Line before = l;
  const bool sgi = intid < sgis;
  Mask rewrite = 0;
  switch (group) {
    case igroupr:
      if (l.group1 != value && l.loaded) rewrite = concern(l.home);
      l.group1 = value;
      break;
    case isenabler:
      set_enabled(intid, l, true);
      break;
    case icenabler:
      if (!sgi) set_enabled(intid, l, false);
      break;
    case ispendr:
      if (!sgi) l.latch = true;
      break;
    case icpendr:
      if (!sgi) clear_pending(vcpu, l);
      break;
    case isactiver:
      make_active(vcpu, intid, l);
      break;
    case icactiver:
      clear_active(vcpu, l);
      break;
    default:
      return 0;
  }
  return l == before ? 0 : refresh(vcpu, intid) | rewrite;
}

void Vgic::set_enabled(std::uint32_t intid, Line& l, bool enabled) {
  if (l.enabled == enabled) return;
  l.enabled = enabled;
  if (physical_ == nullptr || intid < private_lines) return;
  if (enabled) {
    physical_->enable(intid);
  } else {
    physical_->disable(intid);
  }
}

// A level stays; so does a level that hardware raised, for the physical interrupt stays active until the guest's EOI.
void Vgic::clear_pending(std::uint32_t vcpu, Line& l) {
  l.latch = false;
  if (l.loaded) l.drop_pending = l.edge || !l.hw;
  if (!l.hw || !l.edge || !l.raised) return;
  l.raised = l.level = false;
  if (physical_ != nullptr) physical_->deactivate(vcpu, l.physical);
}

void Vgic::clear_active(std::uint32_t vcpu, Line& l) {
  if (l.loaded) {
    l.drop_active = true;
    l.make_active = false;
    return;
  }
  if (!l.active) return;
  l.active = false;
  l.source = nobody;
  if (!l.hw) return;
  l.level = l.raised;
  if (physical_ != nullptr) physical_->deactivate(vcpu, l.physical);
}

void Vgic::make_active(std::uint32_t vcpu, std::uint32_t intid, Line& l) {
  if (l.loaded) {
    l.make_active = true;
    l.drop_active = false;
    return;
  }
  if (l.active) return;
  const std::uint32_t to = route(vcpu, intid);
  l.home = static_cast<std::uint8_t>(to == max_vcpus ? vcpu : to);
  l.active = true;
}

std::uint32_t Vgic::read_bytes(std::uint32_t vcpu, std::uint32_t offset) {
  const std::uint32_t first = offset % 0x400;
  if (first >= lines || (offset >= itargetsr && vcpus_ == 1)) return 0;
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const Line& l = line(vcpu, first + i);
    value |= std::uint32_t{offset < itargetsr ? l.priority : l.targets} << 8 * i;
  }
  return value;
}

Vgic::Mask Vgic::write_bytes(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value, std::uint32_t mask) {
  const std::uint32_t first = offset % 0x400;
  const bool targets = offset >= itargetsr;
  if (first >= lines || (targets && (vcpus_ == 1 || first < private_lines))) return 0;
  Mask kick = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    if ((mask >> 8 * i & 0xff) == 0) continue;
    Line& l = line(vcpu, first + i);
    const Line before = l;
    if (targets) {
      kick |= set_targets(first + i, l, static_cast<std::uint8_t>(value >> 8 * i & ((1u << vcpus_) - 1)));
    } else {
      kick |= set_priority(l, value >> 8 * i & priority_mask);
    }
    if (l != before) kick |= refresh(vcpu, first + i);
  }
  return kick;
}

Vgic::Mask Vgic::set_priority(Line& l, std::uint32_t priority) {
  if (l.priority == priority) return 0;
  l.priority = static_cast<std::uint8_t>(priority);
  return l.loaded ? concern(l.home) : 0;
}

// A line that stands as pending in another's list register is withdrawn from there; that vCPU's sync() passes it on.
Vgic::Mask Vgic::set_targets(std::uint32_t intid, Line& l, std::uint8_t targets) {
  if (l.targets == targets) return 0;
  l.targets = targets;
  if (physical_ != nullptr && targets != 0) {
    physical_->target(intid, static_cast<std::uint32_t>(__builtin_ctz(targets)));
  }
  return l.loaded ? concern(l.home) : 0;
}

std::uint32_t Vgic::read_config(std::uint32_t vcpu, std::uint32_t first) {
  if (first >= lines) return 0;
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < 16; ++i) value |= (line(vcpu, first + i).edge ? 2u : 0u) << 2 * i;
  return value;
}

Vgic::Mask Vgic::write_config(std::uint32_t vcpu, std::uint32_t first, std::uint32_t value, std::uint32_t mask) {
  if (first < sgis || first >= lines) return 0;
  Mask kick = 0;
  for (std::uint32_t i = 0; i < 16; ++i) {
    if ((mask >> 2 * i & 2) == 0) continue;
    Line& l = line(vcpu, first + i);
    const bool edge = (value >> 2 * i & 2) != 0;
    if (l.edge == edge) continue;
    set_edge(first + i, l, edge);
    kick |= refresh(vcpu, first + i);
  }
  return kick;
}

void Vgic::set_edge(std::uint32_t intid, Line& l, bool edge) {
  l.edge = edge;
  if (physical_ != nullptr && intid >= private_lines) physical_->configure(intid, edge);
}

Vgic::Mask Vgic::send_sgi(std::uint32_t vcpu, std::uint32_t value) {
  const std::uint32_t all = (1u << vcpus_) - 1;
  const std::uint32_t self = 1u << vcpu;
  std::uint32_t targets = 0;
  switch (value >> 24 & 3) {  // TargetListFilter
    case 0:
      targets = value >> 16 & all;
      break;
    case 1:
      targets = all & ~self;
      break;
    case 2:
      targets = self;
      break;
    default:
      break;
  }
  Mask kick = 0;
  for (; targets != 0; targets &= targets - 1) {
    const auto to = static_cast<std::uint32_t>(__builtin_ctz(targets));
    kick |= change_sgi_sources(to, value & 15, static_cast<std::uint8_t>(self), 0);
  }
  return kick;
}

std::uint32_t Vgic::list_of_own_sgi(std::uint32_t vcpu, std::uint32_t value) {
  constexpr std::uint32_t to_self = 2u << 24, filter = 3u << 24, targets = 0xffu << 16;
  const std::uint32_t self = 1u << 16 << vcpu;
  if ((value & filter) != to_self && (value & (filter | targets)) != self) return VgicCpu::max_lrs;
  const LockGuard guard(lock_);
  const Cpu& cpu = cpus_[vcpu];
  const Line& l = cpu.line[value & 15];
  if (!l.loaded || !l.lr_pending || outdated(l)) return VgicCpu::max_lrs;
  for (std::uint32_t i = 0; i < cpu.interface.used; ++i) {
    const bool own = (cpu.interface.lr[i] >> 10 & 7) == vcpu;  // its source
    if (cpu.loaded[i] == (value & 15) && own) return i;
  }
  return VgicCpu::max_lrs;
}

Vgic::Mask Vgic::change_sgi_sources(std::uint32_t vcpu, std::uint32_t intid, std::uint8_t set, std::uint8_t clear) {
  Line& l = line(vcpu, intid);
  const auto sources = static_cast<std::uint8_t>((l.sources & ~clear) | set);
  if (l.sources == sources) return 0;
  l.sources = sources;
  return refresh(vcpu, intid);
}

std::uint32_t Vgic::read_sgi_sources(std::uint32_t vcpu, std::uint32_t first) {
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < 4; ++i) value |= std::uint32_t{line(vcpu, first + i).sources} << 8 * i;
  return value;
}

Vgic::Mask Vgic::write_sgi_sources(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value) {
  Mask kick = 0;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto bits = static_cast<std::uint8_t>(value >> 8 * i & ((1u << vcpus_) - 1));
    const bool set = offset >= spendsgir;
    kick |= change_sgi_sources(vcpu, offset % 0x10 + i, set ? bits : std::uint8_t{0}, set ? std::uint8_t{0} : bits);
  }
  return kick;
}

}  // namespace amphion::hyp
