// SPDX-License-Identifier: Apache-2.0
// See frame.hpp.
#include "link/frame.hpp"

#include <array>
#include <cstring>
#include <string>

namespace amphion::link {
namespace {

constexpr std::string_view magic = "AmLk";

Status read_all(Stream& stream, std::span<std::byte> into, Deadline deadline) {
  while (!into.empty()) {
    const auto got = stream.read(into, deadline);
    if (!got) return got.error();
    if (*got == 0) return {ErrorCode::closed, "the connection ended in the middle of a message"};
    into = into.subspan(*got);
  }
  return {};
}

std::uint32_t get_le(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<std::uint32_t>(bytes[i]);
  return value;
}

struct Header {
  MessageType type;
  std::uint32_t length;
};

Result<Header> parse_header(std::span<const std::byte, frame_header_bytes> bytes) {
  if (std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) {
    return Error{ErrorCode::protocol, "the other side does not speak Amphion's protocol (no frame where one must be)"};
  }
  const Header header{static_cast<MessageType>(get_le(bytes.subspan(4, 2))), get_le(bytes.subspan(8, 4))};
  const std::uint32_t version = get_le(bytes.subspan(6, 2));
  if (version != frame_version) {
    return Error{ErrorCode::version, "the other side uses frame format version " + std::to_string(version) +
                                         ", this program knows " + std::to_string(frame_version)};
  }
  if (bound_of(header.type) == 0) {
    return Error{ErrorCode::protocol, "message of unknown type " + std::to_string(header.type)};
  }
  if (header.length > bound_of(header.type)) {
    return Error{ErrorCode::protocol, std::string(name_of(header.type)) + " of " + std::to_string(header.length) +
                                          " bytes is over its bound of " + std::to_string(bound_of(header.type))};
  }
  return header;
}

}  // namespace

Result<Message> read_frame(Stream& stream, Deadline idle, std::chrono::milliseconds whole) {
  std::array<std::byte, frame_header_bytes> header_bytes;
  const auto first = stream.read(header_bytes, idle);
  if (!first) return first.error();
  if (*first == 0) return Error{ErrorCode::closed, "the other side ended the connection"};
  const Deadline deadline = in(whole);
  if (Status s = read_all(stream, std::span(header_bytes).subspan(*first), deadline); !s.ok()) return s.error();
  const auto header = parse_header(header_bytes);
  if (!header) return header.error();
  std::string body(header->length, '\0');
  if (Status s = read_all(stream, std::as_writable_bytes(std::span(body)), deadline); !s.ok()) return s.error();
  return decode(header->type, body);
}

Status write_frame(Stream& stream, const Message& message, Deadline deadline) {
  const std::string body = encode(message);
  const MessageType type = type_of(message);
  if (body.size() > bound_of(type)) {
    return {ErrorCode::invalid, std::string(name_of(type)) + " of " + std::to_string(body.size()) +
                                    " bytes is over its bound of " + std::to_string(bound_of(type))};
  }
  std::string bytes(magic);
  const auto put_le = [&](std::size_t value, int count) {
    for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  };
  put_le(type, 2);
  put_le(frame_version, 2);
  put_le(body.size(), 4);
  bytes += body;
  return stream.write(std::as_bytes(std::span(bytes)), deadline);
}

}  // namespace amphion::link
