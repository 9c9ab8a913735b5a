// SPDX-License-Identifier: Apache-2.0
// The loop of a physical CPU: what others asked for, what is due, who runs, what came of it; see cpu.hpp.
#include "hyp/cpu.hpp"

#include <bit>

#include "hyp/console.hpp"
#include "hyp/exit_reason.h"
#include "hyp/gic.hpp"
#include "hyp/instance.hpp"
#include "hyp/mmio.hpp"
#include "hyp/sched.hpp"
#include "hyp/scrub.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/timer.hpp"
#include "hyp/trap.hpp"
#include "hyp/world.hpp"

extern "C" {
void _secondary_start();
amphion::hyp::u32 firmware_call(amphion::hyp::u32 function, amphion::hyp::u32 a, amphion::hyp::u32 b,
                                amphion::hyp::u32 c);
}

#ifndef AMPHION_IDLE_SPINS  // for emulators whose CPUs take turns: one in WFI would give its turn to the others
#define AMPHION_IDLE_SPINS false
#endif

namespace amphion::hyp {

constinit std::array<Cpu, max_cpus> cpus;

namespace {

constexpr u32 ring_patience_us = 1000;
constexpr u32 online_patience_us = 500'000;

constinit std::atomic<u32> online_cpus{0};
constinit std::atomic<bool> released{false};

bool effectively_ready(const Vcpu& vcpu) { return vcpu.run == Run::ready && !vcpu.paused; }

// The vCPU may be on another CPU afterwards.
void tell_scheduler(Cpu& cpu, Vcpu& vcpu) {
  cpu.look = true;
  const u64 bit = u64{1} << vcpu.entity;
  if (vcpu.run == Run::waiting && !vcpu.paused && vcpu.deadline != never) {
    cpu.sleepers |= bit;
  } else {
    cpu.sleepers &= ~bit;
  }
  if (effectively_ready(vcpu)) {
    scheduler().wake(vcpu.entity, now());
  } else {
    scheduler().block(vcpu.entity, now());
  }
}

void ring_now(Cpu& cpu, u32 instances) {
  for (u32 left = cpu.ring_late & instances; left != 0; left &= left - 1) {
    instance(static_cast<u32>(std::countr_zero(left))).ring_uart();
  }
  cpu.ring_late &= ~instances;
  if (cpu.ring_late == 0) cpu.ring_at = never;
}

// Nothing is owed for it afterwards: when all its vCPUs have stopped the instance may be destroyed.
void stop(Cpu& cpu, Vcpu& vcpu) {
  ring_now(cpu, 1u << vcpu.instance->id);
  if (cpu.loaded == &vcpu) unload(cpu);
  vcpu.pause_wanted = false;
  vcpu.paused = true;
  tell_scheduler(cpu, vcpu);
  vcpu.instance->vcpu_stopped();
}

void resume(Vcpu& vcpu) {
  vcpu.paused = false;
  if (vcpu.run == Run::waiting || vcpu.run == Run::parked) vcpu.run = Run::ready;
}

void serve(Cpu& cpu, Vcpu& vcpu) {
  const u32 requests = vcpu.requests.exchange(0, std::memory_order_acquire);
  if ((requests & request::resume) != 0) resume(vcpu);
  if ((requests & request::io) != 0) complete_device_access(vcpu);
  if ((requests & request::start) != 0 && vcpu.run == Run::off && vcpu.state.power != 0) vcpu.run = Run::ready;
  if ((requests & request::memory) != 0 && vcpu.run == Run::parked) vcpu.run = Run::ready;
  const bool kicked = (requests & request::kick) != 0 && !vcpu.paused;
  if (kicked && vcpu.run == Run::waiting && interrupt_deliverable(vcpu)) vcpu.run = Run::ready;
  if ((requests & request::pause) != 0) vcpu.pause_wanted = true;
  if (vcpu.pause_wanted && vcpu.run != Run::device) {
    stop(cpu, vcpu);
    return;
  }
  tell_scheduler(cpu, vcpu);
  if (kicked && scheduler().has_arrived(vcpu.entity, cpu.id)) scheduler().prefer(vcpu.entity);
}

// What stands in it now: what others post meanwhile comes with an interrupt, and must not hold this CPU here. Only its
// own posts come without one; serving makes few of them. A vCPU pays for what is done for it. One that has moved
// meanwhile is its new CPU's.
void serve_inbox(Cpu& cpu) {
  if (cpu.inbox.load(std::memory_order_relaxed) == 0) return;
  u64 begin = now();
  do {
    cpu.posted_to_itself = false;
    scheduler().arrive(cpu.id, begin);
    for (u64 left = cpu.inbox.exchange(0, std::memory_order_acquire); left != 0; left &= left - 1) {
      Vcpu& vcpu = vcpu_of(static_cast<u32>(std::countr_zero(left)));
      if (!scheduler().has_arrived(vcpu.entity, cpu.id)) {
        remind(vcpu);
        continue;
      }
      serve(cpu, vcpu);
      const u64 end = now();
      if (scheduler().has_arrived(vcpu.entity, cpu.id)) scheduler().charge(vcpu.entity, end - begin);
      begin = end;
    }
  } while (cpu.posted_to_itself);
}

// Wakes who waited long enough.
void serve_sleepers(Cpu& cpu) {
  if (cpu.sleepers == 0) return;
  const u64 time = now();
  for (u64 left = cpu.sleepers; left != 0; left &= left - 1) {
    Vcpu& vcpu = vcpu_of(static_cast<u32>(std::countr_zero(left)));
    if (vcpu.deadline <= time) set_run(vcpu, Run::ready);
  }
}

u64 earliest_deadline(Cpu& cpu) {
  u64 earliest = cpu.ring_at;
  for (u64 left = cpu.sleepers; left != 0; left &= left - 1) {
    const Vcpu& vcpu = vcpu_of(static_cast<u32>(std::countr_zero(left)));
    if (vcpu.deadline < earliest) earliest = vcpu.deadline;
  }
  return earliest;
}

void serve_interrupt(Cpu& cpu, gic::Acknowledged interrupt) {
  const u32 intid = interrupt.intid();
  gic::drop_priority(interrupt);
  if (intid == board::board.interrupts.virtual_timer && cpu.loaded != nullptr) {
    Vcpu& vcpu = *cpu.loaded;
    cpu.timer_raised = true;
    post_all(*vcpu.instance, vcpu.instance->vgic.raise_hw(vcpu.index, intid, intid));
  } else if (intid >= Vgic::private_lines) {
    post_all(host(), host().vgic.raise_hw(0, intid, intid));
  } else {  // kick, our timer, maintenance: the loop looks at everything anyway
    gic::deactivate(interrupt);
  }
}

void serve_interrupts(Cpu& cpu) {
  for (;;) {
    const gic::Acknowledged interrupt = gic::acknowledge();
    if (interrupt.intid() >= gic::spurious) return;
    if (interrupt.intid() == board::board.interrupts.hypervisor_timer) arm_hypervisor_timer(cpu, never);
    if (interrupt.intid() == board::board.interrupts.maintenance) silence_lists(cpu);
    serve_interrupt(cpu, interrupt);
  }
}

// Whether the vCPU may go on after a trap without the loop: nobody asked for anything, readiness is as it was, and no
// emulated timer is to be looked after. Slices end all the same: a physical interrupt that waits ends the next run at
// its first instruction.
bool may_go_on(const Cpu& cpu, const Vcpu& vcpu) {
  return !cpu.look && cpu.inbox.load(std::memory_order_relaxed) == 0 && vcpu.state.cntp_ctl == 0;
}

// Until an interrupt arrives (true), or a trap changes what the loop decides by.
bool run_until_change(Cpu& cpu, Vcpu& vcpu) {
  cpu.look = false;
  do {
    if (run_guest(cpu, vcpu) == AMPHION_EXIT_IRQ) return true;
    handle_trap(vcpu);
  } while (may_go_on(cpu, vcpu));
  return false;
}

// `slice`: ticks until the scheduler is asked again, or `never`.
void run(Cpu& cpu, Vcpu& vcpu, u64 slice) {
  const u64 begin = now();
  load(cpu, vcpu);
  if (vcpu.state.cntp_ctl != 0) update_physical_timer(vcpu);
  trap_wfe(cpu, slice != never);
  // After load(): who was there before may wait for its timer, and a world switch takes nothing of the slice.
  u64 deadline = earliest_deadline(cpu);
  const u64 end = slice == never ? never : now() + slice;
  if (end < deadline) deadline = end;
  const u64 own = physical_timer_deadline(vcpu);
  arm_hypervisor_timer(cpu, own < deadline ? own : deadline);
  const bool interrupted = run_until_change(cpu, vcpu);
  // World switch and traps are the vCPU's own time: one that makes many would otherwise take the others' for nothing.
  // Interrupts may be anybody's.
  scheduler().charge(vcpu.entity, now() - begin);
  if (interrupted) serve_interrupts(cpu);
}

void wait_for_work(Cpu& cpu) {
  arm_hypervisor_timer(cpu, earliest_deadline(cpu));
  cpu.idle.begin(now());
  if (!scrub_until_interrupt() && !AMPHION_IDLE_SPINS) wait_for_interrupt();
  cpu.idle.end(now());
  serve_interrupts(cpu);
}

}  // namespace

u32 cpu_count() { return online_cpus.load(std::memory_order_relaxed); }

Cpu& this_cpu() { return *reinterpret_cast<Cpu*>(Htpidr::read()); }

void set_run(Vcpu& vcpu, Run run) {
  vcpu.run = run;
  Cpu& cpu = this_cpu();
  vcpu.deadline = run == Run::waiting ? wake_deadline(cpu, vcpu) : never;
  tell_scheduler(cpu, vcpu);
}

void unloaded(Vcpu& vcpu) {
  if (vcpu.run == Run::waiting) set_run(vcpu, Run::waiting);
}

bool interrupt_deliverable(Vcpu& vcpu) {
  Cpu& cpu = this_cpu();
  if (cpu.loaded == &vcpu) {
    sync_lists(cpu, vcpu);
    save_interface(vcpu);
  }
  return vcpu.instance->vgic.deliverable(vcpu.index);
}

void ring_soon(Vcpu& vcpu) {
  Cpu& cpu = this_cpu();
  cpu.look = true;
  cpu.ring_late |= 1u << vcpu.instance->id;
  if (cpu.ring_at == never) cpu.ring_at = now() + ticks_of_us(ring_patience_us);
}

void let_go(Cpu& cpu, Vcpu& vcpu) {
  ring_now(cpu, 1u << vcpu.instance->id);
  if (cpu.loaded == &vcpu) unload(cpu);
}

void yield(Vcpu& vcpu) {
  this_cpu().look = true;
  scheduler().yield(vcpu.entity);
}

void init_cpu(Cpu& cpu) {
  Htpidr::write(reinterpret_cast<u32>(&cpu));
  gic::init_cpu();
  init_world();
  cpu.online.store(true, std::memory_order_release);
  online_cpus.fetch_add(1, std::memory_order_acq_rel);
}

// A CPU that the firmware refuses ends the search: logical numbers stay dense.
void start_secondaries() {
  for (u32 id = 1; id < board::board.max_cpus && id < max_cpus; ++id) {
    cpus[id].id = id;
    const u32 entry = reinterpret_cast<u32>(&_secondary_start);
    if (firmware_call(board::board.psci_cpu_on, id, entry, id) != 0) return;
    const u64 limit = now() + ticks_of_us(online_patience_us);
    while (!cpus[id].online.load(std::memory_order_acquire)) {
      if (now() < limit) continue;
      Line() << "CPU " << id << " was started but does not answer; going on without it";
      return;
    }
  }
}

void release_secondaries() {
  released.store(true, std::memory_order_release);
  __asm__ volatile("dsb\n sev" ::: "memory");
}

void run_loop(Cpu& cpu) {
  while (!released.load(std::memory_order_acquire)) __asm__ volatile("wfe");
  for (;;) {
    serve_inbox(cpu);
    serve_sleepers(cpu);
    if (cpu.ring_late != 0 && cpu.ring_at <= now()) ring_now(cpu, ~0u);
    const sched::Turn turn = scheduler().pick(cpu.id, now());
    for (u32 left = scheduler().take_kicks(cpu.id); left != 0; left &= left - 1) {
      gic::kick(static_cast<u32>(std::countr_zero(left)));
    }
    if (cpu.inbox.load(std::memory_order_relaxed) != 0) continue;  // a vCPU that left may have posted something to itself
    if (turn.id != sched::none) {
      run(cpu, vcpu_of(turn.id), turn.ticks);
      continue;
    }
    wait_for_work(cpu);
  }
}

}  // namespace amphion::hyp
