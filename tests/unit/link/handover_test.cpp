// SPDX-License-Identifier: Apache-2.0
// Hand-overs that succeed (and what they send), and those that are refused because of what arrives.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/link/world.hpp"

namespace amphion::link::test {
namespace {

constexpr std::size_t blocks_type = 6;  // position of Blocks in Message, counted from 1
constexpr std::size_t prepare_type = 8;

MessageType type_in(const std::string& frame) {
  return static_cast<MessageType>(static_cast<unsigned char>(frame[4]) | static_cast<unsigned char>(frame[5]) << 8);
}

// Decodes a frame's message, changes it, and encodes it again.
template <typename T>
void change(std::string& frame, void (*how)(T&)) {
  auto message = decode(type_in(frame), std::string_view(frame).substr(frame_header_bytes));
  ASSERT_TRUE(message);
  how(std::get<T>(*message));
  const std::string body = encode(*message);
  const auto size = static_cast<std::uint32_t>(body.size());
  std::memcpy(frame.data() + 8, &size, sizeof(size));
  frame = frame.substr(0, frame_header_bytes) + body;
}

// A dock whose frames are tampered with: refused with `reason`, and everything goes on.
void expect_refused(const std::function<void(std::string&)>& tamper, const std::string& reason) {
  World world;
  world.connect();
  world.type('a');
  world.tamper = tamper;
  const HandoverReport report = world.dock();
  world.tamper = nullptr;
  EXPECT_EQ(report.outcome, Outcome::aborted);
  EXPECT_NE(report.reason.find(reason), std::string::npos) << report.reason;
  EXPECT_TRUE(world.phone.running());
  world.recover();
  world.check("refused: " + reason);
  EXPECT_EQ(world.dock().outcome, Outcome::committed);
  world.check("docked after all");
}

TEST(Handover, ComesAndGoesAndSendsOnlyWhatDiffers) {
  World world;
  world.connect();
  world.type('h');
  Progress last;
  world.progress = [&](const Progress& progress) { last = progress; };
  const HandoverReport first = world.dock();
  ASSERT_EQ(first.outcome, Outcome::committed) << first.reason;
  EXPECT_EQ(first.generation, 2u);
  EXPECT_EQ(last.phase, Phase::done);
  world.check("docked");
  EXPECT_TRUE(world.cloud.running());

  {
    const std::lock_guard lock(world.mutex());
    world.cloud.guest->put(pb::REGION_MEMORY, 7000, "changed in the cloud");
    world.cloud.guest->blocks.erase({pb::REGION_MEMORY, 1003});  // has become zero
  }
  const HandoverReport home = world.undock();
  ASSERT_EQ(home.outcome, Outcome::committed) << home.reason;
  world.check("home again");
  EXPECT_TRUE(world.phone.running());
  EXPECT_EQ(world.phone.guest->get(pb::REGION_MEMORY, 7000), "changed in the cloud");
  EXPECT_EQ(world.phone.guest->get(pb::REGION_MEMORY, 1003), "");
  EXPECT_LT(home.progress.blocks_sent, first.progress.blocks_sent / 2);
  EXPECT_GE(home.progress.zero_blocks, 1u);

  const HandoverReport second = world.dock();
  ASSERT_EQ(second.outcome, Outcome::committed) << second.reason;
  EXPECT_LT(second.progress.blocks_sent, first.progress.blocks_sent / 2);
  world.check("docked again");
}

TEST(Handover, SendsEverythingAfterThePhoneHasLostItsCopy) {
  World world;
  world.connect();
  ASSERT_EQ(world.dock().outcome, Outcome::committed);
  world.phone.die();
  world.recover();
  world.check("docked, and the phone was switched off");
  const HandoverReport home = world.undock();
  ASSERT_EQ(home.outcome, Outcome::committed) << home.reason;
  world.check("home again");
}

TEST(Handover, RefusesADamagedPage) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) != blocks_type) return;
        change<pb::Blocks>(frame, [](pb::Blocks& blocks) {
          if (blocks.blocks_size() > 0) (*blocks.mutable_blocks(0)->mutable_hash())[3] ^= 1;
        });
      },
      "arrived damaged");
}

