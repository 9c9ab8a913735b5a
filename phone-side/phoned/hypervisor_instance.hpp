// SPDX-License-Identifier: Apache-2.0
// LiveInstance over phone-side/instance: the factory that phoned gives its slots.
// Thread safety: as LiveInstance says; the factory from any thread. `hypervisor` outlives what it makes.
#pragma once

#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/phoned/live_instance.hpp"

namespace amphion::phoned {

[[nodiscard]] InstanceFactory hypervisor_factory(instance::Hypervisor& hypervisor);

}  // namespace amphion::phoned
