// SPDX-License-Identifier: Apache-2.0
// The world switch: which vCPU's registers stand in this CPU. Lazy: a vCPU stays loaded until another one takes its
// place, it stops, or it is powered off; so a lone vCPU that waits and wakes costs no switch.
// Thread safety: own CPU only.
#pragma once

#include "hyp/vcpu.hpp"

namespace amphion::hyp {

struct Cpu;

void init_world();  // per CPU: traps, stage 2 format

void load(Cpu& cpu, Vcpu& vcpu);
void unload(Cpu& cpu);  // whatever is loaded, if anything

// The loaded vCPU's banked registers, to and from its `state`: for those who must see or change one.
void save_banked(amphion_vcpu& state);
void load_banked(const amphion_vcpu& state);

// What the list registers of the loaded vCPU say, to its lines: before anybody asks what is pending or active. They are
// loaded anew when it is entered.
void sync_lists(Cpu& cpu, Vcpu& vcpu);
// GICH_VMCR and GICH_APR of the loaded vCPU, to where Vgic::deliverable() looks.
void save_interface(Vcpu& vcpu);
// The loaded vCPU writes `sgir` to GICD_SGIR. If the SGI stands in a list register, spent, it is made pending there.
[[nodiscard]] bool resend_sgi(Cpu& cpu, Vcpu& vcpu, u32 sgir);

// Whether WFE traps: a guest that spins alone on its CPU may as well do so.
void trap_wfe(Cpu& cpu, bool trap);

// Deals with the reasons of the maintenance interrupt and lowers it; the next run raises it again if need be.
void silence_lists(Cpu& cpu);

// One run of the guest until it traps or an interrupt arrives; interrupts of the vGIC go in and out around it.
// Returns AMPHION_EXIT_*.
[[nodiscard]] u32 run_guest(Cpu& cpu, Vcpu& vcpu);

}  // namespace amphion::hyp
