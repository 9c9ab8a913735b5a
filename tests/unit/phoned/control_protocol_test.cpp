// SPDX-License-Identifier: Apache-2.0
// Control lines: what is accepted, what is refused, and the bounds.
#include "phone-side/phoned/control_protocol.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace amphion::phoned {
namespace {

// Gives its text in pieces of a few bytes.
class TextStream : public ByteStream {
 public:
  explicit TextStream(std::string text, std::size_t piece = 3) : text_(std::move(text)), piece_(piece) {}
  std::size_t read(std::span<char> into) override {
    const std::size_t n = std::min({piece_, into.size(), text_.size() - at_});
    std::copy_n(text_.begin() + static_cast<std::ptrdiff_t>(at_), n, into.begin());
    at_ += n;
    return n;
  }
  void write(std::string_view) override {}
  void shut() override {}
  [[nodiscard]] std::size_t taken() const { return at_; }

 private:
  std::string text_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

std::string error_of(const std::string& line) {
  const auto parsed = parse_request(line);
  return std::holds_alternative<std::string>(parsed) ? std::get<std::string>(parsed) : "accepted";
}

TEST(ControlProtocol, EveryOperationRoundTrips) {
  for (int i = 0; i <= static_cast<int>(Operation::sched_stats); ++i) {
    const auto operation = static_cast<Operation>(i);
    const bool alone = operation == Operation::list || operation == Operation::screen || operation == Operation::keys ||
                       operation >= Operation::shutdown;
    Request request{operation, alone ? "" : "work"};
    if (operation == Operation::pair) request.code = "code@host:1";
    const auto parsed = parse_request(to_json(request).dump());
    ASSERT_TRUE(std::holds_alternative<Request>(parsed)) << std::get<std::string>(parsed);
    EXPECT_EQ(std::get<Request>(parsed).operation, operation);
    EXPECT_EQ(std::get<Request>(parsed).instance, alone ? "" : "work");
  }
}

TEST(ControlProtocol, WhatBelongsToAnOperationRoundTrips) {
  Request stop{Operation::stop, "work"};
  stop.force = true;
  EXPECT_TRUE(std::get<Request>(parse_request(to_json(stop).dump())).force);
  Request set{Operation::set, "work"};
  set.with = {{"bound_mib", 96}};
  EXPECT_EQ(std::get<Request>(parse_request(to_json(set).dump())).with, set.with);
  Request sched{Operation::sched};
  sched.with = {{"policy", "bal"}};
  EXPECT_EQ(std::get<Request>(parse_request(to_json(sched).dump())).with, sched.with);
  Request snapshot{Operation::snapshot, "work"};
  snapshot.label = "before";
  EXPECT_EQ(std::get<Request>(parse_request(to_json(snapshot).dump())).label, "before");
  Request logs{Operation::logs};
  logs.follow = true;
  EXPECT_TRUE(std::get<Request>(parse_request(to_json(logs).dump())).follow);
}

TEST(ControlProtocol, RefusesWhatItDoesNotKnow) {
  const std::string there =
      "there are: list, status, switch, console, dock, undock, journal, screen, keys, create, start, stop, reset, "
      "remove, set, snapshot, restore, delete-snapshot, logs, shutdown, pair, unpair, invite, doctor, sched, "
      "sched-stats";
  EXPECT_EQ(error_of("nonsense"), "a request is one JSON object a line");
  EXPECT_EQ(error_of("[1]"), "a request is one JSON object a line");
  EXPECT_EQ(error_of("{}"), "the request has no \"op\"; " + there);
  EXPECT_EQ(error_of(R"({"op": 1})"), "the request has no \"op\"; " + there);
  EXPECT_EQ(error_of(R"({"op": "fly"})"), "unknown operation; " + there);
  EXPECT_EQ(error_of(R"({"op": "dock"})"), "\"dock\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "dock", "instance": 3})"), "\"dock\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "dock", "instance": ")" + std::string(65, 'a') + "\"}"),
            "the instance's name is too long");
  EXPECT_EQ(error_of(R"({"op": "pair"})"), "\"pair\" needs a \"code\": CODE@HOST:PORT");
  EXPECT_EQ(error_of(R"({"op": "pair", "code": 7})"), "\"pair\" needs a \"code\": CODE@HOST:PORT");
  EXPECT_EQ(error_of(R"({"op": "unpair", "force": 7})"), "\"force\" must be true or false");
  EXPECT_EQ(error_of(R"({"op": "create"})"), "\"create\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "status", "instance": 3})"), "\"status\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "stop", "instance": "work", "force": 1})"), "\"force\" must be true or false");
  EXPECT_EQ(error_of(R"({"op": "start", "instance": "work", "force": true})"), "\"start\" knows no \"force\"");
  EXPECT_EQ(error_of(R"({"op": "set", "instance": "work", "with": [1]})"), "\"with\" must be an object { ... }");
  EXPECT_EQ(error_of(R"({"op": "sched", "with": "bal"})"), "\"with\" must be an object { ... }");
  EXPECT_EQ(error_of(R"({"op": "sched", "policy": "bal"})"), "\"sched\" knows no \"policy\"");
  EXPECT_EQ(error_of(R"({"op": "sched-stats", "with": {}})"), "\"sched-stats\" knows no \"with\"");
  EXPECT_EQ(error_of(R"({"op": "snapshot", "instance": "work", "label": {}})"), "\"label\" must be a short text");
  EXPECT_EQ(error_of(R"({"op": "snapshot", "instance": "work", "label": ")" + std::string(65, 'a') + "\"}"),
            "\"label\" must be a short text");
  EXPECT_EQ(error_of(R"({"op": "logs", "follow": "yes"})"), "\"follow\" must be true or false");
  EXPECT_EQ(error_of(R"({"op": "list", "instance": "work"})"), "\"list\" knows no \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "list", "": 1})"), "\"list\" knows no \"\"");
}

