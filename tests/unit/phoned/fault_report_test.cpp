// SPDX-License-Identifier: Apache-2.0
#include "phone-side/phoned/fault_report.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>

namespace amphion::phoned {
namespace {

TEST(FaultReportDeathTest, SaysWhereAndEndsByTheSignal) {
  const auto fall = [](int signal) {
    report_faults();
    std::thread([&] { std::raise(signal); }).join();
  };
  EXPECT_EXIT(fall(SIGABRT), testing::KilledBySignal(SIGABRT),
              "a fault ends it: signal 6, .*\n(.*\n)*.*phoned_unit_tests");
  EXPECT_EXIT(fall(SIGBUS), testing::KilledBySignal(SIGBUS), "a fault ends it: signal 7, ");
}

}  // namespace
}  // namespace amphion::phoned
