// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/qemu_clone_control.hpp"

#include <spdlog/spdlog.h>

#include "machine/validate.hpp"

namespace amphion::cloud {
namespace {

class QemuCloneControl final : public CloneControl {
 public:
  explicit QemuCloneControl(std::unique_ptr<qemu::Clone> clone) : clone_(std::move(clone)) {}

  bool alive() override { return clone_->alive(); }
  [[nodiscard]] int pid() const override { return clone_->pid(); }
  link::Result<machine::InstanceState> stop() override { return clone_->stop(); }
  link::Status resume() override { return clone_->resume(); }
  link::Result<bool> stopped() override { return clone_->stopped(); }
  void kill() override { clone_->kill(); }
  link::Status set_memory(std::uint64_t bytes) override { return clone_->set_memory(bytes); }
  link::Result<std::uint64_t> memory() override { return clone_->memory(); }
  link::Result<GuestMemory> guest_memory() override {
    const auto said = clone_->guest_memory();
    if (!said) return said.error();
    return GuestMemory{said->available_bytes, said->report};
  }
  link::Status set_vcpus(std::uint32_t count) override { return clone_->set_vcpus(count); }
  std::uint32_t vcpus_online() override { return clone_->vcpus_online(); }
  link::Result<std::uint16_t> keyboard_used() override { return clone_->keyboard_used(); }
  link::Result<bool> inject(std::span<const link::InputEvent> frame) override { return clone_->inject(frame); }
  link::Status console_write(std::string_view bytes) override { return clone_->console_write(bytes); }
  link::Result<std::string> console_read(std::size_t limit) override { return clone_->console_read(limit); }
  void release_console() override { clone_->release_console(); }
  [[nodiscard]] std::filesystem::path console_path() const override { return clone_->console_path(); }

 private:
  std::unique_ptr<qemu::Clone> clone_;
};

}  // namespace

link::Result<std::unique_ptr<CloneControl>> QemuCloneStarter::taken(link::Result<std::unique_ptr<qemu::Clone>> clone) {
  if (!clone) return clone.error();
  if (auto threads = (*clone)->vcpu_threads()) {
    scheduling_.took((*clone)->pid(), std::move(*threads));
  } else {
    spdlog::warn("process {}: its vCPUs are not kept apart: {}", (*clone)->pid(), threads.error().text);
  }
  return std::unique_ptr<CloneControl>(std::make_unique<QemuCloneControl>(std::move(*clone)));
}

link::Status QemuCloneStarter::prepare(const machine::InstanceState& state) {
  return qemu::Clone::prepare(options_, state);
}

link::Result<std::unique_ptr<CloneControl>> QemuCloneStarter::start(const std::filesystem::path& folder,
                                                                    const machine::InstanceState& state) {
  return taken(qemu::Clone::start(options_, folder, state));
}

link::Result<std::unique_ptr<CloneControl>> QemuCloneStarter::adopt(const std::filesystem::path& folder) {
  return taken(qemu::Clone::adopt(folder));
}

bool QemuCloneStarter::runs(const std::filesystem::path& folder) { return qemu::Clone::runs_in(folder); }

void QemuCloneStarter::end(const std::filesystem::path& folder) { qemu::Clone::end_in(folder); }

}  // namespace amphion::cloud
