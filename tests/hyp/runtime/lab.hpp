// SPDX-License-Identifier: Apache-2.0
// The lab: a device that only the test host has (host/lab.cpp), in the device window of the phone machine. Test guests
// ask it for what a device or the host does to an instance.
#pragma once

#include "hyp/types.hpp"
#include "machine/phone.hpp"

namespace amphion::lab {

inline constexpr machine::Window window{0x0b00'0000, 0x1000};

// Any access here is remembered; a read answers with pattern(address), of which the access takes its bytes.
inline constexpr machine::Window echo{window.base, 0x100};
[[nodiscard]] constexpr hyp::u32 pattern(hyp::u32 address) { return 0x8091'a2b3u + address * 0x0101'0101u; }

// Words. Of the last access to `echo`:
inline constexpr hyp::u32 echo_count = window.base + 0x100;
inline constexpr hyp::u32 echo_address = window.base + 0x104;
inline constexpr hyp::u32 echo_bytes = window.base + 0x108;
inline constexpr hyp::u32 echo_write = window.base + 0x10c;
inline constexpr hyp::u32 echo_data = window.base + 0x110;

inline constexpr hyp::u32 number = window.base + 0x200;       // read: which of a test's instances this is, from 0
inline constexpr hyp::u32 kept = window.base + 0x204;         // a word that outlives a reset
inline constexpr hyp::u32 raise = window.base + 0x208;        // write: an INTID, its line goes high
inline constexpr hyp::u32 lower = window.base + 0x20c;        // write: an INTID, its line goes low
inline constexpr hyp::u32 discard = window.base + 0x210;      // write: index of a page, which the host takes away
inline constexpr hyp::u32 allow = window.base + 0x214;        // write: how many vCPUs may run; read: the host's answer
inline constexpr hyp::u32 pause = window.base + 0x218;        // write: saved, restored and run again a while later
inline constexpr hyp::u32 exits = window.base + 0x21c;        // read: how often this vCPU has left to the hypervisor
inline constexpr hyp::u32 board_ticks = window.base + 0x220;  // read: the host's counter
inline constexpr hyp::u32 populated = window.base + 0x224;    // read: pages that have memory
inline constexpr hyp::u32 quit = window.base + 0x228;         // write: this instance is ended by the host
inline constexpr hyp::u32 doorbell = window.base + 0x230;     // read: queues of slot 0 that rang, a bit each
inline constexpr hyp::u32 ring_count = window.base + 0x234;   // read: how often the host was told that something rang
inline constexpr hyp::u32 status = window.base + 0x238;  // write: slot 0's InterruptStatus, as HC_VIRTIO_IRQ has it
inline constexpr hyp::u32 type = window.base + 0x23c;    // write: how many `gift`s the UART is to receive
inline constexpr hyp::u32 deaf = window.base + 0x240;    // write: not 0, the host does not look at what rings
inline constexpr char gift = 'g';
inline constexpr hyp::u32 spare = window.base + 0x22c;        // write: index of a page that may go when memory is short
inline constexpr hyp::u32 shortages = window.base + 0x240;    // read: how often it was
inline constexpr hyp::u32 clean_pages = window.base + 0x244;  // read: scrubbed pages of the pool

// Of the host that fuzzes (host/fuzz.cpp):
inline constexpr hyp::u32 seed = window.base + 0x300;        // read: what a hostile guest begins with; odd: it is wild
inline constexpr hyp::u32 enough = window.base + 0x304;      // read: not 0, the victim may end
inline constexpr hyp::u32 operations = window.base + 0x308;  // write: that many more were tried
inline constexpr hyp::u32 complaint = window.base + 0x30c;   // write: `complaint_mark` and the operation
inline constexpr hyp::u32 complaint_mark = 0x5bad'0000;

}  // namespace amphion::lab
