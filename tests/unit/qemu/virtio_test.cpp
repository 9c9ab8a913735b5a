// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/virtio.hpp"

#include <gtest/gtest.h>

#include "machine/cold_start.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::qemu::test {
namespace {

constexpr std::uint64_t ram_bytes = 64u << 20;
constexpr std::uint64_t ring = machine::ram_base + 0x10'0000;

// An image as QEMU makes it for a driver that runs.
VirtioImage image_of(const machine::VirtioModel& model) {
  VirtioImage image;
  image.device_id = model.device_id;
  image.status = 0xf;
  image.config.assign(model.config_bytes, 0);
  image.features = model.features;
  image.features_low = static_cast<std::uint32_t>(model.features);
  image.staged_features = {static_cast<std::uint32_t>(model.features),
                           static_cast<std::uint32_t>(model.features >> 32)};
  image.rings.resize(virtio_queue_slots);
  image.staged.resize(virtio_queue_slots);
  for (std::uint32_t n = 0; n < model.queues; ++n) {
    const std::uint64_t at = ring + n * 0x4000;
    image.queues.push_back({64, 4096, at, static_cast<std::uint16_t>(7 * n)});
    image.rings[n] = {at + 0x400, at + 0x1000};
    image.staged[n] = {64,
                       1,
                       {static_cast<std::uint32_t>(at), 0},
                       {static_cast<std::uint32_t>(at + 0x400), 0},
                       {static_cast<std::uint32_t>(at + 0x1000), 0}};
  }
  if (model.device_id == machine::virtio_id_console) {
    image.max_ports = 2;
    image.ports_map = 3;
    image.ports.push_back({0, 1, 1, {}});
    image.ports.push_back({1, 1, 0, {}});
  }
  if (model.device_id == machine::virtio_id_network) {
    const auto config = machine::virtio_network_config({2, 3, 4, 5, 6, 7}, true);
    image.config.assign(config.begin(), config.end());
    image.network = {{2, 3, 4, 5, 6, 7}, 1, 0, 1, Bytes(2 + 4 + 512 + 4 + 7)};
  }
  image.started = 1;
  return image;
}

Bytes memory_with_used(const VirtioImage& image) {
  Bytes ram(ram_bytes);
  for (std::size_t n = 0; n < image.queues.size(); ++n) {
    const auto at = image.rings[n].used + 2 - machine::ram_base;
    const bool statistics = image.device_id == machine::virtio_id_balloon && n == 2;  // QEMU holds the one buffer
    const unsigned used = image.queues[n].last_avail - (statistics ? 1u : 0u);
    ram[at] = static_cast<std::uint8_t>(used);
    ram[at + 1] = static_cast<std::uint8_t>(used >> 8);
    if (!statistics) continue;
    const auto given = image.rings[n].avail + 2 - machine::ram_base;
    ram[given] = static_cast<std::uint8_t>(used + 1);
    ram[given + 1] = static_cast<std::uint8_t>((used + 1) >> 8);
  }
  return ram;
}

const std::pair<std::uint32_t, const machine::VirtioModel*> devices[] = {
    {0, &machine::virtio_blk},      {2, &machine::virtio_network}, {3, &machine::virtio_console},
    {4, &machine::virtio_keyboard}, {6, &machine::virtio_entropy}, {7, &machine::virtio_balloon}};

TEST(Virtio, ReadAndWrittenAgainIsTheSame) {
  for (const auto& [slot, model] : devices) {
    const Bytes bytes = write_virtio(image_of(*model));
    EXPECT_EQ(write_virtio(parse_virtio(bytes, model->device_id)), bytes) << slot;
  }
}

TEST(Virtio, ThroughTheNeutralFormIsTheSame) {
  for (const auto& [slot, model] : devices) {
    VirtioImage image = image_of(*model);
    const Bytes ram = memory_with_used(image);
    const machine::VirtioDevice device = to_neutral(image, slot, ram, 4096);
    EXPECT_EQ(device.status(), 0xfu);
    EXPECT_EQ(device.driver_features(), model->features);
    EXPECT_EQ(device.queues_size(), static_cast<int>(model->queues));
    VirtioImage blank = image_of(*model);
    for (auto& q : blank.queues) q = {64, 4096, 0, 0};
    for (auto& s : blank.staged) s = {};
    for (auto& r : blank.rings) r = {};
    blank.status = 0;
    blank.features = 0;
    blank.features_low = 0;
    blank.staged_features = {};
    from_neutral(device, ram, blank);
    if (slot == 0) image.config = blank.config;  // QEMU's own is a cache that may be empty
    EXPECT_EQ(write_virtio(blank), write_virtio(image)) << slot;
  }
}

TEST(Virtio, AHeldConsoleBufferIsGivenBack) {
  VirtioImage image = image_of(machine::virtio_console);
  Bytes ram = memory_with_used(image);
  image.ports[0].held = Bytes(4 + 8 + 16 + 1024 * 48);
  ++image.queues[1].last_avail;  // transmit queue of port 0: taken, not returned
  const Bytes bytes = write_virtio(image);
  const VirtioImage read = parse_virtio(bytes, image.device_id);
  EXPECT_EQ(write_virtio(read), bytes);
  const auto device = to_neutral(read, 3, ram, 0);
  EXPECT_EQ(device.queues(1).last_avail(), device.queues(1).used());
}

// QEMU would find more taken than was ever given, and break the device.
TEST(Virtio, StatisticsThatTheDriverIsFillingInAreNotTaken) {
  VirtioImage image = image_of(machine::virtio_balloon);
  const Bytes ram = memory_with_used(image);
  const machine::VirtioDevice device = to_neutral(image, 7, ram, 0);
  const auto given = image.rings[2].avail + 2 - machine::ram_base;
  Bytes filling = ram;
  filling[given] = ram[image.rings[2].used + 2 - machine::ram_base];
  for (const auto& [memory, taken] : {std::pair(View(ram), 1u), {View(filling), 0u}, {View(), 0u}}) {
    VirtioImage written = image;
    from_neutral(device, memory, written);
    EXPECT_EQ(written.queues[2].last_avail, device.queues(2).used() + taken);
  }
}

TEST(Virtio, ARequestUnderWayIsRefused) {
  VirtioImage image = image_of(machine::virtio_blk);
  const Bytes ram = memory_with_used(image);
  ++image.queues[0].last_avail;
  EXPECT_THROW((void)to_neutral(image, 0, ram, 4096), StreamError);
}

TEST(Virtio, ABrokenDeviceIsRefused) {
  VirtioImage image = image_of(machine::virtio_blk);
  image.broken = 1;
  EXPECT_THROW((void)to_neutral(image, 0, memory_with_used(image), 4096), StreamError);
}

TEST(Virtio, ARingOutsideMemoryIsRefused) {
  VirtioImage image = image_of(machine::virtio_blk);
  const Bytes ram = memory_with_used(image);
  for (const std::uint64_t used : {std::uint64_t{0}, machine::ram_base + ram_bytes - 3, ~std::uint64_t{0}}) {
    image.rings[0].used = used;
    EXPECT_THROW((void)to_neutral(image, 0, ram, 4096), StreamError) << used;
  }
}

TEST(Virtio, TruncatedOrUnknownPartsAreRefused) {
  const Bytes bytes = write_virtio(image_of(machine::virtio_console));
  for (std::size_t size = 0; size < bytes.size(); size += size < 400 ? 1 : 997)
    EXPECT_THROW((void)parse_virtio(View(bytes).first(size), machine::virtio_id_console), StreamError) << size;
  Bytes longer = bytes;
  for (const char c : std::string("\x05\x04what", 6)) longer.push_back(static_cast<std::uint8_t>(c));
  longer.resize(longer.size() + 4);
  EXPECT_THROW((void)parse_virtio(longer, machine::virtio_id_console), StreamError);
}

TEST(Virtio, NoSingleDamagedByteCrashesTheReader) {
  for (const auto& [slot, model] : devices) {
    const Bytes good = write_virtio(image_of(*model));
    const Bytes ram(ram_bytes);
    for (std::size_t at = 0; at < 400; ++at) {
      Bytes bytes = good;
      bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ 0xff);
      try {
        (void)to_neutral(parse_virtio(bytes, model->device_id), slot, ram, 1);
      } catch (const StreamError&) {
      }
    }
  }
}

}  // namespace
}  // namespace amphion::qemu::test
