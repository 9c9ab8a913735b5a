// SPDX-License-Identifier: Apache-2.0
// The command line against a fake phone: output, one-line errors, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "phone-side/cli/commands.hpp"
#include "phone-side/cli/format.hpp"
#include "tests/unit/phoned/fake_commands.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class CliTest : public testing::Test {
 protected:
  CliTest() { server_.start(); }

  int call(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--phone", "unix:" + folder_.path() + "/socket"});
    return call_as_is(std::move(arguments));
  }
  int call_as_is(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    return run(std::move(arguments), out_, err_);
  }

  phoned::fakes::Folder folder_;
  phoned::fakes::FakeCommands commands_;
  phoned::ControlServer server_{{"", folder_.path() + "/socket"}, commands_};
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(CliTest, ListIsATable) {
  EXPECT_EQ(call({"list"}), exit_done);
  EXPECT_THAT(out_.str(), StartsWith("NAME"));
  EXPECT_THAT(out_.str(), HasSubstr("work          phone   running         *      2 of 4  100 MiB of 160 MiB\n"));
}

TEST_F(CliTest, JsonIsTheAnswerItself) {
  EXPECT_EQ(call({"list", "--json"}), exit_done);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["instances"][1]["name"], "work");
}

TEST_F(CliTest, StatusNamesTheCloud) {
  EXPECT_EQ(call({"status"}), exit_done);
  EXPECT_THAT(out_.str(), HasSubstr("cloud: 10.0.2.2:7448, not connected (nobody answers)"));
}

TEST_F(CliTest, ScreenIsWrittenAsAPicture) {
  const std::string file = folder_.path() + "/screen.ppm";
  EXPECT_EQ(call({"screen", file}), exit_done);
  std::ifstream in(file, std::ios::binary);
  const std::string picture((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EXPECT_EQ(picture.size(), 15u + 3 * phoned::picture_pixels);
  EXPECT_EQ(picture.substr(0, 18), std::string("P6\n640 480\n255\n\xff\0\0", 18));
  EXPECT_EQ(call({"screen", folder_.path() + "/no/folder.ppm"}), exit_failed);
  EXPECT_THAT(err_.str(), HasSubstr("cannot be written"));
}

TEST_F(CliTest, DockShowsStepsAndASummary) {
  EXPECT_EQ(call({"dock", "work"}), exit_done);
  EXPECT_EQ(out_.str(),
            "copying         40%   2 MiB raw, 1 MiB sent, 900 ms\n"
            "stopping        100%  3 MiB raw, 1 MiB sent, 1.5 s\n"
            "work is docked: 3 MiB raw, 1 MiB sent, 2.3 s in all, stopped for 140 ms\n");
}

TEST_F(CliTest, DockAsJsonIsAnObjectALine) {
  EXPECT_EQ(call({"dock", "work", "--json"}), exit_done);
  std::istringstream lines(out_.str());
  std::string line;
  int count = 0;
  while (std::getline(lines, line)) {
    EXPECT_TRUE(nlohmann::json::parse(line).is_object());
    ++count;
  }
  EXPECT_EQ(count, 3);
}

TEST_F(CliTest, FailuresAreOneLineAndExitCodeOne) {
  EXPECT_EQ(call({"dock", "x"}), exit_failed);
  EXPECT_EQ(err_.str(), "amphion: unknown instance \"x\"; there are: personal, work\n");
  EXPECT_EQ(call({"dock", "personal"}), exit_failed);
  EXPECT_EQ(err_.str(), "amphion: personal is already docked\n");
  EXPECT_EQ(call_as_is({"--phone", "unix:/nonexistent/socket", "list"}), exit_failed);
  EXPECT_EQ(err_.str(), "amphion: no phone answers at unix:/nonexistent/socket; is phoned running?\n");
}

TEST_F(CliTest, NobodyAtThePortSaysWhatToDo) {
  for (const char* name : {"/ca.crt", "/owner.crt", "/owner.key"}) std::ofstream(folder_.path() + name) << "x";
  const int code = call_as_is({"--phone", "127.0.0.1:1", "--pki", folder_.path(), "list"});
  EXPECT_EQ(code, exit_failed);
  EXPECT_THAT(err_.str(), StartsWith("amphion: "));
}

TEST_F(CliTest, WrongUsageIsExitCodeTwo) {
  EXPECT_EQ(call({}), exit_usage);
  EXPECT_EQ(call({"fly"}), exit_usage);
  EXPECT_EQ(call({"dock"}), exit_usage);
  EXPECT_EQ(call({"list", "--nonsense"}), exit_usage);
}

TEST_F(CliTest, UsageErrorsAreOneLineThatSaysWhereToRead) {
  EXPECT_EQ(call({"dock"}), exit_usage);
  EXPECT_EQ(err_.str(), "amphion: NAME is required; see amphion dock --help\n");
  EXPECT_EQ(call({"list", "--nonsense"}), exit_usage);
  EXPECT_EQ(err_.str(), "amphion: The following argument was not expected: --nonsense; see amphion list --help\n");
  EXPECT_EQ(call({}), exit_usage);
  EXPECT_EQ(err_.str(), "amphion: A subcommand is required; see amphion --help\n");
  EXPECT_EQ(call({"fly", "away"}), exit_usage);
  EXPECT_EQ(err_.str(), "amphion: there is no command or option \"fly\"; see amphion --help\n");
}

TEST_F(CliTest, ErrorsAreAnswersWithJson) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"dock", "--json"}, {"dock", "x", "--json"}, {"list", "--json", "--nonsense\xff"}}) {
    EXPECT_NE(call(words), exit_done);
    const auto answer = nlohmann::json::parse(out_.str());
    EXPECT_EQ(answer["ok"], false);
    EXPECT_TRUE(answer["error"].is_string());
    EXPECT_EQ(err_.str(), "");
  }
}

