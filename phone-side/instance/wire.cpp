// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/wire.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace amphion::instance {
namespace {

constexpr std::size_t length_bytes = sizeof(std::uint32_t);

bool read_whole(int fd, char* out, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t done = ::read(fd, out, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    out += done;
    bytes -= static_cast<std::size_t>(done);
  }
  return true;
}

}  // namespace

std::string frame(const google::protobuf::MessageLite& message) {
  std::string out(length_bytes, '\0');
  message.AppendToString(&out);
  const auto length = static_cast<std::uint32_t>(out.size() - length_bytes);
  std::memcpy(out.data(), &length, length_bytes);
  return out;
}

FrameBuffer::Next FrameBuffer::next(google::protobuf::MessageLite& message) {
  std::uint32_t length = 0;
  if (bytes_.size() < length_bytes) return Next::incomplete;
  std::memcpy(&length, bytes_.data(), length_bytes);
  if (length > max_message_bytes) return Next::broken;
  if (bytes_.size() - length_bytes < length) return Next::incomplete;
  const bool parsed = message.ParseFromArray(bytes_.data() + length_bytes, static_cast<int>(length));
  bytes_.erase(0, length_bytes + length);
  return parsed ? Next::message : Next::broken;
}

bool read_message(int fd, google::protobuf::MessageLite& message) {
  std::uint32_t length = 0;
  if (!read_whole(fd, reinterpret_cast<char*>(&length), length_bytes) || length > max_message_bytes) return false;
  std::string body(length, '\0');
  return read_whole(fd, body.data(), length) && message.ParseFromString(body);
}

bool write_message(int fd, const google::protobuf::MessageLite& message) {
  const std::string bytes = frame(message);
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t done = ::write(fd, rest.data(), rest.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(done));
  }
  return true;
}

}  // namespace amphion::instance
