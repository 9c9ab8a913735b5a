// SPDX-License-Identifier: MIT OR GPL-2.0-only
// amphion-scx: loads SBCO into the kernel and keeps it there until SIGTERM, SIGINT or its own end; or says what the one
// that runs has counted.
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "sched/scx/loader.hpp"

namespace {

using namespace amphion::scx;

constexpr std::array<std::pair<const char*, unsigned long long sbco_counters::*>, 14> names{{
    {"decisions", &sbco_counters::decisions},
    {"switches", &sbco_counters::switches},
    {"far", &sbco_counters::far},
    {"successors", &sbco_counters::successors},
    {"joined", &sbco_counters::joined},
    {"debts_applied", &sbco_counters::debts_applied},
    {"debts_void", &sbco_counters::debts_void},
    {"stackings_avoided", &sbco_counters::stackings_avoided},
    {"stacked", &sbco_counters::stacked},
    {"moves", &sbco_counters::moves},
    {"pulled", &sbco_counters::pulled},
    {"returned", &sbco_counters::returned},
    {"overflow", &sbco_counters::overflow},
    {"vcpus_found", &sbco_counters::vcpus},
}};
constexpr std::array<const char*, 4> lives{"asleep", "queued", "running", "away"};

void print_json(const Statistics& all) {
  std::printf("{");
  for (const auto& [name, counter] : names) std::printf("\"%s\":%llu,", name, all.counters.*counter);
  std::printf("\"vcpus\":[");
  const char* comma = "";
  for (const auto& vcpu : all.vcpus) {
    std::printf("%s{\"process\":%u,\"thread\":%u,\"cpu\":%u,\"state\":\"%s\",\"ordinate\":%u}", comma, vcpu.process,
                vcpu.thread, vcpu.cpu, lives[vcpu.life & 3], vcpu.ordinate);
    comma = ",";
  }
  std::printf("]}\n");
}

void print_text(const Statistics& all) {
  for (const auto& [name, counter] : names) std::printf("%-18s %llu\n", name, all.counters.*counter);
  if (!all.vcpus.empty()) std::printf("\nprocess   thread  CPU  state    ordinate\n");
  for (const auto& vcpu : all.vcpus) {
    std::printf("%7u  %7u  %3u  %-8s %u\n", vcpu.process, vcpu.thread, vcpu.cpu, lives[vcpu.life & 3], vcpu.ordinate);
  }
}

int run(const Tuning& tuning) {
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGINT);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  const int signals = signalfd(-1, &wanted, SFD_CLOEXEC);
  if (signals < 0) throw std::runtime_error("no signalfd");
  while (true) {
    Loader loader(tuning);
    std::printf("SBCO schedules this machine\n");
    std::fflush(stdout);
    const Ending ending = loader.wait(signals);
    if (ending.wanted) break;
    if (!ending.restart) throw std::runtime_error("the kernel has ended SBCO and schedules itself: " + ending.text);
    std::printf("CPUs have come or gone: SBCO begins anew\n");
    std::fflush(stdout);
  }
  std::printf("SBCO has ended; the kernel's own scheduler goes on\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"SBCO for Linux hosts (sched_ext): siblings of a VM run on different CPUs and near each other in time.",
               "amphion-scx"};
  app.footer(
      "Without --check or --stats it loads the scheduler and stays until SIGTERM; when it ends, in whichever way, the "
      "kernel's own scheduler goes on. Exit codes: 0 done, 1 failed, 2 wrong usage.");
  Tuning tuning;
  double latency_ms = 24, granularity_ms = 3, threshold = 2.0 / 3;
  bool check = false, show = false, json = false;
  app.add_flag("--check", check, "say whether this kernel can, and load nothing");
  app.add_flag("--stats", show, "what the scheduler that runs has counted, and where each vCPU is");
  app.add_flag("--json", json, "with --stats: as JSON");
  app.add_option("--latency", latency_ms, "ms in which every task of a queue runs once")
      ->check(CLI::Range(1.0, 1000.0))
      ->capture_default_str();
  app.add_option("--granularity", granularity_ms, "ms that a turn lasts at least, on average")
      ->check(CLI::Range(0.1, 100.0))
      ->capture_default_str();
  app.add_option("--threshold", threshold, "part of a queue by which siblings may be apart; 1: any distance [2/3]")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--watchdog", tuning.watchdog_ms, "ms after which a task that waits ends the scheduler")
      ->check(CLI::Range(1000, 30000))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
    if (json && !show) throw CLI::RequiresError("--json", "--stats");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  tuning.latency_ns = static_cast<uint64_t>(latency_ms * 1e6);
  tuning.granularity_ns = static_cast<uint64_t>(granularity_ms * 1e6);
  tuning.threshold = static_cast<uint32_t>(std::lround(threshold * 1024));
  try {
    if (check) {
      if (const auto reason = obstacle()) throw std::runtime_error(*reason);
      std::printf("SBCO can be loaded here\n");
    } else if (show) {
      const Statistics all = statistics();
      json ? print_json(all) : print_text(all);
    } else {
      return run(tuning);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "amphion-scx: %s\n", error.what());
    return 1;
  }
}
