// SPDX-License-Identifier: Apache-2.0
// What is said of the scheduler; see format.hpp.
#include <algorithm>
#include <array>
#include <cstdio>
#include <span>

#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

// A table's columns behind its first ones.
enum class Shows { count, time, share };
struct Column {
  const char* head;
  std::size_t width;
  const char* key;
  Shows shows = Shows::count;
};
constexpr std::array cpu_columns{Column{"RUN %", 6, "run_ns", Shows::share},
                                 Column{"IDLE %", 6, "idle_ns", Shows::share},
                                 Column{"WAITED", 11, "wait_ns", Shows::time},
                                 Column{"DECISIONS", 10, "decisions"},
                                 Column{"SWITCHES", 9, "switches"},
                                 Column{"MOVED", 7, "moves"},
                                 Column{"LENDS", 7, "lends"},
                                 Column{"DEBTS", 7, "debts"},
                                 Column{"UNSTACKED", 9, "stackings_avoided"}};
constexpr std::array vcpu_columns{Column{"RAN", 11, "run_ns", Shows::time},
                                  Column{"CPU %", 6, "run_ns", Shows::share},
                                  Column{"WAITED", 11, "wait_ns", Shows::time},
                                  Column{"SWITCHES", 9, "switches"},
                                  Column{"MOVES", 7, "moves"},
                                  Column{"LENDS", 7, "lends"},
                                  Column{"DEBTS", 7, "debts"}};

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

std::string duration(std::uint64_t ns) {
  constexpr std::uint64_t ns_of_ms = 1'000'000, minute_ms = 60'000;
  const std::uint64_t ms = ns / ns_of_ms;
  return ms < minute_ms ? format_ms(ms) : format_duration(ms);
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return "-";
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.1f", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return out.data();
}

std::string heads(std::span<const Column> columns) {
  std::string out;
  for (const Column& column : columns) out += right(column.head, column.width);
  return out + "\n";
}

// `whole_ns`: what shares are of.
std::string cells(std::span<const Column> columns, const json& one, std::uint64_t whole_ns) {
  std::string out;
  for (const Column& column : columns) {
    const std::uint64_t value = number(one, column.key);
    out += right(column.shows == Shows::count  ? std::to_string(value)
                 : column.shows == Shows::time ? duration(value)
                                               : percent(value, whole_ns),
                 column.width);
  }
  return out + "\n";
}

std::uint64_t up_ns(const json& cpu) { return number(cpu, "run_ns") + number(cpu, "idle_ns"); }

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
  const json cpus = rows(answer, "cpus"), vcpus = rows(answer, "vcpus");
  std::uint64_t since_boot_ns = 0;
  for (const json& one : cpus) since_boot_ns = std::max(since_boot_ns, up_ns(one));
  std::string out = "policy " + text(answer, "policy") + "; since boot, " + duration(since_boot_ns) + " ago\n\n";
  out += padded("CPU", 3) + heads(cpu_columns);
  for (const json& one : cpus) {
    out += padded(std::to_string(number(one, "cpu")), 3) + cells(cpu_columns, one, up_ns(one));
  }
  std::size_t width = 12;
  for (const json& one : vcpus) width = std::max(width, text(one, "instance").size());
  out += "\n" + padded("INSTANCE", width) + "vCPU" + heads(vcpu_columns);
  for (const json& one : vcpus) {
    out += padded(text(one, "instance"), width) + right(std::to_string(number(one, "vcpu")), 2) +
           cells(vcpu_columns, one, since_boot_ns);
  }
  return out;
}

}  // namespace amphion::cli
