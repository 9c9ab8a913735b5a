// SPDX-License-Identifier: Apache-2.0
// The fair scheduler; see sched.hpp.
#include "hyp/sched.hpp"

#include <bit>

#include "hyp/timer.hpp"

namespace amphion::hyp {
namespace {

constexpr u64 most_debt_slices = 4;
constexpr u64 short_turns_in_slice = 16;  // enough for an interrupt's handler

}  // namespace

void FairScheduler::add(Vcpu& vcpu) {
  vcpu.slot = count_;
  vcpus_[count_++] = &vcpu;
}

void FairScheduler::ready(Vcpu& vcpu) {
  if (is_ready(vcpu)) return;
  advance();
  const u64 credit = slice_ / 2;
  const u64 earliest = minimum_ > credit ? minimum_ - credit : 0;
  if (vcpu.virtual_runtime < earliest) vcpu.virtual_runtime = earliest;
  ready_ |= u64{1} << vcpu.slot;
}

void FairScheduler::not_ready(Vcpu& vcpu) { ready_ &= ~(u64{1} << vcpu.slot); }

void FairScheduler::ran(Vcpu& vcpu, u64 ticks) {
  const u64 most = minimum_ + most_debt_slices * slice_;
  const u64 runtime = vcpu.virtual_runtime + (ticks >> vcpu.weight_log2);
  vcpu.virtual_runtime = runtime < most ? runtime : most;
}

void FairScheduler::yield(Vcpu& vcpu) {
  for (u64 left = ready_; left != 0; left &= left - 1) {
    const Vcpu& other = *vcpus_[static_cast<u32>(std::countr_zero(left))];
    if (other.virtual_runtime >= vcpu.virtual_runtime) vcpu.virtual_runtime = other.virtual_runtime + 1;
  }
  if (last_ == &vcpu) last_ = nullptr;
}

void FairScheduler::prefer(Vcpu& vcpu) {
  if (is_ready(vcpu)) preferred_ = &vcpu;
}

// Of those that are ready the one with the least runtime; null if there is none.
Vcpu* FairScheduler::least() const {
  Vcpu* best = nullptr;
  for (u64 left = ready_; left != 0; left &= left - 1) {
    Vcpu* candidate = vcpus_[static_cast<u32>(std::countr_zero(left))];
    if (best == nullptr || candidate->virtual_runtime < best->virtual_runtime) best = candidate;
  }
  return best;
}

// To what the queue has reached by now: one that was alone for long has not been picked anew meanwhile.
Vcpu* FairScheduler::advance() {
  Vcpu* best = least();
  if (best != nullptr && best->virtual_runtime > minimum_) minimum_ = best->virtual_runtime;
  return best;
}

Vcpu* FairScheduler::pick() {
  Vcpu* best = advance();
  if (best == nullptr) return nullptr;
  const auto not_ahead = [&](const Vcpu* vcpu, u64 most) {
    return vcpu != nullptr && is_ready(*vcpu) && vcpu->virtual_runtime <= best->virtual_runtime + most;
  };
  const u64 grain = slice_ / 4;
  const bool prefer = not_ahead(preferred_, slice_), keep = !prefer && not_ahead(last_, grain);
  short_turn_ = prefer || (keep && short_turn_);
  if (prefer) {
    last_ = preferred_;
  } else if (!keep) {
    last_ = best;
  }
  preferred_ = nullptr;
  return last_;
}

u64 FairScheduler::slice(const Vcpu& vcpu) const {
  const u64 others = ready_ & ~(u64{1} << vcpu.slot);
  if (others == 0) return never;
  return short_turn_ ? slice_ / short_turns_in_slice : slice_;
}

}  // namespace amphion::hyp
