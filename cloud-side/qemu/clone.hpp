// SPDX-License-Identifier: Apache-2.0
// One clone: a QEMU process of its own, made from a neutral saved state and driven over QMP. The process is daemonized
// and outlives this object and amphiond; all that is needed to take it up again stands in its folder. The folder:
// memory, disk0 (the caller's, at start() complete), and made here: qmp.sock, console.sock, grow.sock,
// network.sock, qemu.log, qemu.pid, passt.pid, clone.json. Thread safety: one thread at a time. Invariant: a Clone that
// exists has had its process alive at least once; only kill() ends the process. Errors: link::ErrorCode::closed means
// that the process is gone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cloud-side/qemu/mapped_file.hpp"
#include "cloud-side/qemu/port.hpp"
#include "cloud-side/qemu/qmp.hpp"
#include "link/error.hpp"
#include "link/journal.hpp"
#include "machine/phone.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

struct CloneOptions {
  std::filesystem::path qemu;       // the clones' qemu-system-arm
  std::filesystem::path templates;  // folder for template streams, made when needed; may be shared by all clones
};

// What the guest's balloon driver says of its memory, and when (a number that changes with each report).
struct GuestMemory {
  std::uint64_t available_bytes;
  std::uint64_t report;
};

class Clone {
 public:
  // Starts QEMU on folder/memory and folder/disk0, loads the state and lets the guest go on. Before it returns the
  // clone has answered that it runs; after an error nothing is left running.
  static link::Result<std::unique_ptr<Clone>> start(const CloneOptions& options, const std::filesystem::path& folder,
                                                    const machine::InstanceState& state);
  // A clone that was started in `folder` before. not_found: none runs there; after other errors it runs on. A clone
  // found stopped (amphiond died between stop() and kill()) stays stopped: see stopped().
  static link::Result<std::unique_ptr<Clone>> adopt(const std::filesystem::path& folder);
  // Whether a clone's process runs in `folder`, and its end: by its process number, without its monitor.
  [[nodiscard]] static bool runs_in(const std::filesystem::path& folder);
  static void end_in(const std::filesystem::path& folder);
  // Whether QEMU's stream can be made of this state, before anything depends on it. The first time for a shape it makes
  // the shape's template, which takes about a second.
  static link::Status prepare(const CloneOptions& options, const machine::InstanceState& state);

  ~Clone();  // leaves the process running
  Clone(const Clone&) = delete;
  Clone& operator=(const Clone&) = delete;

  [[nodiscard]] bool alive();
  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] machine::Shape shape() const { return shape_; }
  // The host's threads that are its vCPUs, in order. They are named "CPU n/TCG".
  link::Result<std::vector<int>> vcpu_threads();
  link::Result<bool> running();  // false: stopped by stop(), or the guest switched itself off or reset itself
  link::Result<bool> stopped();  // by stop()

  // Stops the guest, devices flushed into disk0, and gives its state (input_sequence is 0, vcpus_allowed all: the
  // caller's). The process stays, stopped, so that resume() can undo it. May be called again.
  link::Result<machine::InstanceState> stop();
  link::Status resume();
  void kill();  // and waits until the process is gone

  // The balloon: how much memory the guest shall have, and has. At least 16 MiB, at most the shape's.
  link::Status set_memory(std::uint64_t bytes);
  link::Result<std::uint64_t> memory();
  // The first call asks the guest to report every second. not_found: it has not reported (yet, or it never will).
  link::Result<GuestMemory> guest_memory();

  // The grow port. The answer comes later, or never (no service in the guest): vcpus_online() is what the guest last
  // answered, 0: nothing yet.
  link::Status set_vcpus(std::uint32_t count);
  [[nodiscard]] std::uint32_t vcpus_online();

  // Index of the used ring of the keyboard's event queue: one more for each event that the guest's queue has received.
  link::Result<std::uint16_t> keyboard_used();
  // One frame of key presses and releases, SYN_REPORT last; delivered whole or not at all. False: the guest's queue has
  // no room now, or the guest stands still. invalid: a key that QEMU cannot express.
  link::Result<bool> inject(std::span<const link::InputEvent> frame);

  // hvc0. Neither waits; read gives "" when there is nothing. One user at a time: while this object is connected (from
  // the first read or write until release_console()) nobody else can attach.
  link::Status console_write(std::string_view bytes);
  link::Result<std::string> console_read(std::size_t limit);
  void release_console();
  [[nodiscard]] std::filesystem::path console_path() const;

 private:
  Clone(std::filesystem::path folder, machine::Shape shape, std::uint32_t frequency);
  link::Status connect();
  link::Result<Bytes> save_stream();

  std::filesystem::path folder_;
  machine::Shape shape_;
  std::uint32_t frequency_;
  int pid_ = 0;
  MappedFile memory_;
  Qmp qmp_;
  Port grow_;
  Port console_;
  std::string grow_line_;
  std::uint32_t vcpus_online_ = 0;
  bool reports_asked_ = false;
};

}  // namespace amphion::qemu
