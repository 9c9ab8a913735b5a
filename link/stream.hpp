// SPDX-License-Identifier: Apache-2.0
// A reliable ordered stream of bytes between two sides. Implementations: TlsStream (tls.hpp), a pipe in memory for
// tests. Thread safety: one thread reads while any number write (writes are atomic with respect to each other) and any
// thread closes.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "link/error.hpp"

namespace amphion::link {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
inline Deadline in(std::chrono::milliseconds time) { return Clock::now() + time; }

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // Waits for at least one byte. 0: the other side ended in order. Errors: closed, timeout, refused, io.
  virtual Result<std::size_t> read(std::span<std::byte> into, Deadline deadline) = 0;
  // All of it or an error; after an error the stream is of no further use.
  virtual Status write(std::span<const std::byte> bytes, Deadline deadline) = 0;
  // Ends both directions; a waiting reader or writer returns ErrorCode::closed. May be called twice.
  virtual void close() = 0;
};

// Two ends of a pipe in memory; each direction holds at most `capacity` bytes.
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_pipe(std::size_t capacity = 1u << 20);

}  // namespace amphion::link
