// SPDX-License-Identifier: Apache-2.0
// The rules that stand alone: what amphiond does with an instance when it starts, and how far a clone is shrunk.
#include <gtest/gtest.h>

#include "cloud-side/amphiond/adoption.hpp"
#include "cloud-side/amphiond/shrink.hpp"

namespace amphion::cloud::testing {
namespace {

using link::StartDecision;
using namespace std::chrono_literals;

constexpr std::uint64_t mib = 1 << 20;

struct Row {
  StartDecision record;
  bool clone_runs, image, fresh;
  Adoption what;
};

TEST(Adoption, follows_the_table) {
  const Row table[] = {
      {StartDecision::start_saved, true, true, false, Adoption::adopt},
      {StartDecision::start_saved, true, false, false, Adoption::adopt},
      {StartDecision::start_saved, false, true, true, Adoption::start},
      {StartDecision::start_saved, false, true, false, Adoption::restart},
      {StartDecision::start_saved, false, false, true, Adoption::lost},
      {StartDecision::cold_boot, false, true, true, Adoption::lost},
      {StartDecision::cold_boot, true, false, false, Adoption::adopt},
      {StartDecision::ask, false, true, true, Adoption::wait},
      {StartDecision::ask, true, true, false, Adoption::wait},
      {StartDecision::elsewhere, true, true, false, Adoption::end_clone},
      {StartDecision::elsewhere, false, true, false, Adoption::nothing},
  };
  for (const auto& row : table) {
    EXPECT_EQ(decide({row.record, row.clone_runs, row.image, row.fresh}), row.what) << text(row.what);
  }
}

// A clone that must not be running while it lives elsewhere is never adopted, whatever else stands.
TEST(Adoption, never_runs_what_the_record_does_not_place_here) {
  for (const auto record : {StartDecision::ask, StartDecision::elsewhere}) {
    for (int bits = 0; bits < 8; ++bits) {
      const auto what = decide({record, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
      EXPECT_TRUE(what == Adoption::wait || what == Adoption::end_clone || what == Adoption::nothing);
    }
  }
}

struct Guest {
  std::uint64_t memory = 1024 * mib;
  std::uint64_t needs = 100 * mib;
  std::uint64_t step = 64 * mib;
  std::uint32_t vcpus = 4;
  bool service = true;
  bool reports = true;
  std::uint64_t asked = 1024 * mib;
  std::uint64_t least_available = ~std::uint64_t{0};
  CloneControl::GuestMemory report{0, 0};  // as it was up to a second ago
  std::chrono::milliseconds slept{0};
  bool cancel = false;

  void live() {
    if (slept.count() % 1000 == 400) report = {memory - std::min(memory, needs), report.report + 1};
    if (memory > asked) memory = std::max(asked, memory - std::min(memory, step));
    if (memory < asked) memory = std::min(asked, memory + step);
    least_available = std::min(least_available, memory - std::min(memory, needs));
  }
  ShrinkPort port() {
    return {[this](std::uint64_t bytes) {
              asked = bytes;
              return link::Status();
            },
            [this](std::uint32_t count) {
              if (service) vcpus = count;
              return link::Status();
            },
            [this]() -> link::Result<std::uint64_t> { return memory; },
            [this]() -> link::Result<CloneControl::GuestMemory> {
              if (!reports) return link::Error{link::ErrorCode::not_found, "no report"};
              if (report.report == 0) return link::Error{link::ErrorCode::not_found, "no report yet"};
              return report;
            },
            [this] { return service ? vcpus : 0u; },
            [](std::uint64_t) {},
            [this](std::chrono::milliseconds time) {
              slept += time;
              live();
            },
            [this] { return cancel; }};
  }
};

TEST(Shrink, stops_as_soon_as_the_target_is_reached) {
  Guest guest;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->has_bytes, 256 * mib);
  EXPECT_LE(guest.slept, 10s);
}

TEST(Shrink, leaves_a_guest_alone_that_needs_too_much) {
  Guest guest;
  guest.needs = 700 * mib;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->has_bytes, 1024 * mib);
  EXPECT_EQ(shrunk->needs_bytes, 700 * mib);
  EXPECT_LE(guest.slept, 3s);
}

// It is never brought near the end of its memory: its kernel would kill its processes, and then itself. Not by a report
// either that was true when it was made, while the balloon still moved.
TEST(Shrink, believes_no_report_of_a_guest_that_still_grows) {
  Guest guest;
  guest.memory = 512 * mib;
  const auto shrunk = shrink(guest.port(), {150 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->needs_bytes, std::nullopt);
  EXPECT_EQ(shrunk->has_bytes, 150 * mib);
}

TEST(Shrink, leaves_the_guest_what_it_needs) {
  for (const std::uint64_t step : {5, 20, 30, 64, 150, 1024}) {
    for (const std::uint64_t needs : {200, 249, 255, 257}) {
      Guest guest;
      guest.needs = needs * mib;
      guest.step = step * mib;
      const auto shrunk = shrink(guest.port(), {256 * mib, 2});
      ASSERT_TRUE(shrunk);
      EXPECT_GE(guest.least_available, std::min(256 - std::min<std::uint64_t>(needs, 256), std::uint64_t{8}) * mib);
      EXPECT_GE(guest.memory, guest.needs + 7 * mib) << step << " " << needs;
      EXPECT_LE(guest.memory, std::max(256 * mib, guest.needs + 12 * mib)) << step << " " << needs;
      EXPECT_EQ(guest.asked, guest.memory);
    }
  }
}

TEST(Shrink, does_not_squeeze_a_guest_that_does_not_report) {
  Guest guest;
  guest.reports = false;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->has_bytes, 1024 * mib);
  EXPECT_GE(guest.slept, 5s);
  EXPECT_LE(guest.slept, 9s);
}

TEST(Shrink, waits_for_a_slow_guest_as_long_as_it_moves) {
  Guest guest;
  guest.step = mib;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->has_bytes, 256 * mib);
}

TEST(Shrink, needs_no_service_in_the_guest) {
  Guest guest;
  guest.service = false;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_TRUE(shrunk);
  EXPECT_EQ(shrunk->has_bytes, 256 * mib);
}

TEST(Shrink, can_be_broken_off) {
  Guest guest;
  guest.cancel = true;
  const auto shrunk = shrink(guest.port(), {256 * mib, 2});
  ASSERT_FALSE(shrunk);
  EXPECT_EQ(shrunk.error().code, link::ErrorCode::cancelled);
}

TEST(Shrink, refuses_with_figures) {
  EXPECT_EQ(refusal("work", 700 * mib, 256 * mib), "work uses 700 MiB, this phone gives it 256 MiB");
  EXPECT_EQ(refusal("work", 256 * mib + 1, 256 * mib), "work uses 257 MiB, this phone gives it 256 MiB");
}

}  // namespace
}  // namespace amphion::cloud::testing
