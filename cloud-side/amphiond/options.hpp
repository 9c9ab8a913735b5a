// SPDX-License-Identifier: Apache-2.0
// amphiond's command line. Read once by main(); immutable afterwards.
// Errors: CLI11's one-line texts, with exit code 2; contents (folders, ports) are checked where they are used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace amphion::cloud {

enum class Command { serve, pair, unpair, status };

// Who schedules clones' vCPUs (host_scheduling.hpp); automatic: SBCO, or affinity where it cannot be loaded.
enum class Scheduling { automatic, sbco, affinity, kernel };

struct Options {
  Command command = Command::serve;
  std::string device;                     // pair: its name, empty: one that is free; unpair
  std::filesystem::path data;             // everything amphiond keeps
  std::filesystem::path pki;              // ca.crt, cloud.crt, cloud.key; ca.key for pairing
  std::filesystem::path qemu;             // the clones' qemu-system-arm
  Scheduling scheduling = Scheduling::automatic;
  std::filesystem::path amphion_scx;      // loads SBCO into the kernel
  std::string listen_host = "127.0.0.1";  // an address, not a name
  std::uint16_t listen_port = 7448;
  std::string log_level = "info";
  bool json_log = false;
};

// The options, or the exit code after --help, --version or a mistake (its text is already printed).
struct ParsedOptions {
  std::optional<Options> options;
  int exit_code = 0;
};
[[nodiscard]] ParsedOptions parse_options(int argc, const char* const* argv);

// "127.0.0.1:7448" or "[::1]:7448"; port 0 lets the system choose. The error text, or none.
[[nodiscard]] std::optional<std::string> parse_listen(const std::string& text, std::string& host, std::uint16_t& port);

}  // namespace amphion::cloud
