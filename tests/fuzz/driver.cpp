// SPDX-License-Identifier: Apache-2.0
// amphion-fuzz: executes targets with one seed after the other until its time is over; see README.md.
#include "tests/fuzz/driver.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <vector>

// What the sanitizers find ends as everything else does: by SIGABRT. They ask for these by name.
extern "C" const char* __asan_default_options() { return "abort_on_error=1"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace amphion::fuzz {
namespace {

constexpr Target targets[] = {{"devices", devices},
                              {"states", states},
                              {"link-messages", link_messages},
                              {"link-files", link_files},
                              {"control", control},
                              {"qemu-stream", qemu_stream},
                              {"hyp-bundle", hypervisor_bundle},
                              {"hyp-devices", hypervisor_devices},
                              {"hyp-gic", hypervisor_gic},
                              {"hyp-gic-threads", hypervisor_gic_threads}};

// Of the execution under way, for what is said at its death.
const char* name_now = "";
std::uint64_t seed_now = 0;

void tell_how_to_repeat() {
  std::fprintf(stderr,
               "FAILED: repeat it with build/pc-sanitize/tests/fuzz/amphion-fuzz %s --seed %llu --executions 1\n",
               name_now, static_cast<unsigned long long>(seed_now));
}

struct Order {
  std::vector<std::string> names;
  std::uint64_t seed = 1;
  std::uint64_t executions = ~std::uint64_t{0};
  double seconds = 10;
};

bool wanted(const Order& order, const std::string& name) {
  return order.names.empty() || std::find(order.names.begin(), order.names.end(), name) != order.names.end();
}

void run(const Target& target, const Order& order) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(order.seconds));
  std::uint64_t done = 0;
  name_now = target.name;
  for (; done < order.executions && Clock::now() < end; ++done) {
    seed_now = order.seed + done;
    Random random(seed_now);
    target.execute(random);
  }
  std::printf("%s: %llu executions from seed %llu\n", target.name, static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(order.seed));
  std::fflush(stdout);
}

}  // namespace

void wrong(const char* what) {
  std::fprintf(stderr, "this does not hold: %s\n", what);
  std::abort();
}

}  // namespace amphion::fuzz

int main(int argc, char** argv) {
  using namespace amphion::fuzz;
  CLI::App app{"Executes fuzz targets of parsers, devices and the hypervisor's libraries, one seed after the other."};
  Order order;
  std::vector<std::string> known;
  for (const Target& target : targets) known.emplace_back(target.name);
  app.add_option("targets", order.names, "default: all")->check(CLI::IsMember(known));
  app.add_option("--seed", order.seed, "of the first execution; the next has the next number")->capture_default_str();
  app.add_option("--executions", order.executions, "at most that many of each target");
  app.add_option("--seconds", order.seconds, "at most that long for each target")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGABRT, [](int) {
    tell_how_to_repeat();
    std::signal(SIGABRT, SIG_DFL);
    std::raise(SIGABRT);
  });
  for (const Target& target : targets) {
    if (wanted(order, target.name)) run(target, order);
  }
  return 0;
}
