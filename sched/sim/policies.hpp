// SPDX-License-Identifier: Apache-2.0
// The policies that the simulator compares: those of sched/core, and SBCO as the dissertation's text has it, whose
// vCPUs lend but do not join running siblings.
#pragma once

#include <array>
#include <string_view>

#include "sched/core/policy.hpp"

namespace amphion::sim {

inline constexpr sched::Policy sbco_text{"sbco-text", true, sched::policy_detail::not_too_far_ahead,
                                         sched::policy_detail::nothing};

inline constexpr std::array<const sched::Policy*, 6> policies{&sched::dft,   &sched::bal,  &sched::procco,
                                                              &sched::cpuco, &sched::sbco, &sbco_text};

[[nodiscard]] constexpr const sched::Policy* policy_named(std::string_view name) {
  return sched::policy_named(name, policies);
}

}  // namespace amphion::sim
