// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_input.hpp"

#include <algorithm>
#include <array>

namespace amphion::devices {
namespace {

constexpr std::uint32_t event_queue = 0, status_queue = 1;
constexpr std::size_t event_bytes = 8;
constexpr std::size_t payload_offset = 8, size_offset = 2;
constexpr std::uint16_t most_leds = 3;

// The payload of (select, subsel); empty if there is none.
std::span<const std::byte> payload(std::uint8_t select, std::uint8_t subsel) {
  using namespace machine;
  if (select == virtio_input_id_name && subsel == 0) return std::as_bytes(std::span(virtio_keyboard_name));
  if (select == virtio_input_id_devids && subsel == 0) return std::as_bytes(std::span(virtio_keyboard_devids));
  if (select != virtio_input_ev_bits) return {};
  if (subsel == ev_key) return std::as_bytes(std::span(virtio_keyboard_keys));
  if (subsel == ev_led) return std::as_bytes(std::span(virtio_keyboard_leds));
  if (subsel == ev_rep) return std::as_bytes(std::span(virtio_keyboard_rep));
  return {};
}

}  // namespace

VirtioInput::VirtioInput(GuestMemory& memory, Slot slot) : VirtioDevice(machine::virtio_keyboard, memory, slot) {}

void VirtioInput::fill_config(std::span<std::byte> config) const {
  const auto bytes = payload(select_, subsel_);
  if (bytes.empty()) return;
  config[0] = static_cast<std::byte>(select_);
  config[1] = static_cast<std::byte>(subsel_);
  config[size_offset] = static_cast<std::byte>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), config.begin() + payload_offset);
}

void VirtioInput::config_written(std::uint32_t offset, std::span<const std::byte> value) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (offset + i == 0) select_ = static_cast<std::uint8_t>(value[i]);
    if (offset + i == 1) subsel_ = static_cast<std::uint8_t>(value[i]);
  }
}

void VirtioInput::notified(std::uint32_t queue) {
  if (queue == event_queue) deliver();
  if (queue == status_queue) take_status();
}

bool VirtioInput::offer(const InputEvent& event) {
  if (waiting_.size() >= most_waiting) return false;
  waiting_.push_back(event);
  deliver();
  return true;
}

void VirtioInput::deliver() {
  Chain chain;
  bool any = false;
  while (!waiting_.empty() && take(event_queue, chain)) {
    const InputEvent& event = waiting_.front();
    std::array<std::byte, event_bytes> raw;
    store_le<std::uint16_t>(raw, 0, event.type);
    store_le<std::uint16_t>(raw, 2, event.code);
    store_le<std::uint32_t>(raw, 4, static_cast<std::uint32_t>(event.value));
    const bool copied = copy_to(memory(), chain, 0, raw);
    give(event_queue, chain, copied ? event_bytes : 0);
    any = true;
    if (!copied) continue;
    reached_ = event.sequence;
    waiting_.pop_front();
  }
  if (any) interrupt_used(event_queue);
}

void VirtioInput::take_status() {
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(status_queue).offered(); left > 0 && take(status_queue, chain); --left) {
    std::array<std::byte, event_bytes> raw;
    if (copy_from(memory(), chain, 0, raw) && load_le<std::uint16_t>(raw, 0) == machine::ev_led) {
      const auto led = load_le<std::uint16_t>(raw, 2);
      const auto bit = static_cast<std::uint8_t>(led < most_leds ? 1u << led : 0);
      leds_ = static_cast<std::uint8_t>(load_le<std::uint32_t>(raw, 4) != 0 ? leds_ | bit : leds_ & ~bit);
    }
    give(status_queue, chain, 0);
    any = true;
  }
  if (any) interrupt_used(status_queue);
}

void VirtioInput::restore_sequence(std::uint64_t reached) {
  waiting_.clear();
  reached_ = reached;
}

// Events that wait outlive the guest's reset of its driver.
void VirtioInput::device_reset() { select_ = subsel_ = leds_ = 0; }

void VirtioInput::save_device(machine::VirtioDevice& state) const {
  state.mutable_input()->set_select(select_);
  state.mutable_input()->set_subsel(subsel_);
  state.mutable_input()->set_led_state(std::string(1, static_cast<char>(leds_)));
}

void VirtioInput::restore_device(const machine::VirtioDevice& state) {
  select_ = static_cast<std::uint8_t>(state.input().select());
  subsel_ = static_cast<std::uint8_t>(state.input().subsel());
  leds_ = state.input().led_state().empty() ? 0 : static_cast<std::uint8_t>(state.input().led_state()[0]);
}

}  // namespace amphion::devices
