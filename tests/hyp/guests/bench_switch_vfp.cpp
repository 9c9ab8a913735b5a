// SPDX-License-Identifier: Apache-2.0
// A switch between two instances on one CPU: both do nothing but give way to each other, and compute with VFP in
// between. A round trip is two switches.
#include "hyp/abi/amphion_hypercall.h"
#include "tests/hyp/runtime/bench.hpp"
#include "tests/hyp/runtime/call.hpp"

using namespace amphion::lab;

void guest_main() {
  measure("vm_round_trip_vfp", [] {
    __asm__ volatile(".fpu neon-vfpv4\n vadd.f64 d0, d0, d1" ::: "memory");
    call(AMPHION_HC_YIELD);
  });
}
