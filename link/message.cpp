// SPDX-License-Identifier: Apache-2.0
// The table of message types: name and bound of each, and decoding by position in the variant. See message.hpp.
#include "link/message.hpp"

#include <google/protobuf/stubs/logging.h>

#include <array>
#include <type_traits>
#include <utility>

namespace amphion::link {
namespace {

struct TypeInfo {
  std::string_view name;
  std::uint32_t bound;
};

constexpr std::uint32_t kib = 1024;
constexpr std::array types{
    TypeInfo{"Hello", 64 * kib},
    TypeInfo{"Keepalive", 16},
    TypeInfo{"Error", 2 * kib},
    TypeInfo{"Offer", 1 * kib},
    TypeInfo{"Accept", 256},
    TypeInfo{"Blocks", 320 * kib},  // 64 blocks of 4 KiB that do not compress, their hashes, and zero ranges
    TypeInfo{"BlocksAck", 256},
    TypeInfo{"Prepare", 4 * kib* kib + kib},
    TypeInfo{"Prepared", 256},
    TypeInfo{"Commit", 256},
    TypeInfo{"Committed", 256},
    TypeInfo{"Abort", 2 * kib},
    TypeInfo{"UndockRequest", 256},
    TypeInfo{"UndockProgress", 512},
    TypeInfo{"UndockRefused", 2 * kib},
    TypeInfo{"InputEvents", 32 * kib},
    TypeInfo{"InputAck", 256},
    TypeInfo{"StatusQuery", 256},
    TypeInfo{"StatusReply", 64 * kib},
    TypeInfo{"ConsoleOpen", 256},
    TypeInfo{"ConsoleClose", 2 * kib},
    TypeInfo{"ConsoleData", 17 * kib},
    TypeInfo{"ScreenOpen", 256},
    TypeInfo{"ScreenData", 640 * kib},  // 640 x 480 x 2 bytes that do not compress
    TypeInfo{"PairRequest", 1 * kib},
    TypeInfo{"PairGrant", 16 * kib},
    TypeInfo{"Unpair", 16},
    TypeInfo{"Unpaired", 16},
};
static_assert(types.size() == std::variant_size_v<Message>);

template <std::size_t... I>
bool parse_at(std::size_t index, std::string_view body, Message& out, std::index_sequence<I...>) {
  return ((I == index && out.emplace<I>().ParseFromArray(body.data(), static_cast<int>(body.size()))) || ...);
}

template <typename T>
concept HasHandoverId = requires(const T& t) {
  { t.id() } -> std::same_as<const pb::HandoverId&>;
};

}  // namespace

std::string_view name_of(MessageType type) {
  return type >= 1 && type <= types.size() ? types[type - 1].name : "unknown";
}

std::uint32_t bound_of(MessageType type) { return type >= 1 && type <= types.size() ? types[type - 1].bound : 0; }

Result<Message> decode(MessageType type, std::string_view body) {
  if (bound_of(type) == 0) {
    return Error{ErrorCode::protocol, "message of unknown type " + std::to_string(type)};
  }
  if (body.size() > bound_of(type)) {
    return Error{ErrorCode::protocol, std::string(name_of(type)) + " of " + std::to_string(body.size()) +
                                          " bytes is over its bound of " + std::to_string(bound_of(type))};
  }
  // A stranger's bytes must not fill our log.
  static const auto quiet = google::protobuf::SetLogHandler(nullptr);
  (void)quiet;
  Message message;
  if (!parse_at(type - 1, body, message, std::make_index_sequence<std::variant_size_v<Message>>())) {
    return Error{ErrorCode::protocol, std::string(name_of(type)) + " cannot be decoded"};
  }
  return message;
}

std::string encode(const Message& message) {
  return std::visit([](const auto& body) { return body.SerializeAsString(); }, message);
}

const pb::HandoverId* handover_of(const Message& message) {
  return std::visit(
      [](const auto& body) -> const pb::HandoverId* {
        if constexpr (HasHandoverId<std::decay_t<decltype(body)>>) {
          return &body.id();
        } else {
          return nullptr;
        }
      },
      message);
}

}  // namespace amphion::link
