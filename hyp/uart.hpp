// SPDX-License-Identifier: Apache-2.0
// The PL011 of one instance (ARM DDI 0183), as QEMU's virt shows it: received bytes interrupt as soon as there is one,
// sent bytes leave at once. The one device model in the hypervisor: a console writes a byte per access, and each access
// that the host answers costs a hundred times this. What is sent waits here until the host takes it; while there is no
// room the transmit FIFO is full and its interrupt stays away, as on a slow line. This library never touches hardware.
//
// Thread safety: own lock around every member; only the Vgic's is taken inside it.
// Invariant: the interrupt line is what UARTMIS says.
// Freestanding; no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/spinlock.hpp"
#include "hyp/vgic.hpp"

namespace amphion::hyp {

class Uart {
 public:
  enum class Tell {
    nothing,
    soon,  // something waits for the host: more may follow, so within a millisecond is early enough
    now,
  };
  struct Outcome {
    std::uint32_t value = 0;
    Vgic::Mask concerned = 0;
    Tell host = Tell::nothing;
  };

  explicit constexpr Uart(Vgic& vgic) : vgic_(vgic) {}
  Uart(const Uart&) = delete;
  Uart& operator=(const Uart&) = delete;

  void reset();  // before or after the Vgic's own reset: the line is low

  // The guest's accesses; offset from UARTDR.
  [[nodiscard]] Outcome read(std::uint32_t offset);
  [[nodiscard]] Outcome write(std::uint32_t offset, std::uint32_t value);

  // The host's: bytes that the guest sent, oldest first; `value` tells how many. And bytes for the guest: `value` tells
  // how many fit; if not all, the host is told when the guest has read these.
  [[nodiscard]] Outcome take(std::span<std::uint8_t> out);
  [[nodiscard]] Outcome give(std::span<const std::uint8_t> in);

  // All but what was sent and not taken: the host takes that first. set() forgets it, and changes nothing if the state
  // is not valid.
  void get(amphion_uart& state);
  [[nodiscard]] bool set(const amphion_uart& state, Vgic::Mask& concerned);

 private:
  template <std::uint32_t Bytes>
  struct Fifo {
    std::array<std::uint8_t, Bytes> bytes{};
    std::uint32_t first = 0, count = 0;

    void push(std::uint8_t byte) { bytes[(first + count++) % Bytes] = byte; }
    [[nodiscard]] std::uint8_t pop() {
      const std::uint8_t byte = bytes[first];
      first = (first + 1) % Bytes;
      --count;
      return byte;
    }
  };
  static constexpr std::uint32_t sent_bytes = 1024;

  [[nodiscard]] std::uint32_t value_of(std::uint32_t reg) const;
  [[nodiscard]] std::uint32_t depth() const;
  [[nodiscard]] std::uint32_t flags() const;
  [[nodiscard]] Outcome take_received();
  [[nodiscard]] Tell ask_for_more();
  [[nodiscard]] Tell send(std::uint8_t byte);
  void receive(std::uint8_t byte);
  void loop_modem_back();
  [[nodiscard]] Vgic::Mask update_line();
  [[nodiscard]] Vgic::Mask drive_line();

  Vgic& vgic_;
  SpinLock lock_;
  amphion_uart state_{};  // but for its FIFO
  Fifo<AMPHION_UART_FIFO> received_;
  Fifo<sent_bytes> sent_;
  bool line_ = false;        // as it was driven last
  bool more_waits_ = false;  // the host has bytes that did not fit
};

}  // namespace amphion::hyp
