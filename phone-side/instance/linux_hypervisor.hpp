// SPDX-License-Identifier: Apache-2.0
// The hypervisor behind /dev/amphion. See hypervisor.hpp.
#pragma once

#include <memory>

#include "phone-side/instance/hypervisor.hpp"

namespace amphion::instance {

// Null and a text if there is no /dev/amphion or it speaks another version.
[[nodiscard]] std::unique_ptr<Hypervisor> open_hypervisor(Problem& problem);

}  // namespace amphion::instance
