// SPDX-License-Identifier: Apache-2.0
// The way of a clone's network to the outside: passt, an unprivileged process of its own for each clone, which turns
// the guest's connections into its own. It confines itself (empty root, own user and name spaces, a list of system
// calls), reaches nothing of the cloud's host by a loopback address, lets nobody connect to the guest, and ends when
// QEMU does. QEMU's own user network would not do: whatever a guest sends to 127.0.0.1 or to its gateway, that connects
// to the services of the cloud's host. Thread safety: functions without shared state.
#pragma once

#include <filesystem>

#include "link/error.hpp"
#include "machine/network.hpp"

namespace amphion::qemu {

// The program, as it lies beside QEMU.
[[nodiscard]] std::filesystem::path passt_beside(const std::filesystem::path& qemu);
// Whether it is there and runs.
[[nodiscard]] link::Status check_outside(const std::filesystem::path& passt);
// Listens at folder/network.sock for one QEMU; the guest has the addresses that it has on the phone.
[[nodiscard]] link::Status start_outside(const std::filesystem::path& passt, const std::filesystem::path& folder,
                                         const machine::Mac& mac);
void end_outside(const std::filesystem::path& folder);  // one that no QEMU has come to

}  // namespace amphion::qemu
