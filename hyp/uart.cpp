// SPDX-License-Identifier: Apache-2.0
// The PL011; see uart.hpp. Registers: DDI 0183, chapter 3.
#include "hyp/uart.hpp"

namespace amphion::hyp {
namespace {

enum Register : std::uint32_t {
  dr = 0x00,
  rsr = 0x04,
  fr = 0x18,
  ilpr = 0x20,
  ibrd = 0x24,
  fbrd = 0x28,
  lcr_h = 0x2c,
  cr = 0x30,
  ifls = 0x34,
  imsc = 0x38,
  ris = 0x3c,
  mis = 0x40,
  icr = 0x44,
  dmacr = 0x48,
  id_first = 0xfe0,
  id_last = 0xffc,
};

constexpr std::uint32_t fr_cts = 1u << 0, fr_dsr = 1u << 1, fr_dcd = 1u << 2, fr_busy = 1u << 3, fr_rxfe = 1u << 4,
                        fr_txff = 1u << 5, fr_rxff = 1u << 6, fr_txfe = 1u << 7, fr_ri = 1u << 8;
constexpr std::uint32_t int_ri = 1u << 0, int_cts = 1u << 1, int_dcd = 1u << 2, int_dsr = 1u << 3, int_rx = 1u << 4,
                        int_tx = 1u << 5, int_all = 0x7ff;
constexpr std::uint32_t lcr_fen = 1u << 4;
constexpr std::uint32_t cr_lbe = 1u << 7, cr_dtr = 1u << 10, cr_rts = 1u << 11, cr_out1 = 1u << 12, cr_out2 = 1u << 13;
constexpr std::uint32_t cr_reset = 0x300, ifls_reset = 0x12;

// UARTPeriphID0..3 and UARTPCellID0..3
constexpr std::array<std::uint8_t, 8> identification{0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

bool valid(const amphion_uart& s) {
  return s.rsr <= 0xf && s.ilpr <= 0xff && s.ibrd <= 0xffff && s.fbrd <= 0x3f && s.lcr_h <= 0xff && s.cr <= 0xffff &&
         s.ifls <= 0x3f && s.imsc <= int_all && s.ris <= int_all && s.dmacr <= 7 && s.received <= AMPHION_UART_FIFO;
}

}  // namespace

void Uart::reset() {
  const LockGuard guard(lock_);
  state_ = amphion_uart{};
  state_.cr = cr_reset;
  state_.ifls = ifls_reset;
  received_ = {};
  sent_ = {};
  line_ = more_waits_ = false;
}

std::uint32_t Uart::depth() const { return (state_.lcr_h & lcr_fen) != 0 ? AMPHION_UART_FIFO : 1; }

std::uint32_t Uart::flags() const {
  std::uint32_t value = sent_.count < sent_bytes ? fr_txfe : fr_txff | fr_busy;
  if (received_.count == 0) value |= fr_rxfe;
  if (received_.count >= depth()) value |= fr_rxff;
  if ((state_.cr & cr_lbe) == 0) return value;
  if ((state_.cr & cr_out2) != 0) value |= fr_ri;
  if ((state_.cr & cr_out1) != 0) value |= fr_dcd;
  if ((state_.cr & cr_rts) != 0) value |= fr_cts;
  if ((state_.cr & cr_dtr) != 0) value |= fr_dsr;
  return value;
}

Vgic::Mask Uart::drive_line() {
  line_ = (state_.ris & state_.imsc) != 0;
  return vgic_.set_line(machine::pl011_irq, line_);
}

// Most accesses leave it as it is.
Vgic::Mask Uart::update_line() { return ((state_.ris & state_.imsc) != 0) == line_ ? 0 : drive_line(); }

Uart::Outcome Uart::take_received() {
  Outcome out;
  if (received_.count != 0) out.value = received_.pop();
  state_.rsr = 0;
  if (received_.count != 0) return out;
  state_.ris &= ~int_rx;
  out.concerned = update_line();
  out.host = ask_for_more();
  return out;
}

// When there is room again for what did not fit.
Uart::Tell Uart::ask_for_more() {
  const bool ask = more_waits_ && received_.count == 0 && (state_.cr & cr_lbe) == 0;
  if (ask) more_waits_ = false;
  return ask ? Tell::now : Tell::nothing;
}

Uart::Outcome Uart::read(std::uint32_t offset) {
  const LockGuard guard(lock_);
  const std::uint32_t reg = offset & ~3u;
  return reg == dr ? take_received() : Outcome{.value = value_of(reg)};
}

std::uint32_t Uart::value_of(std::uint32_t reg) const {
  if (reg >= id_first && reg <= id_last) return identification[(reg - id_first) >> 2];
  switch (reg) {
    case rsr:
      return state_.rsr;
    case fr:
      return flags();
    case ilpr:
      return state_.ilpr;
    case ibrd:
      return state_.ibrd;
    case fbrd:
      return state_.fbrd;
    case lcr_h:
      return state_.lcr_h;
    case cr:
      return state_.cr;
    case ifls:
      return state_.ifls;
    case imsc:
      return state_.imsc;
    case ris:
      return state_.ris;
    case mis:
      return state_.ris & state_.imsc;
    case dmacr:
      return state_.dmacr;
    default:
      return 0;
  }
}

void Uart::receive(std::uint8_t byte) {
  received_.push(byte);
  state_.ris |= int_rx;
}

// A guest that sends into a full FIFO loses the byte, as on hardware.
Uart::Tell Uart::send(std::uint8_t byte) {
  if ((state_.cr & cr_lbe) != 0) {
    if (received_.count < depth()) receive(byte);
    state_.ris |= int_tx;
    return Tell::nothing;
  }
  if (sent_.count == sent_bytes) return Tell::nothing;
  const std::uint32_t count = sent_.count + 1;
  sent_.push(byte);
  if (count < sent_bytes) state_.ris |= int_tx;
  if (count == sent_bytes / 2) return Tell::now;
  return count == 1 ? Tell::soon : Tell::nothing;
}

void Uart::loop_modem_back() {
  if ((state_.cr & cr_lbe) == 0) return;
  state_.ris &= ~(int_ri | int_cts | int_dcd | int_dsr);
  if ((state_.cr & cr_out2) != 0) state_.ris |= int_ri;
  if ((state_.cr & cr_out1) != 0) state_.ris |= int_dcd;
  if ((state_.cr & cr_rts) != 0) state_.ris |= int_cts;
  if ((state_.cr & cr_dtr) != 0) state_.ris |= int_dsr;
}

Uart::Outcome Uart::write(std::uint32_t offset, std::uint32_t value) {
  const LockGuard guard(lock_);
  Outcome out;
  switch (offset & ~3u) {
    case dr:
      out.host = send(static_cast<std::uint8_t>(value));
      break;
    case rsr:
      state_.rsr = 0;
      return out;
    case ilpr:
      state_.ilpr = value & 0xff;
      return out;
    case ibrd:
      state_.ibrd = value & 0xffff;
      return out;
    case fbrd:
      state_.fbrd = value & 0x3f;
      return out;
    case lcr_h:
      if (((state_.lcr_h ^ value) & lcr_fen) != 0) received_ = {};
      state_.lcr_h = value & 0xff;
      out.host = ask_for_more();
      return out;
    case cr:
      state_.cr = value & 0xffff;
      loop_modem_back();
      out.host = ask_for_more();
      break;
    case ifls:
      state_.ifls = value & 0x3f;
      return out;
    case imsc:
      state_.imsc = value & int_all;
      break;
    case icr:
      state_.ris &= ~value;
      break;
    case dmacr:
      state_.dmacr = value & 7;
      return out;
    default:
      return out;
  }
  out.concerned = update_line();
  return out;
}

// The transmit interrupt that a full FIFO kept back comes now.
Uart::Outcome Uart::take(std::span<std::uint8_t> out) {
  const LockGuard guard(lock_);
  Outcome outcome;
  const bool was_full = sent_.count == sent_bytes;
  for (; outcome.value < out.size() && sent_.count != 0; ++outcome.value) out[outcome.value] = sent_.pop();
  if (!was_full || outcome.value == 0) return outcome;
  state_.ris |= int_tx;
  outcome.concerned = update_line();
  return outcome;
}

Uart::Outcome Uart::give(std::span<const std::uint8_t> in) {
  const LockGuard guard(lock_);
  Outcome outcome;
  const bool looped = (state_.cr & cr_lbe) != 0;
  while (!looped && outcome.value < in.size() && received_.count < depth()) receive(in[outcome.value++]);
  more_waits_ = outcome.value < in.size();
  if (outcome.value != 0) outcome.concerned = update_line();
  return outcome;
}

void Uart::get(amphion_uart& state) {
  const LockGuard guard(lock_);
  state = state_;
  Fifo copy = received_;
  state.received = copy.count;
  for (std::uint32_t i = 0; copy.count != 0; ++i) state.fifo[i] = copy.pop();
}

bool Uart::set(const amphion_uart& state, Vgic::Mask& concerned) {
  if (!valid(state)) return false;
  const LockGuard guard(lock_);
  state_ = state;
  received_ = {};
  sent_ = {};
  more_waits_ = false;
  for (std::uint32_t i = 0; i < state.received; ++i) received_.push(state.fifo[i]);
  concerned = drive_line();  // whatever the Vgic was told by others
  return true;
}

}  // namespace amphion::hyp
