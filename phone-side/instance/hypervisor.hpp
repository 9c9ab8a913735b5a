// SPDX-License-Identifier: Apache-2.0
// What an Instance needs of the hypervisor: the functions of /dev/amphion (guest-kernel-mods/amphion_host), as an
// interface, so that tests put a double in its place. linux_hypervisor.hpp is the real one.
// Thread safety: a Partition's functions may be called from several threads, but wait() and next() from one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hyp/abi/amphion_hypercall.h"

namespace amphion::instance {

// None if it went well; otherwise one line for the user.
using Problem = std::optional<std::string>;

// Bit n % 32 of word n / 32 is page (or disk block) n.
using Bitmap = std::vector<std::uint32_t>;

struct PartitionConfig {
  std::uint32_t vcpus, vcpus_allowed, memory_pages, bound_pages;
};

// Something that happened: events (AMPHION_EVENT_*); or doorbells (AMPHION_RUNG_UART, and a bit for each virtio slot
// whose queues were notified); or if there are neither, an access of a vCPU to the device window.
struct Happening {
  std::uint32_t events = 0;
  std::uint32_t rung = 0;
  std::array<std::uint32_t, AMPHION_VIRTIO_SLOTS> doorbell{};
  std::uint32_t vcpu = 0, address = 0, bytes = 0;
  bool write = false;
  std::uint32_t data = 0;
};

// One instance in the hypervisor, made stopped; ends with the last object or process that has its descriptor or memory.
class Partition {
 public:
  virtual ~Partition() = default;

  // From ram_base on; touching populates, SIGBUS beyond the bound: reach it by MappedMemory.
  [[nodiscard]] virtual std::span<std::byte> memory() = 0;
  // What its drivers read of their virtio slots (devices/register_page.hpp).
  [[nodiscard]] virtual std::span<std::byte> registers() = 0;
  [[nodiscard]] virtual int descriptor() const = 0;  // for adopt_partition() in another process

  [[nodiscard]] virtual Problem run() = 0;
  [[nodiscard]] virtual Problem ask_pause() = 0;  // AMPHION_EVENT_PAUSED follows
  [[nodiscard]] virtual Problem allow(std::uint32_t vcpus) = 0;

  // Until next() may have something, wake() was called, or `also` (-1: none) can be read.
  virtual void wait(int also) = 0;
  virtual void wake() = 0;
  [[nodiscard]] virtual std::optional<Happening> next() = 0;
  virtual void complete(std::uint32_t vcpu, std::uint32_t data) = 0;  // of an access that next() gave
  virtual void set_line(std::uint32_t intid, bool level) = 0;
  virtual void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) = 0;

  // The guest's PL011: what it has sent since the last call; how many bytes fit that are for it. If not all did,
  // AMPHION_RUNG_UART tells when there is room.
  [[nodiscard]] virtual std::string take_serial() = 0;
  [[nodiscard]] virtual std::size_t give_serial(std::string_view bytes) = 0;

  [[nodiscard]] virtual Problem discard(std::uint32_t first_page, std::uint32_t pages) = 0;
  [[nodiscard]] virtual Problem log(bool start) = 0;
  // Bits of all pages; kind AMPHION_BITMAP_*. Dirty bits are cleared by this.
  [[nodiscard]] virtual Problem bitmap(std::uint32_t kind, std::span<std::uint32_t> bits) = 0;
  [[nodiscard]] virtual Problem stats(amphion_stats& out) = 0;

  // Stopped only.
  [[nodiscard]] virtual Problem get_vcpu(std::uint32_t vcpu, amphion_vcpu& out) = 0;
  [[nodiscard]] virtual Problem set_vcpu(std::uint32_t vcpu, const amphion_vcpu& state) = 0;
  [[nodiscard]] virtual Problem get_gic(amphion_gic& out) = 0;
  [[nodiscard]] virtual Problem set_gic(const amphion_gic& state) = 0;
  [[nodiscard]] virtual Problem get_uart(amphion_uart& out) = 0;  // after take_serial()
  [[nodiscard]] virtual Problem set_uart(const amphion_uart& state) = 0;
  [[nodiscard]] virtual Problem get_counter(std::uint64_t& out) = 0;
  [[nodiscard]] virtual Problem set_counter(std::uint64_t ticks) = 0;
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  [[nodiscard]] virtual Problem info(amphion_info& out) = 0;
  [[nodiscard]] virtual Problem scheduling(amphion_sched& out) = 0;
  [[nodiscard]] virtual Problem set_scheduling(const amphion_sched& wanted) = 0;  // from cpus on all 0
  // Null and a text in `problem` if it cannot be made.
  [[nodiscard]] virtual std::unique_ptr<Partition> create(const PartitionConfig& config, Problem& problem) = 0;
};

}  // namespace amphion::instance
