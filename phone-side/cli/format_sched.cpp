// SPDX-License-Identifier: Apache-2.0
// What is said of the scheduler; see format.hpp.
#include <array>
#include <cstdio>

#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

constexpr std::size_t count_width = 10;
constexpr std::size_t time_width = 12;

std::string figure(const json& value, const char* key) {
  const auto found = value.find(key);
  if (found == value.end() || !found->is_number()) return "-";
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.6g", found->get<double>());
  return out.data();
}

std::string line(const char* what, const std::string& text) { return padded(what, 11) + text + "\n"; }

std::string right(std::string text, std::size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return "  " + text;
}

std::string counts(const json& one, std::initializer_list<const char*> keys) {
  std::string out;
  for (const char* key : keys) out += right(std::to_string(number(one, key)), count_width);
  return out;
}

std::string heads(std::initializer_list<const char*> names) {
  std::string out;
  for (const char* name : names) out += right(name, count_width);
  return out;
}

std::string ms(const json& one, const char* key) { return right(format_ms(number(one, key) / 1'000'000), time_width); }

json rows(const json& answer, const char* key) {
  json all = json::array();
  for (const json& one : answer.value(key, json::array())) {
    if (one.is_object()) all.push_back(one);
  }
  return all;
}

}  // namespace

std::string format_sched(const json& answer) {
  return line("policy", text(answer, "policy")) +
         line("threshold", figure(answer, "threshold") + " of the queue's length (sbco)") +
         line("latency", figure(answer, "latency_ms") + " ms") +
         line("granularity", figure(answer, "granularity_ms") + " ms") +
         line("hand-over", flag(answer, "hand_over") ? "on" : "off");
}

std::string format_sched_stats(const json& answer) {
  std::string out = "policy " + text(answer, "policy") + "; since boot\n\n" + padded("CPU", 3) +
                    heads({"DECISIONS", "SWITCHES", "MOVED AWAY", "LENDS", "DEBTS", "UNSTACKED"}) + "\n";
  for (const json& one : rows(answer, "cpus")) {
    out += padded(std::to_string(number(one, "cpu")), 3) +
           counts(one, {"decisions", "switches", "moves", "lends", "debts", "stackings_avoided"}) + "\n";
  }
  out += "\n" + padded("INSTANCE", 12) + padded("vCPU", 4) + right("RAN", time_width) + right("WAITED", time_width) +
         heads({"SWITCHES", "MOVES", "LENDS", "DEBTS"}) + "\n";
  const json vcpus = rows(answer, "vcpus");
  for (const json& one : vcpus) {
    out += padded(text(one, "instance"), 12) + padded(std::to_string(number(one, "vcpu")), 4) + ms(one, "run_ns") +
           ms(one, "wait_ns") + counts(one, {"switches", "moves", "lends", "debts"}) + "\n";
  }
  return out + (vcpus.empty() ? "no instance runs on this phone\n" : "");
}

}  // namespace amphion::cli
