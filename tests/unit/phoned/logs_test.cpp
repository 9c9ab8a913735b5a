// SPDX-License-Identifier: Apache-2.0
// The logs: bounded, plain, whose line is whose, and that a failing disk costs nobody else anything.
#include "phone-side/phoned/logs.hpp"

#include <gtest/gtest.h>

#include "link/memory_files.hpp"

namespace amphion::phoned {
namespace {

std::string all(const std::shared_ptr<ConsoleView>& view) {
  std::string text;
  while (const auto part = view->next()) text += *part;
  return text;
}

TEST(Log, KeepsTheLastAndNeverMoreThanItsBound) {
  link::MemoryFiles files;
  Log log(files, "/log", 1000);
  for (int i = 0; i < 1000; ++i) log.put_line("line " + std::to_string(i));
  const std::string text = all(log.view(false));
  EXPECT_TRUE(text.ends_with("line 999\n"));
  EXPECT_GE(text.size(), 1000u);
  EXPECT_LE(text.size(), 2000u);
  log.put(std::string(5000, 'x'));
  EXPECT_LE(all(log.view(false)).size(), 2000u);
}

TEST(Log, GoesOnAfterARestart) {
  link::MemoryFiles files;
  Log(files, "/log", 1000).put("before\n");
  Log log(files, "/log", 1000);
  log.put("after\n");
  EXPECT_EQ(all(log.view(false)), "before\nafter\n");
  for (int i = 0; i < 100; ++i) log.put(std::string(50, 'x') + "\n");
  EXPECT_LE(all(log.view(false)).size(), 2000u);
}

TEST(Log, SpeaksToNoTerminal) {
  link::MemoryFiles files;
  Log log(files, "/log", 1000);
  log.put("red: \x1b[31m\x07\r\n\ttab \x9b\xff");
  log.put_line("one\nline");
  EXPECT_EQ(all(log.view(false)), "red: ?[31m?\n\ttab ??\none line\n");
}

TEST(Log, WhoFollowsSeesWhatWasAndWhatComes) {
  link::MemoryFiles files;
  Log log(files, "/log", 1000);
  log.put("was\n");
  const auto view = log.view(true);
  log.put("comes\n");
  EXPECT_EQ(view->next(), "was\ncomes\n");
  log.remove();
  EXPECT_EQ(view->next(), std::nullopt);
  EXPECT_EQ(all(log.view(false)), "");
}

TEST(Log, AFullDiskIsNobodysTrouble) {
  link::MemoryFiles files;
  files.set_capacity(100);
  Log log(files, "/log", 1000);
  for (int i = 0; i < 100; ++i) log.put_line("line");
  EXPECT_LE(all(log.view(false)).size(), 100u);
  files.fail_after(0);
  log.put_line("line");
}

TEST(Logs, ALineOfAnInstanceIsInBoth) {
  link::MemoryFiles files;
  Logs logs(files, "/logs");
  const auto work = logs.of("work");
  work->put("Linux");
  logs.note("2026-11-21 12:00:00", "work: docks");
  logs.note("2026-11-21 12:00:01", "cloud x: connected");
  logs.note("2026-11-21 12:00:02", "workshop: is another");
  EXPECT_EQ(all(work->view(false)), "Linux\n-- 2026-11-21 12:00:00 work: docks\n");
  EXPECT_EQ(all(logs.phoned().view(false)),
            "2026-11-21 12:00:00 work: docks\n2026-11-21 12:00:01 cloud x: connected\n"
            "2026-11-21 12:00:02 workshop: is another\n");
  logs.forget("work");
  EXPECT_EQ(all(logs.of("work")->view(false)), "");
}

}  // namespace
}  // namespace amphion::phoned
