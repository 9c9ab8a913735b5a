// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/stream.hpp"

#include <gtest/gtest.h>

#include "tests/unit/qemu/stream_builder.hpp"

namespace amphion::qemu::test {
namespace {

using Json = nlohmann::ordered_json;

Json number(const char* name, int size) { return {{"name", name}, {"type", "uint"}, {"size", size}}; }

Bytes small_stream() {
  StreamBuilder b;
  Json pair{{"name", "pair"},
            {"type", "struct"},
            {"size", 3},
            {"array_len", 2},
            {"struct", {{"vmsd_name", "pair"}, {"version", 1}, {"fields", {number("a", 1), number("b", 2)}}}}};
  const Json sub{{{"vmsd_name", "dev/more"}, {"version", 1}, {"fields", {number("c", 8)}}}};
  Writer body;
  body.u32(0xdead'beef);
  for (int i = 0; i < 2; ++i) {
    body.u8(10 + static_cast<unsigned>(i));
    body.u16(20 + static_cast<unsigned>(i));
  }
  body.u8(5);
  body.u8(8);
  body.text("dev/more");
  body.u32(1);
  body.u64(0x0102'0304'0506'0708);
  b.section("dev", 0, {number("word", 4), pair}, body.take(), sub);
  const Bytes opaque{1, 2, 3};
  b.section("virtio-mmio@1/x", 0, Json::array({number("virtio", 3)}), opaque);
  return b.finish();
}

TEST(Stream, ReadsFieldsByTheirPathsAndReproducesItself) {
  const Bytes bytes = small_stream();
  const Stream s = Stream::parse(bytes);
  const Section& dev = s.section("dev");
  EXPECT_EQ(dev.get("word"), 0xdead'beefu);
  EXPECT_EQ(dev.get("pair#1.a"), 11u);
  EXPECT_EQ(dev.get("pair#1.b"), 21u);
  EXPECT_EQ(dev.get("dev/more.c"), 0x0102'0304'0506'0708u);
  EXPECT_EQ(s.bytes(), bytes);
}

TEST(Stream, WritesANumberInPlace) {
  Stream s = Stream::parse(small_stream());
  s.section("dev").set("pair#0.b", 0x1234);
  const Stream again = Stream::parse(s.bytes());
  EXPECT_EQ(again.section("dev").get("pair#0.b"), 0x1234u);
  EXPECT_EQ(again.section("dev").get("pair#1.a"), 11u);
}

TEST(Stream, AnOpaqueFieldMayChangeItsSize) {
  Stream s = Stream::parse(small_stream());
  s.replace_opaque(s.matching("virtio-mmio@1/", ""), "virtio", {9, 8, 7, 6, 5});
  const Stream again = Stream::parse(s.bytes());
  EXPECT_EQ(again.matching("virtio-mmio@1/", "").view("virtio").size(), 5u);
}

TEST(Stream, ASubsectionCanBeAdded) {
  Stream s = Stream::parse(small_stream());
  s.set_subsection(s.section("dev"), "dev/event", "flag", 1, 1);
  s.set_subsection(s.section("dev"), "dev/event", "flag", 1, 0);
  s.set_subsection(s.section("dev"), "dev/more", "c", 8, 3);
  const Stream again = Stream::parse(s.bytes());
  EXPECT_EQ(again.section("dev").get("dev/event.flag"), 0u);
  EXPECT_EQ(again.section("dev").get("dev/more.c"), 3u);
}

TEST(Stream, EveryTruncationIsRefused) {
  const Bytes bytes = small_stream();
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW((void)Stream::parse(View(bytes).first(size)), StreamError) << size;
}

TEST(Stream, NoSingleDamagedByteCrashesTheReader) {
  const Bytes good = small_stream();
  for (std::size_t at = 0; at < good.size(); ++at)
    for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
      Bytes bytes = good;
      bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ flip);
      try {
        (void)Stream::parse(bytes).bytes();
      } catch (const StreamError&) {
      }
    }
}

TEST(Stream, ADescriptionThatAsksForMoreThanThereIsIsRefused) {
  for (const auto& [size, count] : {std::pair{4, 0x4000'0000}, {0x7fff'ffff, 2}, {0, 0x7fff'ffff}}) {
    StreamBuilder b;
    Json field = number("x", size);
    field["array_len"] = count;
    b.section("dev", 0, Json::array({field}), Bytes(16));
    EXPECT_THROW((void)Stream::parse(b.finish()), StreamError);
  }
}

TEST(Stream, ASectionThatEndsElsewhereThanDescribedIsRefused) {
  StreamBuilder b;
  b.section("dev", 0, Json::array({number("x", 4)}), Bytes(5));
  EXPECT_THROW((void)Stream::parse(b.finish()), StreamError);
}

TEST(Stream, MissingNamesAreErrors) {
  Stream s = Stream::parse(small_stream());
  EXPECT_THROW((void)s.section("nobody"), StreamError);
  EXPECT_THROW((void)s.section("dev").get("nothing"), StreamError);
  EXPECT_THROW(s.section("dev").put("word", Bytes(3)), StreamError);
}

}  // namespace
}  // namespace amphion::qemu::test
