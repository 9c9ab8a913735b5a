// SPDX-License-Identifier: Apache-2.0
// The command line against a fake phone: output, one-line errors, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  for (const char* command : {"list", "status", "switch", "console", "dock", "undock"}) {
    EXPECT_EQ(call({command, "--help"}), exit_done) << command;
    EXPECT_THAT(out_.str(), HasSubstr("--json"));
  }
}

TEST(Format, Figures) {
  EXPECT_EQ(format_bytes(0), "0 bytes");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(160ull << 20), "160 MiB");
  EXPECT_EQ(format_ms(999), "999 ms");
  EXPECT_EQ(format_ms(12345), "12.3 s");
}

TEST(Format, OddAnswersDoNotThrow) {
  for (const char* text :
       {"{}", R"({"instances": [1, {"name": 3}], "cloud": {}})", R"({"instances": [{"clone": {"a": 1}}]})"}) {
    const auto answer = nlohmann::json::parse(text);
    EXPECT_FALSE(format_list(answer).empty());
    EXPECT_FALSE(format_status(answer).empty());
    EXPECT_FALSE(format_summary(answer).empty());
    EXPECT_FALSE(format_progress(answer).empty());
  }
}

}  // namespace
}  // namespace amphion::cli
