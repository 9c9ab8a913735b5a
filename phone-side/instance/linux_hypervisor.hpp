// SPDX-License-Identifier: Apache-2.0
// The hypervisor behind /dev/amphion. See hypervisor.hpp.
#pragma once

#include <memory>

#include "phone-side/devices/owned_fd.hpp"
#include "phone-side/instance/hypervisor.hpp"

namespace amphion::instance {

// Null and a text if there is no /dev/amphion or it speaks another version.
[[nodiscard]] std::unique_ptr<Hypervisor> open_hypervisor(Problem& problem);

// The partition of `memory_pages` behind a descriptor that another process created and gave.
[[nodiscard]] std::unique_ptr<Partition> adopt_partition(devices::OwnedFd descriptor, std::uint32_t memory_pages,
                                                         Problem& problem);

}  // namespace amphion::instance
