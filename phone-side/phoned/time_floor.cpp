// SPDX-License-Identifier: Apache-2.0
// See time_floor.hpp.
#include "phone-side/phoned/time_floor.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <utility>

#include "link/wall_clock.hpp"

namespace amphion::phoned {
namespace {

using link::utc_text;

constexpr std::size_t max_file_bytes = 64;
// No floor is before this program, and none where its certificates could no longer be written (RFC 5280: four digits).
const std::int64_t earliest = link::seconds_of(2024, 1, 1);
const std::int64_t latest = link::seconds_of(9999, 1, 1);

class SystemClock final : public BoardClock {
 public:
  std::int64_t now_s() override { return link::wall_clock_s(); }
  std::int64_t passed_s() override {
    std::timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
  }
  link::Status set(std::int64_t seconds) override {
    const std::timespec to{seconds, 0};
    if (::clock_settime(CLOCK_REALTIME, &to) == 0) return {};
    return {link::ErrorCode::io, std::strerror(errno)};
  }
};

// One line, seconds since 1970, so that a script can write it onto an image.
std::optional<std::int64_t> parse(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::int64_t seconds = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  const bool good =
      failure == std::errc() && end == text.data() + text.size() && seconds >= earliest && seconds < latest;
  return good ? std::optional(seconds) : std::nullopt;
}

}  // namespace

BoardClock& board_clock() {
  static SystemClock clock;
  return clock;
}

void TimeFloor::start() {
  const std::lock_guard lock(mutex_);
  looked_at_ = clock_.passed_s();
  const auto text = files_.read(file_, max_file_bytes);
  const auto seconds = text ? parse(*text) : std::nullopt;
  if (seconds) {
    floor_ = written_ = *seconds;
  } else if (text || text.error().code != link::ErrorCode::not_found) {
    spdlog::warn("time: {} is damaged; the phone goes by its certificates until the cloud tells the time", file_);
  }
  check_clock("it was seen before");
}

void TimeFloor::look() {
  const std::lock_guard lock(mutex_);
  advance();
  check_clock("so much has passed since it was right");
  write(false);
}

void TimeFloor::at_least(std::int64_t seconds, const std::string& says) {
  const std::lock_guard lock(mutex_);
  advance();
  raise(seconds, says);
}

void TimeFloor::cloud_says(std::int64_t seconds, const link::Peer& peer) {
  if (seconds == 0) return;
  const std::lock_guard lock(mutex_);
  advance();
  cloud_ahead_ = seconds - clock_.now_s();
  if (seconds < peer.valid_from || seconds > peer.valid_to) {
    spdlog::warn("time: the cloud says {}, when its own certificate is not valid: not believed", utc_text(seconds));
    return;
  }
  raise(seconds, "the cloud says so");
}

void TimeFloor::stop() {
  const std::lock_guard lock(mutex_);
  advance();
  write(true);
}

nlohmann::json TimeFloor::status() {
  const std::lock_guard lock(mutex_);
  nlohmann::json status{{"clock_s", clock_.now_s()}, {"floor_s", floor_}};
  if (!set_for_.empty()) status["set"] = set_for_;
  if (cloud_ahead_) status["cloud_ahead_s"] = *cloud_ahead_;
  return status;
}

void TimeFloor::raise(std::int64_t seconds, const std::string& says) {
  if (seconds <= floor_ || seconds < earliest || seconds >= latest) return;
  floor_ = seconds;
  check_clock(says);
  write(false);
}

void TimeFloor::advance() {
  const std::int64_t passed = clock_.passed_s();
  if (floor_ > 0) floor_ += std::max<std::int64_t>(0, passed - looked_at_);
  looked_at_ = passed;
}

void TimeFloor::check_clock(const std::string& says) {
  const std::int64_t now = clock_.now_s();
  if (now >= floor_ - 1) return;  // two clocks that are read one after the other
  const auto set = clock_.set(floor_);
  const bool known = std::exchange(stuck_, !set.ok());
  if (!set.ok()) {
    if (known) return;
    spdlog::error("time: the clock says {}, it is {} or later, and it cannot be set: {}", utc_text(now),
                  utc_text(floor_), set.error().text);
    return;
  }
  set_for_ = "from " + utc_text(now) + " to " + utc_text(floor_) + ": " + says;
  spdlog::warn("time: the clock is set {}", set_for_);
}

void TimeFloor::write(bool at_once) {
  if (floor_ <= written_) return;
  const bool due =
      floor_ - written_ >= write_interval_s && (!ever_written_ || clock_.passed_s() - written_at_ >= write_interval_s);
  if (!at_once && !due) return;
  ever_written_ = true;
  written_at_ = clock_.passed_s();
  const auto done = link::write_durably(files_, file_, std::to_string(floor_) + "\n");
  if (done.ok()) {
    written_ = floor_;
  } else {
    spdlog::warn("time: the floor cannot be kept: {}", done.error().text);
  }
}

}  // namespace amphion::phoned
