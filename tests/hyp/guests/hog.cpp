// SPDX-License-Identifier: Apache-2.0
// All vCPUs compute without end, for queues to be long (guests/contend.cpp).
#include "machine/phone.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/vcpu.hpp"
#include "tests/hyp/runtime/work.hpp"

using namespace amphion::lab;

namespace {

void spin() {
  for (;;) compute(1u << 30);
}

}  // namespace

void guest_main() {
  for (u32 vcpu = 1; vcpu < amphion::machine::max_vcpus; ++vcpu) start_vcpu(vcpu, spin);
  spin();
}
