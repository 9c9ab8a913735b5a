// SPDX-License-Identifier: Apache-2.0
// Frames: what is written is read; everything else is refused before anything is allocated, also random bytes (fixed
// seed).
#include "link/frame.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

Result<Message> read_bytes(const std::string& bytes) {
  auto [writer, reader] = make_pipe();
  EXPECT_TRUE(writer->write(std::as_bytes(std::span(bytes)), in(Milliseconds(100))).ok());
  writer->close();
  return read_frame(*reader, in(Milliseconds(100)), Milliseconds(100));
}

std::string frame_of(const Message& message) {
  auto [writer, reader] = make_pipe();
  EXPECT_TRUE(write_frame(*writer, message, in(Milliseconds(100))).ok());
  std::string bytes(1000, '\0');
  bytes.resize(*reader->read(std::as_writable_bytes(std::span(bytes)), in(Milliseconds(100))));
  return bytes;
}

pb::Abort abort_message() {
  pb::Abort abort;
  abort.mutable_id()->set_instance("work");
  abort.mutable_id()->set_generation(7);
  abort.set_reason("because");
  return abort;
}

TEST(Frame, RoundTrip) {
  const auto read = read_bytes(frame_of(abort_message()));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(std::get<pb::Abort>(*read).reason(), "because");
  EXPECT_EQ(handover_of(*read)->generation(), 7u);
}

TEST(Frame, EveryTypeHasANameAndABound) {
  for (MessageType type = 1; type <= std::variant_size_v<Message>; ++type) {
    EXPECT_GT(bound_of(type), 0u);
    EXPECT_TRUE(decode(type, "")) << name_of(type);
  }
  EXPECT_EQ(bound_of(0), 0u);
  EXPECT_EQ(bound_of(std::variant_size_v<Message> + 1), 0u);
}

TEST(Frame, RefusesBadHeaders) {
  const std::string good = frame_of(abort_message());
  std::string bytes = good;
  bytes[0] = 'x';
  EXPECT_EQ(read_bytes(bytes).error().code, ErrorCode::protocol);
  bytes = good;
  bytes[6] = 2;
  EXPECT_EQ(read_bytes(bytes).error().code, ErrorCode::version);
  EXPECT_NE(read_bytes(bytes).error().text.find("version 2"), std::string::npos);
  bytes = good;
  bytes[4] = 99;
  EXPECT_EQ(read_bytes(bytes).error().code, ErrorCode::protocol);
  bytes = good;
  const std::uint32_t over = bound_of(type_of(abort_message())) + 1;  // the first illegal length
  std::memcpy(bytes.data() + 8, &over, sizeof(over));
  EXPECT_NE(read_bytes(bytes).error().text.find("over its bound"), std::string::npos);
}

TEST(Frame, RefusesEveryTruncation) {
  const std::string good = frame_of(abort_message());
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(read_bytes(good.substr(0, size))) << size;
}

TEST(Frame, RefusesToSendWhatIsOverItsBound) {
  auto [writer, reader] = make_pipe();
  pb::Abort abort = abort_message();
  abort.set_reason(std::string(3000, 'x'));
  EXPECT_EQ(write_frame(*writer, abort, in(Milliseconds(100))).error().code, ErrorCode::invalid);
}

}  // namespace

// Also the entry of a fuzzer that brings its own main().
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)read_bytes(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

namespace {

TEST(Frame, SurvivesRandomBytes) {
  std::mt19937 random(20);  // fixed
  const std::string good = frame_of(abort_message());
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    const std::size_t flips = 1 + random() % 4;
    for (std::size_t i = 0; i < flips; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (round % 3 == 0) bytes.resize(random() % (bytes.size() + 1));
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  for (int round = 0; round < 3000; ++round) {
    std::string body(random() % 64, '\0');
    for (char& c : body) c = static_cast<char>(random());
    (void)decode(static_cast<MessageType>(random() % 34), body);
  }
}

}  // namespace
}  // namespace amphion::link
