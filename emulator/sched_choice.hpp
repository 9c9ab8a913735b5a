// SPDX-License-Identifier: Apache-2.0
// How the hypervisor's scheduler is to begin, as make-bundle's --sched takes it: "bal", "sbco,threshold=0.5,latency=4".
// Thread safety: pure function.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "hyp/bundle.hpp"

namespace amphion::emulator {

inline constexpr char sched_choice_help[] =
    "a policy (dft, bal, procco, cpuco, sbco), threshold=0..1, latency=0.1..100 (ms), granularity=0.1..100 (ms), "
    "hand-over=on or off; several joined by commas";

// What is not said is 0: the hypervisor's own choice. Or one line that says what is wrong.
[[nodiscard]] std::variant<hyp::BundleSched, std::string> parse_sched_choice(std::string_view text);

}  // namespace amphion::emulator
