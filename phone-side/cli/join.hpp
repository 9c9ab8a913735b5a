// SPDX-License-Identifier: Apache-2.0
// `amphion join`: this computer becomes an owner's by a one-time code that the phone has shown (docs/pairing.md).
#pragma once

#include <string>

namespace amphion::cli {

// Asks the phone for a certificate and puts ca.crt, owner.crt and owner.key into `folder`, where none may be yet; the
// certificate comes last, and without it the rest is as nothing. Returns where the phone is (HOST:PORT). Throws
// ClientError.
[[nodiscard]] std::string join(const std::string& invitation, const std::string& folder);

}  // namespace amphion::cli
