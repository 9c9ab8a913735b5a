// SPDX-License-Identifier: Apache-2.0
// The two kinds of addresses that the hypervisor keeps apart: Phys (physical) and Ipa (intermediate physical, what an
// instance takes for physical). They do not convert into one another; where one is made from the other (identity
// mappings), the code says so by naming both types. The hypervisor's own addresses are the physical ones.
// Invariants: a Phys or Ipa has at most 40 bits (LPAE); nothing here checks it, `fits()` does.
// Freestanding. Thread safety: values.
#pragma once

#include <compare>
#include <cstdint>

namespace amphion::hyp {

inline constexpr std::uint32_t page_shift = 12;
inline constexpr std::uint32_t page_bytes = 1u << page_shift;

template <typename Kind>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(std::uint64_t value) : value_(value) {}
  [[nodiscard]] static constexpr Address of_page(std::uint64_t index) { return Address(index << page_shift); }

  [[nodiscard]] constexpr std::uint64_t value() const { return value_; }
  [[nodiscard]] constexpr std::uint64_t page() const { return value_ >> page_shift; }
  [[nodiscard]] constexpr bool aligned(std::uint64_t power_of_two) const { return (value_ & (power_of_two - 1)) == 0; }
  [[nodiscard]] constexpr Address page_start() const { return of_page(page()); }
  [[nodiscard]] constexpr bool fits() const { return value_ >> 40 == 0; }

  [[nodiscard]] constexpr Address operator+(std::uint64_t bytes) const { return Address(value_ + bytes); }
  [[nodiscard]] constexpr std::uint64_t operator-(Address other) const { return value_ - other.value_; }
  constexpr auto operator<=>(const Address&) const = default;

 private:
  std::uint64_t value_ = 0;
};

using Phys = Address<struct PhysKind>;
using Ipa = Address<struct IpaKind>;

}  // namespace amphion::hyp
