// SPDX-License-Identifier: Apache-2.0
// Who schedules clones' vCPUs: shares of the CPUs, affinity of threads, SBCO as a child that may fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include "cloud-side/amphiond/admin_socket.hpp"
#include "cloud-side/amphiond/commands.hpp"
#include "cloud-side/amphiond/host_scheduling.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Apart, siblings_share_no_cpu_and_none_is_left_out) {
  for (std::size_t count = 1; count <= 9; ++count) {
    Cpus cpus;
    for (std::size_t n = 0; n < count; ++n) cpus.push_back(static_cast<int>(3 * n));
    for (std::size_t vcpus = 1; vcpus <= count; ++vcpus) {
      for (std::size_t turn = 0; turn < 4; ++turn) {
        std::multiset<int> used;
        for (const Cpus& share : apart(cpus, vcpus, turn)) {
          EXPECT_FALSE(share.empty());
          used.insert(share.begin(), share.end());
        }
        EXPECT_EQ(used, std::multiset<int>(cpus.begin(), cpus.end())) << count << " CPUs, " << vcpus << " vCPUs";
      }
    }
  }
}

TEST(Apart, rotates_from_clone_to_clone) {
  EXPECT_THAT(apart({0, 1}, 2, 0), ElementsAre(Cpus{0}, Cpus{1}));
  EXPECT_THAT(apart({0, 1}, 2, 1), ElementsAre(Cpus{1}, Cpus{0}));
  EXPECT_THAT(apart({0, 1, 2, 3}, 2, 1), ElementsAre(Cpus{2, 3}, Cpus{0, 1}));
}

TEST(Apart, surplus_vcpus_go_anywhere) {
  EXPECT_THAT(apart({4, 5}, 3, 0), ElementsAre(Cpus{4}, Cpus{5}, Cpus{4, 5}));
  EXPECT_THAT(apart({}, 2, 0), ElementsAre(Cpus{}, Cpus{}));
}

class FakeAffinity final : public Affinity {
 public:
  [[nodiscard]] Cpus own() const override { return {0, 1, 2, 3}; }
  bool set(int thread, const Cpus& cpus) const override {
    set_[thread] = cpus;
    return thread != 666;
  }
  [[nodiscard]] bool lives(int process) const override { return process != dead; }
  [[nodiscard]] Cpus of(int thread) const { return set_.contains(thread) ? set_[thread] : Cpus{}; }
  void forget() { set_.clear(); }
  int dead = 0;

 private:
  mutable std::map<int, Cpus> set_;
};

TEST(VcpuPlacement, sets_those_that_come_and_those_that_are_there) {
  FakeAffinity affinity;
  VcpuPlacement placement(affinity);
  placement.add(10, {11, 12});
  EXPECT_EQ(affinity.of(11), (Cpus{0, 1, 2, 3}));  // one that was adopted may have been bound
  placement.keep_apart(true);
  EXPECT_EQ(affinity.of(11), (Cpus{0, 1}));
  EXPECT_EQ(affinity.of(12), (Cpus{2, 3}));
  placement.add(20, {21, 666, 23});
  EXPECT_EQ(affinity.of(21).size() + affinity.of(666).size() + affinity.of(23).size(), 4u);
  placement.keep_apart(false);
  EXPECT_EQ(affinity.of(12), (Cpus{0, 1, 2, 3}));
  EXPECT_EQ(affinity.of(23), (Cpus{0, 1, 2, 3}));
}

TEST(VcpuPlacement, leaves_threads_of_ended_clones_alone) {
  FakeAffinity affinity;
  VcpuPlacement placement(affinity);
  placement.add(10, {11, 12});
  placement.add(20, {21, 22});
  affinity.forget();
  affinity.dead = 10;
  placement.keep_apart(true);
  EXPECT_THAT(affinity.of(11), IsEmpty());
  EXPECT_EQ(affinity.of(21).size(), 2u);
}

TEST(VcpuPlacement, binds_real_threads) {
  const Cpus own = system_affinity().own();
  ASSERT_FALSE(own.empty());
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<int> ids;
  bool end = false;
  std::vector<std::thread> threads;
  for (int n = 0; n < 2; ++n) {
    threads.emplace_back([&] {
      std::unique_lock lock(mutex);
      ids.push_back(gettid());
      wake.notify_all();
      wake.wait(lock, [&] { return end; });
    });
  }
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return ids.size() == 2; });
  VcpuPlacement placement;
  placement.add(getpid(), ids);
  placement.keep_apart(true);
  const auto bound = [&](int thread) {
    cpu_set_t set;
    EXPECT_EQ(sched_getaffinity(thread, sizeof set, &set), 0);
    return set;
  };
  cpu_set_t first = bound(ids[0]), second = bound(ids[1]), both;
  CPU_AND(&both, &first, &second);
  EXPECT_EQ(CPU_COUNT(&both), own.size() > 1 ? 0 : 1);
  placement.keep_apart(false);
  first = bound(ids[0]);
  EXPECT_EQ(CPU_COUNT(&first), static_cast<int>(own.size()));
  end = true;
  lock.unlock();
  wake.notify_all();
  for (auto& thread : threads) thread.join();
}

