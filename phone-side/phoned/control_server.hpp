// SPDX-License-Identifier: Apache-2.0
// Serves control lines (control_protocol.hpp) to owners over TLS and to root over a unix socket.
// Everything is bounded: connections, the length of a request, the time of a handshake.
// Thread safety: start/stop by the owner. A thread a connection calls `Commands`, which must cope with that.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "link/pairing.hpp"
#include "phone-side/phoned/console_hub.hpp"
#include "phone-side/phoned/control_protocol.hpp"

namespace amphion::phoned {

// What the server asks of the phone. All throw CommandError with one line for the user.
class Commands {
 public:
  using Progress = std::function<void(const nlohmann::json&)>;
  virtual ~Commands() = default;
  // The answer, with "ok":true. Any operation but console and logs.
  [[nodiscard]] virtual nlohmann::json execute(const Request& request, const Progress& progress) = 0;
  [[nodiscard]] virtual std::shared_ptr<ConsoleView> open_console(const Request& request) = 0;
  [[nodiscard]] virtual std::shared_ptr<ConsoleView> open_logs(const Request& request) = 0;
  virtual void console_input(const Request& request, std::string_view bytes) = 0;
  virtual void console_left(const Request& request) = 0;
};

class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ControlOptions {
  std::string address;  // HOST:PORT for TLS; empty: none
  std::string socket;   // path; empty: none
};

// One connection until it ends. Also what tests drive, over a stream of theirs.
void serve_control(ByteStream& stream, Commands& commands);

class ControlServer {
 public:
  ControlServer(ControlOptions options, Commands& commands) : options_(std::move(options)), commands_(commands) {}
  ~ControlServer();

  // `identity`: for TLS. `newcomers` (null: none) outlives this; `sign` makes their certificates.
  // Throws std::runtime_error with one line.
  void start(const link::Identity& identity = {}, link::CodeDesk* newcomers = nullptr, link::Sign sign = {});
  void stop();

  [[nodiscard]] std::uint16_t port() const { return listener_ ? listener_->port() : std::uint16_t{0}; }

 private:
  struct Connection {
    std::shared_ptr<ByteStream> stream;  // null until the handshake is done
    std::atomic<bool> done{false};
    std::thread thread;
  };

  void accept_tls();
  [[nodiscard]] std::shared_ptr<ByteStream> greet(link::TlsListener::Pending& pending);
  void accept_socket();
  // Null: too many already.
  void begin(std::function<std::shared_ptr<ByteStream>()> open);
  void reap(bool all);

  ControlOptions options_;
  Commands& commands_;
  link::CodeDesk* newcomers_ = nullptr;
  link::Sign sign_;
  std::unique_ptr<link::TlsListener> listener_;
  int socket_ = -1;
  std::atomic<bool> stopping_{false};
  std::thread tls_thread_;
  std::thread socket_thread_;
  std::mutex mutex_;  // guards connections_ and their streams
  std::list<Connection> connections_;
};

}  // namespace amphion::phoned
