// SPDX-License-Identifier: Apache-2.0
// One connection between a phone and the cloud, after TLS: exchanges Hello, keeps alive, and sorts what arrives:
// hand-over messages go to the Channel of their instance, everything else to the Handler.
// Made by phoned (client) and amphiond (server), one a connection.
// After a hand-over ends `unconfirmed` or `prepared` with the session still open, close it: the next one reconciles.
// Thread safety: all public functions from any thread. One reader thread of its own calls the Handler, which must not
// block for long: nothing else is read meanwhile.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "link/channel.hpp"
#include "link/frame.hpp"

namespace amphion::link {

inline constexpr std::uint32_t protocol_version = 1;

struct SessionOptions {
  std::chrono::milliseconds hello_timeout{10000};
  std::chrono::milliseconds keepalive{5000};  // sent when idle; silence of four times this ends the session
  std::string expected_name;                  // common name of the peer's certificate; empty: not checked
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // The other side wants to hand an instance over: run a HandoverDestination on `channel`, in a thread of its own.
    // The engine of an earlier hand-over may still be about to end: wait for it.
    virtual void on_offer(Session& session, const pb::Offer& offer, std::shared_ptr<Channel> channel) = 0;
    // Everything that belongs to no hand-over, except Hello and Keepalive.
    virtual void on_message(Session& session, Message message) = 0;
    // Once, last; from the reader thread. All channels have been closed before.
    virtual void on_closed(Session& session, const Error& why) = 0;
  };

  // Sends `mine`, waits for the other's Hello and checks it (protocol version, name, side). The reader thread does not
  // run yet, so that reconciliation is done before anything else is served. `handler` must outlive the session.
  static Result<std::shared_ptr<Session>> open(std::unique_ptr<Stream> stream, const pb::Hello& mine, Handler& handler,
                                               SessionOptions options = {});
  ~Session();  // closes, and joins the reader. The Handler may release the last reference in on_closed, and only there

  // Serves until closed. Call once, after reconciliation.
  void start();

  [[nodiscard]] const pb::Hello& peer() const { return peer_; }
  Status send(const Message& message);
  // The channel of an instance's hand-over, for a source; one at a time (conflict otherwise). Ends with the
  // hand-over's last word (Committed or Abort, whoever says it), or when it is released.
  Result<std::shared_ptr<Channel>> channel(const std::string& instance);
  // Ends the session; `why` is told to the other side if not empty. Any thread, also the Handler.
  void close(const std::string& why = {});
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] std::uint64_t bytes_sent() const { return bytes_sent_; }
  [[nodiscard]] std::uint64_t bytes_received() const { return bytes_received_; }

 private:
  class SessionChannel;
  Session(std::unique_ptr<Stream> stream, Handler& handler, SessionOptions options);
  void read_loop();
  Error serve();
  void part(const std::string& why);
  Status dispatch(Message message);
  std::shared_ptr<SessionChannel> make_channel(const std::string& instance);

  std::unique_ptr<Stream> stream_;
  Handler& handler_;
  SessionOptions options_;
  pb::Hello peer_;
  std::thread reader_;
  std::atomic<bool> closed_{false};
  std::atomic<Clock::rep> last_sent_{0};
  std::atomic<std::uint64_t> bytes_sent_{0};
  std::atomic<std::uint64_t> bytes_received_{0};
  std::mutex mutex_;  // guards channels_
  std::map<std::string, std::weak_ptr<SessionChannel>> channels_;
};

}  // namespace amphion::link
