// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same with every standard library.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

#include "sched/sim/scenario.hpp"

namespace amphion::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15u + 1) {}

  [[nodiscard]] double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // [0, 1)
  [[nodiscard]] uint32_t below(uint32_t bound) {
    return static_cast<uint32_t>((engine_() >> 32) * uint64_t{bound} >> 32);
  }
  [[nodiscard]] double exponential(double mean) { return -mean * std::log1p(-unit()); }
  [[nodiscard]] uint64_t draw(Spread spread, double mean) {
    const double value = spread == Spread::constant      ? mean
                         : spread == Spread::exponential ? exponential(mean)
                                                         : 2 * mean * unit();
    return static_cast<uint64_t>(value + 0.5);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace amphion::sim
