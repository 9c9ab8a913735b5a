// SPDX-License-Identifier: Apache-2.0
// The control server: requests over a unix socket and over TLS, consoles, bounds, strangers.
#include "phone-side/phoned/control_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "link/pki.hpp"
#include "phone-side/cli/client.hpp"
#include "phone-side/phoned/control_streams.hpp"
#include "tests/unit/phoned/fake_commands.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

class ControlServerTest : public testing::Test {
 protected:
  void start(bool tls) {
    server_ = std::make_unique<ControlServer>(
        ControlOptions{tls ? "127.0.0.1:" + fakes::free_port() : "", folder_.path() + "/socket"}, commands_);
    server_->start(link::identity_in(folder_.path(), link::Role::phone));
  }
  void certificates(const std::string& folder) {
    ASSERT_TRUE(link::create_authority(folder).ok());
    for (const auto role : {link::Role::phone, link::Role::owner, link::Role::cloud}) {
      ASSERT_TRUE(link::issue_certificate(folder, {role, std::string(link::text(role))}).ok());
    }
  }
  [[nodiscard]] cli::Client client() { return cli::Client(connect_unix(folder_.path() + "/socket")); }

  fakes::Folder folder_;
  fakes::FakeCommands commands_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersSeveralRequestsOfOneConnection) {
  start(false);
  auto one = client();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(one.ask({{"op", "list"}})["ok"], true);
}

TEST_F(ControlServerTest, ErrorsAreTheClientsAndTheConnectionGoesOn) {
  start(false);
  auto one = client();
  try {
    (void)one.ask({{"op", "dock"}, {"instance", "x"}});
    FAIL();
  } catch (const cli::ClientError& error) {
    EXPECT_STREQ(error.what(), "unknown instance \"x\"; there are: personal, work");
  }
  EXPECT_THROW((void)one.ask({{"op", "fly"}}), cli::ClientError);
  EXPECT_EQ(one.ask({{"op", "list"}})["ok"], true);
}

TEST_F(ControlServerTest, WhatNobodyHasForeseenIsAnsweredAndTheConnectionGoesOn) {
  start(false);
  auto one = client();
  try {
    (void)one.ask({{"op", "reset"}, {"instance", "work"}});
    FAIL();
  } catch (const cli::ClientError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("nobody has thought of this"));
  }
  EXPECT_EQ(one.ask({{"op", "list"}})["ok"], true);
}

TEST_F(ControlServerTest, ProgressComesBeforeTheAnswer) {
  start(false);
  int steps = 0;
  const json answer = client().ask({{"op", "dock"}, {"instance", "work"}}, [&](const json&) { ++steps; });
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(answer["place"], "cloud");
}

TEST_F(ControlServerTest, TooLongARequestIsRefused) {
  start(false);
  auto stream = connect_unix(folder_.path() + "/socket");
  stream->write(std::string(max_request_bytes + 1, 'x'));
  LineReader lines(*stream, max_reply_bytes);
  const auto line = lines.next();
  ASSERT_TRUE(line);
  EXPECT_THAT(*line, testing::HasSubstr("a line is longer than 16384 bytes"));
  EXPECT_FALSE(lines.next());
}

TEST_F(ControlServerTest, ConsoleCarriesBytesBothWays) {
  start(false);
  auto one = client();
  (void)one.ask({{"op", "console"}, {"instance", "work"}});
  one.stream().write(encode_line(console_line("hello\r")));
  std::string seen;
  while (seen.size() < 6) seen += console_bytes(*one.lines().next()).value();
  EXPECT_EQ(seen, "hello\r");
  commands_.hub.end_all("work has docked; open its console again");
  EXPECT_THAT(*one.lines().next(), testing::HasSubstr("open its console again"));
  EXPECT_FALSE(one.lines().next());
}

TEST_F(ControlServerTest, StopEndsConsolesAndConnections) {
  start(false);
  auto one = client();
  (void)one.ask({{"op", "console"}, {"instance", "work"}});
  auto idle = client();
  server_->stop();
  EXPECT_FALSE(one.lines().next());
}

TEST_F(ControlServerTest, OwnersComeInOverTls) {
  certificates(folder_.path());
  start(true);
  cli::Client one(cli::connect({"127.0.0.1:" + std::to_string(server_->port()), folder_.path()}));
  EXPECT_EQ(one.ask({{"op", "list"}})["ok"], true);
}

TEST_F(ControlServerTest, StrangersStayOut) {
  certificates(folder_.path());
  start(true);
  const fakes::Folder other;
  certificates(other.path());
  try {
    cli::Client one(cli::connect({"127.0.0.1:" + std::to_string(server_->port()), other.path()}));
    (void)one.ask({{"op", "list"}});
    FAIL();
  } catch (const cli::ClientError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("authority"));
  }
  EXPECT_EQ(commands_.executed, 0);
}

}  // namespace
}  // namespace amphion::phoned
