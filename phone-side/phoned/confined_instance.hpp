// SPDX-License-Identifier: Apache-2.0
// LiveInstance as phones have it: the partition's memory here, its device model in a confined process of its own
// (device_model_process.hpp). The factory that phoned gives its slots.
//
//   stopped, no process -> boot(), load(): a process -> retire(): stopped, no process
//                                                    -> the process ends by itself: lost, the partition is destroyed
//
// Who owns what: this object the partition's descriptor and a mapping of its memory; the process another mapping, and
// copies of the descriptors of partition, disk, kernel, TAP and initial file system.
// Thread safety: as LiveInstance says; the factory from any thread. `hypervisor` outlives what it makes.
#pragma once

#include <string>

#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/phoned/live_instance.hpp"
#include "phone-side/phoned/networks.hpp"

namespace amphion::phoned {

// `program`: the file of amphion-instance. `networks` outlives what is made; null: no network.
[[nodiscard]] InstanceFactory confined_factory(instance::Hypervisor& hypervisor, std::string program,
                                               Networks* networks = nullptr);

}  // namespace amphion::phoned
