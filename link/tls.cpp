// SPDX-License-Identifier: Apache-2.0
// Mbed TLS 2.28 over sockets that do not block. See tls.hpp.
// Locks: write_ (whole writes, in order) before flush_ (bytes to the socket, in order) before ssl_mutex_ (the TLS
// context). ssl_mutex_ is held for computation only: sending goes through a buffer that is flushed outside it.
#include "link/tls.hpp"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/oid.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "link/socket.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::array<int, 4> suites{MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0};
constexpr unsigned char alert_certificate_required = 116;  // TLS 1.3's name for what 1.2 has no word for
constexpr std::size_t flush_above_bytes = 64u << 10;

std::string failure_text(int code) {
  char text[128];
  mbedtls_strerror(code, text, sizeof(text));
  return text;
}

// What both ends of a kind share: authority, own certificate, random numbers, settings. Read only once made (the random
// generator has a lock of its own).
struct Context {
  mbedtls_entropy_context entropy;
  mbedtls_ctr_drbg_context random;
  mbedtls_x509_crt authority;
  mbedtls_x509_crt certificate;
  mbedtls_pk_context key;
  mbedtls_ssl_config config;

  Context() {
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&authority);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&config);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    mbedtls_ssl_config_free(&config);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    mbedtls_x509_crt_free(&authority);
    mbedtls_ctr_drbg_free(&random);
    mbedtls_entropy_free(&entropy);
  }

  Status load(const Identity& identity) {
    int failure = mbedtls_x509_crt_parse_file(&authority, identity.authority.c_str());
    if (failure != 0) return unreadable("authority", identity.authority, failure);
    if (identity.certificate.empty()) return {};
    failure = mbedtls_x509_crt_parse_file(&certificate, identity.certificate.c_str());
    if (failure != 0) return unreadable("certificate", identity.certificate, failure);
    failure = mbedtls_pk_parse_keyfile(&key, identity.key.c_str(), nullptr);
    if (failure != 0) return unreadable("key", identity.key, failure);
    if (mbedtls_pk_check_pair(&certificate.pk, &key) != 0) {
      return {ErrorCode::invalid, identity.key + " is not the key of " + identity.certificate};
    }
    return {};
  }

  Status configure(const Identity& identity, int endpoint) {
    if (Status s = load(identity); !s.ok()) return s;
    int failure = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0);
    if (failure == 0) {
      failure =
          mbedtls_ssl_config_defaults(&config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    }
    if (failure == 0 && !identity.certificate.empty()) failure = mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
    if (failure != 0) return {ErrorCode::io, "cannot set up TLS: " + failure_text(failure)};
    mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_ciphersuites(&config, suites.data());
    mbedtls_ssl_conf_ca_chain(&config, &authority, nullptr);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    return {};
  }

 private:
  static Error unreadable(const std::string& what, const std::string& path, int failure) {
    return {ErrorCode::not_found, "cannot read the " + what + " " + path + ": " + failure_text(failure)};
  }
};

std::string day_of(const mbedtls_x509_time& time) {
  char text[32];
  std::snprintf(text, sizeof(text), "%04d-%02d-%02d", time.year, time.mon, time.day);
  return text;
}

// Why the peer's certificate was not accepted.
std::string refusal_text(std::uint32_t flags, const mbedtls_x509_crt* certificate) {
  if ((flags & MBEDTLS_X509_BADCERT_MISSING) != 0) return "the peer sent no certificate";
  if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) return "the peer's certificate was issued by another authority";
  if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
    return "the peer's certificate has expired" +
           (certificate != nullptr ? " (on " + day_of(certificate->valid_to) + ")" : "");
  }
  if ((flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
    return "the peer's certificate is not valid yet" +
           (certificate != nullptr ? " (from " + day_of(certificate->valid_from) + " on: is the clock right?)" : "");
  }
  return "the peer's certificate is not acceptable";
}

