// SPDX-License-Identifier: Apache-2.0
// System registers by their names in the Architecture Reference Manual (DDI 0406C), one type each with read() and
// write(): a register cannot be mistaken for another, and a 64-bit one cannot be read as 32 bits.
// Barriers are the caller's. Thread safety: registers are per CPU.
#pragma once

#include "hyp/types.hpp"

namespace amphion::hyp {

#define AMPHION_CP15_32(Name, crn, opc1, crm, opc2)                                                   \
  struct Name {                                                                                       \
    [[nodiscard]] static u32 read() {                                                                 \
      u32 value;                                                                                      \
      __asm__ volatile("mrc p15, " #opc1 ", %0, " #crn ", " #crm ", " #opc2 : "=r"(value));           \
      return value;                                                                                   \
    }                                                                                                 \
    static void write(u32 value) {                                                                    \
      __asm__ volatile("mcr p15, " #opc1 ", %0, " #crn ", " #crm ", " #opc2 ::"r"(value) : "memory"); \
    }                                                                                                 \
  }
#define AMPHION_CP15_64(Name, opc1, crm)                                                                               \
  struct Name {                                                                                                        \
    [[nodiscard]] static u64 read() {                                                                                  \
      u64 value;                                                                                                       \
      __asm__ volatile("mrrc p15, " #opc1 ", %Q0, %R0, " #crm : "=r"(value));                                          \
      return value;                                                                                                    \
    }                                                                                                                  \
    static void write(u64 value) { __asm__ volatile("mcrr p15, " #opc1 ", %Q0, %R0, " #crm ::"r"(value) : "memory"); } \
  }
#define AMPHION_CP14_32(Name, crn, opc1, crm, opc2)                                                   \
  struct Name {                                                                                       \
    [[nodiscard]] static u32 read() {                                                                 \
      u32 value;                                                                                      \
      __asm__ volatile("mrc p14, " #opc1 ", %0, " #crn ", " #crm ", " #opc2 : "=r"(value));           \
      return value;                                                                                   \
    }                                                                                                 \
    static void write(u32 value) {                                                                    \
      __asm__ volatile("mcr p14, " #opc1 ", %0, " #crn ", " #crm ", " #opc2 ::"r"(value) : "memory"); \
    }                                                                                                 \
  }
#define AMPHION_BANKED(Name, reg)                                                                              \
  struct Name {                                                                                                \
    [[nodiscard]] static u32 read() {                                                                          \
      u32 value;                                                                                               \
      __asm__ volatile(".arch_extension virt\n mrs %0, " #reg : "=r"(value));                                  \
      return value;                                                                                            \
    }                                                                                                          \
    static void write(u32 value) { __asm__ volatile(".arch_extension virt\n msr " #reg ", %0" ::"r"(value)); } \
  }

// Identification
AMPHION_CP15_32(Midr, c0, 0, c0, 0);
AMPHION_CP15_32(Mpidr, c0, 0, c0, 5);
AMPHION_CP15_32(Vpidr, c0, 4, c0, 0);
AMPHION_CP15_32(Vmpidr, c0, 4, c0, 5);
AMPHION_CP15_32(Csselr, c0, 2, c0, 0);
AMPHION_CP15_32(Ccsidr, c0, 1, c0, 0);

// The guest's system control and memory
AMPHION_CP15_32(Sctlr, c1, 0, c0, 0);
AMPHION_CP15_32(Cpacr, c1, 0, c0, 2);
AMPHION_CP15_32(Ttbcr, c2, 0, c0, 2);
AMPHION_CP15_64(Ttbr0, 0, c2);
AMPHION_CP15_64(Ttbr1, 1, c2);
AMPHION_CP15_32(Dacr, c3, 0, c0, 0);
AMPHION_CP15_32(Dfsr, c5, 0, c0, 0);
AMPHION_CP15_32(Ifsr, c5, 0, c0, 1);
AMPHION_CP15_32(Adfsr, c5, 0, c1, 0);
AMPHION_CP15_32(Aifsr, c5, 0, c1, 1);
AMPHION_CP15_32(Dfar, c6, 0, c0, 0);
AMPHION_CP15_32(Ifar, c6, 0, c0, 2);
AMPHION_CP15_64(Par, 0, c7);
AMPHION_CP15_32(Mair0, c10, 0, c2, 0);
AMPHION_CP15_32(Mair1, c10, 0, c2, 1);
AMPHION_CP15_32(Amair0, c10, 0, c3, 0);
AMPHION_CP15_32(Amair1, c10, 0, c3, 1);
AMPHION_CP15_32(Vbar, c12, 0, c0, 0);
AMPHION_CP15_32(Isr, c12, 0, c1, 0);
AMPHION_CP15_32(Contextidr, c13, 0, c0, 1);
AMPHION_CP15_32(Tpidrurw, c13, 0, c0, 2);
AMPHION_CP15_32(Tpidruro, c13, 0, c0, 3);
AMPHION_CP15_32(Tpidrprw, c13, 0, c0, 4);
AMPHION_CP14_32(Teecr, c0, 6, c0, 0);
AMPHION_CP14_32(Teehbr, c1, 6, c0, 0);
AMPHION_CP14_32(Dbgdidr, c0, 0, c0, 0);

// Hypervisor
AMPHION_CP15_32(Hcr, c1, 4, c1, 0);
AMPHION_CP15_32(Hdcr, c1, 4, c1, 1);
AMPHION_CP15_32(Hcptr, c1, 4, c1, 2);
AMPHION_CP15_32(Hstr, c1, 4, c1, 3);
AMPHION_CP15_64(Vttbr, 6, c2);
AMPHION_CP15_32(Vtcr, c2, 4, c1, 2);
AMPHION_CP15_32(Hsr, c5, 4, c2, 0);
AMPHION_CP15_32(Hdfar, c6, 4, c0, 0);
AMPHION_CP15_32(Hifar, c6, 4, c0, 2);
AMPHION_CP15_32(Hpfar, c6, 4, c0, 4);
AMPHION_CP15_32(Htpidr, c13, 4, c0, 2);

// Generic timer
AMPHION_CP15_32(Cntfrq, c14, 0, c0, 0);
AMPHION_CP15_32(Cntkctl, c14, 0, c1, 0);
AMPHION_CP15_32(Cnthctl, c14, 4, c1, 0);
AMPHION_CP15_32(CntvCtl, c14, 0, c3, 1);
AMPHION_CP15_64(CntvCval, 3, c14);
AMPHION_CP15_32(CnthpCtl, c14, 4, c2, 1);
AMPHION_CP15_64(CnthpCval, 6, c14);
AMPHION_CP15_64(Cntpct, 0, c14);
AMPHION_CP15_64(Cntvoff, 4, c14);

// Maintenance operations (write only)
AMPHION_CP15_32(Dccimvac, c7, 0, c14, 1);
AMPHION_CP15_32(Tlbiallis, c8, 0, c3, 0);
AMPHION_CP15_32(Tlbiall, c8, 0, c7, 0);
AMPHION_CP15_32(Dccisw, c7, 0, c14, 2);
AMPHION_CP15_32(Icialluis, c7, 0, c1, 0);
AMPHION_CP15_32(Ats1cpr, c7, 0, c8, 0);

// Banked (DDI 0406C, B9.2.3)
AMPHION_BANKED(ElrHyp, ELR_hyp);
AMPHION_BANKED(SpUsr, SP_usr);
AMPHION_BANKED(SpSvc, SP_svc);
AMPHION_BANKED(LrSvc, LR_svc);
AMPHION_BANKED(SpsrSvc, SPSR_svc);
AMPHION_BANKED(SpAbt, SP_abt);
AMPHION_BANKED(LrAbt, LR_abt);
AMPHION_BANKED(SpsrAbt, SPSR_abt);
AMPHION_BANKED(SpUnd, SP_und);
AMPHION_BANKED(LrUnd, LR_und);
AMPHION_BANKED(SpsrUnd, SPSR_und);
AMPHION_BANKED(SpIrq, SP_irq);
AMPHION_BANKED(LrIrq, LR_irq);
AMPHION_BANKED(SpsrIrq, SPSR_irq);
AMPHION_BANKED(SpFiq, SP_fiq);
AMPHION_BANKED(LrFiq, LR_fiq);
AMPHION_BANKED(SpsrFiq, SPSR_fiq);
AMPHION_BANKED(R8Fiq, R8_fiq);
AMPHION_BANKED(R9Fiq, R9_fiq);
AMPHION_BANKED(R10Fiq, R10_fiq);
AMPHION_BANKED(R11Fiq, R11_fiq);
AMPHION_BANKED(R12Fiq, R12_fiq);

#undef AMPHION_CP15_32
#undef AMPHION_CP15_64
#undef AMPHION_CP14_32
#undef AMPHION_BANKED

inline void isb() { __asm__ volatile("isb" ::: "memory"); }
inline void dsb() { __asm__ volatile("dsb" ::: "memory"); }
inline void wait_for_interrupt() { __asm__ volatile("dsb\n wfi" ::: "memory"); }

// Clean and invalidate to the point of coherency: memory that somebody may read with caches off.
inline void clean_invalidate(u32 address, u32 bytes) {
  constexpr u32 smallest_line_bytes = 32;
  const u32 end = address + bytes;
  for (address &= ~(smallest_line_bytes - 1); address < end; address += smallest_line_bytes) Dccimvac::write(address);
  dsb();
}

}  // namespace amphion::hyp
