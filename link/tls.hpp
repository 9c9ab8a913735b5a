// SPDX-License-Identifier: Apache-2.0
// Mutually authenticated TLS 1.2 over TCP (Mbed TLS): ECDHE-ECDSA with AEAD suites only, certificates required both
// ways and issued by the same authority. A certificate's subject says who it is: OU is the role, CN the name. Errors
// say which certificate failed and why; the refused side learns it by a TLS alert.
// Who has no certificate yet comes as a `newcomer`: both sides know a one-time code (pairing.hpp) that is the key of an
// ECDHE-PSK suite. No certificate can claim that role, and no code another. Thread safety: Listener: accept() by
// one thread, close() by any. Streams: as stream.hpp says. The socket does not block: records are made under a lock
// that is never held while waiting, so a reader and a writer do not hold each other up.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "link/stream.hpp"
#include "link/wall_clock.hpp"

namespace amphion::link {

enum class Role { cloud, phone, owner, newcomer };
[[nodiscard]] std::string_view text(Role role);

// Paths of PEM files (pki.hpp has the names in a folder), or the PEM texts themselves.
struct Identity {
  std::string authority;    // ca.crt
  std::string certificate;  // <role>.crt; empty (tests): presents none
  std::string key;          // <role>.key
  // A clock without a battery is late: a certificate of the authority from later than now shows that, and is no reason
  // to refuse (docs/time.md).
  bool clock_may_be_late = false;
  std::int64_t (*now_s)() = wall_clock_s;
};
[[nodiscard]] Identity identity_in(const std::string& folder, Role role);
[[nodiscard]] inline bool is_pem(std::string_view text) { return text.starts_with("-----BEGIN"); }

struct Peer {
  Role role = Role::phone;
  std::string name;         // common name of its certificate; empty for a newcomer
  std::string fingerprint;  // of its certificate (pki.hpp)
  std::int64_t valid_from = 0, valid_to = 0;
};

// The key for a newcomer, if a code is waited for now. Called once for each newcomer's handshake, in its thread.
using CodeKey = std::function<std::optional<std::string>()>;

class TlsStream : public Stream {
 public:
  [[nodiscard]] virtual const Peer& peer() const = 0;
  [[nodiscard]] Role peer_role() const { return peer().role; }
  [[nodiscard]] const std::string& peer_name() const { return peer().name; }
  [[nodiscard]] virtual const std::string& peer_address() const = 0;  // "127.0.0.1:40312"
};

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text,
                                              std::uint16_t default_port);  // "host:port", "[::1]:port"

// Connects and authenticates; the peer's certificate must have role `expected`. Errors: refused (certificates),
// not_found (host), closed / io (nobody answers), timeout.
Result<std::unique_ptr<TlsStream>> tls_connect(const Endpoint& to, const Identity& identity, Role expected,
                                               Deadline deadline);
// As a newcomer. refused: the code is not the one that is waited for there, or nobody waits for one.
Result<std::unique_ptr<TlsStream>> tls_connect_by_code(const Endpoint& to, const std::string& key, Deadline deadline);

class TlsListener {
 public:
  // Port 0: any free one. Peers must have one of `allowed` roles; with `code_key` newcomers are let in, too.
  static Result<std::unique_ptr<TlsListener>> open(const Endpoint& at, const Identity& identity,
                                                   std::vector<Role> allowed, CodeKey code_key = {});
  virtual ~TlsListener() = default;

  class Pending {  // a TCP connection whose handshake is still to be made, so that a slow peer holds nobody up
   public:
    virtual ~Pending() = default;
    [[nodiscard]] virtual const std::string& peer_address() const = 0;
    // Once; in any thread. The listener may be gone by then.
    virtual Result<std::unique_ptr<TlsStream>> handshake(Deadline deadline) = 0;
  };
  // Waits for a connection. closed: close() was called.
  virtual Result<std::unique_ptr<Pending>> accept() = 0;
  virtual void close() = 0;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
};

}  // namespace amphion::link
