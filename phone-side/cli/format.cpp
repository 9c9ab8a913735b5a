// SPDX-License-Identifier: Apache-2.0
// Tables and lines; see format.hpp.
#include "phone-side/cli/format.hpp"

#include <array>
#include <cstdio>

#include "link/wall_clock.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

}  // namespace

std::string text(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : "-";
}

std::uint64_t number(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && found->is_number_integer() && *found >= 0 ? found->get<std::uint64_t>() : 0;
}

bool flag(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && *found == json(true);
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text + "  ";
}

namespace {

std::string one_decimal(double value) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.1f", value);
  return out.data();
}

std::string memory_of(const json& one) {
  if (text(one, "place") == "phone") {
    return format_bytes(number(one, "populated_bytes")) + " of " + format_bytes(number(one, "bound_bytes"));
  }
  return format_bytes(number(one, "memory_bytes"));
}

// A clone says how many it has online once its guest has said it.
std::string vcpus_of(const json& one) {
  const bool here = text(one, "place") == "phone";
  const std::uint64_t used =
      here ? number(one, "vcpus_allowed") : number(one.value("clone", json::object()), "vcpus_online");
  return (used == 0 ? "?" : std::to_string(used)) + " of " + std::to_string(number(one, "vcpus"));
}

std::string row(const json& one) {
  return padded(text(one, "name"), 12) + padded(text(one, "place"), 6) + padded(text(one, "state"), 14) +
         padded(flag(one, "focused") ? "*" : "", 5) + padded(vcpus_of(one), 6) + memory_of(one) + "\n";
}

// What the phone's clock says, and what was done about it.
std::string format_time(const json& time) {
  if (!time.contains("clock_s") || !time["clock_s"].is_number_integer()) return {};
  std::string out = "clock: " + link::utc_text(time["clock_s"].get<std::int64_t>());
  if (text(time, "set") != "-") out += "; it was set " + text(time, "set");
  return out + "\n";
}

}  // namespace

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 4> units{"bytes", "KiB", "MiB", "GiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  const bool whole = unit == 0 || value == static_cast<double>(static_cast<std::uint64_t>(value));
  const std::string figure = whole ? std::to_string(static_cast<std::uint64_t>(value)) : one_decimal(value);
  return figure + " " + units[unit];
}

std::string format_ms(std::uint64_t ms) {
  if (ms < 1000) return std::to_string(ms) + " ms";
  return one_decimal(static_cast<double>(ms) / 1000) + " s";
}

std::string format_list(const json& answer) {
  std::string out = padded("NAME", 12) + padded("PLACE", 6) + padded("STATE", 14) + padded("FOCUS", 5) +
                    padded("VCPUS", 6) + "MEMORY\n";
  for (const json& one : answer.value("instances", json::array())) {
    if (one.is_object()) out += row(one);
  }
  return out;
}

std::string format_status(const json& answer) {
  std::string out = format_list(answer);
  for (const json& one : answer.value("instances", json::array())) {
    if (!one.is_object()) continue;
    const json journal = one.value("journal", json::object());
    out += "\n" + text(one, "name") + ": generation " + std::to_string(number(one, "generation"));
    if (text(one, "place") == "cloud") {
      out += "; keys captured " + std::to_string(number(journal, "last")) + ", received by the clone " +
             std::to_string(number(journal, "reached")) + ", waiting " + std::to_string(number(journal, "waiting"));
      const json clone = one.value("clone", json::object());
      if (!clone.empty()) {
        out += "\n  clone: " + text(clone, "state") + ", " + format_bytes(number(clone, "resident_bytes")) +
               " resident, running for " + format_ms(number(clone, "running_ms"));
        if (text(clone, "note") != "-" && !text(clone, "note").empty()) out += "; " + text(clone, "note");
      }
    }
    if (text(one, "note") != "-") out += "\n  " + text(one, "note");
  }
  const json cloud = answer.value("cloud", json::object());
  const std::string address = text(cloud, "address");
  out += "\ncloud: " +
         (address.empty() ? "none" : address + ", " + (flag(cloud, "connected") ? "connected" : "not connected"));
  if (flag(cloud, "leaving")) out += ", being unpaired";
  if (!flag(cloud, "connected") && text(cloud, "error") != "-") out += " (" + text(cloud, "error") + ")";
  return out + "\n" + format_time(answer.value("time", json::object()));
}