TEST_F(CliTest, HelpIsExitCodeZero) {
  for (const char* command : {"list", "status", "switch", "console", "dock", "undock", "create", "start", "stop",
                              "reset", "remove", "set", "snapshot", "logs", "sched"}) {
    EXPECT_EQ(call({command, "--help"}), exit_done) << command;
    EXPECT_THAT(out_.str(), HasSubstr("--json"));
  }
}

TEST_F(CliTest, CreateTellsThePhoneOnlyWhatWasWishedFor) {
  EXPECT_EQ(call({"create", "notes"}), exit_done);
  EXPECT_EQ(commands_.last.operation, phoned::Operation::create);
  EXPECT_TRUE(commands_.last.with.empty());
  EXPECT_EQ(call({"create", "notes", "--memory", "96M", "--memory-max", "1G", "--cpus", "1", "--cpus-max", "2",
                  "--disk", "128", "--kernel", "/k", "--cmdline", "a {name}"}),
            exit_done);
  const nlohmann::json want{{"bound_mib", 96}, {"memory_mib", 1024}, {"vcpus_allowed", 1},   {"vcpus", 2},
                            {"disk_mib", 128}, {"kernel", "/k"},     {"cmdline", "a {name}"}};
  EXPECT_EQ(commands_.last.with, want);
}

TEST_F(CliTest, SizesAndCountsAreCheckedHere) {
  for (const char* size : {"", "0", "12q", "-1", "1.5G", "99999999999999999999", "M", "4 G"}) {
    EXPECT_EQ(call({"create", "notes", "--memory", size}), exit_usage) << size;
    EXPECT_THAT(err_.str(), StartsWith("amphion: --memory: ")) << size;
  }
  EXPECT_EQ(call({"set", "work", "--cpus", "5"}), exit_usage);
  EXPECT_EQ(call({"set", "work"}), exit_usage);
  EXPECT_EQ(call({"snapshot", "work", "label", "--list"}), exit_usage);
  EXPECT_EQ(call({"snapshot", "work", "--delete", "a", "--restore", "b"}), exit_usage);
  EXPECT_EQ(commands_.executed, 0);
}

// Standard input of a test is no terminal.
TEST_F(CliTest, WhatCannotBeUndoneNeedsAYesWhereNobodyCanBeAsked) {
  if (isatty(STDIN_FILENO) != 0) GTEST_SKIP() << "run by hand";
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"remove", "work"}, {"reset", "work"}, {"snapshot", "work", "--restore", "a"}}) {
    EXPECT_EQ(call(words), exit_usage);
    EXPECT_THAT(err_.str(), HasSubstr("say --yes where nobody can be asked"));
  }
  EXPECT_EQ(commands_.executed, 0);
  EXPECT_EQ(call({"remove", "work", "--yes", "--force"}), exit_done);
  EXPECT_TRUE(commands_.last.force);
  EXPECT_EQ(call({"snapshot", "work", "--restore", "a", "--yes"}), exit_done);
  EXPECT_EQ(commands_.last.operation, phoned::Operation::restore);
  EXPECT_EQ(commands_.last.label, "a");
}

TEST_F(CliTest, LogsAreTextOrAnObjectALine) {
  EXPECT_EQ(call({"logs", "work"}), exit_done);
  EXPECT_EQ(out_.str(), "work starts\nhalf a line");
  EXPECT_EQ(call({"logs", "--json"}), exit_done);
  EXPECT_EQ(out_.str(), "{\"line\":\"phoned starts\"}\n{\"line\":\"half a line\"}\n");
  EXPECT_EQ(call({"logs", "work", "-f"}), exit_failed);
  EXPECT_EQ(err_.str(), "amphion: the phone ended the log: the instance was removed\n");
  EXPECT_EQ(call({"logs", "x"}), exit_failed);
}

TEST_F(CliTest, SchedShowsTheSettings) {
  EXPECT_EQ(call({"sched"}), exit_done);
  EXPECT_EQ(out_.str(),
            "policy       sbco\n"
            "threshold    0.667 of the queue's length (sbco)\n"
            "latency      6 ms\n"
            "granularity  0.75 ms\n"
            "hand-over    on\n");
  EXPECT_EQ(commands_.last.operation, phoned::Operation::sched);
  EXPECT_TRUE(commands_.last.with.empty());
  EXPECT_EQ(call({"sched", "--json"}), exit_done);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["granularity_ms"], 0.75);
}

