// SPDX-License-Identifier: Apache-2.0
// Results as JSON and as a table for people.
#pragma once

#include <string>
#include <vector>

#include "sched/sim/machine.hpp"

namespace amphion::sim {

[[nodiscard]] std::string to_json(const std::vector<Result>& results);
[[nodiscard]] std::string to_text(const std::vector<Result>& results);

}  // namespace amphion::sim
