// SPDX-License-Identifier: Apache-2.0
// The GICv2 of one instance (IHI 0048B): the distributor in software, the CPU interfaces by the GIC's virtualization
// extensions. This library never touches hardware: the world switch moves VgicCpu to and from GICH.
//
// Cycle of a vCPU, on the physical CPU that runs it:
//   flush(v)            pending and active interrupts -> cpu(v).lr[0..used)
//   write GICH_LR0..used-1 (0 to the others), GICH_HCR; and GICH_VMCR, GICH_APR if another vCPU's stand there; enter
//   exit, and enter again as it is while not changed(v); otherwise
//   read back GICH_LR0..used-1, and GICH_HCR and GICH_VMCR if cpu(v).watched(); sync(v)
//                                       list registers -> state of the lines
// The maintenance interrupt asks for sync, and stays asserted until list registers or GICH_HCR are written anew: clear
// GICH_HCR before it is ended, or else ending it makes it pending again.
// Between flush and sync the vCPU is "loaded"; the list registers tell the truth about the lines in them. Before a
// vCPU's access for which asks_lists(offset) holds, and before deliverable(), sync it.
//
// Every member that may give a vCPU something to do returns a bit mask of vCPUs: the caller wakes those that wait and
// kicks those that run (an exit is all that is needed: they are changed(), too). The calling vCPU, if any, need not be
// kicked. A write that changes nothing concerns nobody: whoever it would concern was told when it did.
//
// Identification, reset values and the number of lines are those of QEMU's `virt` machine with gic-version=2 and no
// security extension: both groups are visible, SGIs are always enabled. Five bits of priority are implemented
// (as in the list registers). An access that no register expects reads as zero and does nothing.
//
// Thread safety: own lock around every member; no other lock is taken inside it. cpu(v) belongs to the CPU that runs v.
// PhysicalLines is called with the lock held and must not call back.
// Freestanding; no allocation; about 5 KiB an instance.
#pragma once

#include <array>
#include <cstdint>

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/spinlock.hpp"
#include "machine/phone.hpp"

namespace amphion::hyp {

// What the GIC's virtual interface holds for a vCPU. Field layouts: IHI 0048B chapter 5.
struct VgicCpu {
  static constexpr std::uint32_t max_lrs = 16;

  std::array<std::uint32_t, max_lrs> lr{};
  std::uint32_t used = 0;  // list registers in use: lr[0..used)
  std::uint32_t hcr = 0;   // written by flush; sync takes EOICount from it
  std::uint32_t vmcr = 0;
  std::uint32_t apr = 0;

  // After an exit GICH_HCR and GICH_VMCR must be read back before sync(): the guest may have ended an interrupt that
  // stands in no list register, or turned a group on or off, and flush() asks to be told of the next such change.
  [[nodiscard]] bool watched() const { return (hcr & ~1u) != 0; }
};

// The host instance only: its SPIs are physical ones. Told so that the physical distributor follows the virtual one.
class PhysicalLines {
 public:
  virtual void enable(std::uint32_t intid) = 0;
  virtual void disable(std::uint32_t intid) = 0;
  virtual void configure(std::uint32_t intid, bool edge) = 0;
  virtual void target(std::uint32_t intid, std::uint32_t vcpu) = 0;  // one vCPU: the one that shall get it
  // A hardware interrupt that was acknowledged for the guest was cancelled or ended without its list register:
  // deactivate the physical one (GICC_DIR). For a private line of another CPU's vCPU this may be left to the next load.
  virtual void deactivate(std::uint32_t vcpu, std::uint32_t physical_intid) = 0;

 protected:
  ~PhysicalLines() = default;
};

class Vgic {
 public:
  static constexpr std::uint32_t max_vcpus = AMPHION_MAX_VCPUS;
  static constexpr std::uint32_t lines = machine::irq_lines;
  static constexpr std::uint32_t private_lines = 32;
  static constexpr std::uint32_t sgis = 16;
  static constexpr std::uint32_t sgir = 0xf00;  // the register that sends them
  using Mask = std::uint32_t;                   // of vCPUs

  enum class Status { ok, invalid };

  constexpr Vgic() = default;
  Vgic(const Vgic&) = delete;
  Vgic& operator=(const Vgic&) = delete;

  // Reset state. `vcpus` 1..4, `list_registers` 1..16 (GICH_VTR.ListRegs + 1). `physical` may be null.
  void init(std::uint32_t vcpus, std::uint32_t list_registers, PhysicalLines* physical);

