// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/options.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <map>

namespace amphion::cloud {
namespace {

std::filesystem::path cache_folder() {
  if (const char* given = std::getenv("AMPHION_CACHE"); given != nullptr && *given != '\0') return given;
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/root") / ".cache/amphion";
}

// Beside amphiond, or where a build leaves it.
std::filesystem::path amphion_scx() {
  std::error_code ignored;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  const auto built = folder.parent_path().parent_path() / "sched/scx/amphion-scx";
  return std::filesystem::exists(built, ignored) ? built : folder / "amphion-scx";
}

const std::map<std::string, Scheduling> schedulings{{"auto", Scheduling::automatic},
                                                    {"sbco", Scheduling::sbco},
                                                    {"affinity", Scheduling::affinity},
                                                    {"kernel", Scheduling::kernel}};

}  // namespace

std::optional<std::string> parse_listen(const std::string& text, std::string& host, std::uint16_t& port) {
  const std::string shape = "'" + text + "' is not ADDRESS:PORT, for example 127.0.0.1:7448";
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return shape;
  std::string address = text.substr(0, colon);
  if (address.front() == '[') {
    if (address.back() != ']') return shape;
    address = address.substr(1, address.size() - 2);
  }
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(first, last, number);
  if (error != std::errc{} || end != last || address.empty()) return shape;
  host = address;
  port = number;
  return std::nullopt;
}

ParsedOptions parse_options(int argc, const char* const* argv) {
  Options options;
  std::string listen = "127.0.0.1:7448";
  std::string scheduling = "auto";
  options.qemu = cache_folder() / "qemu-clone/bin/qemu-system-arm";
  options.amphion_scx = amphion_scx();
  CLI::App app{"Amphion's cloud server: keeps docked phone instances and runs their clones.", "amphiond"};
  app.footer("Without a command it serves phones until SIGTERM. Exit codes: 0 done, 1 failed, 2 wrong usage.");
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_option("--data", options.data, "folder for everything that amphiond keeps");
  app.add_option("--pki", options.pki,
                 "folder with the authority's and the cloud's certificate (amphion-pki makes it)");
  app.add_option("--listen", listen, "address and port for phones")->capture_default_str();
  app.add_option("--qemu", options.qemu, "qemu-system-arm that runs the clones")->capture_default_str();
  app.add_option("--scheduler", scheduling,
                 "who schedules clones' vCPUs: sbco (in the kernel, needs sched_ext), affinity (siblings on different "
                 "CPUs), kernel (as it likes), or auto: sbco, else affinity")
      ->check(CLI::IsMember({"auto", "sbco", "affinity", "kernel"}))
      ->capture_default_str();
  app.add_option("--scx", options.amphion_scx, "amphion-scx, which loads SBCO")->capture_default_str();
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_flag("--json-log", options.json_log, "log one JSON object a line");
  CLI::App* pair = app.add_subcommand("pair", "a one-time code by which a phone is paired with the amphiond of --data");
  pair->add_option(
      "--name", options.device,
      "the phone's name; one that is known already is paired anew, and finds what it has docked [a free one]");
  CLI::App* unpair = app.add_subcommand("unpair", "refuse a phone from now on");
  unpair->add_option("NAME", options.device, "the phone")->required();
  CLI::App* status = app.add_subcommand("status", "the clones of the amphiond of --data, and who schedules them");
  try {
    app.parse(argc, argv);
    options.scheduling = schedulings.at(scheduling);
    if (options.data.empty()) throw CLI::RequiredError("--data");
    if (pair->parsed()) options.command = Command::pair;
    if (unpair->parsed()) options.command = Command::unpair;
    if (status->parsed()) options.command = Command::status;
    if (options.command == Command::serve && options.pki.empty()) throw CLI::RequiredError("--pki");
    if (auto error = parse_listen(listen, options.listen_host, options.listen_port)) {
      throw CLI::ValidationError("--listen", *error);
    }
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return {std::nullopt, code == 0 ? 0 : 2};
  }
  return {options, 0};
}

}  // namespace amphion::cloud
