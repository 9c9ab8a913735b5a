// SPDX-License-Identifier: Apache-2.0
// An experiment with the scheduler, as tests/bench/sched/hyp.py packs it, the host (host/contend.cpp) carries it out
// and the guest under test (guests/contend.cpp) runs it. Little-endian words.
#pragma once

#include "tests/hyp/runtime/lab.hpp"

namespace amphion::lab {

enum class Work : hyp::u32 { lock = 0, ticket = 1, pipeline = 2, barrier = 3 };

// Computing is given in instructions, because a vCPU's own time is what it executes.
struct Experiment {
  hyp::u32 number;  // of the plan
  hyp::u32 policy, threshold, latency_us, granularity_us;
  hyp::u32 hogs, daemons;  // instances beside the one under test
  hyp::u32 seed;
  hyp::u32 warm_up_us, measured_us;
  Work work;
  hyp::u32 step, step_more;              // computing of a step: constant, and mean of an exponential part
  hyp::u32 locks, free, holding;         // how many; means of exponential computing without and with one of them
  hyp::u32 capacity;                     // of the pipeline's queues
  hyp::u32 daemon_run, daemon_sleep_us;  // means
};

// The plan stands where make-bundle puts a bundle's initramfs: 96 MiB into the host's memory.
inline constexpr hyp::u32 plan_base = 0x4e00'0000, plan_magic = 0x4e41'4c50;
struct Plan {
  hyp::u32 magic, count;
  Experiment experiment[];
};

// Of the device window: the guest under test reads the first word when it is ready for the next experiment, and is
// answered when that may begin. Daemons read it too, at once.
[[nodiscard]] constexpr hyp::u32 experiment_word(hyp::u32 n) { return window.base + 0x400 + 4 * n; }
inline constexpr hyp::u32 experiment_words = sizeof(Experiment) / 4;
// Read last by the guest under test: when, by the guest's counter, the measured window begins.
inline constexpr hyp::u32 experiment_begins = experiment_word(experiment_words);

}  // namespace amphion::lab