std::string format_paired(const json& answer) {
  return "paired with the cloud at " + text(answer, "cloud") + "; it knows this phone as " + text(answer, "name") +
         (flag(answer, "connected") ? ", and they are connected\n"
                                    : ". They are not connected yet: see `amphion status`\n");
}

std::string format_unpaired(const json& answer) {
  const std::string cloud = text(answer, "cloud");
  if (!flag(answer, "forgotten")) {
    return "the cloud at " + cloud +
           " does not answer. The phone is unpaired as soon as it has told it;\n"
           "`amphion unpair --force` forgets it now (then say `amphiond unpair NAME` there)\n";
  }
  if (flag(answer, "told")) return "unpaired: phone and cloud have forgotten each other\n";
  return "unpaired, but the cloud" + (cloud.empty() ? "" : " at " + cloud) +
         " could not be told: say `amphiond unpair NAME` there\n";
}

std::string format_invitation(const json& answer) {
  const std::string code = text(answer, "code");
  std::string out = "One-time code for a computer that is to command this phone, for " +
                    std::to_string(number(answer, "minutes")) + " minutes. There:\n\n";
  const json addresses = answer.value("addresses", json::array());
  for (const json& one : addresses) {
    if (one.is_string())
      out += "    amphion join " + code + "@" + one.get<std::string>() + ":" + std::to_string(number(answer, "port")) +
             "\n";
  }
  if (addresses.empty())
    out += "    amphion join " + code + "@ADDRESS:" + std::to_string(number(answer, "port")) +
           "\n\nThis phone has no network address now.\n";
  return out;
}

std::string format_doctor(const json& answer) {
  std::string out;
  for (const json& one : answer.value("checks", json::array())) {
    if (!one.is_object()) continue;
    out += padded(text(one, "health"), 7) + padded(text(one, "name"), 20) + text(one, "found") + "\n";
    const std::string advice = text(one, "advice");
    if (!advice.empty() && advice != "-") out += std::string(9, ' ') + "-> " + advice + "\n";
  }
  return out + (flag(answer, "healthy") ? "nothing is wrong that a doctor could see\n"
                                        : "something is wrong: see what is bad above\n");
}

std::string format_progress(const json& progress) {
  std::string out = padded(text(progress, "step"), 14);
  if (progress.contains("percent")) out += padded(std::to_string(number(progress, "percent")) + "%", 4);
  if (progress.contains("raw_bytes")) {
    out += format_bytes(number(progress, "raw_bytes")) + " raw, " + format_bytes(number(progress, "sent_bytes")) +
           " sent, ";
  }
  if (progress.contains("uses_bytes")) {
    out += "uses " + format_bytes(number(progress, "uses_bytes")) + ", the phone gives it " +
           format_bytes(number(progress, "bound_bytes")) + ", ";
  }
  out += format_ms(number(progress, "total_ms"));
  if (number(progress, "stopped_ms") > 0) out += ", stopped for " + format_ms(number(progress, "stopped_ms"));
  return out;
}

std::string format_summary(const json& answer) {
  return text(answer, "instance") + (text(answer, "place") == "cloud" ? " is docked: " : " is home: ") +
         format_bytes(number(answer, "raw_bytes")) + " raw, " + format_bytes(number(answer, "sent_bytes")) + " sent, " +
         format_ms(number(answer, "total_ms")) + " in all, stopped for " + format_ms(number(answer, "stopped_ms"));
}

}  // namespace amphion::cli