  // Distributor accesses: offset from GICD's base. `bytes` 1, 2 or 4, aligned.
  [[nodiscard]] std::uint32_t read(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t bytes);
  [[nodiscard]] Mask write(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t bytes, std::uint32_t value);
  // Whether an access there is about what is pending or active.
  [[nodiscard]] static constexpr bool asks_lists(std::uint32_t offset) {
    return (offset >= 0x200 && offset < 0x400) || (offset >= 0xf10 && offset < 0xf30);
  }
  // GICD_SGIR by the vCPU to itself alone, of an SGI that stands in a list register with nothing else to tell of it:
  // the list register's index, for which cpu(v).lr[index] is the value that makes it pending once it is neither pending
  // nor active; max_lrs if this is not so. The vCPU is loaded.
  [[nodiscard]] std::uint32_t list_of_own_sgi(std::uint32_t vcpu, std::uint32_t value);

  // Input lines of emulated devices. INTID 32..287, or 16..31 of one vCPU; others are ignored.
  [[nodiscard]] Mask set_line(std::uint32_t intid, bool level);
  [[nodiscard]] Mask set_private_line(std::uint32_t vcpu, std::uint32_t intid, bool level);
  [[nodiscard]] bool level(std::uint32_t vcpu, std::uint32_t intid);
  // A software event on an SPI: latched as by GICD_ISPENDR, whatever its configuration.
  [[nodiscard]] Mask pend(std::uint32_t intid);

  // Hardware interrupts: the physical one was acknowledged and its priority dropped (EOImode 1); the guest's EOI
  // deactivates it. `vcpu` matters for private lines only; SPIs go where the guest targets them.
  // For a line bound to hardware the input level is what was raised; set_private_line only corrects what get() tells.
  [[nodiscard]] Mask raise_hw(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t physical_intid);
  // Binds without raising: each vCPU's timer line, so that get() and set() treat it as hardware from the start.
  void bind_hw(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t physical_intid);
  // Whether the physical interrupt behind the line must be active while the vCPU is loaded (raised and not yet ended):
  // the value for GICD_ISACTIVER/ICACTIVER of a timer's PPI when the vCPU is loaded.
  [[nodiscard]] bool hw_active(std::uint32_t vcpu, std::uint32_t intid);

  // The list registers must be written anew.
  [[nodiscard]] bool changed(std::uint32_t vcpu) const;
  // See above. sync() also ends what ended and re-samples level lines; its mask names other vCPUs only.
  void flush(std::uint32_t vcpu);
  [[nodiscard]] Mask sync(std::uint32_t vcpu);
  [[nodiscard]] VgicCpu& cpu(std::uint32_t vcpu) { return cpus_[vcpu].interface; }

  // The virtual IRQ or FIQ would be signalled (enables, groups, GICV_PMR, running priority): ends a WFI.
  // For a vCPU that is not loaded, or between sync and flush.
  [[nodiscard]] bool deliverable(std::uint32_t vcpu);

  // PSCI CPU_ON of a vCPU that is not loaded: the CPU interface as after reset (VMCR, APR), and the inputs of its
  // private lines low, as its timers are off; the lines keep what else they were told.
  void reset_cpu(std::uint32_t vcpu);

  // Architectural state; no vCPU is loaded. set(get()) changes nothing. set() checks all before it changes anything.
  // GICC_CTLR <-> VMCR bits 4:0 and 9 (VEM); PMR <-> VMPriMask << 3; BPR <-> VMBP; ABPR <-> VMABP (5.3.6); APR as it
  // is.
  void get(amphion_gic& state);
  [[nodiscard]] Status set(const amphion_gic& state);

 private:
  static constexpr std::uint8_t nobody = 0xff;
  static constexpr std::uint32_t words = lines / 32;

  struct Line {
    bool enabled : 1 = false;
    bool latch : 1 = false;  // pending by an edge or by GICD_ISPENDR; not in a list register
    bool active : 1 = false;
    bool level : 1 = false;  // input asserted
    bool edge : 1 = false;
    bool group1 : 1 = false;
    bool hw : 1 = false;      // bound to a physical interrupt
    bool raised : 1 = false;  // hw: acknowledged by the hypervisor, not yet by the guest
    // While loaded in a list register of `home`:
    bool loaded : 1 = false;
    bool lr_pending : 1 = false;    // was loaded as pending
    bool lr_eoi : 1 = false;        // its end there asks for maintenance
    bool lr_latch : 1 = false;      // ... because of the latch, which moved into the list register
    bool drop_pending : 1 = false;  // cleared by software meanwhile: applied at sync
    bool drop_active : 1 = false;
    bool make_active : 1 = false;
    std::uint8_t priority = 0;
    std::uint8_t targets = 0;
    std::uint8_t home = 0;         // vCPU where it is active or loaded
    std::uint8_t source = nobody;  // SGI: source of the active one
    std::uint8_t sources = 0;      // SGI: pending, a bit a source vCPU
    std::uint16_t physical = 0;

    bool operator==(const Line&) const = default;
  };

