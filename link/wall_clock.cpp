// SPDX-License-Identifier: Apache-2.0
// See wall_clock.hpp. Calendar arithmetic is std::chrono's, all of it inline: no library with a narrow time_t takes
// part.
#include "link/wall_clock.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace amphion::link {
namespace {

static_assert(sizeof(std::time_t) == 8, "compile with -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64 (CMakeLists.txt)");
constexpr std::int64_t day_seconds = 24 * 60 * 60;

std::string written(const char* format, std::int64_t seconds) {
  const auto days = std::chrono::floor<std::chrono::days>(std::chrono::seconds(seconds));
  const std::chrono::year_month_day date{std::chrono::sys_days(days)};
  const auto rest = static_cast<int>(seconds - days.count() * day_seconds);
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), rest / 3600, rest / 60 % 60, rest % 60);
  return text.data();
}

}  // namespace

std::int64_t wall_clock_s() {
  std::timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

std::int64_t seconds_of(int year, int month, int day, int hour, int minute, int second) {
  const std::chrono::sys_days days = std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month)) /
                                     std::chrono::day(static_cast<unsigned>(day));
  return std::int64_t{days.time_since_epoch().count()} * day_seconds + hour * 3600 + minute * 60 + second;
}

std::string utc_text(std::int64_t seconds) { return written("%04d-%02u-%02u %02d:%02d:%02d UTC", seconds); }
std::string asn1_text(std::int64_t seconds) { return written("%04d%02u%02u%02d%02d%02d", seconds); }

}  // namespace amphion::link
