// SPDX-License-Identifier: Apache-2.0
// Framing: 12 bytes of header (magic "AmLk", type u16, format version u16, length u32; little-endian), then the body.
// The header is checked whole (magic, version, known type, length within the type's bound) before anything is
// allocated. Thread safety: as the stream's: one reader, any number of writers.
#pragma once

#include "link/message.hpp"
#include "link/stream.hpp"

namespace amphion::link {

inline constexpr std::size_t frame_header_bytes = 12;
inline constexpr std::uint16_t frame_version = 1;

// Errors: protocol (bad magic, unknown type, over its bound, undecodable), version, closed, timeout, io.
// `idle`: until when to wait for the first byte; once begun, a frame must arrive within `whole`.
Result<Message> read_frame(Stream& stream, Deadline idle, std::chrono::milliseconds whole = std::chrono::seconds(30));
Status write_frame(Stream& stream, const Message& message, Deadline deadline);

}  // namespace amphion::link
