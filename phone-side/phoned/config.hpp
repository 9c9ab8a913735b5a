// SPDX-License-Identifier: Apache-2.0
// The configuration of phoned: one JSON file, by default /data/phoned.json. README.md beside this file lists the keys.
// Checked whole when it is read: an unknown key, a wrong type or a value out of bounds is one line that names the key.
// Thread safety: values only.
#pragma once

#include <cstdint>
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
  std::string disk;  // the image that the instance's disk is first made from; empty: no disk
  std::string cmdline;
  NetworkKind network = NetworkKind::nat;
  std::vector<std::string> open_to;  // instances that it may speak with, where they name it too
};

struct Config {
  std::string data = "/data";
  std::string pki = "/data/pki";
  std::string cloud;                     // HOST:PORT; empty: no cloud
  std::string control = "0.0.0.0:7447";  // HOST:PORT
  std::string socket = "/run/phoned.sock";
  std::uint32_t watchdog_s = 16;  // 0: none
  std::vector<InstanceConfig> instances;
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

// A name is 1..32 of a-z 0-9 - and begins with a letter: it becomes a folder, a host name and an argument.
[[nodiscard]] bool valid_instance_name(std::string_view name);

}  // namespace amphion::phoned
