// SPDX-License-Identifier: Apache-2.0
// QEMU's saved form of a virtio-mmio device: the one opaque field `virtio` of its section, which the stream's
// description gives only a size. Layout: transport selectors, device registers, configuration space, queues, a part of
// the device's own, then subsections of which only known ones are accepted. Thread safety: none; values. Invariant:
// parse_virtio() followed by write_virtio() gives the same bytes. Errors: StreamError.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "cloud-side/qemu/bytes.hpp"
#include "machine/network.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

inline constexpr std::size_t virtio_queue_slots = 1024;  // QEMU's VIRTIO_QUEUE_MAX

struct VirtioImage {
  struct Queue {
    std::uint32_t num, align;
    std::uint64_t desc;
    std::uint16_t last_avail;
  };
  struct Rings {
    std::uint64_t avail, used;
  };
  // What the driver wrote into the transport's registers; takes effect when `enabled` is set.
  struct Staged {
    std::uint16_t num;
    std::uint8_t enabled;
    std::array<std::uint32_t, 2> desc, avail, used;  // low, high
  };
  struct Port {
    std::uint32_t id;
    std::uint8_t guest_connected, host_connected;
    std::optional<Bytes> held;  // a transmit buffer that QEMU has taken but not written out
  };

  std::uint32_t device_id = 0;
  std::uint32_t host_features_sel = 0, guest_features_sel = 0, guest_page_shift = 0;
  std::uint8_t status = 0, isr = 0;
  std::uint16_t queue_sel = 0;
  std::uint32_t features_low = 0;
  Bytes config;
  std::vector<Queue> queues;

  Bytes held_requests;  // block: requests that QEMU wants to repeat
  std::uint16_t cols = 0, rows = 0;
  std::uint32_t max_ports = 0, ports_map = 0;
  std::vector<Port> ports;
  std::uint32_t num_pages = 0, actual = 0;  // balloon
  struct Network {
    machine::Mac mac{};
    std::uint32_t tx_waiting = 0;  // the transmit queue is looked at when the guest goes on
    std::uint32_t merged_buffers = 0;
    std::uint16_t status = 0;
    Bytes filter;  // of addresses and tags, which no driver can set; what the backend can do
  } network;

  std::uint64_t features = 0;
  std::vector<Rings> rings;  // virtio_queue_slots
  std::optional<std::vector<std::uint32_t>> default_sizes;
  std::optional<std::uint8_t> broken;
  std::array<std::uint32_t, 2> staged_features{};  // low, high
  std::vector<Staged> staged;                      // virtio_queue_slots
  std::optional<std::uint8_t> started, disabled;
};

[[nodiscard]] VirtioImage parse_virtio(View field, std::uint32_t device_id);
[[nodiscard]] Bytes write_virtio(const VirtioImage& image);

// `ram` is the instance's memory from ram_base on: the used index stands only there. Buffers that QEMU holds are given
// back, so that whoever goes on takes them again.
[[nodiscard]] machine::VirtioDevice to_neutral(const VirtioImage& image, std::uint32_t slot, View ram,
                                               std::uint64_t disk_sectors);
// `image` comes from the template; what the neutral form does not say stays. `ram` as above: whether the driver has
// given the balloon's buffer stands only there.
void from_neutral(const machine::VirtioDevice& device, View ram, VirtioImage& image);

}  // namespace amphion::qemu
