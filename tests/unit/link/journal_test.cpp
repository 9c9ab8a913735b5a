// SPDX-License-Identifier: Apache-2.0
// The input journal: numbers rise by one across restarts, trims, torn tails and failing disks; nothing acknowledged is
// lost.
#include "link/journal.hpp"

#include <gtest/gtest.h>

#include "link/memory_files.hpp"

namespace amphion::link {
namespace {

constexpr char path[] = "/data/work.journal";

std::vector<InputEvent> frame(std::uint16_t code) { return {{1, code, 1}, {0, 0, 0}}; }

std::unique_ptr<Journal> open(MemoryFiles& files, std::uint64_t next = 1) {
  auto journal = Journal::open(files, path, next);
  EXPECT_TRUE(journal) << journal.error().text;
  return std::move(*journal);
}

TEST(Journal, KeepsEventsAcrossPowerOff) {
  MemoryFiles files;
  auto journal = open(files);
  EXPECT_EQ(journal->last(), 0u);
  EXPECT_EQ(*journal->append(frame(30)), 2u);
  EXPECT_EQ(*journal->append(frame(31)), 4u);
  files.power_off();
  journal = open(files);
  EXPECT_EQ(journal->last(), 4u);
  const pb::InputEvents events = journal->after(2);
  EXPECT_EQ(events.first_sequence(), 3u);
  ASSERT_EQ(events.events_size(), 2);
  EXPECT_EQ(events.events(0).code(), 31u);
  EXPECT_EQ(journal->after(4).events_size(), 0);
  EXPECT_EQ(*journal->append(frame(32)), 6u);
}

TEST(Journal, CutsATornTail) {
  for (const std::string& tail : {std::string("\x05"), std::string(15, '\0'), std::string(200, 'x')}) {
    MemoryFiles files;
    ASSERT_TRUE(open(files)->append(frame(30)));
    files.tear(path, tail);
    files.power_off();
    auto journal = open(files);
    EXPECT_EQ(journal->last(), 2u);
    EXPECT_EQ(*journal->append(frame(31)), 4u);
    files.power_off();
    EXPECT_EQ(open(files)->last(), 4u);
  }
}

TEST(Journal, TrimsAndStaysSmall) {
  MemoryFiles files;
  auto journal = open(files);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(journal->append(frame(30)));
    ASSERT_TRUE(journal->trim(journal->last() - 4).ok());
  }
  EXPECT_EQ(journal->size(), 4u);
  EXPECT_EQ(journal->first(), 5997u);
  EXPECT_LT(files.read(path, 1u << 20)->size(), 40'000u);
  EXPECT_EQ(open(files)->last(), 6000u);
  ASSERT_TRUE(journal->trim(6000).ok());
  EXPECT_EQ(journal->first(), 6001u);
}

TEST(Journal, GoesOnAtTheNumberThatTheInstanceHasReached) {
  MemoryFiles files;
  ASSERT_TRUE(open(files)->append(frame(30)));
  auto journal = open(files, 10);
  EXPECT_EQ(journal->size(), 0u);
  EXPECT_EQ(*journal->append(frame(31)), 11u);
}

TEST(Journal, SurvivesAFailingDisk) {
  for (int at = 0; at < 12; ++at) {
    MemoryFiles files;
    auto journal = open(files);
    std::uint64_t acknowledged = 0;
    files.fail_after(at);
    for (int i = 0; i < 5; ++i) {
      if (const auto last = journal->append(frame(30))) acknowledged = *last;
    }
    files.fail_after(-1);
    const auto last = journal->append(frame(31));
    ASSERT_TRUE(last) << last.error().text;
    EXPECT_EQ(*last, acknowledged + 2);
    files.power_off();
    EXPECT_EQ(open(files)->last(), acknowledged + 2);
  }
}

TEST(Journal, IsBounded) {
  MemoryFiles files;
  auto journal = open(files);
  EXPECT_EQ(journal->append({}).error().code, ErrorCode::invalid);
  const std::vector<InputEvent> largest(journal_max_record_events);
  const std::vector<InputEvent> larger(journal_max_record_events + 1);
  EXPECT_EQ(journal->append(larger).error().code, ErrorCode::invalid);
  for (std::size_t i = 0; i < journal_max_events / journal_max_record_events; ++i) ASSERT_TRUE(journal->append(largest));
  EXPECT_EQ(journal->append(frame(1)).error().code, ErrorCode::no_space);
  EXPECT_LE(journal->after(0, 512).events_size(), 512);
  EXPECT_EQ(open(files)->last(), journal_max_events);
}

TEST(Journal, RefusesSomethingElse) {
  MemoryFiles files;
  ASSERT_TRUE(write_durably(files, path, "this is no journal, but a letter to a friend").ok());
  EXPECT_EQ(Journal::open(files, path).error().code, ErrorCode::damaged);
}

}  // namespace
}  // namespace amphion::link
