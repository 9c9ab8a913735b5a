// SPDX-License-Identifier: Apache-2.0
// Which boards can be emulated, and what is refused before QEMU is started.
#include "emulator/machine.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace amphion::emulator {
namespace {

namespace fs = std::filesystem;

class Machine : public testing::Test {
 protected:
  Machine() : folder_(fs::temp_directory_path() / ("amphion-machine." + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    for (const char* name : {"card", "bundle", "owner.crt"}) std::ofstream(folder_ / name) << name;
  }
  ~Machine() override { fs::remove_all(folder_); }

  [[nodiscard]] BoardOptions card() const {
    BoardOptions options;
    options.board = card_board;
    options.data = folder_ / "card";
    options.pki = folder_;
    options.cpus = 4;
    return options;
  }
  [[nodiscard]] BoardOptions development() const {
    BoardOptions options;
    options.bundle = folder_ / "bundle";
    options.data = folder_ / "card";
    return options;
  }
  static std::string refusal(const BoardOptions& options) {
    try {
      check(options);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
};

TEST_F(Machine, TakesBothBoards) {
  EXPECT_EQ(refusal(card()), "accepted");
  EXPECT_EQ(refusal(development()), "accepted");
}

TEST_F(Machine, RefusesWhatABoardHasNot) {
  const auto with = [](BoardOptions options, auto change) {
    change(options);
    return refusal(options);
  };
  EXPECT_NE(with(development(), [](auto& o) { o.board = "cubieboard2"; }).find("no emulator has the board cubieboard2"),
            std::string::npos);
  EXPECT_NE(with(development(), [](auto& o) { o.bundle.clear(); }), "accepted");
  EXPECT_NE(with(card(), [this](auto& o) { o.bundle = folder_ / "bundle"; }).find("leave --bundle out"),
            std::string::npos);
  EXPECT_NE(with(card(), [](auto& o) { o.cpus = 2; }).find("4 CPUs"), std::string::npos);
  EXPECT_NE(with(card(), [](auto& o) { o.memory_mib = 512; }).find("1024 MiB"), std::string::npos);
  EXPECT_NE(with(card(), [](auto& o) { o.vnc_display = 1; }).find("no screen"), std::string::npos);
  EXPECT_NE(with(card(), [](auto& o) { o.write_log = "log"; }).find("cannot be listed"), std::string::npos);
  EXPECT_NE(with(card(), [](auto& o) { o.pki = "/nowhere"; }).find("owner.crt"), std::string::npos);
}

TEST_F(Machine, TheCardIsAllThatTheBoardIsGiven) {
  const auto words = backend_words(card(), [](const char* name) { return std::string("/state/") + name; });
  EXPECT_EQ(std::find(words.begin(), words.end(), "-kernel"), words.end());
  EXPECT_NE(std::find(words.begin(), words.end(), "if=sd,format=raw,file=" + (folder_ / "card").string()), words.end());
}

}  // namespace
}  // namespace amphion::emulator
