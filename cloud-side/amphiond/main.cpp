// SPDX-License-Identifier: Apache-2.0
// amphiond: Amphion's cloud server. Options, log, lock, server, admin socket; then it waits for SIGTERM or SIGINT.
// Clones are processes of their own and go on when it ends, in order or not; the next start adopts them.
#include <spdlog/pattern_formatter.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "cloud-side/amphiond/admin_socket.hpp"
#include "cloud-side/amphiond/commands.hpp"
#include "cloud-side/amphiond/data_lock.hpp"
#include "cloud-side/amphiond/host_scheduling.hpp"
#include "cloud-side/amphiond/options.hpp"
#include "cloud-side/amphiond/qemu_clone_control.hpp"
#include "cloud-side/amphiond/server.hpp"

namespace {

using namespace amphion;
using namespace amphion::cloud;

// The message as a JSON string.
class JsonText final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const nlohmann::json text = std::string(message.payload.data(), message.payload.size());
    const auto quoted = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonText>(); }
};

void set_up_log(const Options& options) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<JsonText>('*').set_pattern(
      options.json_log ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e","level":"%l","text":%*})" : "%Y-%m-%d %H:%M:%S.%e %l %v");
  spdlog::set_formatter(std::move(formatter));
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::info);
}

void block_signals(sigset_t& waited_for) {
  sigemptyset(&waited_for);
  sigaddset(&waited_for, SIGTERM);
  sigaddset(&waited_for, SIGINT);
  pthread_sigmask(SIG_BLOCK, &waited_for, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

void check_qemu(const std::filesystem::path& qemu) {
  if (std::filesystem::exists(qemu)) return;
  throw std::runtime_error("there is no QEMU at " + qemu.string() + "; run `make setup`, or give --qemu");
}

int run(const Options& options, const sigset_t& signals) {
  const DataLock lock(options.data);
  check_qemu(options.qemu);
  PosixFiles files;
  HostScheduling scheduling(options.scheduling, options.amphion_scx);
  QemuCloneStarter starter(options.qemu, options.data / "templates", scheduling);
  Server server(options.data, files, link::real_files(), starter);
  server.listen({options.listen_host, options.listen_port}, options.pki.string());
  const AdminSocket admin(options.data / "admin.sock", [&](const nlohmann::json& request) {
    auto answer = server.admin(request);
    if (request.value("do", "") == "list") answer["scheduler"] = scheduling.describe();
    return answer;
  });
  spdlog::info("amphiond serves phones at {}:{}, data in {}", options.listen_host, server.port(),
               options.data.string());
  int number = 0;
  sigwait(&signals, &number);
  const std::size_t running = server.stop();
  spdlog::info("amphiond ends; {} clone{} running, and {} adopted at the next start", running,
               running == 1 ? " goes on" : "s go on", running == 1 ? "is" : "are");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto parsed = parse_options(argc, argv);
  if (!parsed.options) return parsed.exit_code;
  if (parsed.options->command != Command::serve) return run_command(*parsed.options, std::cout, std::cerr);
  sigset_t signals;
  block_signals(signals);
  set_up_log(*parsed.options);
  try {
    return run(*parsed.options, signals);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "amphiond: %s\n", error.what());
    return 1;
  }
}
