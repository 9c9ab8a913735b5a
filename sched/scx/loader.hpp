// SPDX-License-Identifier: MIT OR GPL-2.0-only
// SBCO in the kernel: loaded, attached, and watched until it ends; and what the one that runs has counted.
// Thread safety: one thread. The kernel's own scheduler is back when a Loader is gone, in order or not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sched/scx/shared.h"

struct sbco;  // the skeleton
struct ring_buffer;
struct bpf_link;

namespace amphion::scx {

struct Tuning {
  uint64_t latency_ns = 24'000'000;
  uint64_t granularity_ns = 3'000'000;
  uint32_t threshold = 683;  // 1024: siblings are never too far apart
  uint32_t watchdog_ms = 10'000;
};

// Why sched_ext cannot be used here; none: it can.
[[nodiscard]] std::optional<std::string> obstacle();

struct Ending {
  bool wanted = true;    // by who runs the loader
  bool restart = false;  // CPUs came or went: it can be loaded again at once
  std::string text;
};

class Loader {
 public:
  explicit Loader(const Tuning& tuning);  // throws std::runtime_error: one line that says what to do
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // Returns when the kernel has ended the scheduler, or a signal that `signals` (a signalfd) reports has come.
  [[nodiscard]] Ending wait(int signals);

 private:
  sbco* skeleton_ = nullptr;
  bpf_link* link_ = nullptr;
  ring_buffer* endings_ = nullptr;
  sbco_ending ending_{};
};

struct Vcpu {
  uint32_t process = 0;
  uint32_t thread = 0;
  uint32_t cpu = 0;
  sbco_life life = SBCO_ASLEEP;
  uint32_t ordinate = 0;
};

struct Statistics {
  sbco_counters counters{};  // all CPUs'
  std::vector<Vcpu> vcpus;
};

// Of the scheduler that runs, whoever has loaded it. Throws std::runtime_error.
[[nodiscard]] Statistics statistics();

}  // namespace amphion::scx
