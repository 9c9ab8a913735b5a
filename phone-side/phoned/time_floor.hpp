// SPDX-License-Identifier: Apache-2.0
// The floor of time: a moment that has certainly passed (docs/time.md). A board without a battery wakes in 1970; phoned
// sets its clock to the floor before it looks at any certificate, and again whenever the clock falls behind it.
// What may raise the floor: the image's date, time that has passed here since, and what the cloud or a certificate
// says, within bounds; never the clock by itself, which may be wrong. Nothing sets the clock back. Thread safety: all
// functions from any thread. Invariants: the floor never falls; `<data>/clock` is written at most once in
// `write_interval`, and at stop().
#pragma once

#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "link/files.hpp"
#include "link/tls.hpp"

namespace amphion::phoned {

class BoardClock {
 public:
  virtual ~BoardClock() = default;
  [[nodiscard]] virtual std::int64_t now_s() = 0;     // the clock, right or wrong
  [[nodiscard]] virtual std::int64_t passed_s() = 0;  // since the board's start; only grows
  [[nodiscard]] virtual link::Status set(std::int64_t seconds) = 0;
};
BoardClock& board_clock();

class TimeFloor {
 public:
  static constexpr std::int64_t write_interval_s = 3600;

  TimeFloor(link::Files& files, std::string file, BoardClock& clock)
      : files_(files), file_(std::move(file)), clock_(clock) {}

  // Reads the file and sets the clock if it is behind. A damaged file is said and does not count.
  void start();
  // From time to time: the floor goes on with the time that passes; the clock is looked at.
  void look();
  // A moment that somebody with a certificate or a code of ours vouches for.
  void at_least(std::int64_t seconds, const std::string& says);
  // What the cloud says, after it has authenticated as `peer`: believed forwards, and within its certificate's time.
  void cloud_says(std::int64_t seconds, const link::Peer& peer);
  void stop();

  // floor, clock, and if there were any: set (what the clock was set for last), cloud_ahead (seconds, by its last
  // word).
  [[nodiscard]] nlohmann::json status();

 private:
  void raise(std::int64_t seconds, const std::string& says);  // under mutex_
  void advance();
  void check_clock(const std::string& says);
  void write(bool at_once);

  link::Files& files_;
  const std::string file_;
  BoardClock& clock_;
  std::mutex mutex_;  // guards what follows
  std::int64_t floor_ = 0;
  std::int64_t looked_at_ = 0;   // passed_s() then
  std::int64_t written_ = 0;     // the floor in the file
  std::int64_t written_at_ = 0;  // passed_s() then
  bool ever_written_ = false;    // by this phoned
  bool stuck_ = false;           // the clock could not be set, which has been said
  std::string set_for_;
  std::optional<std::int64_t> cloud_ahead_;
};

}  // namespace amphion::phoned
