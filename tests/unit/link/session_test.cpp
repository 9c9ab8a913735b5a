// SPDX-License-Identifier: Apache-2.0
// Sessions over pipes in memory: Hello is checked, silence ends them, and a stranger's frames are refused with a
// reason.
#include "link/session.hpp"

#include <gtest/gtest.h>

#include <condition_variable>

#include "link/records.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

struct Recorder : Session::Handler {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Message> messages;
  std::shared_ptr<Channel> channel;
  std::optional<Error> closed;

  void on_offer(Session&, const pb::Offer&, std::shared_ptr<Channel> offered) override {
    const std::lock_guard lock(mutex);
    channel = std::move(offered);
    changed.notify_all();
  }
  void on_message(Session&, Message message) override {
    const std::lock_guard lock(mutex);
    messages.push_back(std::move(message));
    changed.notify_all();
  }
  void on_closed(Session&, const Error& why) override {
    const std::lock_guard lock(mutex);
    closed = why;
    changed.notify_all();
  }
  template <typename F>
  bool wait(F condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, Milliseconds(5000), condition);
  }
};

pb::Hello hello(pb::Side side, const std::string& name) {
  pb::Hello message;
  message.set_protocol(protocol_version);
  message.set_side(side);
  message.set_name(name);
  return message;
}

// A session as phone, and the bare other end.
struct Half {
  std::unique_ptr<Stream> other;
  Recorder recorder;
  Result<std::shared_ptr<Session>> session = Error{ErrorCode::closed, {}};

  explicit Half(const Message& answer, SessionOptions options = {}) {
    auto [mine, theirs] = make_pipe();
    other = std::move(theirs);
    EXPECT_TRUE(write_frame(*other, answer, in(Milliseconds(1000))).ok());
    session = Session::open(std::move(mine), hello(pb::SIDE_PHONE, "phone"), recorder, options);
  }
  Result<Message> receive() { return read_frame(*other, in(Milliseconds(5000))); }
};

void expect_refused(Half& half, ErrorCode code, const std::string& part) {
  ASSERT_FALSE(half.session);
  EXPECT_EQ(half.session.error().code, code);
  EXPECT_NE(half.session.error().text.find(part), std::string::npos) << half.session.error().text;
  EXPECT_TRUE(std::holds_alternative<pb::Hello>(*half.receive()));
  const auto farewell = half.receive();
  ASSERT_TRUE(farewell) << farewell.error().text;
  EXPECT_NE(std::get<pb::Error>(*farewell).text().find(part), std::string::npos);
}

TEST(Session, RefusesAnotherProtocolVersion) {
  pb::Hello other = hello(pb::SIDE_CLOUD, "cloud");
  other.set_protocol(protocol_version + 1);
  Half half(other);
  expect_refused(half, ErrorCode::version, "protocol version 2");
}

TEST(Session, RefusesANameThatIsNotTheCertificates) {
  Half half(hello(pb::SIDE_CLOUD, "mallory"), {.expected_name = "cloud"});
  expect_refused(half, ErrorCode::refused, "does not match its certificate");
}

TEST(Session, RefusesItsOwnKindAndImpossibleClaims) {
  Half half(hello(pb::SIDE_PHONE, "phone"));
  expect_refused(half, ErrorCode::protocol, "counterpart");
  pb::Hello other = hello(pb::SIDE_CLOUD, "cloud");
  other.add_instances()->set_instance("../x");
  Half impossible(other);
  expect_refused(impossible, ErrorCode::protocol, "impossible instance");
  pb::Claim& claim = *other.mutable_instances(0);
  claim.set_instance("work");
  claim.set_place(pb::SIDE_CLOUD);
  claim.set_generation(max_generation + 1);  // no later hand-over could exceed the greatest number
  Half boundless(other);
  expect_refused(boundless, ErrorCode::protocol, "impossible instance");
}

TEST(Session, PassesOnTheOthersRefusal) {
  pb::Error error;
  error.set_text("go away");
  error.set_fatal(true);
  Half half(error);
  ASSERT_FALSE(half.session);
  EXPECT_EQ(half.session.error().text, "go away");
}

TEST(Session, KeepsAliveAndNoticesSilence) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"), {.keepalive = Milliseconds(30), .expected_name = {}});
  ASSERT_TRUE(half.session);
  (*half.session)->start();
  EXPECT_TRUE(std::holds_alternative<pb::Hello>(*half.receive()));
  EXPECT_TRUE(std::holds_alternative<pb::Keepalive>(*half.receive()));
  ASSERT_TRUE(half.recorder.wait([&] { return half.recorder.closed.has_value(); }));
  EXPECT_EQ(half.recorder.closed->code, ErrorCode::timeout);
}

