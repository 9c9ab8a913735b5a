// SPDX-License-Identifier: Apache-2.0
// The confinement of an instance's device-model process: whoever takes it over from the guest's side has the guest's
// own memory, disk and vCPUs, and nothing else.
//   give_up_privileges: a user of its own, an empty root, no network, small limits, an end with its parent thread.
//   While
//                       the process has one thread. Needs root.
//   filter_system_calls: a list of system calls for all threads, and a list of ioctls; any other call ends the process.
//                       After it no file is opened, no thread made and nothing mapped executable.
// Thread safety: none. Neither can be undone.
#pragma once

#include <cstdint>

#include "phone-side/instance/hypervisor.hpp"

namespace amphion::instance {

// `disk_bytes`: no file may become larger.
[[nodiscard]] Problem give_up_privileges(std::uint64_t disk_bytes);
[[nodiscard]] Problem filter_system_calls();

}  // namespace amphion::instance
