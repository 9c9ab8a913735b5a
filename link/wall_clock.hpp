// SPDX-License-Identifier: Apache-2.0
// The time of day in 64 bits, and as text. Libraries of a 32-bit Debian know no time after January 2038 (their time()
// fails then), so what must go on working asks here and not them; docs/time.md. Used by TLS, certificates and logs.
// Thread safety: functions without shared state.
#pragma once

#include <cstdint>
#include <string>

namespace amphion::link {

[[nodiscard]] std::int64_t wall_clock_s();  // since 1970, UTC
[[nodiscard]] std::int64_t seconds_of(int year, int month, int day, int hour = 0, int minute = 0, int second = 0);
[[nodiscard]] std::string utc_text(std::int64_t seconds);   // "2026-11-21 20:15:00 UTC"
[[nodiscard]] std::string asn1_text(std::int64_t seconds);  // "20261121201500"

}  // namespace amphion::link
