// SPDX-License-Identifier: Apache-2.0
// Control lines: what is accepted, what is refused, and the bounds.
#include "phone-side/phoned/control_protocol.hpp"

#include <gtest/gtest.h>

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
  for (const auto operation :
       {Operation::list, Operation::status, Operation::switch_to, Operation::console, Operation::dock,
        Operation::undock, Operation::journal, Operation::screen, Operation::keys, Operation::shutdown}) {
    const auto parsed = parse_request(to_json({operation, "work"}).dump());
    ASSERT_TRUE(std::holds_alternative<Request>(parsed));
    EXPECT_EQ(std::get<Request>(parsed).operation, operation);
  }
}

TEST(ControlProtocol, RefusesWhatItDoesNotKnow) {
  const std::string there = "there are: list, status, switch, console, dock, undock, journal, screen, keys, shutdown";
  EXPECT_EQ(error_of("nonsense"), "a request is one JSON object a line");
  EXPECT_EQ(error_of("[1]"), "a request is one JSON object a line");
  EXPECT_EQ(error_of("{}"), "the request has no \"op\"; " + there);
  EXPECT_EQ(error_of(R"({"op": 1})"), "the request has no \"op\"; " + there);
  EXPECT_EQ(error_of(R"({"op": "fly"})"), "unknown operation; " + there);
  EXPECT_EQ(error_of(R"({"op": "dock"})"), "\"dock\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "dock", "instance": 3})"), "\"dock\" needs an \"instance\"");
  EXPECT_EQ(error_of(R"({"op": "dock", "instance": ")" + std::string(65, 'a') + "\"}"),
            "the instance's name is too long");
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
  const std::string seed = R"({"op":"dock","instance":"work","serial":true})";
  for (int i = 0; i < 20000; ++i) {
    std::string line = seed;
    for (unsigned n = 0; n < 1 + random() % 4; ++n) line[random() % line.size()] = static_cast<char>(random());
    (void)parse_request(line);
    (void)console_bytes(line);
  }
}

}  // namespace
}  // namespace amphion::phoned
