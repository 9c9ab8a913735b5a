// SPDX-License-Identifier: Apache-2.0
// The PL011 UART (ARM DDI 0183), as QEMU's virt shows it: received bytes interrupt as soon as there is one, sent bytes
// leave at once.
// Thread safety: none; the DeviceModel serialises. Invariant: the receive FIFO never holds more than its depth.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "machine/state.pb.h"

namespace amphion::devices {

class Pl011 {
 public:
  using Sink = std::function<void(std::uint8_t)>;
  using Line = std::function<void(bool)>;

  Pl011(Sink sink, Line line) : sink_(std::move(sink)), line_(std::move(line)) {}

  [[nodiscard]] std::uint32_t read(std::uint32_t offset);
  void write(std::uint32_t offset, std::uint32_t value);

  // False if the FIFO has no room: offer the byte again later.
  [[nodiscard]] bool receive(std::uint8_t byte);

  void reset();
  void save(machine::Pl011& state) const;
  void restore(const machine::Pl011& state);  // validated before (machine/validate.hpp)

 private:
  [[nodiscard]] std::size_t fifo_depth() const;
  [[nodiscard]] std::uint32_t flags() const;
  [[nodiscard]] std::uint32_t take_byte();
  void send(std::uint8_t byte);
  void put_byte(std::uint8_t byte);
  void loop_modem_back();
  void update_line();

  Sink sink_;
  Line line_;
  std::deque<std::uint8_t> rx_;
  std::uint32_t rsr_ = 0, ilpr_ = 0, ibrd_ = 0, fbrd_ = 0, lcr_h_ = 0, cr_ = 0x300, ifls_ = 0x12, imsc_ = 0, ris_ = 0,
                dmacr_ = 0;
};

}  // namespace amphion::devices
