// SPDX-License-Identifier: Apache-2.0
// Linux key codes (linux/input-event-codes.h) to the key numbers of QMP's input-send-event ("qnum": scan codes of set
// 1, those with the prefix e0 have bit 7 set). Thread safety: a pure function. A test sends every code through a QEMU
// and reads back what its keyboard delivers.
#pragma once

#include <cstdint>
#include <optional>

namespace amphion::qemu {

[[nodiscard]] std::optional<std::uint32_t> qnum(std::uint16_t linux_code);

}  // namespace amphion::qemu
