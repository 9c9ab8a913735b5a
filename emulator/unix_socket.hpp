// SPDX-License-Identifier: Apache-2.0
// Connecting to a socket of the emulated phone. Thread safety: pure.
#pragma once

#include <string>

namespace amphion::emulator {

// A connected stream socket, closed on exec. Throws std::runtime_error, with `otherwise` where nobody answers.
[[nodiscard]] int connect_unix(const std::string& path, const std::string& otherwise);

}  // namespace amphion::emulator
