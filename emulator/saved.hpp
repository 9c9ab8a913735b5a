// SPDX-License-Identifier: Apache-2.0
// A saved phone: a folder from which an emulated phone goes on in the middle of what it was doing, any number of times.
//
//   board.json  how it was started, the machine's arguments, QEMU's version
//   bundle      what the board had loaded
//   machine     QEMU's migration stream: memory, processors, devices
//   data.img    its data disk at the same moment
//
// Used by Board::save and Board::start_from. Invariants: a folder is whole or not there; another bundle, other
// arguments or another QEMU are refused before anything runs. What is not saved: connections through the board's
// network, which break, and time, which stands still for the phone. Thread safety: none. Failures as in board.hpp.
#pragma once

#include "emulator/board.hpp"

namespace amphion::emulator {

// The phone stands still afterwards; when it cannot be saved it goes on.
void save_phone(const Board& board, const std::filesystem::path& folder);

class SavedPhone {
 public:
  explicit SavedPhone(std::filesystem::path folder);

  // Sets what the saved phone decides; refuses a bundle or a machine that is not its own.
  void apply(BoardOptions& options) const;
  void copy_data(const std::filesystem::path& image) const;  // refuses one that is there
  // Into a QEMU that waits for it; the phone goes on.
  void load(Qmp& qmp) const;

 private:
  std::filesystem::path folder_;
  nlohmann::json record_;
};

}  // namespace amphion::emulator
