// SPDX-License-Identifier: Apache-2.0
// The phone's answers as text for people. Pure; missing or odd fields show as "-", never throw.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace amphion::cli {

[[nodiscard]] std::string format_bytes(std::uint64_t bytes);  // "17.3 MiB"
[[nodiscard]] std::string format_ms(std::uint64_t ms);        // "340 ms", "12.4 s"

[[nodiscard]] std::string format_list(const nlohmann::json& answer);
[[nodiscard]] std::string format_status(const nlohmann::json& answer);
[[nodiscard]] std::string format_paired(const nlohmann::json& answer);
[[nodiscard]] std::string format_unpaired(const nlohmann::json& answer);
[[nodiscard]] std::string format_invitation(const nlohmann::json& answer);
[[nodiscard]] std::string format_doctor(const nlohmann::json& answer);
[[nodiscard]] std::string format_progress(const nlohmann::json& progress);  // one line, no newline
[[nodiscard]] std::string format_summary(const nlohmann::json& answer);     // of a dock or undock, one line

}  // namespace amphion::cli
