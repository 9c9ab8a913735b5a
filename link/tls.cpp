// SPDX-License-Identifier: Apache-2.0
// Mbed TLS 2.28 over sockets that do not block. See tls.hpp.
// Locks: write_ (whole writes, in order) before flush_ (bytes to the socket, in order) before ssl_mutex_ (the TLS
// context). ssl_mutex_ is held for computation only: sending goes through a buffer that is flushed outside it.
#include "link/tls.hpp"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "link/socket.hpp"
#include "link/x509.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr std::array<int, 4> suites{MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, 0};
constexpr std::array<int, 2> code_suites{MBEDTLS_TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, 0};
constexpr std::array<int, 5> both_suites{suites[0], suites[1], suites[2], code_suites[0], 0};
constexpr std::string_view code_identity = "amphion-code-1";  // what the key was made from; says nothing else
constexpr unsigned char alert_certificate_required = 116;     // TLS 1.3's name for what 1.2 has no word for
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
  Identity identity;
  CodeKey code_key;

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

  Status load() {
    int failure = parse(authority, identity.authority);
    if (failure != 0) return unreadable("authority", identity.authority, failure);
    if (identity.certificate.empty()) return {};
    failure = parse(certificate, identity.certificate);
    if (failure != 0) return unreadable("certificate", identity.certificate, failure);
    failure = is_pem(identity.key)
                  ? mbedtls_pk_parse_key(&key, bytes_of(identity.key), identity.key.size() + 1, nullptr, 0)
                  : mbedtls_pk_parse_keyfile(&key, identity.key.c_str(), nullptr);
    if (failure != 0) return unreadable("key", identity.key, failure);
    if (mbedtls_pk_check_pair(&certificate.pk, &key) != 0) {
      return {ErrorCode::invalid, name_of(identity.key) + " is not the key of " + name_of(identity.certificate)};
    }
    return {};
  }

  Status configure(const Identity& with, int endpoint) {
    identity = with;
    if (Status s = load(); !s.ok()) return s;
    if (Status s = begin(endpoint); !s.ok()) return s;
    const int failure = identity.certificate.empty() ? 0 : mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
    if (failure != 0) return {ErrorCode::io, "cannot set up TLS: " + failure_text(failure)};
    mbedtls_ssl_conf_ciphersuites(&config, suites.data());
    mbedtls_ssl_conf_ca_chain(&config, &authority, nullptr);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    return {};
  }

  // Server: newcomers, too.
  void let_in(CodeKey by) {
    code_key = std::move(by);
    mbedtls_ssl_conf_psk_cb(&config, find_key, this);
    mbedtls_ssl_conf_ciphersuites(&config, both_suites.data());
  }

  // Client: by a code and nothing else.
  Status configure_code(const std::string& secret) {
    if (Status s = begin(MBEDTLS_SSL_IS_CLIENT); !s.ok()) return s;
    const int failure =
        mbedtls_ssl_conf_psk(&config, bytes_of(secret), secret.size(), bytes_of(code_identity), code_identity.size());
    if (failure != 0) return {ErrorCode::io, "cannot set up TLS: " + failure_text(failure)};
    mbedtls_ssl_conf_ciphersuites(&config, code_suites.data());
    return {};
  }

 private:
  static int parse(mbedtls_x509_crt& into, const std::string& from) {
    return is_pem(from) ? mbedtls_x509_crt_parse(&into, bytes_of(from), from.size() + 1)
                        : mbedtls_x509_crt_parse_file(&into, from.c_str());
  }

  static int find_key(void* self, mbedtls_ssl_context* ssl, const unsigned char* name, std::size_t size) {
    if (std::string_view(reinterpret_cast<const char*>(name), size) != code_identity) return -1;
    const auto key = static_cast<Context*>(self)->code_key();
    return key ? mbedtls_ssl_set_hs_psk(ssl, bytes_of(*key), key->size()) : -1;
  }

  Status begin(int endpoint) {
    int failure = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, nullptr, 0);
    if (failure == 0) {
      failure =
          mbedtls_ssl_config_defaults(&config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    }
    if (failure != 0) return {ErrorCode::io, "cannot set up TLS: " + failure_text(failure)};
    mbedtls_ssl_conf_min_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(&config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_session_tickets(&config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    return {};
  }

  static std::string name_of(const std::string& file) { return is_pem(file) ? "(held in memory)" : file; }
  static Error unreadable(const std::string& what, const std::string& path, int failure) {
    return {ErrorCode::not_found, "cannot read the " + what + " " + name_of(path) + ": " + failure_text(failure)};
  }
};

// Why the peer's certificate was not accepted.
std::string refusal_text(std::uint32_t flags, const Peer& peer, std::int64_t now) {
  if ((flags & MBEDTLS_X509_BADCERT_MISSING) != 0) return "the peer sent no certificate";
  if ((flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0) return "the peer's certificate was issued by another authority";
  if ((flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0) {
    return "the peer's certificate has expired (on " + utc_text(peer.valid_to) + "; this clock says " + utc_text(now) +
           ")";
  }
  if ((flags & MBEDTLS_X509_BADCERT_FUTURE) != 0) {
    return "the peer's certificate is not valid yet (from " + utc_text(peer.valid_from) + " on; this clock says " +
           utc_text(now) + ": is it right?)";
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
    case MBEDTLS_SSL_ALERT_MSG_UNKNOWN_PSK_IDENTITY:
      return "nobody waits for a one-time code there: it was used, has expired, or was tried too often; ask for a new "
             "one";
    case MBEDTLS_SSL_ALERT_MSG_BAD_RECORD_MAC:
      return "the one-time code is not the one that is waited for there: look at it again";
    case MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE:
      return "the peer ended the handshake: it has no certificate, or no cipher suite in common";
    case MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION:
      return "the peer ended the handshake: it does not speak TLS 1.2";
    default:
      return "the peer ended TLS with alert " + std::to_string(alert);
  }
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
    mbedtls_ssl_set_verify(&ssl_, judge_time, this);
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

  [[nodiscard]] const Peer& peer() const override { return peer_; }
  [[nodiscard]] const std::string& peer_address() const override { return address_; }

 private:
  static int buffer_out(void* self, const unsigned char* bytes, std::size_t size) {
    static_cast<Connection*>(self)->out_.append(reinterpret_cast<const char*>(bytes), size);
    return static_cast<int>(size);
  }

  // The library's own look at the clock ends in 2038 on armhf. Called for the authority first, then for the peer's.
  static int judge_time(void* self, mbedtls_x509_crt* certificate, int depth, std::uint32_t* flags) {
    auto& connection = *static_cast<Connection*>(self);
    const Identity& own = connection.context_->identity;
    const std::int64_t now = own.now_s();
    const std::int64_t from = seconds_of(certificate->valid_from);
    const std::int64_t to = seconds_of(certificate->valid_to);
    *flags &= ~static_cast<std::uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    if (now > to) *flags |= MBEDTLS_X509_BADCERT_EXPIRED;
    if (now < from && !own.clock_may_be_late) *flags |= MBEDTLS_X509_BADCERT_FUTURE;
    if (depth == 0) {
      connection.peer_.valid_from = from;
      connection.peer_.valid_to = to;
    }
    return 0;
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
      return refusal(MBEDTLS_X509_BADCERT_MISSING);
    }
    if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) return refusal(mbedtls_ssl_get_verify_result(&ssl_));
    if (code == MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY) {
      return {ErrorCode::refused, "the peer has a one-time code, and none is waited for"};
    }
    if (code == MBEDTLS_ERR_SSL_INVALID_MAC) return {ErrorCode::refused, "the peer's one-time code is another"};
    return failed(code);
  }

  Error refusal(std::uint32_t flags) {
    return {ErrorCode::refused, refusal_text(flags, peer_, context_->identity.now_s())};
  }

  // Who it is, by the subject that the common authority signed; without a certificate, by the suite that was agreed on.
  Status identify(const std::vector<Role>& allowed) {
    const mbedtls_x509_crt* certificate = mbedtls_ssl_get_peer_cert(&ssl_);
    if (certificate == nullptr) return identify_newcomer();
    const std::string unit = unit_name(*certificate);
    peer_.name = common_name(*certificate);
    peer_.fingerprint = fingerprint_of(*certificate);
    for (const Role role : allowed) {
      if (role != Role::newcomer && unit == text(role) && !peer_.name.empty()) {
        peer_.role = role;
        identified_ = true;
        return {};
      }
    }
    (void)mbedtls_ssl_send_alert_message(&ssl_, MBEDTLS_SSL_ALERT_LEVEL_FATAL, MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
    return {ErrorCode::refused, "the peer's certificate is one of role \"" + unit.substr(0, 32) + "\", needed is \"" +
                                    std::string(text(allowed.front())) + "\""};
  }

  Status identify_newcomer() {
    const char* suite = mbedtls_ssl_get_ciphersuite(&ssl_);
    if (suite == nullptr || mbedtls_ssl_get_ciphersuite_id(suite) != code_suites[0]) {
      return refusal(MBEDTLS_X509_BADCERT_MISSING);
    }
    peer_.role = Role::newcomer;
    identified_ = true;
    return {};
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
  Peer peer_;
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
    case Role::newcomer:
      return "newcomer";
  }
  return "unknown";
}

Identity identity_in(const std::string& folder, Role role) {
  const std::string stem = folder + "/" + std::string(text(role));
  return {folder + "/ca.crt", stem + ".crt", stem + ".key"};
}

namespace {

Result<std::unique_ptr<TlsStream>> connect(std::shared_ptr<Context> context, const Endpoint& to, Role expected,
                                           Deadline deadline) {
  auto socket = tcp_connect(to, deadline);
  if (!socket) return socket.error();
  const std::string address = peer_address(*socket);
  auto connection = std::make_unique<Connection>(std::move(context), std::move(*socket), address);
  if (Status s = connection->handshake({expected}, deadline); !s.ok()) return s.error();
  return std::unique_ptr<TlsStream>(std::move(connection));
}

}  // namespace

Result<std::unique_ptr<TlsStream>> tls_connect(const Endpoint& to, const Identity& identity, Role expected,
                                               Deadline deadline) {
  auto context = std::make_shared<Context>();
  if (Status s = context->configure(identity, MBEDTLS_SSL_IS_CLIENT); !s.ok()) return s.error();
  return connect(std::move(context), to, expected, deadline);
}

Result<std::unique_ptr<TlsStream>> tls_connect_by_code(const Endpoint& to, const std::string& key, Deadline deadline) {
  auto context = std::make_shared<Context>();
  if (Status s = context->configure_code(key); !s.ok()) return s.error();
  return connect(std::move(context), to, Role::newcomer, deadline);
}

Result<std::unique_ptr<TlsListener>> TlsListener::open(const Endpoint& at, const Identity& identity,
                                                       std::vector<Role> allowed, CodeKey code_key) {
  auto context = std::make_shared<Context>();
  if (Status s = context->configure(identity, MBEDTLS_SSL_IS_SERVER); !s.ok()) return s.error();
  if (code_key) context->let_in(std::move(code_key));
  auto socket = tcp_listen(at);
  if (!socket) return socket.error();
  return std::unique_ptr<TlsListener>(
      std::make_unique<Listener>(std::move(context), std::move(*socket), std::move(allowed)));
}

}  // namespace amphion::link
