// SPDX-License-Identifier: Apache-2.0
// `amphion doctor`: looks at everything that a user can get wrong, and says of each what was found and what to do.
// It changes nothing, but for a file that it writes and removes on the data partition. Every check is a function of
// what it is given, so that tests give it what a broken phone has. Thread safety: functions without shared state.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "phone-side/phoned/cloud_pairing.hpp"
#include "phone-side/phoned/config.hpp"

namespace amphion::phoned {

enum class Health { good, warning, bad };

struct Check {
  std::string name;
  Health health = Health::good;
  std::string found{};
  std::string advice{};  // what to do; empty where nothing is to be done
};

// Paths of the board; tests name folders of their own.
struct BoardPaths {
  std::string ext4 = "/sys/fs/ext4";
  std::string thermal = "/sys/class/thermal";
  std::string modules_wanted = "/modules/order";
  std::string modules_loaded = "/proc/modules";
  std::string routes = "/proc/net/route";
};

[[nodiscard]] Check check_clock(const nlohmann::json& time);  // TimeFloor::status()
[[nodiscard]] Check check_certificate(const std::string& name, const link::Identity& identity, std::int64_t now_s,
                                      const std::string& renewal);
[[nodiscard]] Check check_cloud(const nlohmann::json& cloud);  // CloudLink::status()
[[nodiscard]] Check check_data(const std::string& data);
[[nodiscard]] Check check_file_systems(const BoardPaths& paths);
[[nodiscard]] std::vector<Check> check_hypervisor(const Config& config);  // it, and whether its memory is enough
// `state`: its summary; its images and records in the data folder.
[[nodiscard]] Check check_instance(const InstanceConfig& config, const nlohmann::json& state, const std::string& data);
[[nodiscard]] Check check_network(const BoardPaths& paths);
[[nodiscard]] Check check_modules(const BoardPaths& paths);
[[nodiscard]] std::vector<Check> check_temperature(const BoardPaths& paths);  // none where the board tells none

[[nodiscard]] nlohmann::json to_json(const std::vector<Check>& checks);  // with "healthy": nothing is bad

}  // namespace amphion::phoned
