// SPDX-License-Identifier: Apache-2.0
// See registers.hpp.
#include "tests/hyp/runtime/registers.hpp"

#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {
namespace {

struct Visible {
  u32 r[14];  // r0..r12, lr
  u32 fpscr;
  u32 pad;
  u64 d[32];
};
static_assert(sizeof(u32[14]) == 56 && offsetof(Visible, d) == 64);  // registers.S counts on it
extern "C" void hold(const Visible* in, Visible* out);

constexpr u32 fpscr_bits = 0xf7c0'0000;  // flags, rounding, default NaN, flush to zero

// What can hold any value while this program runs. Bits that do not exist read back as they like.
#define SYSTEM_REGISTERS(X)                                                                                            \
  X(Tpidrurw)                                                                                                          \
  X(Tpidruro) X(Tpidrprw) X(Contextidr) X(Dfar) X(Ifar) X(Dfsr) X(Ifsr) X(Adfsr) X(Aifsr) X(Mair1) X(Amair0) X(Amair1) \
      X(Dacr) X(Par) X(Ttbr1) X(Teehbr) X(Csselr) X(Cntkctl) X(SpUsr) X(SpAbt) X(LrAbt) X(SpsrAbt) X(SpUnd) X(LrUnd)   \
          X(SpsrUnd) X(SpIrq) X(LrIrq) X(SpsrIrq) X(SpFiq) X(LrFiq) X(SpsrFiq) X(R8Fiq) X(R9Fiq) X(R10Fiq) X(R11Fiq)   \
              X(R12Fiq)

struct System {
#define FIELD(Name) u64 Name;
  SYSTEM_REGISTERS(FIELD)
#undef FIELD
};

u32 mixed(u32& state) {
  state = state * 1664525u + 1013904223u;
  return state >> 3 ^ state;
}

void fill(Visible& v, u32 seed, u32 address) {
  for (u32& r : v.r) r = mixed(seed);
  v.r[1] = address;
  v.fpscr = mixed(seed) & fpscr_bits;
  for (u64& d : v.d) d = u64{mixed(seed)} << 32 | mixed(seed);
}

template <typename Register>
u64 set(u32& seed) {
  Register::write(mixed(seed));
  hyp::isb();
  return Register::read();
}

void check_visible(const Visible& seen, const Visible& wanted) {
  for (u32 i = 0; i < 14; ++i) CHECK_EQUAL(seen.r[i], wanted.r[i]);
  CHECK_EQUAL(seen.fpscr, wanted.fpscr);
  for (u32 i = 0; i < 32; ++i) CHECK_EQUAL(seen.d[i], wanted.d[i]);
}

}  // namespace

void check_registers_held(u32 seed, u32 address, u32 sleep_us) {
  Visible in, out;
  System system;
  fill(in, seed, address);
#define SET(Name) system.Name = set<hyp::Name>(seed);
  SYSTEM_REGISTERS(SET)
#undef SET
  const u64 due = counter() + ticks_of_us(sleep_us);
  hyp::CntvCval::write(due);
  hyp::CntvCtl::write(1);
  hold(&in, &out);
  CHECK_EQUAL(gic::acknowledge(), virtual_timer);
  CHECK(counter() >= due);
  CHECK_EQUAL(hyp::CntvCval::read(), due);
  CHECK_EQUAL(hyp::CntvCtl::read(), 5);
  hyp::CntvCtl::write(0);
  gic::end(virtual_timer);
#define COMPARE(Name) CHECK_EQUAL(hyp::Name::read(), system.Name);
  SYSTEM_REGISTERS(COMPARE)
#undef COMPARE
  check_visible(out, in);
}

}  // namespace amphion::lab
