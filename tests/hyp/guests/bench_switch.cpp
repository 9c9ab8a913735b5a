// SPDX-License-Identifier: Apache-2.0
// A switch between two instances on one CPU: both do nothing but give way to each other. A round
// trip is two switches.
#include "hyp/abi/amphion_hypercall.h"
#include "tests/hyp/runtime/bench.hpp"
#include "tests/hyp/runtime/call.hpp"

using namespace amphion::lab;

void guest_main() {
  measure("vm_round_trip", [] { call(AMPHION_HC_YIELD); });
}
