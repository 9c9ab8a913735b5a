// SPDX-License-Identifier: Apache-2.0
// An instance's network as its guest sees it: the same addresses on the phone (phone-side/phoned/networks) and in the
// cloud (cloud-side/qemu), so that a lease, routes and neighbours that a guest knows stay right when it moves. Each
// instance has an Ethernet address of its own, made once, whose last byte is the number of its subnet; a bridged one
// has it too, for its time in the cloud.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace amphion::machine {

using Mac = std::array<std::uint8_t, 6>;

// Locally administered, one station, and a number of a subnet that exists.
[[nodiscard]] constexpr bool valid_mac(const Mac& mac) { return (mac[0] & 3) == 2 && mac[5] != 0 && mac[5] != 255; }

inline constexpr std::uint32_t network_mtu = 1500;

// 10.67.N.0/24.
struct Subnet {
  static constexpr std::uint32_t prefix_bits = 24;
  static constexpr std::uint32_t all = 10u << 24 | 67u << 16;  // of all instances: /16
  static constexpr std::uint8_t gateway_host = 2, dns_host = 3, guest_host = 15;

  std::uint8_t number;

  // Addresses in this machine's byte order.
  [[nodiscard]] constexpr std::uint32_t address(std::uint8_t host) const {
    return all | std::uint32_t{number} << 8 | host;
  }
  [[nodiscard]] constexpr std::uint32_t gateway() const { return address(gateway_host); }
  [[nodiscard]] constexpr std::uint32_t dns() const { return address(dns_host); }
  [[nodiscard]] constexpr std::uint32_t guest() const { return address(guest_host); }
  // Gateway and name server answer from the same station.
  [[nodiscard]] constexpr Mac gateway_mac() const { return {0x02, 'A', 'm', 'p', 'h', number}; }
};

[[nodiscard]] constexpr Subnet subnet_of(const Mac& mac) { return {mac[5]}; }

[[nodiscard]] inline std::string text_of(std::uint32_t address) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += std::to_string(address >> shift & 0xff) + (shift == 0 ? "" : ".");
  return text;
}

[[nodiscard]] inline std::string text_of(const Mac& mac) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : mac) {
    if (!text.empty()) text += ':';
    text += {digits[byte >> 4], digits[byte & 15]};
  }
  return text;
}

}  // namespace amphion::machine