TEST(ControlProtocol, CutsLinesWhereverTheBytesBreak) {
  TextStream stream("one\n\nthree\nrest");
  LineReader lines(stream, 100);
  EXPECT_EQ(lines.next(), "one");
  EXPECT_EQ(lines.next(), "");
  EXPECT_EQ(lines.next(), "three");
  EXPECT_EQ(lines.next(), std::nullopt) << "an unfinished line is none";
}

TEST(ControlProtocol, StopsReadingALineThatIsTooLong) {
  TextStream good(std::string(100, 'x') + "\n", 1000);
  EXPECT_EQ(LineReader(good, 100).next()->size(), 100u);
  TextStream bad(std::string(101, 'x') + "\n", 1000);
  EXPECT_THROW((void)LineReader(bad, 100).next(), LineTooLong);
  TextStream endless(std::string(1u << 20, 'x'), 1000);
  EXPECT_THROW((void)LineReader(endless, 5000).next(), LineTooLong);
  EXPECT_LT(endless.taken(), 10000u);
}

TEST(ControlProtocol, ConsoleBytesRoundTrip) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  for (std::size_t n = 0; n <= all.size(); ++n) {
    EXPECT_EQ(console_bytes(console_line(all.substr(0, n)).dump()), all.substr(0, n));
  }
  EXPECT_TRUE(console_bytes(console_line(std::string(max_console_bytes, 'x')).dump()));
  EXPECT_FALSE(console_bytes(console_line(std::string(max_console_bytes + 1, 'x')).dump()));
  EXPECT_FALSE(console_bytes(R"({"data":"*"})"));
  EXPECT_FALSE(console_bytes(R"({"data":1})"));
  EXPECT_FALSE(console_bytes("{"));
}

TEST(ControlProtocol, LinesAreOneLineWhateverIsInThem) {
  const std::string line = encode_line({{"error", "a\nb\xff"}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(ControlProtocol, RandomBytesAreRefusedNotFatal) {
  std::mt19937 random(11);
  const std::array seeds{std::string(R"({"op":"console","instance":"work","serial":true})"),
                         std::string(R"({"op":"set","instance":"work","with":{"bound_mib":96,"vcpus_allowed":[3]}})"),
                         std::string(R"({"op":"restore","instance":"work","label":"before"})"),
                         std::string(R"({"op":"logs","instance":"work","follow":true})")};
  for (std::size_t i = 0; i < 40000; ++i) {
    std::string line = seeds[i % seeds.size()];
    for (unsigned n = 0; n < 1 + random() % 4; ++n) line[random() % line.size()] = static_cast<char>(random());
    (void)parse_request(line);
    (void)console_bytes(line);
  }
}

}  // namespace
}  // namespace amphion::phoned