// A program in amphion-scx's place.
std::filesystem::path program(const Scratch& scratch, const std::string& body) {
  const auto path = scratch.path() / "amphion-scx";
  std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
  chmod(path.c_str(), 0755);
  return path;
}

TEST(HostScheduling, uses_sbco_where_it_can_be_loaded) {
  const Scratch scratch;
  FakeAffinity affinity;
  {
    HostScheduling scheduling(Scheduling::automatic,
                              program(scratch,
                                      "trap 'echo ended >\"$0.log\"; exit 0' TERM\n"
                                      "echo SBCO schedules this machine\nwhile :; do sleep 0.05; done"),
                              affinity);
    EXPECT_EQ(scheduling.describe()["policy"], "sbco");
    EXPECT_EQ(scheduling.describe()["note"], "");
    scheduling.took(10, {11, 12});
    EXPECT_EQ(affinity.of(11).size(), 4u);
  }
  std::ifstream log((scratch.path() / "amphion-scx.log").string());
  std::string said;
  log >> said;
  EXPECT_EQ(said, "ended");  // with its owner, in order
}

TEST(HostScheduling, keeps_siblings_apart_where_sbco_cannot_be_loaded) {
  const Scratch scratch;
  FakeAffinity affinity;
  HostScheduling scheduling(Scheduling::automatic,
                            program(scratch, "echo amphion-scx: this kernel has no sched_ext >&2; exit 1"), affinity);
  scheduling.took(10, {11, 12});
  EXPECT_EQ(affinity.of(11), (Cpus{0, 1}));
  EXPECT_EQ(scheduling.describe()["policy"], "affinity");
  EXPECT_EQ(scheduling.describe()["note"], "this kernel has no sched_ext");
}

TEST(HostScheduling, says_so_where_sbco_is_demanded_in_vain) {
  const Scratch scratch;
  FakeAffinity affinity;
  try {
    HostScheduling scheduling(Scheduling::sbco, scratch.path() / "nothing", affinity);
    FAIL();
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("SBCO cannot schedule here: there is no "));
  }
  HostScheduling left(Scheduling::kernel, scratch.path() / "nothing", affinity);
  EXPECT_EQ(left.describe()["policy"], "kernel");
}

TEST(HostScheduling, keeps_siblings_apart_from_when_sbco_ends) {
  const Scratch scratch;
  FakeAffinity affinity;
  const auto go = scratch.path() / "go";
  HostScheduling scheduling(
      Scheduling::sbco,
      program(scratch,
              "echo SBCO schedules this machine\nwhile [ ! -e \"$(dirname \"$0\")/go\" ]; do sleep "
              "0.05; done\necho 'amphion-scx: the kernel has ended SBCO' >&2; exit 1"),
      affinity);
  scheduling.took(10, {11, 12});
  EXPECT_EQ(affinity.of(12).size(), 4u);
  std::ofstream(go) << "now";
  while (scheduling.describe()["policy"] == "sbco") std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(scheduling.describe()["note"], "SBCO has ended: the kernel has ended SBCO");
  EXPECT_EQ(affinity.of(12).size(), 2u);
}

TEST(Options, names_who_schedules) {
  const char* arguments[] = {"amphiond", "--data", "/tmp/x", "--pki", "/tmp/y", "--scheduler", "affinity"};
  EXPECT_EQ(parse_options(5, arguments).options->scheduling, Scheduling::automatic);
  EXPECT_EQ(parse_options(7, arguments).options->scheduling, Scheduling::affinity);
  arguments[6] = "fair";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(parse_options(7, arguments).exit_code, 2);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("fair"));
}

TEST(Status, says_who_schedules_and_what_runs) {
  const Scratch scratch;
  nlohmann::json answer = nlohmann::json::parse(
      R"({"ok":true,"scheduler":{"policy":"affinity","note":"this kernel has no sched_ext"},"devices":[{"device":"phone",
          "connected":true,"instances":[{"instance":"work","place":"cloud","pid":7,"note":""},
                                        {"instance":"home","place":"phone","pid":0,"note":"a note"}]}]})");
  const AdminSocket socket(scratch.path() / "admin.sock", [&](const nlohmann::json&) { return answer; });
  Options options;
  options.command = Command::status;
  options.data = scratch.path();
  std::ostringstream out, err;
  EXPECT_EQ(run_command(options, out, err), 0);
  EXPECT_EQ(out.str(),
            "clones' vCPUs are kept apart by processor affinity; this kernel has no sched_ext\nphone: connected\n"
            "  work: in the cloud, its clone is process 7\n  home: on the phone; a note\n");
}

}  // namespace
}  // namespace amphion::cloud::testing
