// SPDX-License-Identifier: Apache-2.0
// A picture of the phone's screen in an answer of the control protocol: its size, and its pixels (r5g6b5, row by row,
// little endian) by zstd and base64. Written by phoned, read by its clients. Thread safety: pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "phone-side/phoned/picture.hpp"

namespace amphion::phoned {

[[nodiscard]] nlohmann::json picture_answer(const Picture& picture);
// None where the answer is anything but a whole picture.
[[nodiscard]] std::optional<Picture> picture_of(const nlohmann::json& answer);

}  // namespace amphion::phoned
