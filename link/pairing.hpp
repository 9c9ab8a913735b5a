// SPDX-License-Identifier: Apache-2.0
// Pairing by a one-time code (docs/pairing.md): who signs (amphiond for phones, phoned for owners) shows a code; who is
// to be known types it and gets a certificate for a key that never leaves it. The code is the key of the TLS connection
// (tls.hpp: newcomer), so who does not know it is neither side of it. Then one message each way: PairRequest,
// PairGrant. Thread safety: CodeDesk from any thread; the rest are functions without shared state. Invariants: a code
// is good once, until it expires, and for `max_attempts` handshakes; the next one makes it void.
#pragma once

#include <mutex>

#include "link/pki.hpp"
#include "link/stream.hpp"

namespace amphion::link {

// 80 random bits as 16 signs, written ABCD-EFGH-JKMN-PQRS (Crockford's base 32: no I, L, O, U).
class Code {
 public:
  static Result<Code> make();
  // As a human types it: any case, with or without dashes and blanks, I and L for 1, O for 0.
  static Result<Code> read(std::string_view typed);

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string key() const;     // of the TLS connection, 32 bytes
  [[nodiscard]] std::string ticket() const;  // says inside it which code was meant, 32 bytes

 private:
  explicit Code(std::string signs) : signs_(std::move(signs)) {}
  std::string signs_;
};

struct Invitation {
  Code code;
  Endpoint at;
};
// "CODE@HOST:PORT"
[[nodiscard]] Result<Invitation> parse_invitation(std::string_view text, std::uint16_t default_port);

class CodeDesk {
 public:
  static constexpr int max_attempts = 10;

  explicit CodeDesk(Deadline (*now)() = Clock::now) : now_(now) {}
  // A new code, for who will be called `name`.
  Result<Code> open(std::string name, std::chrono::seconds life);
  void close();
  // For TlsListener; counts an attempt.
  [[nodiscard]] std::optional<std::string> key();
  // The name, for whom has the code; the code is used with that.
  [[nodiscard]] std::optional<std::string> take(std::string_view ticket);

 private:
  struct Open {
    Code code;
    std::string name;
    Deadline until;
    int attempts = 0;
  };
  Deadline (*now_)();
  std::mutex mutex_;  // guards open_
  std::optional<Open> open_;
};

// The signer's side of a newcomer's connection. `sign` makes the certificate and everything durable that its owner will
// be known by; only then it is sent. The status is for the log.
using Sign = std::function<Result<Issued>(const std::string& name, std::string_view public_key)>;
Status serve_newcomer(Stream& stream, CodeDesk& desk, Role role, const Sign& sign, Deadline deadline);

struct Granted {
  Identity identity;  // PEM texts
  std::string name;
  std::int64_t time_s = 0;  // what the other side's clock says
};
// The newcomer's side. Nothing is kept yet when it returns.
Result<Granted> ask_for_certificate(Stream& stream, const Code& code, Role role, Deadline deadline);

}  // namespace amphion::link
