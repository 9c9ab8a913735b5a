// SPDX-License-Identifier: Apache-2.0
// The phone's screen, seen from elsewhere. Thread safety: as Client.
#pragma once

#include <string>

#include "phone-side/cli/client.hpp"
#include "phone-side/phoned/picture.hpp"

namespace amphion::cli {

// What the phone shows now. Throws ClientError.
[[nodiscard]] phoned::Picture look(Client& client);

// As a binary PPM of 8 bits a colour. Throws ClientError where the file cannot be written.
void write_ppm(const phoned::Picture& picture, const std::string& file);

}  // namespace amphion::cli
