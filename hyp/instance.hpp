// SPDX-License-Identifier: Apache-2.0
// An instance: memory, vCPUs, interrupts, counter, and whether it runs. Number 0 is the host; 1..AMPHION_MAX_INSTANCES
// are phones. All stand in memory that boot sets aside; creation takes only pages of the pool.
//
// States: absent -> stopped (create) -> running (run) -> stopping (pause, PSCI SYSTEM_*) -> stopped -> absent
// (destroy; `ending` while its memory is given back piece by piece). From `stopping` to `stopped` leads the last of its
// vCPUs to stop, each on its home CPU, after its device access (if one is under way) is complete. The virtual counter
// stands still while it is not running. Thread safety: `control` is held by every hypercall on the instance and by who
// begins or completes a stop. `psci` is held over a change of a vCPU's power. Stage2 and Vgic lock themselves. Order:
// hyp/README.md. Invariant: while stopped, no vCPU of it is loaded anywhere.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/page_pool.hpp"
#include "hyp/spinlock.hpp"
#include "hyp/stage2.hpp"
#include "hyp/uart.hpp"
#include "hyp/vcpu.hpp"
#include "hyp/vgic.hpp"
#include "hyp/virtio_slots.hpp"

namespace amphion::hyp {

inline constexpr u32 instance_count = AMPHION_MAX_INSTANCES + 1;
inline constexpr u32 host_id = 0;

class Instance {
 public:
  enum class State : u32 { absent, stopped, running, stopping, ending };

  Instance();

  u32 id = 0;
  SpinLock control;
  SpinLock psci;
  std::atomic<State> state{State::absent};
  u32 vcpu_count = 0;
  u32 vcpus_allowed = 0;
  u64 counter_offset = 0;   // CNTVOFF while it runs
  u64 stopped_counter = 0;  // the virtual counter while it does not
  std::array<Vcpu, AMPHION_MAX_VCPUS> vcpu;
  Vgic vgic;
  Uart uart{vgic};
  VirtioSlots slots;
  amphion_request_page* requests = nullptr;

  // Phones only
  std::optional<Stage2> memory;
  u32 reserved_pages = 0;
  bool restored = false;  // registers were set: memory may have been, too, and nothing cached of the past is true

  [[nodiscard]] bool is_host() const { return id == host_id; }
  [[nodiscard]] u64 vttbr() const;

  // Everything as after power-on, all vCPUs off. Nobody else knows the instance.
  void prepare(u32 vcpus, u32 allowed);

  // `control` is held. After a restore its memory has been cleaned.
  void run();
  void begin_stop(u32 events);  // running or stopping
  // A vCPU has stopped; on its home CPU, which holds no lock.
  void vcpu_stopped();

  // Sets bits of the request page's `events` (0: a slot became pending) and interrupts the host.
  void notify(u32 events);
  void ring_uart();

 private:
  void forget_past();

  std::atomic<u32> still_running_{0};
  std::atomic<u32> stop_events_{0};
};

[[nodiscard]] Instance& instance(u32 id);
[[nodiscard]] Instance& host();
[[nodiscard]] PagePool& pool();

// Kicks every vCPU of the mask.
void post_all(Instance& instance, Vgic::Mask mask);

// Boot: numbers, stage 2 objects, in `instances_bytes` of memory at `place`. CPUs are counted.
extern const u32 instances_bytes;  // whole pages
void init_instances(Phys place);
// Boot: the host's memory map and vCPUs; vCPU 0 will start at `entry` with `device_tree` in r2.
struct HostMemory {
  Phys base;
  u64 bytes;
};
void create_host(HostMemory memory, u32 entry, u32 device_tree);
[[nodiscard]] bool in_host_memory(u64 address, u32 bytes);

// Bit n: instance n has news for the host. Fetched and cleared.
[[nodiscard]] u32 take_news();

}  // namespace amphion::hyp
