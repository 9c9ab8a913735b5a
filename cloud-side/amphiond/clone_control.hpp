// SPDX-License-Identifier: Apache-2.0
// What amphiond asks of a running clone, as an interface: QemuCloneControl (qemu_clone_control.hpp) in the product, a
// double in tests. A clone is a process of its own: destroying the object leaves it running. Its folder (run/ of the
// instance) holds all that is needed to take it up again. Thread safety: one thread at a time (Instance locks around
// it). Errors are values; `closed` means that the clone's process is gone.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <span>

#include "link/error.hpp"
#include "link/journal.hpp"
#include "machine/phone.hpp"
#include "machine/state.pb.h"

namespace amphion::cloud {

class CloneControl {
 public:
  virtual ~CloneControl() = default;
  [[nodiscard]] virtual bool alive() = 0;
  [[nodiscard]] virtual int pid() const = 0;
  // Stops the clone, devices flushed into its files, and gives its state (input_sequence is the caller's). The process
  // stays, so that resume() can undo it.
  virtual link::Result<machine::InstanceState> stop() = 0;
  virtual link::Status resume() = 0;
  // Stopped by stop(), and not because its guest has switched itself off.
  virtual link::Result<bool> stopped() = 0;
  virtual void kill() = 0;  // and waits until nothing writes into the folder any more
  // The balloon: how much memory the guest shall have, and has.
  virtual link::Status set_memory(std::uint64_t bytes) = 0;
  virtual link::Result<std::uint64_t> memory() = 0;
  // What the guest itself says it could still give out, and the number of its report; reports come about once a second.
  // not_found: it has made none (yet, or it never will).
  struct GuestMemory {
    std::uint64_t available_bytes;
    std::uint64_t report;
  };
  virtual link::Result<GuestMemory> guest_memory() = 0;
  // The grow port: brings vCPUs online or offline; answers come later. online() is what the guest last answered, 0:
  // nothing yet.
  virtual link::Status set_vcpus(std::uint32_t count) = 0;
  [[nodiscard]] virtual std::uint32_t vcpus_online() = 0;
  // Index of the used ring of the keyboard's event queue: rises by one with each event that the guest has received.
  virtual link::Result<std::uint16_t> keyboard_used() = 0;
  // One frame, SYN_REPORT last. False: the guest's queue has no room for it now; nothing of it was given.
  virtual link::Result<bool> inject(std::span<const link::InputEvent> frame) = 0;
  // hvc0. Neither waits; read gives "" when there is nothing.
  virtual link::Status console_write(std::string_view bytes) = 0;
  virtual link::Result<std::string> console_read(std::size_t limit) = 0;
  virtual void release_console() = 0;  // lets somebody else attach
  // Where a person may attach to the console: a unix socket's path.
  [[nodiscard]] virtual std::filesystem::path console_path() const = 0;
};

class CloneStarter {
 public:
  virtual ~CloneStarter() = default;
  // Whether a clone could be made from this state here, found out before anything depends on it.
  virtual link::Status prepare(const machine::InstanceState& state) = 0;
  // `folder` holds memory and disks; the clone runs when this returns. Nothing is left running after an error.
  virtual link::Result<std::unique_ptr<CloneControl>> start(const std::filesystem::path& folder,
                                                            const machine::InstanceState& state) = 0;
  // A clone that an earlier amphiond started in `folder`. not_found: none runs there; other errors: it runs on.
  virtual link::Result<std::unique_ptr<CloneControl>> adopt(const std::filesystem::path& folder) = 0;
  // Whether a clone's process runs in `folder`, answering or not; ends it and waits for its end.
  [[nodiscard]] virtual bool runs(const std::filesystem::path& folder) = 0;
  virtual void end(const std::filesystem::path& folder) = 0;
};

}  // namespace amphion::cloud
