// SPDX-License-Identifier: Apache-2.0
// The messages of link.proto as one variant, with their frame types and bounds. The table of types is the only one.
// Thread safety: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "link/error.hpp"
#include "link/link.pb.h"

namespace amphion::link {

using Message = std::variant<pb::Hello, pb::Keepalive, pb::Error, pb::Offer, pb::Accept, pb::Blocks, pb::BlocksAck,
                             pb::Prepare, pb::Prepared, pb::Commit, pb::Committed, pb::Abort, pb::UndockRequest,
                             pb::UndockProgress, pb::UndockRefused, pb::InputEvents, pb::InputAck, pb::StatusQuery,
                             pb::StatusReply, pb::ConsoleOpen, pb::ConsoleClose, pb::ConsoleData, pb::ScreenOpen,
                             pb::ScreenData, pb::PairRequest, pb::PairGrant, pb::Unpair, pb::Unpaired>;

// A frame's type is 1 + the message's position above. Append only.
using MessageType = std::uint16_t;
[[nodiscard]] constexpr MessageType type_of(const Message& message) {
  return static_cast<MessageType>(message.index() + 1);
}
[[nodiscard]] std::string_view name_of(MessageType type);  // "Offer"; "unknown" where there is none
[[nodiscard]] std::uint32_t bound_of(MessageType type);    // longest body in bytes; 0: no such type
[[nodiscard]] Result<Message> decode(MessageType type, std::string_view body);  // checks the bound first
[[nodiscard]] std::string encode(const Message& message);

// The hand-over that a message belongs to, or none.
[[nodiscard]] const pb::HandoverId* handover_of(const Message& message);

}  // namespace amphion::link
