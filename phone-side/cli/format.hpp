// SPDX-License-Identifier: Apache-2.0
// The phone's answers as text for people. Pure; missing or odd fields show as "-", never throw.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace amphion::cli {

[[nodiscard]] std::string format_bytes(std::uint64_t bytes);  // "17.3 MiB"
[[nodiscard]] std::string format_ms(std::uint64_t ms);        // "340 ms", "12.4 s"
[[nodiscard]] std::string format_duration(std::uint64_t ms);  // "12 s", "3 min 20 s", "5 h 3 min", "2 d 4 h"

[[nodiscard]] std::string format_list(const nlohmann::json& answer);
[[nodiscard]] std::string format_status(const nlohmann::json& answer);
[[nodiscard]] std::string format_paired(const nlohmann::json& answer);
[[nodiscard]] std::string format_unpaired(const nlohmann::json& answer);
[[nodiscard]] std::string format_invitation(const nlohmann::json& answer);
[[nodiscard]] std::string format_doctor(const nlohmann::json& answer);
[[nodiscard]] std::string format_progress(const nlohmann::json& progress);  // one line, no newline
[[nodiscard]] std::string format_summary(const nlohmann::json& answer);     // of a dock or undock, one line

// Of the owner's commands on one instance.
[[nodiscard]] std::string format_instance(const nlohmann::json& answer);  // all that its status says
[[nodiscard]] std::string format_created(const nlohmann::json& answer);
[[nodiscard]] std::string format_set(const nlohmann::json& answer);
[[nodiscard]] std::string format_snapshot(const nlohmann::json& answer);
[[nodiscard]] std::string format_snapshots(const nlohmann::json& answer);  // of a status

// The scheduler.
[[nodiscard]] std::string format_sched(const nlohmann::json& answer);
[[nodiscard]] std::string format_sched_stats(const nlohmann::json& answer);

// Fields of an answer, whatever is in it.
[[nodiscard]] std::string text(const nlohmann::json& value, const char* key);  // "-": none
[[nodiscard]] std::uint64_t number(const nlohmann::json& value, const char* key);
[[nodiscard]] bool flag(const nlohmann::json& value, const char* key);
[[nodiscard]] std::string padded(std::string text, std::size_t width);

}  // namespace amphion::cli
