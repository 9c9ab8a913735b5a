// SPDX-License-Identifier: Apache-2.0
#include "machine/envelope.hpp"

#include <mbedtls/sha256.h>

#include <algorithm>
#include <cstdlib>

#include "machine/validate.hpp"

namespace amphion::machine {
namespace {

constexpr char magic[8] = {'A', 'M', 'P', 'H', 'S', 'T', 'A', 'T'};

void put_u32(std::string& out, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

std::uint32_t get_u32(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) value |= std::uint32_t{bytes[at + i]} << (8 * i);
  return value;
}

std::span<const std::uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Problem check_header(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < envelope_header_bytes) return "saved state is truncated: no header; transfer it again";
  if (!std::equal(std::begin(magic), std::end(magic), bytes.begin(),
                  [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }))
    return "this is not a saved state (wrong magic); choose another file";
  const std::uint32_t version = get_u32(bytes, 8);
  if (version != state_format_version)
    return "saved state has format version " + std::to_string(version) + ", this program knows " +
           std::to_string(state_format_version) + "; use the same version of Amphion on both sides";
  const std::size_t length = get_u32(bytes, 12);
  if (length > max_state_bytes)
    return "saved state is longer than " + std::to_string(max_state_bytes) + " bytes; refused";
  if (bytes.size() != envelope_header_bytes + length)
    return "saved state is " + std::to_string(bytes.size()) + " bytes long, its header says " +
           std::to_string(envelope_header_bytes + length) + "; transfer it again";
  return {};
}

}  // namespace

std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, 32> digest{};
  if (mbedtls_sha256_ret(bytes.data(), bytes.size(), digest.data(), 0) != 0) std::abort();  // cannot fail in software
  return digest;
}

std::string seal(const InstanceState& state) {
  const std::string body = state.SerializeAsString();
  std::string out(std::begin(magic), std::end(magic));
  put_u32(out, state_format_version);
  put_u32(out, static_cast<std::uint32_t>(body.size()));
  for (const std::uint8_t byte : sha256(as_bytes(body))) out.push_back(static_cast<char>(byte));
  return out + body;
}

Problem open_envelope(std::span<const std::uint8_t> bytes, InstanceState& state) {
  if (auto problem = check_header(bytes)) return problem;
  const auto body = bytes.subspan(envelope_header_bytes);
  const auto digest = sha256(body);
  if (!std::equal(digest.begin(), digest.end(), bytes.begin() + 16))
    return "saved state is damaged (SHA-256 differs); transfer it again";
  InstanceState decoded;
  if (!decoded.ParseFromArray(body.data(), static_cast<int>(body.size())))
    return "saved state cannot be decoded; use the same version of Amphion on both sides";
  if (auto problem = validate(decoded)) return problem;
  state = std::move(decoded);
  return {};
}

Problem open_envelope(const std::string& bytes, InstanceState& state) { return open_envelope(as_bytes(bytes), state); }

}  // namespace amphion::machine
