// SPDX-License-Identifier: Apache-2.0
// See sched_choice.hpp.
#include "emulator/sched_choice.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "hyp/abi/amphion_hypercall.h"

namespace amphion::emulator {
namespace {

constexpr std::array<std::string_view, AMPHION_SCHED_SBCO + 1> policies = AMPHION_SCHED_NAMES;

// A number between both, times `unit`.
std::optional<std::uint32_t> scaled(std::string_view text, double from, double to, double unit) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  value *= unit;
  if (error != std::errc() || end != text.data() + text.size() || !(value >= from && value <= to)) return std::nullopt;
  return static_cast<std::uint32_t>(std::lround(value));
}

std::optional<std::uint32_t> period_us(std::string_view ms) {
  return scaled(ms, AMPHION_SCHED_SHORTEST_US, AMPHION_SCHED_LONGEST_US, 1000);
}

// One item; what is wrong with it, or nothing. Fields as in BundleSched: 0 is not said.
std::string take(std::string_view item, hyp::BundleSched& choice) {
  const std::size_t equals = item.find('=');
  const std::string_view key = item.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "" : item.substr(equals + 1);
  const auto set = [](std::uint32_t& field, std::optional<std::uint32_t> given, std::uint32_t more) -> std::string {
    if (!given) return "is out of bounds";
    if (field != 0) return "is said twice";
    field = *given + more;
    return {};
  };
  if (key == "threshold")
    return set(choice.threshold, scaled(value, 0, AMPHION_SCHED_THRESHOLD_ONE, AMPHION_SCHED_THRESHOLD_ONE), 1);
  if (key == "latency") return set(choice.latency_us, period_us(value), 0);
  if (key == "granularity") return set(choice.granularity_us, period_us(value), 0);
  if (key == "hand-over" && (value == "on" || value == "off")) return set(choice.hand_over, value == "on" ? 1 : 0, 1);
  const auto policy = std::find(policies.begin(), policies.end(), item);
  if (policy == policies.end()) return "is not known";
  return set(choice.policy, static_cast<std::uint32_t>(policy - policies.begin()), 1);
}

}  // namespace

std::variant<hyp::BundleSched, std::string> parse_sched_choice(std::string_view text) {
  hyp::BundleSched choice{};
  for (bool more = true; more;) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    if (const std::string wrong = take(item, choice); !wrong.empty())
      return "\"" + std::string(item) + "\" " + wrong + "; say " + sched_choice_help;
    more = comma != std::string_view::npos;
    text.remove_prefix(more ? comma + 1 : 0);
  }
  return choice;
}

}  // namespace amphion::emulator