// What the peer told by an alert.
std::string alert_text(int alert) {
  const std::string refused = "the peer refused this side's certificate: ";
  switch (alert) {
    case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA:
      return refused + "it was issued by another authority";
    case MBEDTLS_SSL_ALERT_MSG_CERT_EXPIRED:
      return refused + "it has expired";
    case alert_certificate_required:
      return "the peer refused this side: it sent no certificate";
    case MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED:
      return refused + "it has not the role that is needed there";
    case MBEDTLS_SSL_ALERT_MSG_BAD_CERT:
    case MBEDTLS_SSL_ALERT_MSG_UNSUPPORTED_CERT:
    case MBEDTLS_SSL_ALERT_MSG_CERT_REVOKED:
    case MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN:
      return refused + "it is not acceptable";
    case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE:
      return "the peer ended the handshake: it has no certificate, or no cipher suite in common";
    case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION:
      return "the peer ended the handshake: it does not speak TLS 1.2";
    default:
      return "the peer ended TLS with alert " + std::to_string(alert);
  }
}

std::string named_data(const mbedtls_x509_name& subject, const char* oid, std::size_t oid_bytes) {
  const mbedtls_asn1_named_data* found =
      mbedtls_asn1_find_named_data(const_cast<mbedtls_x509_name*>(&subject), oid, oid_bytes);
  if (found == nullptr || found->val.p == nullptr) return {};
  return {reinterpret_cast<const char*>(found->val.p), found->val.len};
}

class Connection final : public TlsStream {
 public:
  Connection(std::shared_ptr<Context> context, Socket socket, std::string address)
      : context_(std::move(context)), socket_(std::move(socket)), address_(std::move(address)) {
    mbedtls_ssl_init(&ssl_);
  }
  ~Connection() override {
    close();
    mbedtls_ssl_free(&ssl_);
  }

  Status handshake(const std::vector<Role>& allowed, Deadline deadline) {
    const int failure = mbedtls_ssl_setup(&ssl_, &context_->config);
    if (failure != 0) return {ErrorCode::io, "cannot set up TLS: " + failure_text(failure)};
    mbedtls_ssl_set_bio(&ssl_, this, buffer_out, receive_in, nullptr);
    Status status = shake(deadline);
    if (status.ok()) status = identify(allowed);
    if (!status.ok()) part(deadline);
    return status;
  }

