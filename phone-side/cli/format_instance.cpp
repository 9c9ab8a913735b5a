// SPDX-License-Identifier: Apache-2.0
// What is said of one instance; see format.hpp.
#include <array>
#include <ctime>

#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

std::string line(const std::string& what, const std::string& text) { return "  " + padded(what, 10) + text + "\n"; }

std::string local_time(std::uint64_t seconds) {
  const auto when = static_cast<std::time_t>(seconds);
  std::tm fields{};
  localtime_r(&when, &fields);
  std::array<char, 32> out{};
  return {out.data(), std::strftime(out.data(), out.size(), "%Y-%m-%d %H:%M:%S", &fields)};
}

json object(const json& value, const char* key) {
  const json found = value.value(key, json::object());
  return found.is_object() ? found : json::object();
}

json instance_of(const json& answer) {
  const json all = answer.value("instances", json::array());
  return all.is_array() && !all.empty() && all[0].is_object() ? all[0] : json::object();
}

std::string of(std::uint64_t part, std::uint64_t whole) {
  return std::to_string(part) + " of " + std::to_string(whole);
}

std::string vcpus(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " vCPU" : " vCPUs"); }

std::string memory_line(const json& one, bool here) {
  const std::uint64_t bound = number(one, "bound_bytes"), next = number(one, "next_bound_bytes");
  std::string text = "at most " + format_bytes(bound) + " here";
  if (here) text += ", of which " + format_bytes(number(one, "populated_bytes")) + " are in use";
  text += "; " + format_bytes(number(one, "memory_bytes")) + " at most in the cloud";
  if (next != 0 && next != bound) text += "; from its next start " + format_bytes(next) + " here";
  return text;
}

std::string snapshot_lines(const json& one) {
  std::string out;
  const json all = one.value("snapshots", json::array());
  if (!all.is_array()) return out;
  for (const json& each : all) {
    if (!each.is_object()) continue;
    out += padded(text(each, "label"), 20) + padded(local_time(number(each, "taken_s")), 19) +
           padded(format_bytes(number(each, "memory_bytes")), 10) + format_bytes(number(each, "disk_bytes")) + "\n";
  }
  return out;
}

std::string with_note(const json& answer, std::string text) {
  const std::string note = cli::text(answer, "note");
  return note == "-" ? text : text + "; " + note;
}

}  // namespace

std::string format_duration(std::uint64_t ms) {
  const std::uint64_t s = ms / 1000;
  const auto two = [](std::uint64_t a, const char* b, std::uint64_t c, const char* d) {
    return std::to_string(a) + b + (c == 0 ? "" : " " + std::to_string(c) + d);
  };
  if (s < 60) return two(s, " s", 0, "");
  if (s < 3600) return two(s / 60, " min", s % 60, " s");
  if (s < 86400) return two(s / 3600, " h", s % 3600 / 60, " min");
  return two(s / 86400, " d", s % 86400 / 3600, " h");
}

std::string format_instance(const json& answer) {
  const json one = instance_of(answer);
  const bool here = text(one, "place") == "phone";
  std::string out = text(one, "name") + ": " + text(one, "state") + " for " + format_duration(number(one, "state_ms")) +
                    (flag(one, "focused") ? ", has the focus" : "") + "\n";
  const std::string cloud = text(object(answer, "cloud"), "address");
  out += line("place", here ? "this phone, Alt+F" + std::to_string(number(one, "number"))
                            : "the cloud, " + cloud + "; on this phone Alt+F" + std::to_string(number(one, "number")));
  if (text(one, "note") != "-") out += line("note", text(one, "note"));
  out += line("vCPUs", of(number(one, "vcpus_allowed"), number(one, "vcpus")) + " here");
  out += line("memory", memory_line(one, here));
  const json disk = object(one, "disk");
  out += line("disk", format_bytes(number(disk, "size_bytes")) + ", of which " +
                          format_bytes(number(disk, "used_bytes")) + " are taken on this phone");
  const json clone = object(one, "clone");
  if (!clone.empty()) {
    out += line("clone", text(clone, "state") + " for " + format_duration(number(clone, "running_ms")) + ", " +
                             std::to_string(number(clone, "vcpus_online")) + " vCPUs, " +
                             format_bytes(number(clone, "resident_bytes")) + " resident");
  }
  const json journal = object(one, "journal");
  if (!here) {
    out += line("keys", std::to_string(number(journal, "last")) + " captured, " +
                            std::to_string(number(journal, "waiting")) + " on their way");
  }
  out += line("generation", std::to_string(number(one, "generation")));
  const std::string snapshots = snapshot_lines(one);
  out += snapshots.empty() ? line("snapshots", "none") : "\nSnapshots\n" + format_snapshots(answer);
  return out;
}

std::string format_snapshots(const json& answer) {
  const json one = instance_of(answer);
  const std::string all = snapshot_lines(one);
  if (all.empty()) return text(one, "name") + " has no snapshots\n";
  return padded("LABEL", 20) + padded("TAKEN", 19) + padded("MEMORY", 10) + "DISK\n" + all;
}

std::string format_created(const json& answer) {
  const std::string name = text(answer, "instance");
  return name + " is created: " + format_bytes(number(answer, "bound_bytes")) + " here, at most " +
         format_bytes(number(answer, "memory_bytes")) + "; " +
         of(number(answer, "vcpus_allowed"), number(answer, "vcpus")) + " vCPUs here; a disk of " +
         format_bytes(number(object(answer, "disk"), "size_bytes")) + "; Alt+F" +
         std::to_string(number(answer, "number")) + ". amphion start " + name + " starts it";
}

std::string format_set(const json& answer) {
  std::string out = text(answer, "instance") + " gets " + vcpus(number(answer, "vcpus_allowed")) + " and " +
                    format_bytes(number(answer, "bound_bytes")) + " here";
  if (number(answer, "vcpus_online") != 0) out += "; it has " + vcpus(number(answer, "vcpus_online")) + " online now";
  if (flag(answer, "next_start")) out += "; memory counts from its next start (amphion stop and start, or reset)";
  return with_note(answer, out);
}

std::string format_snapshot(const json& answer) {
  return "snapshot " + text(answer, "label") + " of " + text(answer, "instance") + ": " +
         format_bytes(number(answer, "memory_bytes")) + " of memory, " + format_bytes(number(answer, "disk_bytes")) +
         " of disk, " + format_ms(number(answer, "total_ms")) + " in all, stopped for " +
         format_ms(number(answer, "stopped_ms"));
}

}  // namespace amphion::cli
