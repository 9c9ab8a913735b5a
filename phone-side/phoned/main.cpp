// SPDX-License-Identifier: Apache-2.0
// phoned: reads the configuration, opens the hypervisor, runs the phone until it is told to end (SIGTERM, SIGINT, an
// owner).
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <iostream>
#include <optional>

#include "link/wall_clock.hpp"
#include "phone-side/instance/linux_hypervisor.hpp"
#include "phone-side/phoned/confined_instance.hpp"
#include "phone-side/phoned/crash_log.hpp"
#include "phone-side/phoned/fault_report.hpp"
#include "phone-side/phoned/phone.hpp"
#include "phone-side/phoned/watchdog.hpp"

namespace {

using namespace amphion;

struct Options {
  std::string config = "/data/phoned.json";
  std::string device_model = "/usr/sbin/amphion-instance";
  std::string network_tool = "/usr/sbin/amphion-network";
  bool verbose = false;
};

// With a time of our own: spdlog's is the library's, which ends in 2038 (docs/time.md).
class LogLine final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto level = spdlog::level::to_string_view(message.level);
    const std::string begin =
        link::utc_text(link::wall_clock_s()) + " phoned " + std::string(level.data(), level.size()) + ": ";
    out.append(begin.data(), begin.data() + begin.size());
    out.append(message.payload.data(), message.payload.data() + message.payload.size());
    out.push_back('\n');
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<LogLine>(); }
};

void set_up_log(bool verbose) {
  auto logger = spdlog::stderr_logger_mt("phoned");
  logger->set_formatter(std::make_unique<LogLine>());
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  logger->flush_on(spdlog::level::debug);
  spdlog::set_default_logger(std::move(logger));
}

// phoned's own words go to the log files as well.
class LogSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LogSink(std::shared_ptr<phoned::Logs> logs) : logs_(std::move(logs)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::time_t when = std::chrono::system_clock::to_time_t(message.time);
    std::tm fields{};
    localtime_r(&when, &fields);
    char time[32];
    const std::size_t length = std::strftime(time, sizeof time, "%Y-%m-%d %H:%M:%S", &fields);
    logs_->note(std::string(time, length), std::string_view(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  std::shared_ptr<phoned::Logs> logs_;
};

// Before any thread is made, so that all of them leave the signals to wait_for_end().
sigset_t block_signals() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return ends;
}

void keep_last_log(const std::string& data) {
  const auto kept =
      phoned::keep_last_log_once(link::real_files(), "/dev/amphion", data + "/crashes", "/run/last-log-kept");
  if (!kept) return spdlog::error("the last run's log: {}", kept.error().text);
  if (*kept) spdlog::warn("the board's last run was not ended in order; what it said last is in {}", **kept);
}

std::optional<phoned::Watchdog> start_watchdog(std::uint32_t seconds) {
  if (seconds == 0) return std::nullopt;
  auto dog = phoned::Watchdog::start("/dev/watchdog", std::chrono::seconds(seconds));
  if (!dog) {
    spdlog::info("{}", dog.error().text);
    return std::nullopt;
  }
  spdlog::info("the watchdog resets the board after {} s without phoned", dog->timeout().count());
  return std::move(*dog);
}

// Until a signal; meanwhile the watchdog is fed whenever phone and hypervisor have answered.
void wait_for_end(const sigset_t& ends, phoned::Phone& phone, instance::Hypervisor& hypervisor,
                  std::optional<phoned::Watchdog> dog) {
  if (!dog) {
    int signal = 0;
    sigwait(&ends, &signal);
    return;
  }
  const auto turn_ms = static_cast<long>(std::chrono::milliseconds(dog->timeout()).count() / 4);
  const timespec turn{turn_ms / 1000, turn_ms % 1000 * 1'000'000L};
  do {
    phone.answer();
    amphion_info info{};
    if (const auto problem = hypervisor.info(info)) {
      spdlog::error("the watchdog is not fed: {}", *problem);
    } else {
      dog->feed();
    }
  } while (sigtimedwait(&ends, nullptr, &turn) < 0);
  dog->stop();  // the orderly end may take longer
}

// As /sbin/poweroff asks BusyBox's init, which ends phoned in order.
void switch_off() {
  spdlog::info("the power key was pressed");
  if (kill(1, SIGUSR2) != 0) spdlog::error("cannot tell init to switch the phone off: {}", std::strerror(errno));
}

int run(const Options& options) {
  const sigset_t ends = block_signals();
  phoned::Config config = phoned::read_config(options.config);
  keep_last_log(config.data);
  const std::uint32_t watchdog_s = config.watchdog_s;
  instance::Problem problem;
  const auto hypervisor = instance::open_hypervisor(problem);
  if (!hypervisor) throw std::runtime_error(problem.value_or("no hypervisor"));
  phoned::Networks networks(link::real_files(), config.data + "/instances", options.network_tool);
  if (const auto status = networks.start(); !status.ok())
    spdlog::error("instances are without a network: {}", status.error().text);
  const auto logs = std::make_shared<phoned::Logs>(link::real_files(), config.data + "/logs");
  spdlog::default_logger()->sinks().push_back(std::make_shared<LogSink>(logs));  // no thread speaks yet
  phoned::Phone phone(
      std::move(config), phoned::confined_factory(*hypervisor, options.device_model, &networks), *hypervisor, *logs,
      [] { kill(getpid(), SIGTERM); }, switch_off);
  phone.start();
  spdlog::info("ready");
  wait_for_end(ends, phone, *hypervisor, start_watchdog(watchdog_s));
  spdlog::info("ends");
  phone.stop();
  spdlog::info("ended");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("The phone's daemon: runs its instances, gives them keys and screen, docks them to the cloud.",
               "phoned");
  app.add_option("--config", options.config, "configuration file (phone-side/phoned/README.md)")->capture_default_str();
  app.add_option("--device-model", options.device_model, "the program that an instance's device model runs in")
      ->capture_default_str();
  app.add_option("--network-tool", options.network_tool, "the program that makes the instances' networks")
      ->capture_default_str();
  app.add_flag("--verbose", options.verbose, "say more");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  set_up_log(options.verbose);
  phoned::report_faults();
  try {
    return run(options);
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return 1;
  }
}