TEST(Session, SortsMessagesAndEndsChannels) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"));
  ASSERT_TRUE(half.session);
  (*half.session)->start();
  pb::InputAck ack;
  ack.set_instance("work");
  ASSERT_TRUE(write_frame(*half.other, ack, in(Milliseconds(1000))).ok());
  ASSERT_TRUE(half.recorder.wait([&] { return half.recorder.messages.size() == 1; }));
  pb::Offer offer;
  offer.mutable_id()->set_instance("work");
  offer.mutable_id()->set_generation(4);
  ASSERT_TRUE(write_frame(*half.other, offer, in(Milliseconds(1000))).ok());
  ASSERT_TRUE(half.recorder.wait([&] { return half.recorder.channel != nullptr; }));
  EXPECT_FALSE((*half.session)->channel("work"));
  EXPECT_TRUE((*half.session)->channel("personal"));
  pb::Abort abort;
  *abort.mutable_id() = offer.id();
  ASSERT_TRUE(write_frame(*half.other, abort, in(Milliseconds(1000))).ok());
  EXPECT_TRUE(half.recorder.channel->receive(in(Milliseconds(5000))));
  half.other->close();
  const auto ended = half.recorder.channel->receive(in(Milliseconds(5000)));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, ErrorCode::closed);
}

TEST(Session, ASecondOfferOfTheSameInstanceIsTurnedDown) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"));
  ASSERT_TRUE(half.session);
  (*half.session)->start();
  pb::Offer offer;
  offer.mutable_id()->set_instance("work");
  offer.mutable_id()->set_generation(4);
  const auto channel = (*half.session)->channel("work");
  ASSERT_TRUE(channel);
  ASSERT_TRUE(write_frame(*half.other, offer, in(Milliseconds(1000))).ok());
  EXPECT_TRUE(std::holds_alternative<pb::Hello>(*half.receive()));
  EXPECT_TRUE(std::holds_alternative<pb::Abort>(*half.receive()));
}

// Its engine may still be about to end; the one who offers cannot know.
TEST(Session, AfterTheLastWordTheNextOfferIsServed) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"));
  ASSERT_TRUE(half.session);
  (*half.session)->start();
  pb::Offer offer;
  offer.mutable_id()->set_instance("work");
  offer.mutable_id()->set_generation(4);
  pb::Committed committed;
  pb::Abort abort;
  *committed.mutable_id() = *abort.mutable_id() = offer.id();

  const auto source = (*half.session)->channel("work");
  ASSERT_TRUE(source);
  ASSERT_TRUE(write_frame(*half.other, committed, in(Milliseconds(1000))).ok());
  ASSERT_TRUE(write_frame(*half.other, offer, in(Milliseconds(1000))).ok());
  ASSERT_TRUE(half.recorder.wait([&] { return half.recorder.channel != nullptr; }));
  const auto destination = half.recorder.channel;
  EXPECT_FALSE((*half.session)->channel("work"));
  EXPECT_TRUE(destination->send(abort).ok());
  EXPECT_TRUE((*half.session)->channel("work"));
}

TEST(Session, ACommitThatNobodyWaitsForEndsIt) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"));
  ASSERT_TRUE(half.session);
  (*half.session)->start();
  pb::Commit commit;
  commit.mutable_id()->set_instance("work");
  ASSERT_TRUE(write_frame(*half.other, commit, in(Milliseconds(1000))).ok());
  ASSERT_TRUE(half.recorder.wait([&] { return half.recorder.closed.has_value(); }));
  EXPECT_EQ(half.recorder.closed->code, ErrorCode::protocol);
}

TEST(Session, MayBeReleasedWhenItCloses) {
  Half half(hello(pb::SIDE_CLOUD, "cloud"));
  struct Releaser : Recorder {
    std::shared_ptr<Session> session;
    void on_closed(Session& ended, const Error& why) override {
      session.reset();
      Recorder::on_closed(ended, why);
    }
  };
  auto [mine, theirs] = make_pipe();
  ASSERT_TRUE(write_frame(*theirs, hello(pb::SIDE_CLOUD, "cloud"), in(Milliseconds(1000))).ok());
  Releaser releaser;
  releaser.session = *Session::open(std::move(mine), hello(pb::SIDE_PHONE, "phone"), releaser);
  releaser.session->start();
  theirs->close();
  EXPECT_TRUE(releaser.wait([&] { return releaser.closed.has_value(); }));
}

}  // namespace
}  // namespace amphion::link
