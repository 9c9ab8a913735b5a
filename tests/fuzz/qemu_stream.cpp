// SPDX-License-Identifier: Apache-2.0
// Migration streams that claim to be QEMU's.
#include "cloud-side/qemu/stream.hpp"
#include "tests/fuzz/driver.hpp"
#include "tests/unit/qemu/stream_builder.hpp"

namespace amphion::fuzz {
namespace {

qemu::Bytes stream_of(Random& random) {
  qemu::test::StreamBuilder builder;
  for (std::uint32_t n = random.below(4); n != 0; --n) {
    const std::uint32_t size = 1u << random.below(4);
    const qemu::Bytes body(2 * size, static_cast<std::uint8_t>(random()));
    nlohmann::ordered_json fields{{{"name", "a"}, {"type", "uint"}, {"size", size}},
                                  {{"name", "b"}, {"type", "uint"}, {"size", size}}};
    builder.section("device" + std::to_string(n), n, fields, body);
  }
  return builder.finish();
}

}  // namespace

void qemu_stream(Random& random) {
  const qemu::Bytes good = stream_of(random);
  require(qemu::Stream::parse(good).bytes() == good, "a stream is written as it is read");
  std::string changed(good.begin(), good.end());
  mutate(changed, random);
  const qemu::Bytes bytes(changed.begin(), changed.end());
  try {
    const qemu::Bytes again = qemu::Stream::parse(bytes).bytes();
    require(qemu::Stream::parse(again).bytes() == again, "a stream is written as it is read");
  } catch (const qemu::StreamError&) {
  }
}

}  // namespace amphion::fuzz
