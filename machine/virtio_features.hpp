// SPDX-License-Identifier: Apache-2.0
// What every virtio device of the phone machine shows its driver: feature bits, queues, configuration space.
// The single truth for the phone's device model (phone-side/devices) and the clone's QEMU command line
// (cloud-side/qemu): guests cache these values, and QEMU refuses feature bits that it did not offer itself. The values
// are those of QEMU 11.1's virtio-mmio devices with every optional feature switched off; what is left on is what QEMU
// cannot switch off. A test reads them back from the clone's QEMU (tests/unit/qemu). Freestanding: constants only. All
// of configuration space is little-endian.
#pragma once

#include <array>
#include <cstdint>

#include "machine/network.hpp"
#include "machine/phone.hpp"

namespace amphion::machine {

// Device identifiers, virtio 1.1 section 5.
inline constexpr std::uint32_t virtio_id_none = 0;
inline constexpr std::uint32_t virtio_id_network = 1;
inline constexpr std::uint32_t virtio_id_block = 2;
inline constexpr std::uint32_t virtio_id_console = 3;
inline constexpr std::uint32_t virtio_id_entropy = 4;
inline constexpr std::uint32_t virtio_id_balloon = 5;
inline constexpr std::uint32_t virtio_id_input = 18;

inline constexpr std::uint32_t virtio_mmio_magic = 0x7472'6976;
inline constexpr std::uint32_t virtio_mmio_version = 2;
inline constexpr std::uint32_t virtio_mmio_vendor = 0x554d'4551;  // "QEMU"

// QueueNumMax of every queue of every device (-global virtio-mmio.x-override-queue-size). Small, because Debian's
// console driver allocates a page for each receive descriptor.
inline constexpr std::uint32_t virtio_queue_size_max = 64;

inline constexpr std::uint64_t virtio_f_version_1 = 1ull << 32;

// A read of configuration space that reaches beyond `config_bytes` gives all ones.
struct VirtioModel {
  std::uint32_t device_id;
  std::uint64_t features;
  std::uint32_t queues;
  std::uint32_t config_bytes;
  bool added_later = false;  // saved states may lack it: their guests found the slot empty, and it comes up reset
};

// ---- block (disk0; disk1 is empty for now) ----
inline constexpr std::uint64_t virtio_blk_f_seg_max = 1u << 2;
inline constexpr std::uint64_t virtio_blk_f_geometry = 1u << 4;
inline constexpr std::uint64_t virtio_blk_f_blk_size = 1u << 6;
inline constexpr std::uint64_t virtio_blk_f_flush = 1u << 9;
inline constexpr std::uint64_t virtio_blk_f_topology = 1u << 10;
inline constexpr VirtioModel virtio_blk{virtio_id_block,
                                        virtio_f_version_1 | virtio_blk_f_seg_max | virtio_blk_f_geometry |
                                            virtio_blk_f_blk_size | virtio_blk_f_flush | virtio_blk_f_topology,
                                        1, 36};
inline constexpr std::uint32_t virtio_blk_seg_max = virtio_queue_size_max - 2;
inline constexpr std::uint32_t virtio_blk_sector_bytes = 512;

// Configuration space of a disk; `writeback` is 1 on every disk we make (CONFIG_WCE is not offered, so it never
// changes).
[[nodiscard]] constexpr std::array<std::uint8_t, virtio_blk.config_bytes> virtio_blk_config(
    std::uint64_t capacity_sectors) {
  std::array<std::uint8_t, virtio_blk.config_bytes> c{};
  for (unsigned i = 0; i < 8; ++i) c[i] = static_cast<std::uint8_t>(capacity_sectors >> (8 * i));
  c[12] = virtio_blk_seg_max;  // size_max (8..11) is not offered
  c[16] = 1;                   // geometry: 1 cylinder,
  c[18] = 1;                   // 1 head,
  c[19] = 1;                   // 1 sector
  c[21] = virtio_blk_sector_bytes >> 8;
  c[32] = 1;  // writeback
  c[34] = 1;  // num_queues
  return c;   // topology (24..31) is all zero
}

// ---- console: multiport, two ports ----
// Queues: 0/1 port 0 receive/transmit, 2/3 control receive/transmit, 4/5 port 1 receive/transmit.
inline constexpr std::uint64_t virtio_console_f_multiport = 1u << 1;
inline constexpr std::uint64_t virtio_console_f_emerg_write = 1u << 2;
inline constexpr std::uint32_t virtio_console_ports = 2;
inline constexpr VirtioModel virtio_console{
    virtio_id_console, virtio_f_version_1 | virtio_console_f_multiport | virtio_console_f_emerg_write,
    2 * (virtio_console_ports + 1), 12};
// cols (u16), rows (u16), max_nr_ports (u32), emerg_wr (u32, write only: the low byte goes to port 0)
inline constexpr std::array<std::uint8_t, virtio_console.config_bytes> virtio_console_config{0, 0, 0, 0,
                                                                                             virtio_console_ports};

// ---- input: keyboard ----
// Queues: 0 events, 1 status (LEDs).
inline constexpr VirtioModel virtio_keyboard{virtio_id_input, virtio_f_version_1, 2, 37};

// Configuration space answers by (select, subsel): byte 2 is the size, the payload starts at byte 8; anything else has
// size 0.
inline constexpr std::uint8_t virtio_input_id_name = 0x01;
inline constexpr std::uint8_t virtio_input_id_devids = 0x03;
inline constexpr std::uint8_t virtio_input_ev_bits = 0x11;
inline constexpr std::uint8_t ev_key = 0x01;
inline constexpr std::uint8_t ev_led = 0x11;
inline constexpr std::uint8_t ev_rep = 0x14;
inline constexpr char virtio_keyboard_name[] = "QEMU Virtio Keyboard";  // size 21: with its zero byte
inline constexpr std::array<std::uint8_t, 8> virtio_keyboard_devids{0x06, 0x00, 0x27, 0x06, 0x01, 0x00, 0x01, 0x00};
inline constexpr std::uint32_t virtio_keyboard_key_bytes = 29;
inline constexpr std::uint32_t virtio_keyboard_last_key = virtio_keyboard_key_bytes * 8 - 1;
// Keys 1..231.
inline constexpr std::array<std::uint8_t, virtio_keyboard_key_bytes> virtio_keyboard_keys = [] {
  std::array<std::uint8_t, virtio_keyboard_key_bytes> bits{};
  for (auto& b : bits) b = 0xff;
  bits[0] = 0xfe;
  return bits;
}();
inline constexpr std::array<std::uint8_t, 1> virtio_keyboard_leds{0x07};  // num, caps, scroll lock
inline constexpr std::array<std::uint8_t, 1> virtio_keyboard_rep{0x00};   // size 1, no bit

// ---- balloon ----
// Queues: 0 inflate, 1 deflate, 2 statistics (the device holds the driver's buffer and may leave it alone), 3 free
// pages that are reported (queues of features that are not offered take no number).
inline constexpr std::uint64_t virtio_balloon_f_stats_vq = 1u << 1;
inline constexpr std::uint64_t virtio_balloon_f_reporting = 1u << 5;
inline constexpr VirtioModel virtio_balloon{
    virtio_id_balloon, virtio_f_version_1 | virtio_balloon_f_stats_vq | virtio_balloon_f_reporting, 4, 8};
// num_pages (u32, read only), actual (u32, written by the driver), both in pages of 4 KiB

// ---- network ----
// Queues: 0 receive, 1 transmit, 2 control (QEMU always has one; CTRL_VQ is not offered, so no driver uses it). One
// frame a chain: no offloads, no merged buffers.
inline constexpr std::uint64_t virtio_net_f_mac = 1u << 5;
inline constexpr std::uint64_t virtio_net_f_status = 1u << 16;
inline constexpr VirtioModel virtio_network{virtio_id_network,
                                            virtio_f_version_1 | virtio_net_f_mac | virtio_net_f_status, 3, 8, true};
inline constexpr std::uint8_t virtio_net_s_link_up = 1;
inline constexpr std::uint32_t virtio_net_header_bytes = 12;

[[nodiscard]] constexpr std::array<std::uint8_t, virtio_network.config_bytes> virtio_network_config(const Mac& mac,
                                                                                                    bool link_up) {
  std::array<std::uint8_t, virtio_network.config_bytes> c{};
  for (unsigned i = 0; i < mac.size(); ++i) c[i] = mac[i];
  c[6] = link_up ? virtio_net_s_link_up : 0;
  return c;
}

// ---- entropy ----
// Queue 0: buffers to be filled.
inline constexpr VirtioModel virtio_entropy{virtio_id_entropy, virtio_f_version_1, 1, 0, true};

[[nodiscard]] constexpr const VirtioModel* virtio_model(VirtioSlot slot) {
  switch (slot) {
    case VirtioSlot::disk0:
      return &virtio_blk;
    case VirtioSlot::network:
      return &virtio_network;
    case VirtioSlot::console:
      return &virtio_console;
    case VirtioSlot::keyboard:
      return &virtio_keyboard;
    case VirtioSlot::entropy:
      return &virtio_entropy;
    case VirtioSlot::balloon:
      return &virtio_balloon;
    default:
      return nullptr;  // empty: magic, version and vendor answer, DeviceID and everything else read 0
  }
}

}  // namespace amphion::machine
