// SPDX-License-Identifier: Apache-2.0
// KeyJournal over link/'s durable journal file.
// Thread safety: as KeyRoute's caller serialises.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "link/journal.hpp"
#include "phone-side/phoned/key_route.hpp"

namespace amphion::phoned {

class FileJournal : public KeyJournal {
 public:
  // `next`: number of the first event if there is no journal yet. Throws std::runtime_error.
  FileJournal(link::Files& files, std::string path, std::uint64_t next);

  void restart(std::uint64_t next) override;
  void append(std::span<const KeyEvent> frames) override;
  [[nodiscard]] std::vector<NumberedEvent> after(std::uint64_t sequence) const override;
  void trim(std::uint64_t sequence) override;
  [[nodiscard]] std::uint64_t last() const override { return journal_->last(); }

 private:
  link::Files& files_;
  std::string path_;
  std::unique_ptr<link::Journal> journal_;
};

}  // namespace amphion::phoned
