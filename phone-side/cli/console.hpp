// SPDX-License-Identifier: Apache-2.0
// `amphion console`: the terminal on one side, {"data":...} lines on the other.
// On a terminal Ctrl-] leaves; with input from a file or pipe it leaves when that has ended and the console has been
// silent.
#pragma once

#include <chrono>

#include "phone-side/cli/client.hpp"

namespace amphion::cli {

// After the phone has said yes. Returns when left; throws ClientError when the phone ended it.
void run_console(Client& client, std::chrono::milliseconds silence);

}  // namespace amphion::cli
