// SPDX-License-Identifier: Apache-2.0
// One phone instance on this phone: a partition of the hypervisor, its device model, and the thread that serves the
// guest's device accesses. Made stopped; boot() or restore(), then run(). Order of calls:
//
//   create -> boot  -> run -> pause -> save    (and run again)
//   create -> restore, over memory that is as it was when the state was saved -> run
//
// A guest that resets itself is started again from its kernel; one that switches itself off stays stopped.
// Thread safety: all functions from any thread, but boot/restore/run/pause/save by one at a time. Events come from the
// instance's own thread, outside all locks; they must not block for long, and must not destroy the instance.
// Invariant: vCPU, GIC and device state are read and written only while the instance is stopped.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "machine/phone.hpp"
#include "machine/state.pb.h"
#include "phone-side/devices/device_model.hpp"
#include "phone-side/devices/frame_port.hpp"
#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/instance/loader.hpp"
#include "phone-side/instance/mapped_memory.hpp"

namespace amphion::instance {

// The network device's address and the TAP that it is joined to; -1: its link is down. The Instance takes the TAP over.
struct Network {
  machine::Mac mac{2, 0, 0, 0, 0, 1};
  int tap = -1;
};

struct InstanceConfig {
  machine::Shape shape{};
  std::uint32_t vcpus_allowed = 1;
  std::uint64_t bound_bytes = 0;  // at most this much memory at a time; the balloon is asked to hold the rest
  BootFiles boot;
  Network network;
};

// A partition and what its hardware was like when it was new, which a guest that resets itself needs again.
struct NewPartition {
  std::unique_ptr<Partition> partition;
  amphion_vcpu vcpu{};
  amphion_gic gic{};
  amphion_uart uart{};
  std::uint32_t counter_frequency = 0;
};
// `partition` is null and a text in `problem` if it cannot be made; nothing is left behind then.
[[nodiscard]] NewPartition create_partition(Hypervisor& hypervisor, const InstanceConfig& config, Problem& problem);

struct InstanceEvents {
  std::function<void(std::string_view)> serial;     // PL011
  std::function<void(std::string_view)> console;    // hvc0
  std::function<void(std::string_view)> grow;       // org.amphion.grow.0
  std::function<void(std::uint64_t)> keys_reached;  // the keyboard's queue has received up to this event
  std::function<void()> off;                        // the guest switched itself off; it is stopped
  std::function<void(const Problem&)> restarted;    // the guest reset itself; a problem: it could not be started again
  std::function<void()> out_of_memory;              // a vCPU waits for memory beyond the bound
  std::function<void(const Happening&)> access;     // every device access, for debugging
};

struct InstanceStats {
  std::uint64_t populated_bytes = 0, bound_bytes = 0;
  std::array<std::uint64_t, AMPHION_MAX_VCPUS> run_ns{}, exits{};
  bool waits_for_memory = false;
};

class Instance final : private devices::RegisterPage {
 public:
  // `config` is what the partition was made by.
  Instance(NewPartition partition, std::unique_ptr<devices::Disk> disk, const InstanceConfig& config,
           InstanceEvents events);
  ~Instance() override;
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // ---- Life ----
  // Cold start of a stopped instance: resets it, empties its memory, loads the kernel. Keys are numbered from
  // `keys_reached` + 1 on.
  [[nodiscard]] Problem boot(std::uint64_t keys_reached = 0);
  [[nodiscard]] Problem run();
  [[nodiscard]] Problem pause();  // returns when it is stopped; so does that of a stopped one
  [[nodiscard]] bool stopped() const;
  [[nodiscard]] Problem allow(std::uint32_t vcpus);  // how many PSCI may bring up

  // ---- State; the instance is stopped ----
  [[nodiscard]] Problem save(machine::InstanceState& state);
  // Validates first. After a problem later on the instance must not be run.
  [[nodiscard]] Problem restore(const machine::InstanceState& state);
  [[nodiscard]] Problem flush_disk();

  // ---- What the devices have written since the last call; what vCPUs write is the hypervisor's dirty log's ----
  [[nodiscard]] Bitmap take_written_memory();
  [[nodiscard]] Bitmap take_written_disk();

  // ---- Input ----
  // How many were taken, from the first on: fewer when too many wait for the guest. Offer the rest after keys_reached.
  [[nodiscard]] std::size_t keys(std::span<const devices::InputEvent> events);
  [[nodiscard]] std::uint64_t keys_reached();
  // How many bytes were taken.
  std::size_t serial_input(std::string_view bytes);
  std::size_t console_input(std::string_view bytes);
  std::size_t grow_input(std::string_view bytes);
  [[nodiscard]] bool grow_open();  // somebody in the guest listens

  // ---- Balloon ----
  void set_balloon(std::uint64_t bytes);
  [[nodiscard]] std::uint64_t balloon_bytes();  // what it holds

  [[nodiscard]] InstanceStats stats();

 private:
  struct Outbox {
    std::string serial, console, grow;
  };

  std::span<std::byte> registers() override { return partition_->registers(); }
  void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) override {
    partition_->change_interrupt(slot, clear, set);
  }

  void serve();
  void serve_one(const Happening& happening);
  void serve_access(const Happening& access);
  void serve_doorbells(const Happening& rung);
  void serve_events(std::uint32_t events);
  void serve_network();
  [[nodiscard]] int network_news();  // what to wait at for frames
  void restart();
  void report();
  void take_serial();  // with model_mutex_
  void feed_serial();  // with model_mutex_
  std::size_t port_input(std::uint32_t port, std::string_view bytes);

  void set_stopped(bool stopped);
  [[nodiscard]] Problem start_cold();
  [[nodiscard]] Problem hold_screen();  // with model_mutex_
  [[nodiscard]] Problem reset_processors();
  void push_lines();
  [[nodiscard]] Problem check_restorable(const machine::InstanceState& state) const;
  void drop_pages(std::uint32_t first_page, std::uint32_t pages);    // with model_mutex_
  void balloon_took(std::uint32_t first_page, std::uint32_t pages);  // with model_mutex_
  [[nodiscard]] std::uint32_t pages() const {
    return static_cast<std::uint32_t>(config_.shape.memory_bytes / machine::page_bytes);
  }

  const InstanceConfig config_;
  const InstanceEvents events_;
  const std::uint32_t counter_frequency_;
  std::unique_ptr<Partition> partition_;
  const amphion_vcpu reset_vcpu_;
  const amphion_gic reset_gic_;
  const amphion_uart reset_uart_;

  mutable std::mutex life_mutex_;
  std::condition_variable life_changed_;
  bool stopped_ = true, pause_asked_ = false, ending_ = false, fresh_ = true;

  std::mutex model_mutex_;  // everything below; may be taken while life_mutex_ is not held
  MappedMemory memory_;
  devices::TrackedDisk disk_;
  std::string serial_waiting_;
  Outbox outbox_;
  std::optional<devices::TapPort> tap_;
  devices::DeviceModel model_;

  std::uint64_t keys_reported_ = 0;  // the thread's own
  std::thread thread_;
};

}  // namespace amphion::instance
