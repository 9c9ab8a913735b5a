// SPDX-License-Identifier: Apache-2.0
// Noise from a seed (xorshift): the same seed, the same noise. Belongs to one vCPU.
#pragma once

#include <cstddef>

#include "hyp/types.hpp"

namespace amphion::lab {

class Random {
 public:
  constexpr Random() = default;
  constexpr explicit Random(hyp::u32 start) : state_(start * 2654435761u ^ 0x9e37'79b9u) {
    state_ |= state_ == 0 ? 1 : 0;
  }

  hyp::u32 operator()() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
  }
  hyp::u32 below(hyp::u32 bound) { return static_cast<hyp::u32>(hyp::u64{(*this)()} * bound >> 32); }
  bool one_in(hyp::u32 n) { return below(n) == 0; }
  template <std::size_t N>
  hyp::u32 one_of(const hyp::u32 (&values)[N]) {
    return values[below(N)];
  }
  // Numbers at which bounds lie: a few bits, their neighbours, small ones, or any.
  hyp::u32 edge() {
    switch (below(5)) {
      case 0:
        return below(40);
      case 1:
        return (1u << below(32)) + below(3) - 1;
      case 2:
        return 0u - below(40);
      case 3:
        return 1u << below(32) | 1u << below(32);
      default:
        return (*this)();
    }
  }

 private:
  hyp::u32 state_ = 1;
};

}  // namespace amphion::lab
