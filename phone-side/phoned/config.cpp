// SPDX-License-Identifier: Apache-2.0
// Reading and checking the configuration; see config.hpp.
#include "phone-side/phoned/config.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>

namespace amphion::phoned {
namespace {

using nlohmann::json;

struct Option {
  std::string_view key, option;
};
constexpr std::array<Option, 9> options{{{"name", "NAME"},
                                         {"memory_mib", "--memory-max"},
                                         {"bound_mib", "--memory"},
                                         {"vcpus", "--cpus-max"},
                                         {"vcpus_allowed", "--cpus"},
                                         {"disk_mib", "--disk"},
                                         {"disk", "--disk-image"},
                                         {"cmdline", "--cmdline"},
                                         {"kernel", "--kernel"}}};
constexpr char command[] = "(a command)";  // path of what an owner's command says: errors name its options

// One JSON object with the path that errors name.
class Section {
 public:
  Section(const json& value, std::string path) : value_(value), path_(std::move(path)) {
    if (!value_.is_object()) throw ConfigError(path_ + ": must be an object { ... }");
  }

  void allow(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, unused] : value_.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) throw ConfigError(at(key) + ": unknown key");
    }
  }

  void text(const char* key, std::string& into) const {
    const auto found = value_.find(key);
    if (found == value_.end()) return;
    if (!found->is_string()) throw ConfigError(at(key) + ": must be a text in quotes");
    into = found->get<std::string>();
  }

  [[nodiscard]] std::uint64_t number(const char* key, std::uint64_t otherwise, std::uint64_t low, std::uint64_t high,
                                     std::uint64_t step = 1) const {
    const auto found = value_.find(key);
    if (found == value_.end()) return otherwise;
    const bool good = found->is_number_unsigned() && found->get<std::uint64_t>() >= low &&
                      found->get<std::uint64_t>() <= high && found->get<std::uint64_t>() % step == 0;
    if (good) return found->get<std::uint64_t>();
    const std::string even = step == 1 ? "a number" : "a multiple of " + std::to_string(step);
    const bool unit = path_ == command && std::string_view(key).ends_with("_mib");
    throw ConfigError(at(key) + ": must be " + even + " from " + std::to_string(low) + " to " + std::to_string(high) +
                      (unit ? " MiB" : ""));
  }

  [[nodiscard]] std::string at(std::string_view key) const {
    if (path_ != command) return path_ + std::string(key);
    const auto known = std::find_if(options.begin(), options.end(), [&](const Option& one) { return one.key == key; });
    return std::string(known == options.end() ? key : known->option);
  }
  [[nodiscard]] const json& value() const { return value_; }

 private:
  const json& value_;
  std::string path_;
};

constexpr std::uint64_t mib = 1ull << 20;

NetworkKind parse_network(const Section& section) {
  std::string kind = "nat";
  section.text("network", kind);
  if (kind == "nat") return NetworkKind::nat;
  if (kind == "bridged") return NetworkKind::bridged;
  if (kind == "none") return NetworkKind::none;
  throw ConfigError(section.at("network") + ": must be \"nat\", \"bridged\" or \"none\"");
}

std::vector<std::string> parse_open_to(const Section& section) {
  const json list = section.value().value("open_to", json::array());
  std::vector<std::string> names;
  const auto wrong = [&] { return ConfigError(section.at("open_to") + ": must be a list of instances' names"); };
  if (!list.is_array() || list.size() > max_instances) throw wrong();
  for (const json& name : list) {
    if (!name.is_string() || !valid_instance_name(name.get<std::string>())) throw wrong();
    names.push_back(name.get<std::string>());
  }
  return names;
}

const char* name_of(NetworkKind kind) {
  if (kind == NetworkKind::none) return "none";
  return kind == NetworkKind::nat ? "nat" : "bridged";
}

constexpr std::uint64_t max_disk_mib = 64 * 1024;  // as large as the device model's bitmap goes

InstanceConfig parse_instance(const Section& section) {
  section.allow({"name", "vcpus", "vcpus_allowed", "memory_mib", "bound_mib", "kernel", "initrd", "disk", "disk_mib",
                 "cmdline", "network", "open_to"});
  InstanceConfig one;
  section.text("name", one.name);
  if (!valid_instance_name(one.name)) {
    throw ConfigError(section.at("name") + ": must be " + std::string(name_rule));
  }
  one.shape.vcpus = static_cast<std::uint32_t>(section.number("vcpus", one.shape.vcpus, 1, machine::max_vcpus));
  one.shape.memory_bytes = mib * section.number("memory_mib", one.shape.memory_bytes / mib,
                                                machine::min_memory_bytes / mib, machine::max_memory_bytes / mib, 2);
  const std::uint32_t usual = std::min(one.vcpus_allowed, one.shape.vcpus);
  one.vcpus_allowed = static_cast<std::uint32_t>(section.number("vcpus_allowed", usual, 1, one.shape.vcpus));
  const std::uint64_t most = one.shape.memory_bytes / mib;
  one.bound_bytes = mib * section.number("bound_mib", std::min(one.bound_bytes / mib, most), 32, most);
  section.text("kernel", one.kernel);
  section.text("initrd", one.initrd);
  section.text("disk", one.disk);
  one.disk_bytes = mib * section.number("disk_mib", 0, 1, max_disk_mib);
  section.text("cmdline", one.cmdline);
  one.network = parse_network(section);
  one.open_to = parse_open_to(section);
  if (one.kernel.empty())
    throw ConfigError(section.at("kernel") + ": is missing; name the instance's kernel (a zImage)");
  if (one.cmdline.size() > max_cmdline_bytes) {
    throw ConfigError(section.at("cmdline") + ": is longer than " + std::to_string(max_cmdline_bytes) + " bytes");
  }
  return one;
}

