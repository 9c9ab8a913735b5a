// SPDX-License-Identifier: Apache-2.0
// Every step of dock and undock with every fault: the link cut, the cloud server killed, its host or the phone without
// power, a disk that fails, each at every message and at every file operation. Afterwards the instance is in exactly
// one place, goes on from there, nothing typed is lost, and a further hand-over works.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/unit/link/world.hpp"

namespace amphion::link::test {
namespace {

std::string describe(bool dock, const Fault& fault) {
  static constexpr const char* kinds[] = {"nothing",     "cut link",    "kill cloud",
                                          "cloud power", "phone power", "disk error"};
  static constexpr const char* points[] = {"before message", "after message", "at phone file operation",
                                           "at cloud file operation"};
  return std::string(dock ? "dock, " : "undock, ") + kinds[static_cast<int>(fault.kind)] + " " +
         points[static_cast<int>(fault.point)] + " " + std::to_string(fault.at);
}

// One case. Returns false when the fault was never reached: the hand-over has fewer steps.
bool run_case(bool dock, const Fault& fault) {
  const std::string what = describe(dock, fault);
  SCOPED_TRACE(what);
  World world;
  world.connect();
  world.type('a');
  if (!dock) {
    const HandoverReport first = world.dock();
    EXPECT_EQ(first.outcome, Outcome::committed) << first.reason;
    world.type('b');
    const std::lock_guard lock(world.mutex());
    world.cloud.guest->tick();
  }
  const bool phone_file = fault.point == FaultPoint::phone_file;
  const bool file_point = phone_file || fault.point == FaultPoint::cloud_file;
  Side& victim = phone_file ? world.phone : world.cloud;
  const int changes = victim.files.changes();
  const HandoverReport report = dock ? world.dock(fault) : world.undock(fault);
  const bool reached = file_point ? victim.files.changes() - changes > fault.at : world.messages() > fault.at;
  world.recover();
  world.check(what);
  if (::testing::Test::HasFailure()) {
    std::cerr << what << ": " << text(report.outcome) << " (" << report.reason << ")\n";
    return false;
  }
  Side& now = world.living();
  const HandoverReport again = &now == &world.phone ? world.dock() : world.undock();
  EXPECT_EQ(again.outcome, Outcome::committed) << again.reason;
  world.check(what + ", and once more");
  return reached && !::testing::Test::HasFailure();
}

void run_all(bool dock, FaultKind kind, FaultPoint point) {
  int cases = 0;
  for (int at = 0; run_case(dock, {kind, point, at}); ++at) ++cases;
  EXPECT_GE(cases, 4) << "the fault struck too rarely to have tested anything";
}

struct Row {
  bool dock;
  FaultKind kind;
  FaultPoint point;
};

class Faults : public ::testing::TestWithParam<Row> {};

TEST_P(Faults, LeaveExactlyOneLivingCopy) { run_all(GetParam().dock, GetParam().kind, GetParam().point); }

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const bool dock : {true, false}) {
    all.push_back({dock, FaultKind::cut_link, FaultPoint::before_message});
    all.push_back({dock, FaultKind::cut_link, FaultPoint::after_message});
    all.push_back({dock, FaultKind::kill_cloud, FaultPoint::before_message});
    all.push_back({dock, FaultKind::cloud_power, FaultPoint::after_message});
    all.push_back({dock, FaultKind::phone_power, FaultPoint::before_message});
    all.push_back({dock, FaultKind::phone_power, FaultPoint::after_message});
    all.push_back({dock, FaultKind::cloud_power, FaultPoint::cloud_file});
    all.push_back({dock, FaultKind::phone_power, FaultPoint::phone_file});
    all.push_back({dock, FaultKind::disk_error, FaultPoint::cloud_file});
    all.push_back({dock, FaultKind::disk_error, FaultPoint::phone_file});
  }
  return all;
}

std::string row_name(const ::testing::TestParamInfo<Row>& info) {
  static constexpr const char* kinds[] = {"Nothing", "CutLink", "KillCloud", "CloudPower", "PhonePower", "DiskError"};
  static constexpr const char* points[] = {"BeforeMessage", "AfterMessage", "AtPhoneFile", "AtCloudFile"};
  return std::string(info.param.dock ? "Dock" : "Undock") + kinds[static_cast<int>(info.param.kind)] +
         points[static_cast<int>(info.param.point)];
}

INSTANTIATE_TEST_SUITE_P(EveryStep, Faults, ::testing::ValuesIn(rows()), row_name);

}  // namespace
}  // namespace amphion::link::test
