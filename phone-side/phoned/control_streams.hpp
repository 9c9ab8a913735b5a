// SPDX-License-Identifier: Apache-2.0
// The streams that control lines travel on: TLS (link/) and unix sockets. Used by phoned and by amphion.
// Thread safety: as ByteStream says.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "link/stream.hpp"
#include "phone-side/phoned/control_protocol.hpp"

namespace amphion::phoned {

// Over a stream of link/. A peer that takes none of our bytes for 30 seconds breaks it.
class LinkByteStream : public ByteStream {
 public:
  explicit LinkByteStream(std::unique_ptr<link::Stream> stream) : stream_(std::move(stream)) {}
  [[nodiscard]] std::size_t read(std::span<char> into) override;
  void write(std::string_view bytes) override;
  void shut() override;

 private:
  std::unique_ptr<link::Stream> stream_;
  std::atomic<bool> shut_{false};
};

// Over a connected socket, which it owns.
class SocketByteStream : public ByteStream {
 public:
  explicit SocketByteStream(int socket) : socket_(socket) {}
  ~SocketByteStream() override;
  SocketByteStream(const SocketByteStream&) = delete;
  SocketByteStream& operator=(const SocketByteStream&) = delete;
  [[nodiscard]] std::size_t read(std::span<char> into) override;
  void write(std::string_view bytes) override;
  void shut() override;

 private:
  int socket_;
};

// Throws std::system_error.
[[nodiscard]] std::unique_ptr<ByteStream> connect_unix(const std::string& path);

}  // namespace amphion::phoned
