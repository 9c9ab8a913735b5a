// SPDX-License-Identifier: Apache-2.0
// What this run has said, in memory that a warm reset leaves alone, so that the next run can tell why this one ended.
// The region (board.hpp, run_log) holds two logs: that of the last run, untouched, and that of this one, in turns.
// Freestanding and without dependencies but the CRC: a unit test runs it on the PC.
// Thread safety: the console's lock, but for a panic's last words; every index is checked where it is used.
// Invariants: a log is trusted after magic, length and both checksums only. Each whole line is committed and cleaned to
// memory before the next begins, for a reset takes the caches' contents. Full, it drops the older half of its lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace amphion::hyp {

class RunLog {
 public:
  using Clean = void (*)(const void* start, std::uint32_t bytes);  // to the point of coherency

  struct Header {
    std::uint32_t magic;
    std::uint32_t run;    // of two logs, the one of the later run has the higher number
    std::uint32_t bytes;  // of text
    std::uint32_t ended;  // in order: nobody needs to know
    std::uint32_t text_crc;
    std::uint32_t header_crc;  // of what stands above
  };

  // Finds the last run's log and begins this one's. `region`: word aligned, for two headers and some text at least.
  void begin(std::span<std::byte> region, Clean clean);
  void put(char c);                                              // nothing before begin()
  void end_in_order();                                           // nothing more is to be told of this run
  [[nodiscard]] std::string_view last() const { return last_; }  // empty: there is none, or it ended in order

 private:
  [[nodiscard]] char* text() const { return reinterpret_cast<char*>(header_ + 1); }
  void commit();
  void drop_older_half();
  void seal() const;

  Header* header_ = nullptr;
  std::uint32_t room_ = 0;   // for text
  std::uint32_t bytes_ = 0;  // written; header_->bytes of them are committed
  Clean clean_ = nullptr;
  std::string_view last_;
};

}  // namespace amphion::hyp
