// SPDX-License-Identifier: Apache-2.0
// What a hand-over engine sees of the link: messages of its own instance, in order.
// Thread safety: one thread sends and receives (the engine's), any thread closes.
#pragma once

#include "link/message.hpp"
#include "link/stream.hpp"

namespace amphion::link {

class Channel {
 public:
  virtual ~Channel() = default;
  virtual Status send(const Message& message) = 0;
  // The next message, or closed (the link broke or ended), or timeout.
  virtual Result<Message> receive(Deadline deadline) = 0;
  virtual void close() = 0;
};

// Messages that may wait for a channel's reader; one more ends the session. Above the source's window of batches.
inline constexpr std::size_t channel_queue_messages = 64;

}  // namespace amphion::link
