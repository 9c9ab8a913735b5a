// SPDX-License-Identifier: Apache-2.0
// Lines of the control protocol.
#include <span>

#include "phone-side/phoned/control_protocol.hpp"
#include "tests/fuzz/driver.hpp"

namespace amphion::fuzz {
namespace {

class Pieces final : public phoned::ByteStream {
 public:
  Pieces(std::string bytes, Random& random) : bytes_(std::move(bytes)), random_(random) {}
  std::size_t read(std::span<char> into) override {
    const std::size_t count = std::min({into.size(), bytes_.size() - at_, std::size_t{1} + random_.below(64)});
    std::copy_n(bytes_.data() + at_, count, into.data());
    at_ += count;
    return count;
  }
  void write(std::string_view) override {}
  void shut() override {}

 private:
  std::string bytes_;
  std::size_t at_ = 0;
  Random& random_;
};

std::string noise(Random& random) {
  std::string bytes(random.below(200), '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

}  // namespace

void control(Random& random) {
  static const std::array<std::string, 5> lines{R"({"op":"list"})", R"({"op":"switch","instance":"work"})",
                                                R"({"op":"console","instance":"work","serial":true})",
                                                R"({"data":"aGVsbG8="})", R"({"op":"dock","instance":"\u00e4"})"};
  std::string line = random.one_of(lines);
  mutate(line, random);
  const auto parsed = phoned::parse_request(line);
  if (const auto* request = std::get_if<phoned::Request>(&parsed)) {
    const std::string again = phoned::to_json(*request).dump();
    require(std::holds_alternative<phoned::Request>(phoned::parse_request(again)),
            "a request is written as it is read");
  } else {
    const std::string reply = phoned::encode_line(phoned::error_reply(std::get<std::string>(parsed)));
    require(reply.find('\n') == reply.size() - 1, "an answer is one line");
  }
  static_cast<void>(phoned::console_bytes(line));
  const std::string bytes = noise(random);
  require(phoned::from_base64(phoned::to_base64(bytes)) == bytes, "base64 and back");
  require(phoned::console_bytes(phoned::console_line(bytes).dump()) == bytes, "console bytes and back");
  static_cast<void>(phoned::from_base64(bytes));
  Pieces pieces(bytes + line + "\n" + bytes, random);
  phoned::LineReader reader(pieces, 1 + random.below(300));
  try {
    while (reader.next()) {
    }
  } catch (const phoned::LineTooLong&) {
  }
}

}  // namespace amphion::fuzz