std::vector<InstanceConfig> parse_instances(const json& list, const std::string& path) {
  if (!list.is_array() || list.empty() || list.size() > max_instances) {
    throw ConfigError(path + ": must be a list of 1 to " + std::to_string(max_instances) + " instances");
  }
  std::vector<InstanceConfig> all;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string where = path + "[" + std::to_string(i) + "]";
    all.push_back(parse_instance(Section(list[i], where + ".")));
    if (!valid_new_name(all.back().name)) throw ConfigError(where + ".name: must be " + std::string(name_rule));
    const auto same = [&](const InstanceConfig& other) { return other.name == all.back().name; };
    if (std::count_if(all.begin(), all.end(), same) > 1) {
      throw ConfigError(where + ".name: \"" + all.back().name + "\" is there twice");
    }
  }
  return all;
}

// Largest shape and what of it is used here go together, whichever of them was wished for.
void fit(json& value, const json& wishes, const char* part, const char* whole, std::uint64_t step) {
  if (!value.contains(part) || !value.contains(whole)) return;
  if (!value[part].is_number_unsigned() || !value[whole].is_number_unsigned()) return;
  const auto used = value[part].get<std::uint64_t>();
  if (used <= value[whole].get<std::uint64_t>()) return;
  if (!wishes.contains(whole)) {
    if (used <= machine::max_memory_bytes) value[whole] = (used + step - 1) / step * step;
  } else if (!wishes.contains(part)) {
    value[part] = value[whole];
  }
}

void put_name(json& value, const std::string& name) {
  constexpr std::string_view place = "{name}";
  if (!value.contains("cmdline") || !value["cmdline"].is_string()) return;
  auto words = value["cmdline"].get<std::string>();
  for (std::size_t at = 0; (at = words.find(place, at)) != std::string::npos; at += name.size()) {
    words.replace(at, place.size(), name);
  }
  value["cmdline"] = words;
}

// Used for the first instance of all, and until a template says otherwise.
json defaults() { return {{"vcpus", 4u}, {"vcpus_allowed", 2u}, {"memory_mib", 512u}, {"bound_mib", 192u}}; }

// As an instance would be checked.
json parse_template(const json& value, const std::string& path) {
  json whole = value;
  if (value.is_object() && value.contains("name")) throw ConfigError(path + ".name: unknown key");
  if (value.is_object()) whole["name"] = "template";
  (void)parse_instance(Section(whole, path + "."));
  return value;
}

}  // namespace

InstanceConfig parse_instance(const json& value, const std::string& path) {
  return parse_instance(Section(value, path));
}

json to_json(const InstanceConfig& instance) {
  json value{{"name", instance.name},
             {"vcpus", instance.shape.vcpus},
             {"vcpus_allowed", instance.vcpus_allowed},
             {"memory_mib", instance.shape.memory_bytes / mib},
             {"bound_mib", instance.bound_bytes / mib},
             {"kernel", instance.kernel},
             {"initrd", instance.initrd},
             {"disk", instance.disk},
             {"cmdline", instance.cmdline},
             {"network", name_of(instance.network)},
             {"open_to", instance.open_to}};
  if (instance.disk_bytes != 0) value["disk_mib"] = instance.disk_bytes / mib;
  return value;
}

InstanceConfig new_instance(const json& base, const std::string& name, const json& wishes) {
  json value = defaults();
  value.update(base);
  if (wishes.contains("name")) throw ConfigError("name: unknown key");
  value.update(wishes);
  fit(value, wishes, "bound_mib", "memory_mib", 2);
  fit(value, wishes, "vcpus_allowed", "vcpus", 1);
  put_name(value, name);
  value["name"] = name;
  return parse_instance(Section(value, command));
}

InstanceConfig changed_instance(const InstanceConfig& now, const json& wishes) {
  Section(wishes, command).allow({"bound_mib", "vcpus_allowed"});
  json value = to_json(now);
  value.update(wishes);
  return parse_instance(Section(value, command));
}

bool valid_instance_name(std::string_view name) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto good = [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 32 && letter(name.front()) && std::all_of(name.begin(), name.end(), good);
}

bool valid_new_name(std::string_view name) { return valid_instance_name(name) && name != host_instance; }

Config parse_config(std::string_view text, const std::string& file) {
  if (text.size() > max_config_bytes) throw ConfigError(file + ": is larger than 256 KiB; is this a configuration?");
  json root;
  try {
    root = json::parse(text);
  } catch (const json::exception& error) {
    const std::string what = error.what();
    throw ConfigError(file + ": is not JSON: " + what.substr(0, what.find('\n')));
  }
  const Section section(root, file + ": ");
  section.allow({"data", "pki", "cloud", "control", "socket", "watchdog_s", "instances", "template"});
  Config config;
  section.text("data", config.data);
  config.pki = config.data + "/pki";
  section.text("pki", config.pki);
  section.text("cloud", config.cloud);
  section.text("control", config.control);
  section.text("socket", config.socket);
  config.watchdog_s = static_cast<std::uint32_t>(section.number("watchdog_s", config.watchdog_s, 0, max_watchdog_s));
  config.instances = parse_instances(root.value("instances", json()), section.at("instances"));
  if (root.contains("template")) config.instance_template = parse_template(root["template"], section.at("template"));
  return config;
}

Config read_config(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw ConfigError(file + ": cannot be read; write one (phone-side/phoned/README.md shows it)");
  std::string text(max_config_bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_config(text, file);
}

}  // namespace amphion::phoned
