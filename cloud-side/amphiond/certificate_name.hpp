// SPDX-License-Identifier: Apache-2.0
// The common name of our own certificate: what our Hello must say, because the phone checks it against the certificate.
// Thread safety: a function without shared state.
#pragma once

#include <string>

#include "link/error.hpp"

namespace amphion::cloud {

[[nodiscard]] link::Result<std::string> certificate_name(const std::string& file);

}  // namespace amphion::cloud
