// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/pl011.hpp"

#include <array>

namespace amphion::devices {
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

constexpr std::uint32_t fr_cts = 1u << 0, fr_dsr = 1u << 1, fr_dcd = 1u << 2, fr_rxfe = 1u << 4, fr_rxff = 1u << 6,
                        fr_txfe = 1u << 7, fr_ri = 1u << 8;
constexpr std::uint32_t int_ri = 1u << 0, int_cts = 1u << 1, int_dcd = 1u << 2, int_dsr = 1u << 3, int_rx = 1u << 4,
                        int_tx = 1u << 5, int_all = 0x7ff;
constexpr std::uint32_t lcr_fen = 1u << 4;
constexpr std::uint32_t cr_lbe = 1u << 7, cr_dtr = 1u << 10, cr_rts = 1u << 11, cr_out1 = 1u << 12, cr_out2 = 1u << 13;
constexpr std::size_t fifo_bytes = 16;

// UARTPeriphID0..3 and UARTPCellID0..3
constexpr std::array<std::uint8_t, 8> identification{0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

}  // namespace

std::size_t Pl011::fifo_depth() const { return (lcr_h_ & lcr_fen) != 0 ? fifo_bytes : 1; }

std::uint32_t Pl011::flags() const {
  std::uint32_t value = fr_txfe;
  if (rx_.empty()) value |= fr_rxfe;
  if (rx_.size() >= fifo_depth()) value |= fr_rxff;
  if ((cr_ & cr_lbe) == 0) return value;
  if ((cr_ & cr_out2) != 0) value |= fr_ri;
  if ((cr_ & cr_out1) != 0) value |= fr_dcd;
  if ((cr_ & cr_rts) != 0) value |= fr_cts;
  if ((cr_ & cr_dtr) != 0) value |= fr_dsr;
  return value;
}

void Pl011::update_line() { line_((ris_ & imsc_) != 0); }

std::uint32_t Pl011::take_byte() {
  std::uint32_t byte = 0;
  if (!rx_.empty()) {
    byte = rx_.front();
    rx_.pop_front();
  }
  if (rx_.empty()) ris_ &= ~int_rx;
  rsr_ = 0;
  update_line();
  return byte;
}

std::uint32_t Pl011::read(std::uint32_t offset) {
  if (offset >= id_first && offset <= id_last) return identification[(offset - id_first) >> 2];
  switch (offset & ~3u) {
    case dr:
      return take_byte();
    case rsr:
      return rsr_;
    case fr:
      return flags();
    case ilpr:
      return ilpr_;
    case ibrd:
      return ibrd_;
    case fbrd:
      return fbrd_;
    case lcr_h:
      return lcr_h_;
    case cr:
      return cr_;
    case ifls:
      return ifls_;
    case imsc:
      return imsc_;
    case ris:
      return ris_;
    case mis:
      return ris_ & imsc_;
    case dmacr:
      return dmacr_;
    default:
      return 0;
  }
}

void Pl011::put_byte(std::uint8_t byte) {
  rx_.push_back(byte);
  ris_ |= int_rx;
  update_line();
}

void Pl011::send(std::uint8_t byte) {
  if ((cr_ & cr_lbe) == 0)
    sink_(byte);
  else if (rx_.size() < fifo_depth())
    put_byte(byte);
  ris_ |= int_tx;
  update_line();
}

void Pl011::loop_modem_back() {
  if ((cr_ & cr_lbe) == 0) return;
  ris_ &= ~(int_ri | int_cts | int_dcd | int_dsr);
  if ((cr_ & cr_out2) != 0) ris_ |= int_ri;
  if ((cr_ & cr_out1) != 0) ris_ |= int_dcd;
  if ((cr_ & cr_rts) != 0) ris_ |= int_cts;
  if ((cr_ & cr_dtr) != 0) ris_ |= int_dsr;
  update_line();
}

void Pl011::write(std::uint32_t offset, std::uint32_t value) {
  switch (offset & ~3u) {
    case dr:
      return send(static_cast<std::uint8_t>(value));
    case rsr:
      rsr_ = 0;
      return;
    case ilpr:
      ilpr_ = value & 0xff;
      return;
    case ibrd:
      ibrd_ = value & 0xffff;
      return;
    case fbrd:
      fbrd_ = value & 0x3f;
      return;
    case lcr_h:
      if (((lcr_h_ ^ value) & lcr_fen) != 0) rx_.clear();
      lcr_h_ = value & 0xff;
      return;
    case cr:
      cr_ = value & 0xffff;
      return loop_modem_back();
    case ifls:
      ifls_ = value & 0x3f;
      return;
    case imsc:
      imsc_ = value & int_all;
      return update_line();
    case icr:
      ris_ &= ~value;
      return update_line();
    case dmacr:
      dmacr_ = value & 7;
      return;
    default:
      return;
  }
}

bool Pl011::receive(std::uint8_t byte) {
  if ((cr_ & cr_lbe) != 0 || rx_.size() >= fifo_depth()) return false;
  put_byte(byte);
  return true;
}

void Pl011::reset() {
  rx_.clear();
  rsr_ = ilpr_ = ibrd_ = fbrd_ = lcr_h_ = imsc_ = ris_ = dmacr_ = 0;
  cr_ = 0x300;
  ifls_ = 0x12;
  update_line();
}

void Pl011::save(machine::Pl011& state) const {
  state.Clear();
  state.set_dr_fifo_count(static_cast<std::uint32_t>(rx_.size()));
  state.mutable_rx_fifo()->assign(rx_.begin(), rx_.end());
  state.set_rsr(rsr_);
  state.set_ilpr(ilpr_);
  state.set_ibrd(ibrd_);
  state.set_fbrd(fbrd_);
  state.set_lcr_h(lcr_h_);
  state.set_cr(cr_);
  state.set_ifls(ifls_);
  state.set_imsc(imsc_);
  state.set_ris(ris_);
  state.set_dmacr(dmacr_);
}

void Pl011::restore(const machine::Pl011& state) {
  rx_.clear();
  for (const char byte : state.rx_fifo()) rx_.push_back(static_cast<std::uint8_t>(byte));
  rsr_ = state.rsr();
  ilpr_ = state.ilpr();
  ibrd_ = state.ibrd();
  fbrd_ = state.fbrd();
  lcr_h_ = state.lcr_h();
  cr_ = state.cr();
  ifls_ = state.ifls();
  imsc_ = state.imsc();
  ris_ = state.ris();
  dmacr_ = state.dmacr();
  update_line();
}

}  // namespace amphion::devices
