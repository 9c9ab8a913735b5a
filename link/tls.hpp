// SPDX-License-Identifier: Apache-2.0
// Mutually authenticated TLS 1.2 over TCP (Mbed TLS): ECDHE-ECDSA with AEAD suites only, certificates required both
// ways and issued by the same authority. A certificate's subject says who it is: OU is the role, CN the name. Errors
// say which certificate failed and why; the refused side learns it by a TLS alert. Thread safety: Listener: accept() by
// one thread, close() by any. Streams: as stream.hpp says. The socket does not block: records are made under a lock
// that is never held while waiting, so a reader and a writer do not hold each other up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "link/stream.hpp"

namespace amphion::link {

enum class Role { cloud, phone, owner };
[[nodiscard]] std::string_view text(Role role);

// Paths of PEM files. See pki.hpp for the names in a folder.
struct Identity {
  std::string authority;    // ca.crt
  std::string certificate;  // <role>.crt; empty (tests): presents none
  std::string key;          // <role>.key
};
[[nodiscard]] Identity identity_in(const std::string& folder, Role role);

class TlsStream : public Stream {
 public:
  [[nodiscard]] virtual Role peer_role() const = 0;
  [[nodiscard]] virtual const std::string& peer_name() const = 0;     // common name of its certificate
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

class TlsListener {
 public:
  // Port 0: any free one. Peers must have one of `allowed` roles.
  static Result<std::unique_ptr<TlsListener>> open(const Endpoint& at, const Identity& identity,
                                                   std::vector<Role> allowed);
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