TEST_F(CliTest, SchedChangesWhatIsWishedFor) {
  EXPECT_EQ(call({"sched", "--policy", "bal"}), exit_done);
  EXPECT_EQ(commands_.last.with, nlohmann::json({{"policy", "bal"}}));
  EXPECT_THAT(out_.str(), HasSubstr("hand-over    on\nthis holds until the phone's next boot\n"));
  EXPECT_EQ(call({"sched", "--threshold", "0", "--latency", "0.1", "--granularity", "100", "--hand-over", "off"}),
            exit_done);
  const nlohmann::json want{{"threshold", 0.0}, {"latency_ms", 0.1}, {"granularity_ms", 100.0}, {"hand_over", false}};
  EXPECT_EQ(commands_.last.with, want);
}

TEST_F(CliTest, SchedRefusesWhatIsOutOfBoundsHere) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--policy", "fifo"},
                                                {"--policy", "SBCO"},
                                                {"--threshold", "1.001"},
                                                {"--threshold", "-0.001"},
                                                {"--threshold", "2/3"},
                                                {"--latency", "0.099"},
                                                {"--latency", "100.1"},
                                                {"--granularity", "0"},
                                                {"--granularity", "fast"},
                                                {"--hand-over", "maybe"}}) {
    EXPECT_EQ(call({"sched", words[0], words[1]}), exit_usage) << words[1];
    EXPECT_THAT(err_.str(), HasSubstr(words[0])) << words[1];
    EXPECT_THAT(err_.str(), HasSubstr("; see amphion sched --help\n"));
  }
  EXPECT_EQ(call({"sched", "--policy", "bal", "stats"}), exit_usage);
  EXPECT_EQ(call({"sched", "stats", "--policy", "bal"}), exit_usage);
  EXPECT_EQ(commands_.executed, 0);
}

TEST_F(CliTest, SchedStatsAreTables) {
  EXPECT_EQ(call({"sched", "stats"}), exit_done);
  EXPECT_EQ(commands_.last.operation, phoned::Operation::sched_stats);
  EXPECT_EQ(commands_.executed, 1) << "the settings are not asked for as well";
  EXPECT_EQ(out_.str(),
            "policy sbco; since boot, 1 min 40 s ago\n\n"
            "CPU     RUN %  IDLE %       WAITED   DECISIONS   SWITCHES    MOVED    LENDS    DEBTS  UNSTACKED\n"
            "0        70.0    30.0        1.2 s      123456       4567       89        7        6          5\n"
            "\n"
            "INSTANCE      vCPU          RAN   CPU %       WAITED   SWITCHES    MOVES    LENDS    DEBTS\n"
            "host             0    1 min 7 s    67.2         0 ms       4246        0        0        0\n"
            "work             1        2.3 s     2.3        45 ms        321       12        3        2\n");
  EXPECT_EQ(call({"sched", "stats", "--json"}), exit_done);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["vcpus"][1]["wait_ns"], 45'999'999);
  EXPECT_THAT(format_sched_stats({{"cpus", 7}, {"vcpus", {1, "x"}}}), HasSubstr("DEBTS\n"));
  EXPECT_THAT(format_sched_stats({{"vcpus", {{{"run_ns", 5}}}}}),
              HasSubstr("-                0         0 ms       -  "));
}

TEST(Format, Figures) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(160ull << 20), "160 MiB");
  EXPECT_EQ(format_ms(999), "999 ms");
  EXPECT_EQ(format_ms(12345), "12.3 s");
  EXPECT_EQ(format_duration(59999), "59 s");
  EXPECT_EQ(format_duration(200000), "3 min 20 s");
  EXPECT_EQ(format_duration(3600000), "1 h");
  EXPECT_EQ(format_duration(187200000), "2 d 4 h");
}

TEST(Format, OddAnswersDoNotThrow) {
  for (const char* text : {"{}", R"({"instances": [1, {"name": 3}], "cloud": {}})",
                           R"({"instances": [{"clone": {"a": 1}}]})", R"({"instances": 7, "disk": 3, "cloud": []})",
                           R"({"instances": [{"snapshots": [1, {}], "disk": [], "journal": 0, "clone": 1}]})"}) {
    const auto answer = nlohmann::json::parse(text);
    EXPECT_FALSE(format_list(answer).empty());
    EXPECT_FALSE(format_status(answer).empty());
    EXPECT_FALSE(format_summary(answer).empty());
    EXPECT_FALSE(format_progress(answer).empty());
    for (const auto format : {format_instance, format_created, format_set, format_snapshot, format_snapshots}) {
      EXPECT_FALSE(format(answer).empty());
    }
  }
}

}  // namespace
}  // namespace amphion::cli