TEST(Handover, RefusesContentsThatDoNotUnpack) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) != blocks_type) return;
        change<pb::Blocks>(frame, [](pb::Blocks& blocks) {
          if (blocks.contents().size() > 40) blocks.mutable_contents()->resize(40);
        });
      },
      "cannot be unpacked");
}

TEST(Handover, RefusesBlocksOutsideTheInstance) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) != blocks_type) return;
        change<pb::Blocks>(frame, [](pb::Blocks& blocks) {
          if (blocks.blocks_size() > 0) blocks.mutable_blocks(0)->set_index(64u << 20 >> 12);
        });
      },
      "outside the instance");
}

// A few bytes could ask for hours of work.
TEST(Handover, RefusesZerosThatAreNamedAgainAndAgain) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) != blocks_type) return;
        change<pb::Blocks>(frame, [](pb::Blocks& blocks) {
          for (int i = 0; i < 500; ++i) {
            pb::ZeroRange& range = *blocks.add_zeros();
            range.set_region(pb::REGION_MEMORY);
            range.set_count(64u << 20 >> 12);
          }
        });
      },
      "more than once");
}

TEST(Handover, RefusesAStreamWithABatchMissing) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) == blocks_type)
          change<pb::Blocks>(frame, [](pb::Blocks& blocks) { blocks.set_batch(blocks.batch() + 1); });
      },
      "missing");
}

TEST(Handover, RefusesAnUnknownFormatVersionOfTheState) {
  expect_refused(
      [](std::string& frame) {
        if (type_in(frame) != prepare_type) return;
        change<pb::Prepare>(frame, [](pb::Prepare& prepare) { (*prepare.mutable_state())[4] = 9; });
      },
      "does not match");
}

TEST(Handover, RefusesAMessageOverItsBound) {
  World world;
  world.connect();
  world.tamper = [](std::string& frame) {
    if (type_in(frame) == blocks_type) frame[11] = 1;  // 16 MiB and more
  };
  const HandoverReport report = world.dock();
  world.tamper = nullptr;
  EXPECT_EQ(report.outcome, Outcome::aborted);
  EXPECT_NE(report.reason.find("over its bound"), std::string::npos) << report.reason;
  world.recover();
  world.check("a message over its bound");
}

TEST(Handover, RefusesWhenTheCloudsDiskIsFull) {
  World world;
  world.connect();
  world.cloud.files.set_capacity(100'000);
  const HandoverReport report = world.dock();
  EXPECT_EQ(report.outcome, Outcome::aborted);
  EXPECT_NE(report.reason.find("No space left"), std::string::npos) << report.reason;
  EXPECT_EQ(world.cloud.files.list("/data")->size(), 0u) << "something half done was left behind";
  world.cloud.files.set_capacity(~std::uint64_t{0});
  world.recover();
  world.check("the cloud's disk was full");
  EXPECT_EQ(world.dock().outcome, Outcome::committed);
}

TEST(Handover, StopsWhenItIsCancelled) {
  World world;
  world.connect();
  auto session = tls_pair();  // keeps the listener warm; the engine below has a channel of its own
  struct NoChannel : Channel {
    Status send(const Message&) override { return {}; }
    Result<Message> receive(Deadline) override { return Error{ErrorCode::timeout, "nothing"}; }
    void close() override {}
  } channel;
  HandoverSource engine(channel, world.phone.records, world.phone, instance_name, world.source_options);
  std::thread canceller([&] { engine.cancel(); });
  const HandoverReport report = engine.run();
  canceller.join();
  EXPECT_EQ(report.outcome, Outcome::aborted);
  world.check("cancelled");
}

TEST(Handover, NeverUsesAGenerationTwice) {
  World world;
  world.connect();
  world.cloud.files.set_capacity(0);
  const std::uint64_t first = world.dock().generation;
  world.cloud.files.set_capacity(~std::uint64_t{0});
  world.recover();
  EXPECT_GT(world.dock().generation, first);
}

}  // namespace
}  // namespace amphion::link::test