  Result<std::size_t> read(std::span<std::byte> into, Deadline deadline) override {
    while (true) {
      int got = 0;
      {
        const std::lock_guard lock(ssl_mutex_);
        got = closed_ ? 0 : mbedtls_ssl_read(&ssl_, reinterpret_cast<unsigned char*>(into.data()), into.size());
      }
      if (closed_) return Error{ErrorCode::closed, "the connection was closed"};
      if (got > 0) return static_cast<std::size_t>(got);
      if (got == 0 || got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return std::size_t{0};
      if (got != MBEDTLS_ERR_SSL_WANT_READ && got != MBEDTLS_ERR_SSL_WANT_WRITE) {
        (void)flush(in(Milliseconds(100)));  // an alert may be due
        return failed(got);
      }
      if (Status s = wait_for(socket_.fd(), POLLIN, deadline); !s.ok()) return s.error();
    }
  }

  Status write(std::span<const std::byte> bytes, Deadline deadline) override {
    const std::lock_guard order(write_);
    while (!bytes.empty()) {
      std::size_t waiting = 0;
      {
        const std::lock_guard lock(ssl_mutex_);
        if (closed_) return {ErrorCode::closed, "the connection was closed"};
        const int put = mbedtls_ssl_write(&ssl_, reinterpret_cast<const unsigned char*>(bytes.data()),
                                          std::min<std::size_t>(bytes.size(), MBEDTLS_SSL_OUT_CONTENT_LEN));
        if (put < 0) return failed(put);
        bytes = bytes.subspan(static_cast<std::size_t>(put));
        waiting = out_.size();
      }
      if (waiting < flush_above_bytes && !bytes.empty()) continue;
      if (Status s = flush(deadline); !s.ok()) return s;
    }
    return {};
  }

  void close() override {
    {
      const std::lock_guard lock(ssl_mutex_);
      if (closed_) return;
      closed_ = true;
      if (identified_) (void)mbedtls_ssl_close_notify(&ssl_);
      // Not waiting: if the socket or another thread is busy, the goodbye is left out.
      if (flush_.try_lock()) {
        if (!out_.empty()) (void)::send(socket_.fd(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        flush_.unlock();
      }
    }
    socket_.shut_down();
  }

  [[nodiscard]] Role peer_role() const override { return role_; }
  [[nodiscard]] const std::string& peer_name() const override { return name_; }
  [[nodiscard]] const std::string& peer_address() const override { return address_; }

 private:
  static int buffer_out(void* self, const unsigned char* bytes, std::size_t size) {
    static_cast<Connection*>(self)->out_.append(reinterpret_cast<const char*>(bytes), size);
    return static_cast<int>(size);
  }

  static int receive_in(void* self, unsigned char* into, std::size_t size) {
    const ssize_t got = ::recv(static_cast<Connection*>(self)->socket_.fd(), into, size, MSG_DONTWAIT);
    if (got >= 0) return static_cast<int>(got);
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? MBEDTLS_ERR_SSL_WANT_READ
                                                                     : MBEDTLS_ERR_SSL_CONN_EOF;
  }

  Status flush(Deadline deadline) {
    const std::lock_guard order(flush_);
    std::string bytes;
    {
      const std::lock_guard lock(ssl_mutex_);
      bytes.swap(out_);
    }
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t sent = ::send(socket_.fd(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        done += static_cast<std::size_t>(sent);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (Status s = wait_for(socket_.fd(), POLLOUT, deadline); !s.ok()) return s;
      } else if (errno != EINTR) {
        return {ErrorCode::closed, std::string("the connection broke: ") + std::strerror(errno)};
      }
    }
    return {};
  }

  Status shake(Deadline deadline) {
    while (true) {
      int state = 0;
      {
        const std::lock_guard lock(ssl_mutex_);
        state = mbedtls_ssl_handshake(&ssl_);
      }
      // The peer may have refused and gone while this side was still sending: then its alert says more.
      const Status flushed = flush(deadline);
      if (state == 0) return flushed;
      if (state != MBEDTLS_ERR_SSL_WANT_READ && state != MBEDTLS_ERR_SSL_WANT_WRITE) return handshake_failed(state);
      if (Status s = wait_for(socket_.fd(), POLLIN, deadline); !s.ok()) {
        return {s.error().code, "the peer does not finish the TLS handshake"};
      }
    }
  }

  Status handshake_failed(int code) {
    if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
      (void)mbedtls_ssl_send_alert_message(&ssl_, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert_certificate_required);
      return {ErrorCode::refused, refusal_text(MBEDTLS_X509_BADCERT_MISSING, nullptr)};
    }
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
      const mbedtls_x509_crt* peer = ssl_.session_negotiate != nullptr ? ssl_.session_negotiate->peer_cert : nullptr;
      return {ErrorCode::refused, refusal_text(mbedtls_ssl_get_verify_result(&ssl_), peer)};
    }
    return failed(code);
  }

  // Who it is, by the subject that the common authority signed.
  Status identify(const std::vector<Role>& allowed) {
    const mbedtls_x509_crt* peer = mbedtls_ssl_get_peer_cert(&ssl_);
    if (peer == nullptr) return {ErrorCode::refused, refusal_text(MBEDTLS_X509_BADCERT_MISSING, nullptr)};
    const std::string unit =
        named_data(peer->subject, MBEDTLS_OID_AT_ORG_UNIT, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_ORG_UNIT));
    name_ = named_data(peer->subject, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN));
    for (const Role role : allowed) {
      if (unit == text(role) && !name_.empty()) {
        role_ = role;
        identified_ = true;
        return {};
      }
    }
    (void)mbedtls_ssl_send_alert_message(&ssl_, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
    return {ErrorCode::refused, "the peer's certificate is one of role \"" + unit.substr(0, 32) + "\", needed is \"" +
                                    std::string(text(allowed.front())) + "\""};
  }

  // After a failed handshake: lets the alert arrive. Closing with unread bytes would reset the connection and lose it.
  void part(Deadline deadline) {
    deadline = std::min(deadline, in(Milliseconds(500)));
    (void)flush(deadline);
    socket_.shut_writing();
    std::array<char, 4096> rest;
    while (wait_for(socket_.fd(), POLLIN, deadline).ok()) {
      if (::recv(socket_.fd(), rest.data(), rest.size(), MSG_DONTWAIT) <= 0) break;
    }
  }

