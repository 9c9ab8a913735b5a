// SPDX-License-Identifier: Apache-2.0
// Other vCPUs; see vcpu.hpp. runtime_main() is called by start.S on each.
#include "tests/hyp/runtime/vcpu.hpp"

#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"

extern "C" void secondary_start();

namespace amphion::lab {

u32 start_vcpu(u32 vcpu, VcpuMain main) {
  return call(psci::cpu_on, vcpu, reinterpret_cast<u32>(&secondary_start), reinterpret_cast<u32>(main)).value;
}

void wait_until_off(u32 vcpu) {
  CHECK(becomes([vcpu] { return call(psci::affinity_info, vcpu).value == psci::is_off; }));
}

void spin_us(u32 us) {
  const u64 end = counter() + ticks_of_us(us);
  while (counter() < end) {
  }
}

extern "C" [[noreturn]] void runtime_main(u32, VcpuMain main) {
  if (main == nullptr) {
    guest_main();
    pass();
  }
  main();
  for (;;) call(psci::cpu_off);
}

}  // namespace amphion::lab
