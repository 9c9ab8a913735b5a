// SPDX-License-Identifier: Apache-2.0
// The envelope of a saved state, on disk and on the wire. Layout, little-endian:
//   0   8 bytes  magic "AMPHSTAT"
//   8   u32      format version (state_format_version)
//   12  u32      length of the body
//   16  32 bytes SHA-256 of the body
//   48  body     InstanceState, encoded
// Everything outside the body is checked before anything is decoded.
// Thread safety: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "machine/state.pb.h"

namespace amphion::machine {

inline constexpr std::uint32_t state_format_version = 1;
inline constexpr std::size_t envelope_header_bytes = 48;
inline constexpr std::size_t max_state_bytes = 1u << 20;

// A text for the user, or none if it went well.
using Problem = std::optional<std::string>;

[[nodiscard]] std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes);

// The state must be valid (validate.hpp), otherwise the receiver refuses it.
[[nodiscard]] std::string seal(const InstanceState& state);

// Opens, decodes and validates. `state` is written only on success.
[[nodiscard]] Problem open_envelope(std::span<const std::uint8_t> bytes, InstanceState& state);
[[nodiscard]] Problem open_envelope(const std::string& bytes, InstanceState& state);

}  // namespace amphion::machine
