// SPDX-License-Identifier: Apache-2.0
// Exceptions of a test guest; see exception.hpp.
#include "tests/hyp/runtime/exception.hpp"

#include "hyp/psr.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/gic.hpp"

namespace amphion::lab {
namespace {

constinit std::array<VcpuState, machine::max_vcpus> states;

// Also of ARM instructions that stand at an address where no memory is: those are never asked.
u32 instruction_bytes(const Frame& frame, u32 pc) {
  if (!hyp::psr::thumb(frame.cpsr)) return 4;
  const u32 half = *reinterpret_cast<const volatile hyp::u16*>(pc);
  return half >> 11 >= 0x1d ? 4 : 2;
}

[[noreturn]] void unexpected(const Fault& fault) {
  say("unexpected exception ", static_cast<u32>(fault.kind));
  print("  at "), print_hex(fault.pc), print(", address "), print_hex(fault.address), print(", status ");
  print_hex(fault.status), print("\n");
  FAIL("nobody expected this exception");
}

Fault describe(Kind kind, const Frame& frame) {
  Fault fault{.kind = kind, .count = 1, .pc = frame.pc, .address = 0, .status = 0, .cpsr = frame.cpsr};
  if (kind == Kind::undefined) fault.pc -= hyp::psr::thumb(frame.cpsr) ? 2u : 4u;
  if (kind == Kind::data) fault.address = hyp::Dfar::read(), fault.status = hyp::Dfsr::read();
  if (kind == Kind::prefetch) fault.address = hyp::Ifar::read(), fault.status = hyp::Ifsr::read();
  return fault;
}

void step_over(Frame& frame, const Fault& fault) {
  if (fault.kind == Kind::prefetch) {
    frame.pc = frame.lr & ~1u;  // somebody called what is not there
    frame.cpsr = (frame.lr & 1) != 0 ? frame.cpsr | hyp::psr::thumb_bit : frame.cpsr & ~hyp::psr::thumb_bit;
    return;
  }
  frame.pc = fault.pc + instruction_bytes(frame, fault.pc);
  frame.cpsr = hyp::psr::advance_it(frame.cpsr);
}

// The end of as_user().
void to_supervisor(Frame& frame) { frame.cpsr = (frame.cpsr & ~hyp::psr::mode_bits) | hyp::psr::svc; }

void take_interrupt(VcpuState& state) {
  const u32 acknowledged = gic::acknowledge();
  const u32 intid = acknowledged & gic::intid_mask;
  if (intid >= machine::irq_lines) {
    state.spurious = state.spurious + 1;
    return;
  }
  state.taken[intid] = state.taken[intid] + 1;
  state.last_acknowledged = acknowledged;
  if (state.hook != nullptr) state.hook(acknowledged);
  gic::end(acknowledged);
}

}  // namespace

VcpuState& own() { return states[vcpu_number()]; }
VcpuState& state_of(u32 vcpu) { return states[vcpu]; }

extern "C" void on_exception(Kind kind, Frame* frame) {
  VcpuState& state = own();
  if (kind == Kind::interrupt) return take_interrupt(state);
  if (kind == Kind::supervisor) return to_supervisor(*frame);
  Fault fault = describe(kind, *frame);
  if (!state.catching) unexpected(fault);
  fault.count = state.fault.count + 1;
  state.fault = fault;
  step_over(*frame, fault);
}

}  // namespace amphion::lab
