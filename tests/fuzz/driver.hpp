// SPDX-License-Identifier: Apache-2.0
// What fuzz targets have in common. A target is a function that does one execution from noise and checks what must
// hold; sanitizers check the rest. The same seed is the same execution. Thread safety: a Random belongs to one thread.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace amphion::fuzz {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }
  std::uint32_t below(std::size_t bound) { return (*this)() % static_cast<std::uint32_t>(bound); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }
  // Numbers at which bounds lie.
  std::uint32_t edge() {
    switch (below(4)) {
      case 0:
        return below(70);
      case 1:
        return (1u << below(32)) + below(3) - 1;
      case 2:
        return 0u - below(70);
      default:
        return (*this)();
    }
  }
  template <typename Container>
  auto& one_of(Container& from) {
    return from[below(from.size())];
  }

 private:
  std::mt19937_64 engine_;
};

// A few bytes changed, cut out, doubled or put in.
inline void mutate(std::string& bytes, Random& random) {
  for (std::uint32_t n = 1 + random.below(4); n != 0; --n) {
    const std::size_t at = random.below(bytes.size() + 1), left = bytes.size() - at;
    switch (random.below(6)) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes.insert(at, 1 + random.below(8), static_cast<char>(random()));
        break;
      case 2:
        bytes.erase(at, 1 + random.below(8));
        break;
      case 3: {
        const auto word = std::bit_cast<std::array<char, 4>>(random.edge());
        std::copy_n(word.data(), std::min<std::size_t>(left, 1u << random.below(3)), bytes.data() + at);
        break;
      }
      case 4:
        bytes.insert(at, bytes.substr(random.below(bytes.size() + 1), random.below(32)));
        break;
      default:
        if (left != 0) bytes[at] = static_cast<char>(bytes[at] ^ 1 << random.below(8));
    }
  }
}

struct Target {
  const char* name;
  void (*execute)(Random& random);
};

// Ends the process; the driver says with which seed.
[[noreturn]] void wrong(const char* what);
inline void require(bool holds, const char* what) {
  if (!holds) wrong(what);
}

void devices(Random& random);
void states(Random& random);
void link_messages(Random& random);
void link_files(Random& random);
void control(Random& random);
void qemu_stream(Random& random);
void hypervisor_bundle(Random& random);
void hypervisor_devices(Random& random);
void hypervisor_gic(Random& random);
void hypervisor_gic_threads(Random& random);

}  // namespace amphion::fuzz
