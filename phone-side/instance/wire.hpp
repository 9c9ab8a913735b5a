// SPDX-License-Identifier: Apache-2.0
// Frames between phoned and a device-model process: the length (u32, this machine's order), then a message of
// process.proto. And the numbers of the descriptors that the process begins with.
// Thread safety: a FrameBuffer belongs to one thread; write_message() by one thread at a time for a descriptor.
#pragma once

#include <google/protobuf/message_lite.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace amphion::instance {

// A saved state (1 MiB), or the bitmap of a disk of 64 GiB.
inline constexpr std::size_t max_message_bytes = 2u << 20;

namespace inherited {
inline constexpr int socket = 3, partition = 4, disk = 5, kernel = 6, network = 7;
inline constexpr int initrd = 8;  // if there is one
}  // namespace inherited

[[nodiscard]] std::string frame(const google::protobuf::MessageLite& message);

// Cuts a stream into messages. Holds no more than one message and what one put() brought.
class FrameBuffer {
 public:
  enum class Next { message, incomplete, broken };
  void put(std::string_view bytes) { bytes_.append(bytes); }
  [[nodiscard]] Next next(google::protobuf::MessageLite& message);

 private:
  std::string bytes_;
};

// Blocking; false at the end of the stream or after an error.
[[nodiscard]] bool read_message(int fd, google::protobuf::MessageLite& message);
[[nodiscard]] bool write_message(int fd, const google::protobuf::MessageLite& message);

}  // namespace amphion::instance
