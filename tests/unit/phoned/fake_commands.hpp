// SPDX-License-Identifier: Apache-2.0
// A phone for the control server and the command line: two instances, `work` docks in two steps, consoles echo, the
// screen is red.
// Thread safety: all functions from any thread.
#pragma once

#include <atomic>

#include "phone-side/phoned/control_picture.hpp"
#include "phone-side/phoned/control_server.hpp"

namespace amphion::phoned::fakes {

class FakeCommands : public Commands {
 public:
  nlohmann::json execute(const Request& request, const Progress& progress) override {
    ++executed;
    last = request;
    if (request.operation == Operation::reset) throw std::runtime_error("nobody has thought of this");
    if (request.operation == Operation::create) return {{"ok", true}, {"instance", request.instance}};
    check(request);
    if (request.operation == Operation::dock && request.instance == "personal") {
      throw CommandError("personal is already docked");
    }
    if (request.operation == Operation::dock) {
      progress(
          {{"step", "copying"}, {"percent", 40}, {"raw_bytes", 2u << 20}, {"sent_bytes", 1u << 20}, {"total_ms", 900}});
      progress({{"step", "stopping"},
                {"percent", 100},
                {"raw_bytes", 3u << 20},
                {"sent_bytes", 1u << 20},
                {"total_ms", 1500}});
      return {{"ok", true},
              {"instance", "work"},
              {"place", "cloud"},
              {"raw_bytes", 3u << 20},
              {"sent_bytes", 1u << 20},
              {"total_ms", 2300},
              {"stopped_ms", 140}};
    }
    if (request.operation == Operation::sched || request.operation == Operation::sched_stats) return scheduler();
    if (request.operation == Operation::screen) return picture_answer(Picture(picture_pixels, 0xf800));
    return {
        {"ok", true},
        {"instances",
         {{{"name", "personal"}, {"place", "cloud"}, {"state", "docked"}, {"memory_bytes", 512u << 20}, {"vcpus", 4}},
          {{"name", "work"},
           {"place", "phone"},
           {"state", "running"},
           {"focused", true},
           {"vcpus", 4},
           {"vcpus_allowed", 2},
           {"populated_bytes", 100u << 20},
           {"bound_bytes", 160u << 20}}}},
        {"cloud", {{"address", "10.0.2.2:7448"}, {"connected", false}, {"error", "nobody answers"}}}};
  }
  std::shared_ptr<ConsoleView> open_console(const Request& request) override {
    check(request);
    return hub.join();
  }
  std::shared_ptr<ConsoleView> open_logs(const Request& request) override {
    check(request);
    auto view = std::make_shared<ConsoleView>();
    view->put((request.instance.empty() ? "phoned" : request.instance) + " starts\nhalf a line");
    if (!request.follow) view->end({});
    if (request.follow) view->end("the instance was removed");
    return view;
  }
  void console_input(const Request&, std::string_view bytes) override { hub.put(bytes); }
  void console_left(const Request&) override {}

  ConsoleHub hub{0};
  std::atomic<int> executed{0};
  Request last{};

 private:
  static nlohmann::json scheduler() {
    return {{"ok", true},
            {"policy", "sbco"},
            {"threshold", 0.667},
            {"latency_ms", 6.0},
            {"granularity_ms", 0.75},
            {"hand_over", true},
            {"cpus",
             {{{"cpu", 0},
               {"run_ns", 70'000'000'000},
               {"idle_ns", 30'000'000'000},
               {"wait_ns", 1'234'567'890},
               {"decisions", 123456},
               {"switches", 4567},
               {"moves", 89},
               {"lends", 7},
               {"debts", 6},
               {"stackings_avoided", 5}}}},
            {"vcpus",
             {{{"instance", "host"},
               {"vcpu", 0},
               {"run_ns", 67'200'000'000},
               {"wait_ns", 0},
               {"switches", 4246},
               {"moves", 0},
               {"lends", 0},
               {"debts", 0}},
              {{"instance", "work"},
               {"vcpu", 1},
               {"run_ns", 2'300'000'000},
               {"wait_ns", 45'999'999},
               {"switches", 321},
               {"moves", 12},
               {"lends", 3},
               {"debts", 2}}}}};
  }
  static void check(const Request& request) {
    if (!request.instance.empty() && request.instance != "work" && request.instance != "personal") {
      throw CommandError("unknown instance \"" + request.instance + "\"; there are: personal, work");
    }
  }
};

}  // namespace amphion::phoned::fakes
