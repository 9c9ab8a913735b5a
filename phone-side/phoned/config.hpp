// SPDX-License-Identifier: Apache-2.0
// The configuration of phoned: one JSON file, by default /data/phoned.json. README.md beside this file lists the keys.
// Checked whole when it is read: an unknown key, a wrong type or a value out of bounds is one line that names the key.
// Thread safety: values only.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "machine/phone.hpp"

namespace amphion::phoned {

enum class NetworkKind { none, nat, bridged };

struct InstanceConfig {
  std::string name;
  machine::Shape shape{4, 512ull << 20};
  std::uint32_t vcpus_allowed = 2;           // on the phone
  std::uint64_t bound_bytes = 192ull << 20;  // at most this much memory at a time, on the phone
  std::string kernel;
  std::string initrd;
  std::string disk;              // the image that the instance's disk is first made from; empty: an empty disk
  std::uint64_t disk_bytes = 0;  // its size; 0: the image's, or no disk if there is no image
  std::string cmdline;
  NetworkKind network = NetworkKind::nat;
  std::vector<std::string> open_to;  // instances that it may speak with, where they name it too

  [[nodiscard]] bool has_disk() const { return !disk.empty() || disk_bytes != 0; }
};

struct Config {
  std::string data = "/data";
  std::string pki = "/data/pki";
  std::string cloud;                     // HOST:PORT; empty: no cloud
  std::string control = "0.0.0.0:7447";  // HOST:PORT
  std::string socket = "/run/phoned.sock";
  std::uint32_t watchdog_s = 16;          // 0: none
  std::vector<InstanceConfig> instances;  // of a new phone; later they are in its list (instance_list.hpp)
  nlohmann::json instance_template = nlohmann::json::object();  // what new_instance() begins with
};

// `what()` is one line for the user.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr std::size_t max_config_bytes = 256 * 1024;
inline constexpr std::size_t max_instances = 8;
inline constexpr std::uint32_t max_watchdog_s = 60;
inline constexpr std::size_t max_cmdline_bytes = 1024;

// `file` is the name that errors begin with. Throws ConfigError.
[[nodiscard]] Config parse_config(std::string_view text, const std::string& file);
[[nodiscard]] Config read_config(const std::string& file);

// An instance as the configuration and the list write it down.
[[nodiscard]] InstanceConfig parse_instance(const nlohmann::json& value, const std::string& path);
[[nodiscard]] nlohmann::json to_json(const InstanceConfig& instance);

// An owner's wishes (keys of an instance but its name) over what holds without them; `name` takes the place of {name}
// in the command line. A largest shape that nobody wished for grows with what is to run here. Throws ConfigError, which
// names the command's options.
[[nodiscard]] InstanceConfig new_instance(const nlohmann::json& base, const std::string& name,
                                          const nlohmann::json& wishes);
// The same for an instance that is there: only what it gets here, bound_mib and vcpus_allowed.
[[nodiscard]] InstanceConfig changed_instance(const InstanceConfig& now, const nlohmann::json& wishes);

// What the phone's own Linux is called in statistics; no new instance may be called so.
inline constexpr std::string_view host_instance = "host";

// A name is 1..32 of a-z 0-9 - and begins with a letter: it becomes a folder, a host name and an argument.
inline constexpr std::string_view name_rule =
    "1 to 32 of a-z, 0-9 and '-', beginning with a letter; host is the phone's own Linux";
[[nodiscard]] bool valid_instance_name(std::string_view name);
[[nodiscard]] bool valid_new_name(std::string_view name);

}  // namespace amphion::phoned
