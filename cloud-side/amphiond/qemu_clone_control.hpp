// SPDX-License-Identifier: Apache-2.0
// CloneControl over the real thing: a QEMU process by cloud-side/qemu. Thread safety: as CloneControl.
#pragma once

#include "cloud-side/amphiond/clone_control.hpp"
#include "cloud-side/amphiond/host_scheduling.hpp"
#include "cloud-side/qemu/clone.hpp"

namespace amphion::cloud {

class QemuCloneStarter final : public CloneStarter {
 public:
  QemuCloneStarter(std::filesystem::path qemu, std::filesystem::path templates, HostScheduling& scheduling)
      : options_{std::move(qemu), std::move(templates)}, scheduling_(scheduling) {}
  link::Status prepare(const machine::InstanceState& state) override;
  link::Result<std::unique_ptr<CloneControl>> start(const std::filesystem::path& folder,
                                                    const machine::InstanceState& state) override;
  link::Result<std::unique_ptr<CloneControl>> adopt(const std::filesystem::path& folder) override;
  [[nodiscard]] bool runs(const std::filesystem::path& folder) override;
  void end(const std::filesystem::path& folder) override;

 private:
  link::Result<std::unique_ptr<CloneControl>> taken(link::Result<std::unique_ptr<qemu::Clone>> clone);

  qemu::CloneOptions options_;
  HostScheduling& scheduling_;
};

}  // namespace amphion::cloud
