// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_balloon.hpp"

#include <algorithm>
#include <array>

namespace amphion::devices {
namespace {

constexpr std::uint32_t inflate_queue = 0, deflate_queue = 1, reporting_queue = 3;
constexpr std::uint32_t first_frame = machine::ram_base / machine::page_bytes;
constexpr std::size_t frame_bytes = 4;
constexpr std::size_t largest_inflate_bytes = machine::page_bytes;  // Linux sends a quarter of it

}  // namespace

VirtioBalloon::VirtioBalloon(Discard discard, GuestMemory& memory, Slot slot)
    : VirtioDevice(machine::virtio_balloon, memory, slot), discard_(std::move(discard)) {}

void VirtioBalloon::fill_config(std::span<std::byte> config) const {
  store_le<std::uint32_t>(config, 0, num_pages_);
  store_le<std::uint32_t>(config, 4, actual_);
}

void VirtioBalloon::config_written(std::uint32_t offset, std::span<const std::byte> value) {
  if (offset == 4 && value.size() == 4) actual_ = load_le<std::uint32_t>(value, 0);
}

void VirtioBalloon::set_target(std::uint32_t pages) {
  if (pages == num_pages_) return;
  num_pages_ = pages;
  config_changed();
}

void VirtioBalloon::notified(std::uint32_t n) {
  if (n != inflate_queue && n != deflate_queue && n != reporting_queue) return;
  Chain chain;
  bool any = false;
  // As far as the driver had come at the beginning: for what it offers meanwhile it notifies again.
  for (std::uint32_t left = queue(n).offered(); left > 0 && take(n, chain); --left) {
    if (n == inflate_queue && !inflate(chain)) return broken();
    if (n == reporting_queue) discard_reported(chain);
    give(n, chain, 0);
    any = true;
  }
  if (any) interrupt_used(n);
}

void VirtioBalloon::activated() {
  notified(inflate_queue);
  notified(deflate_queue);
  notified(reporting_queue);
}

// False: more than any driver has a reason to send in one piece.
bool VirtioBalloon::inflate(const Chain& chain) {
  if (chain.readable_bytes() > largest_inflate_bytes) return false;
  std::array<std::byte, largest_inflate_bytes> buffer;
  const auto raw = at_most(std::span<std::byte>(buffer), chain.readable_bytes() / frame_bytes * frame_bytes);
  if (!copy_from(memory(), chain, 0, raw)) return true;
  std::vector<std::uint32_t> frames;
  for (std::size_t i = 0; i < raw.size(); i += frame_bytes) frames.push_back(load_le<std::uint32_t>(raw, i));
  discard_pages(frames);
  return true;
}

// Runs of neighbours go in one call.
void VirtioBalloon::discard_pages(std::vector<std::uint32_t>& frames) {
  std::erase_if(frames, [&](std::uint32_t frame) {
    return !memory().contains(std::uint64_t{frame} * machine::page_bytes, machine::page_bytes);
  });
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  for (std::size_t i = 0, next; i < frames.size(); i = next) {
    for (next = i + 1; next < frames.size() && frames[next] == frames[next - 1] + 1;) ++next;
    discard_(frames[i] - first_frame, static_cast<std::uint32_t>(next - i));
  }
}

// The pages are the chain's writable part: until it is given back the guest does not touch them.
void VirtioBalloon::discard_reported(const Chain& chain) {
  for (const Segment& segment : chain.writable) {
    const std::uint64_t first = (segment.address + machine::page_bytes - 1) / machine::page_bytes;
    const std::uint64_t end = (segment.address + segment.bytes) / machine::page_bytes;
    if (end <= first) continue;  // not one whole page
    discard_(static_cast<std::uint32_t>(first - first_frame), static_cast<std::uint32_t>(end - first));
  }
}

void VirtioBalloon::save_device(machine::VirtioDevice& state) const {
  state.mutable_balloon()->set_num_pages(num_pages_);
  state.mutable_balloon()->set_actual(actual_);
}

void VirtioBalloon::restore_device(const machine::VirtioDevice& state) {
  num_pages_ = state.balloon().num_pages();
  actual_ = state.balloon().actual();
  queue(2).rewind();  // another engine may have held the statistics buffer
}

}  // namespace amphion::devices
