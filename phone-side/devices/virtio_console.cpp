// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_console.hpp"

#include <algorithm>

namespace amphion::devices {
namespace {

constexpr std::uint32_t control_receive = 2, control_transmit = 3;
constexpr std::uint16_t device_ready = 0, port_add = 1, port_ready = 3, console_port = 4, port_open = 6, port_name = 7;
constexpr std::size_t control_bytes = 8;
constexpr std::size_t most_control_messages = 64;  // a driver that asks without reading the answers gets no more
constexpr std::size_t piece_bytes = 4096;
// Linux's splice to a port gives a page a descriptor. One message holds up its instance's other work, and waits whole
// to be fetched.
constexpr std::uint64_t largest_output_bytes = std::uint64_t{machine::virtio_queue_size_max} * machine::page_bytes;
constexpr std::uint32_t emergency_write_offset = 8;

std::uint32_t receive_queue(std::uint32_t port) { return port == 0 ? 0 : 2 * port + 2; }

}  // namespace

VirtioConsole::VirtioConsole(Sink sink, GuestMemory& memory, Slot slot)
    : VirtioDevice(machine::virtio_console, memory, slot), sink_(std::move(sink)) {}

void VirtioConsole::fill_config(std::span<std::byte> config) const {
  std::copy_n(std::as_bytes(std::span(machine::virtio_console_config)).begin(), config.size(), config.begin());
}

void VirtioConsole::config_written(std::uint32_t offset, std::span<const std::byte> value) {
  if (offset == emergency_write_offset) sink_(machine::console_port, value.first(1));
}

void VirtioConsole::notified(std::uint32_t queue) {
  if (queue == control_transmit) return take_control();
  if (queue == control_receive) return flush_control();
  for (std::uint32_t port = 0; port < ports_.size(); ++port) {
    if (queue == receive_queue(port)) flush_port(port);
    if (queue == receive_queue(port) + 1) take_output(port);
  }
}

void VirtioConsole::activated() {
  if (!negotiated(machine::virtio_console_f_multiport)) ports_[0].guest_connected = true;
  for (std::uint32_t n = 0; n < machine::virtio_console.queues; ++n) notified(n);
}

// Queues are served as far as the driver had come at the beginning: for what it offers meanwhile it notifies again.
void VirtioConsole::take_output(std::uint32_t port) {
  const std::uint32_t queue_index = receive_queue(port) + 1;
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(queue_index).offered(); left > 0 && take(queue_index, chain); --left) {
    std::array<std::byte, piece_bytes> buffer;
    const std::uint64_t bytes = chain.readable_bytes();
    if (bytes > largest_output_bytes) return broken();
    for (std::uint64_t done = 0; done < bytes;) {
      const auto piece = at_most(std::span<std::byte>(buffer), bytes - done);
      if (!copy_from(memory(), chain, done, piece)) break;
      sink_(port, piece);
      done += piece.size();
    }
    give(queue_index, chain, 0);
    any = true;
  }
  if (any) interrupt_used(queue_index);
}

void VirtioConsole::take_control() {
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(control_transmit).offered(); left > 0 && take(control_transmit, chain); --left) {
    std::array<std::byte, control_bytes> raw;
    if (copy_from(memory(), chain, 0, raw))
      control({load_le<std::uint32_t>(raw, 0), load_le<std::uint16_t>(raw, 4), load_le<std::uint16_t>(raw, 6)});
    give(control_transmit, chain, 0);
    any = true;
  }
  if (any) interrupt_used(control_transmit);
  flush_control();
}

void VirtioConsole::control(const Control& message) {
  if (message.event == device_ready) {
    for (std::uint32_t port = 0; message.value != 0 && port < ports_.size(); ++port) tell(port, port_add, 1);
    return;
  }
  if (message.id >= ports_.size()) return;
  if (message.event == port_ready && message.value != 0) announce(message.id);
  if (message.event == port_open) {
    ports_[message.id].guest_connected = message.value != 0;
    if (message.value == 0) ports_[message.id].to_guest.clear();
  }
}

void VirtioConsole::announce(std::uint32_t port) {
  if (port == machine::console_port) tell(port, console_port, 1);
  if (port == machine::grow_port) tell(port, port_name, 1, machine::grow_port_name);
  tell(port, port_open, 1);
}

void VirtioConsole::tell(std::uint32_t id, std::uint16_t event, std::uint16_t value, std::span<const char> text) {
  if (control_to_guest_.size() >= most_control_messages) return;
  std::vector<std::byte> message(control_bytes);
  store_le<std::uint32_t>(message, 0, id);
  store_le<std::uint16_t>(message, 4, event);
  store_le<std::uint16_t>(message, 6, value);
  const auto raw = std::as_bytes(text);
  message.insert(message.end(), raw.begin(), raw.end());
  control_to_guest_.push_back(std::move(message));
}

void VirtioConsole::flush_control() {
  Chain chain;
  bool any = false;
  while (!control_to_guest_.empty() && take(control_receive, chain)) {
    const auto& message = control_to_guest_.front();
    const bool copied = copy_to(memory(), chain, 0, message);
    give(control_receive, chain, copied ? static_cast<std::uint32_t>(message.size()) : 0);
    control_to_guest_.pop_front();
    any = true;
  }
  if (any) interrupt_used(control_receive);
}

void VirtioConsole::flush_port(std::uint32_t port) {
  auto& waiting = ports_[port].to_guest;
  const std::uint32_t queue_index = receive_queue(port);
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(queue_index).offered(); left > 0 && !waiting.empty(); --left) {
    if (!take(queue_index, chain)) break;
    const std::uint64_t room = std::min<std::uint64_t>(chain.writable_bytes(), piece_bytes);
    const auto bytes = static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(room, waiting.size()));
    const std::vector<std::byte> piece(waiting.begin(), waiting.begin() + bytes);
    const bool copied = copy_to(memory(), chain, 0, piece);
    give(queue_index, chain, copied ? static_cast<std::uint32_t>(bytes) : 0);
    if (copied) waiting.erase(waiting.begin(), waiting.begin() + bytes);
    any = true;
  }
  if (any) interrupt_used(queue_index);
}

std::size_t VirtioConsole::send(std::uint32_t port, std::span<const std::byte> bytes) {
  auto& p = ports_[port];
  if (!p.guest_connected) return bytes.size();
  const std::size_t taken = std::min(bytes.size(), buffer_bytes - p.to_guest.size());
  p.to_guest.insert(p.to_guest.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  flush_port(port);
  return taken;
}

void VirtioConsole::device_reset() {
  control_to_guest_.clear();
  for (auto& port : ports_) port = Port{};
}

void VirtioConsole::save_device(machine::VirtioDevice& state) const {
  for (std::uint32_t id = 0; id < ports_.size(); ++id) {
    auto* port = state.mutable_console()->add_ports();
    port->set_id(id);
    port->set_guest_connected(ports_[id].guest_connected);
    port->set_host_connected(true);
  }
}

void VirtioConsole::restore_device(const machine::VirtioDevice& state) {
  for (std::uint32_t id = 0; id < ports_.size(); ++id) {
    const auto& port = state.console().ports(static_cast<int>(id));
    ports_[id].guest_connected = port.guest_connected();
    // Here something always listens; the guest may have learnt otherwise elsewhere.
    if (!port.host_connected() && negotiated(machine::virtio_console_f_multiport)) tell(id, port_open, 1);
  }
}

}  // namespace amphion::devices