  struct Cpu {
    VgicCpu interface {};
    std::array<Line, private_lines> line{};
    std::array<std::uint32_t, words> work{};  // lines that flush must look at: pending and enabled, or active
    std::uint32_t busy = 0;                   // bit w: work[w] is not empty
    bool changed = true;                      // since flush
    std::array<std::uint16_t, VgicCpu::max_lrs> loaded{};  // INTID in each list register in use
  };
  struct Selection;

  [[nodiscard]] Line& line(std::uint32_t vcpu, std::uint32_t intid) {
    return intid < private_lines ? cpus_[vcpu].line[intid] : spi_[intid - private_lines];
  }
  [[nodiscard]] static bool pending(const Line& l) {
    return l.latch || l.sources != 0 || (l.hw ? l.raised : !l.edge && l.level);
  }
  [[nodiscard]] bool group_enabled(const Line& l) const { return (ctlr_ >> (l.group1 ? 1 : 0) & 1) != 0; }
  [[nodiscard]] static std::uint32_t first_target(const Line& l);
  [[nodiscard]] std::uint32_t route(std::uint32_t vcpu, std::uint32_t intid);
  [[nodiscard]] Mask concern(std::uint32_t vcpu);
  Mask refresh(std::uint32_t vcpu, std::uint32_t intid);
  [[nodiscard]] Mask put_line(std::uint32_t vcpu, std::uint32_t intid, const Line& l);
  void put_work(std::uint32_t vcpu, std::uint32_t index, std::uint32_t value);
  // Nothing for flush, sync or deliverable to do. Without the lock: what comes later also kicks the vCPU.
  [[nodiscard]] bool idle(std::uint32_t vcpu) const;
  Mask input(std::uint32_t vcpu, std::uint32_t intid, bool level);
  [[nodiscard]] bool outdated(const Line& l) const;
  void reset_line(std::uint32_t vcpu, std::uint32_t intid);
  void reset_interface(std::uint32_t vcpu);

  [[nodiscard]] std::uint32_t read_word(std::uint32_t vcpu, std::uint32_t offset);
  Mask write_word(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value, std::uint32_t mask);
  void look_soon(std::uint32_t vcpu, const Line& l);
  [[nodiscard]] std::uint32_t read_bits(std::uint32_t vcpu, std::uint32_t group, std::uint32_t index);
  Mask write_bits(std::uint32_t vcpu, std::uint32_t group, std::uint32_t index, std::uint32_t value,
                  std::uint32_t mask);
  [[nodiscard]] std::uint32_t read_bytes(std::uint32_t vcpu, std::uint32_t offset);
  Mask write_bytes(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value, std::uint32_t mask);
  [[nodiscard]] std::uint32_t read_config(std::uint32_t vcpu, std::uint32_t first);
  Mask write_config(std::uint32_t vcpu, std::uint32_t first, std::uint32_t value, std::uint32_t mask);
  Mask write_line_bit(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t group, bool value);
  Mask send_sgi(std::uint32_t vcpu, std::uint32_t value);
  Mask change_sgi_sources(std::uint32_t vcpu, std::uint32_t intid, std::uint8_t set, std::uint8_t clear);
  [[nodiscard]] std::uint32_t read_sgi_sources(std::uint32_t vcpu, std::uint32_t first);
  Mask write_sgi_sources(std::uint32_t vcpu, std::uint32_t offset, std::uint32_t value);
  void set_enabled(std::uint32_t intid, Line& l, bool enabled);
  [[nodiscard]] Mask set_priority(Line& l, std::uint32_t priority);
  [[nodiscard]] Mask set_targets(std::uint32_t intid, Line& l, std::uint8_t targets);
  void set_edge(std::uint32_t intid, Line& l, bool edge);
  void clear_pending(std::uint32_t vcpu, Line& l);
  void clear_active(std::uint32_t vcpu, Line& l);
  void make_active(std::uint32_t vcpu, std::uint32_t intid, Line& l);

  void select(std::uint32_t vcpu, Selection& selection);
  void load(std::uint32_t vcpu, std::uint32_t intid, bool left_out);
  [[nodiscard]] bool load_only_line(std::uint32_t vcpu);
  [[nodiscard]] std::uint32_t load_sgi(Line& l, bool left_out);
  void unload(std::uint32_t vcpu, std::uint32_t slot);
  [[nodiscard]] Mask end_unlisted(std::uint32_t vcpu, std::uint32_t count);

  void get_line(std::uint32_t vcpu, std::uint32_t intid, amphion_gic_line& out);
  void set_one(std::uint32_t vcpu, std::uint32_t intid, const amphion_gic_line& in);
  [[nodiscard]] std::uint32_t home_of_active(const Line& l) const;

  SpinLock lock_;
  std::uint32_t vcpus_ = 0;
  std::uint32_t list_registers_ = 0;
  PhysicalLines* physical_ = nullptr;
  std::uint32_t ctlr_ = 0;
  std::array<Line, lines - private_lines> spi_{};
  std::array<Cpu, max_vcpus> cpus_{};
};

}  // namespace amphion::hyp
