// SPDX-License-Identifier: Apache-2.0
// The hypervisor's scheduler in control requests and answers: README.md beside this file. Thread safety: pure
// functions.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "hyp/abi/amphion_hypercall.h"
#include "link/error.hpp"

namespace amphion::phoned {

// policy, threshold (a fraction), latency_ms, granularity_ms, hand_over
[[nodiscard]] nlohmann::json settings_json(const amphion_sched& now);

// `now` with what an owner wishes: any of settings_json()'s keys. Fit to be set. The error names the command's option.
[[nodiscard]] link::Result<amphion_sched> changed_settings(const amphion_sched& now, const nlohmann::json& wishes);

[[nodiscard]] nlohmann::json cpus_json(const amphion_sched& now);
// Those that have ever run.
[[nodiscard]] nlohmann::json vcpus_json(const std::string& instance, std::span<const amphion_sched_vcpu> vcpus);

}  // namespace amphion::phoned
