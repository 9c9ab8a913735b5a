// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_entropy.hpp"

#include <algorithm>
#include <array>

namespace amphion::devices {

VirtioEntropy::VirtioEntropy(Source source, GuestMemory& memory, Slot slot)
    : VirtioDevice(machine::virtio_entropy, memory, slot), source_(std::move(source)) {}

// As far as the driver had come at the beginning: for what it offers meanwhile it notifies again.
void VirtioEntropy::notified(std::uint32_t n) {
  if (n != 0) return;
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(n).offered(); left > 0 && take(n, chain); --left) {
    std::array<std::byte, most_bytes_a_buffer> bytes;
    const auto part =
        std::span(bytes).first(static_cast<std::size_t>(std::min<std::uint64_t>(chain.writable_bytes(), bytes.size())));
    source_(part);
    const bool copied = copy_to(memory(), chain, 0, part);
    give(n, chain, copied ? static_cast<std::uint32_t>(part.size()) : 0);
    any = true;
  }
  if (any) interrupt_used(n);
}

}  // namespace amphion::devices
