// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_net.hpp"

#include <algorithm>
#include <array>

namespace amphion::devices {
namespace {

constexpr std::uint32_t receive_queue = 0, transmit_queue = 1;
constexpr std::size_t header_bytes = machine::virtio_net_header_bytes;
constexpr std::size_t num_buffers_offset = 10;

}  // namespace

VirtioNet::VirtioNet(Cable cable, GuestMemory& memory, Slot slot)
    : VirtioDevice(machine::virtio_network, memory, slot), cable_(cable), told_link_up_(link_up()) {}

void VirtioNet::fill_config(std::span<std::byte> config) const {
  const auto bytes = machine::virtio_network_config(cable_.mac, link_up());
  std::copy_n(std::as_bytes(std::span(bytes)).begin(), config.size(), config.begin());
}

void VirtioNet::notified(std::uint32_t n) {
  if (n != transmit_queue) return;  // room to receive is asked for
  sending_ = true;
  queue(transmit_queue).want_notifications(false);
}

void VirtioNet::activated() {
  notified(transmit_queue);
  if (std::exchange(told_link_up_, link_up()) != link_up()) config_changed();
}

void VirtioNet::device_reset() {
  sending_ = false;
  told_link_up_ = link_up();
}

bool VirtioNet::serve() {
  receive_frames();
  send_frames();
  return sending_ && active();
}

bool VirtioNet::has_room() {
  if (!active() || !link_up()) return false;
  VirtQueue& q = queue(receive_queue);
  if (q.offered() == 0) q.want_notifications(true);
  if (q.offered() == 0) return false;
  q.want_notifications(false);
  return true;
}

void VirtioNet::receive_frames() {
  std::array<std::byte, header_bytes + largest_frame_bytes> packet;
  std::fill_n(packet.begin(), header_bytes, std::byte{});
  store_le<std::uint16_t>(packet, num_buffers_offset, 1);
  Chain chain;
  bool any = false;
  for (int left = most_frames_at_once; left > 0 && has_room(); --left) {
    const std::size_t bytes = cable_.port->receive(std::span(packet).subspan(header_bytes));
    if (bytes == 0 || !take(receive_queue, chain)) break;
    const bool copied = copy_to(memory(), chain, 0, std::span(packet).first(header_bytes + bytes));
    give(receive_queue, chain, copied ? static_cast<std::uint32_t>(header_bytes + bytes) : 0);
    any = true;
  }
  if (any) interrupt_used(receive_queue);
}

void VirtioNet::send_frames() {
  Chain chain;
  bool any = false;
  for (int left = most_frames_at_once; left > 0 && sending_ && active(); --left) {
    if (!take(transmit_queue, chain)) {
      sending_ = !all_sent();
      continue;
    }
    send_frame(chain);
    give(transmit_queue, chain, 0);
    any = true;
  }
  if (any) interrupt_used(transmit_queue);
}

// Asks for notifications; what the driver offered before it could know that is not all sent.
bool VirtioNet::all_sent() {
  VirtQueue& q = queue(transmit_queue);
  q.want_notifications(true);
  if (q.offered() == 0) return true;
  q.want_notifications(false);
  return false;
}

// What is no frame is not sent.
void VirtioNet::send_frame(const Chain& chain) {
  std::array<std::byte, largest_frame_bytes> frame;
  const std::uint64_t bytes = chain.readable_bytes();
  if (!link_up() || bytes < header_bytes + smallest_frame_bytes || bytes > header_bytes + frame.size()) return;
  const auto used = std::span(frame).first(static_cast<std::size_t>(bytes - header_bytes));
  if (copy_from(memory(), chain, header_bytes, used)) cable_.port->send(used);
}

void VirtioNet::save_device(machine::VirtioDevice& state) const {
  state.mutable_network()->set_mac(cable_.mac.data(), cable_.mac.size());
  state.mutable_network()->set_link_up(link_up());
}

void VirtioNet::restore_device(const machine::VirtioDevice& state) { told_link_up_ = state.network().link_up(); }

}  // namespace amphion::devices