  Error failed(int code) {
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) return {ErrorCode::refused, alert_text(ssl_.in_msg[1])};
    if (code == MBEDTLS_ERR_SSL_CONN_EOF || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
      return {ErrorCode::closed, "the connection broke"};
    }
    if (code == MBEDTLS_ERR_SSL_INVALID_MAC) return {ErrorCode::damaged, "a TLS record arrived damaged"};
    return {ErrorCode::protocol, "TLS failed: " + failure_text(code)};
  }

  std::shared_ptr<Context> context_;
  Socket socket_;
  std::string address_;
  std::mutex write_;
  std::mutex flush_;
  std::mutex ssl_mutex_;  // guards ssl_ and out_
  mbedtls_ssl_context ssl_;
  std::string out_;
  std::atomic<bool> closed_{false};
  bool identified_ = false;
  Role role_ = Role::phone;
  std::string name_;
};

class PendingConnection final : public TlsListener::Pending {
 public:
  PendingConnection(std::shared_ptr<Context> context, Socket socket, std::vector<Role> allowed)
      : address_(amphion::link::peer_address(socket)),
        connection_(std::make_unique<Connection>(std::move(context), std::move(socket), address_)),
        allowed_(std::move(allowed)) {}

  [[nodiscard]] const std::string& peer_address() const override { return address_; }
  Result<std::unique_ptr<TlsStream>> handshake(Deadline deadline) override {
    if (Status s = connection_->handshake(allowed_, deadline); !s.ok()) return s.error();
    return std::unique_ptr<TlsStream>(std::move(connection_));
  }

 private:
  std::string address_;
  std::unique_ptr<Connection> connection_;
  std::vector<Role> allowed_;
};

class Listener final : public TlsListener {
 public:
  Listener(std::shared_ptr<Context> context, Socket socket, std::vector<Role> allowed)
      : context_(std::move(context)),
        socket_(std::move(socket)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        allowed_(std::move(allowed)) {}

  Result<std::unique_ptr<Pending>> accept() override {
    while (true) {
      std::array<pollfd, 2> entries{pollfd{socket_.fd(), POLLIN, 0}, pollfd{wake_.fd(), POLLIN, 0}};
      if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) {
        return Error{ErrorCode::io, std::string("poll: ") + std::strerror(errno)};
      }
      if (closed_) return Error{ErrorCode::closed, "no longer listening"};
      const int fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) ::usleep(100'000);
        continue;
      }
      Socket socket(fd);
      tune(socket);
      return std::unique_ptr<Pending>(std::make_unique<PendingConnection>(context_, std::move(socket), allowed_));
    }
  }

  void close() override {
    closed_ = true;
    const std::uint64_t one = 1;
    (void)!::write(wake_.fd(), &one, sizeof(one));
  }

  [[nodiscard]] std::uint16_t port() const override { return local_port(socket_); }

 private:
  std::shared_ptr<Context> context_;
  Socket socket_;
  Socket wake_;
  std::vector<Role> allowed_;
  std::atomic<bool> closed_{false};
};

}  // namespace

std::string_view text(Role role) {
  switch (role) {
    case Role::cloud:
      return "cloud";
    case Role::phone:
      return "phone";
    case Role::owner:
      return "owner";
  }
  return "unknown";
}

Identity identity_in(const std::string& folder, Role role) {
  const std::string stem = folder + "/" + std::string(text(role));
  return {folder + "/ca.crt", stem + ".crt", stem + ".key"};
}

Result<std::unique_ptr<TlsStream>> tls_connect(const Endpoint& to, const Identity& identity, Role expected,
                                               Deadline deadline) {
  auto context = std::make_shared<Context>();
  if (Status s = context->configure(identity, MBEDTLS_SSL_IS_CLIENT); !s.ok()) return s.error();
  auto socket = tcp_connect(to, deadline);
  if (!socket) return socket.error();
  const std::string address = peer_address(*socket);
  auto connection = std::make_unique<Connection>(std::move(context), std::move(*socket), address);
  if (Status s = connection->handshake({expected}, deadline); !s.ok()) return s.error();
  return std::unique_ptr<TlsStream>(std::move(connection));
}

Result<std::unique_ptr<TlsListener>> TlsListener::open(const Endpoint& at, const Identity& identity,
                                                       std::vector<Role> allowed) {
  auto context = std::make_shared<Context>();
  if (Status s = context->configure(identity, MBEDTLS_SSL_IS_SERVER); !s.ok()) return s.error();
  auto socket = tcp_listen(at);
  if (!socket) return socket.error();
  return std::unique_ptr<TlsListener>(
      std::make_unique<Listener>(std::move(context), std::move(*socket), std::move(allowed)));
}

}  // namespace amphion::link
