// SPDX-License-Identifier: Apache-2.0
// See pairing.hpp.
#include "link/pairing.hpp"

#include <mbedtls/md.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "link/frame.hpp"
#include "link/records.hpp"
#include "link/session.hpp"
#include "link/x509.hpp"

namespace amphion::link {
namespace {

constexpr std::string_view alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::size_t code_signs = 16;
constexpr std::size_t group_signs = 4;

std::string digest_of(const std::string& text) {
  std::array<unsigned char, 32> digest{};
  mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), bytes_of(text), text.size(), digest.data());
  return {digest.begin(), digest.end()};
}

// Without leaving in the time that it takes how much was right.
bool same(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size() ? 1 : 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

char canonical(char sign) {
  if (sign >= 'a' && sign <= 'z') sign = static_cast<char>(sign - 'a' + 'A');
  if (sign == 'O') return '0';
  if (sign == 'I' || sign == 'L') return '1';
  return sign;
}

// The whole frame by the deadline.
Result<Message> next(Stream& stream, Deadline deadline) {
  return read_frame(stream, deadline, std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()));
}

Status refuse(Stream& stream, Error why, Deadline deadline) {
  pb::Error error;
  error.set_text(why.text);
  error.set_fatal(true);
  (void)write_frame(stream, error, deadline);
  return why;
}

Status check(const pb::PairRequest& request, Role role) {
  if (request.protocol() != protocol_version) {
    return {ErrorCode::version, "this side speaks protocol " + std::to_string(protocol_version) + ", the newcomer " +
                                    std::to_string(request.protocol())};
  }
  if (request.role() != text(role)) {
    return {ErrorCode::refused, "this code is for a new " + std::string(text(role))};
  }
  return {};
}

}  // namespace

Result<Code> Code::make() {
  std::array<unsigned char, code_signs> random;
  if (::getentropy(random.data(), random.size()) != 0) {
    return Error{ErrorCode::io, std::string("no random numbers: ") + std::strerror(errno)};
  }
  std::string signs;
  for (const unsigned char byte : random) signs += alphabet[byte % alphabet.size()];
  return Code(std::move(signs));
}

Result<Code> Code::read(std::string_view typed) {
  const Error bad{ErrorCode::invalid,
                  "that is no one-time code: it has 16 letters and digits, as in ABCD-EFGH-JKMN-PQRS"};
  std::string signs;
  for (const char sign : typed) {
    if (sign == '-' || sign == ' ') continue;
    if (alphabet.find(canonical(sign)) == std::string_view::npos || signs.size() == code_signs) return bad;
    signs += canonical(sign);
  }
  if (signs.size() != code_signs) return bad;
  return Code(std::move(signs));
}

std::string Code::text() const {
  std::string grouped;
  for (std::size_t i = 0; i < signs_.size(); ++i) {
    if (i > 0 && i % group_signs == 0) grouped += '-';
    grouped += signs_[i];
  }
  return grouped;
}

std::string Code::key() const { return digest_of("amphion code 1: key " + signs_); }
std::string Code::ticket() const { return digest_of("amphion code 1: ticket " + signs_); }

Result<Invitation> parse_invitation(std::string_view text, std::uint16_t default_port) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos) {
    return Error{ErrorCode::invalid, "write the one-time code and where it was shown as CODE@HOST:PORT"};
  }
  auto code = Code::read(text.substr(0, at));
  if (!code) return code.error();
  auto endpoint = parse_endpoint(text.substr(at + 1), default_port);
  if (!endpoint) return endpoint.error();
  return Invitation{std::move(*code), std::move(*endpoint)};
}

Result<Code> CodeDesk::open(std::string name, std::chrono::seconds life) {
  auto code = Code::make();
  if (!code) return code.error();
  const std::lock_guard lock(mutex_);
  open_ = Open{*code, std::move(name), now_() + life};
  return code;
}

void CodeDesk::close() {
  const std::lock_guard lock(mutex_);
  open_.reset();
}

std::optional<std::string> CodeDesk::key() {
  const std::lock_guard lock(mutex_);
  if (!open_ || now_() >= open_->until || open_->attempts >= max_attempts) return std::nullopt;
  ++open_->attempts;
  return open_->code.key();
}

std::optional<std::string> CodeDesk::take(std::string_view ticket) {
  const std::lock_guard lock(mutex_);
  if (!open_ || now_() >= open_->until || !same(open_->code.ticket(), ticket)) return std::nullopt;
  auto name = std::move(open_->name);
  open_.reset();
  return name;
}

Status serve_newcomer(Stream& stream, CodeDesk& desk, Role role, const Sign& sign, Deadline deadline) {
  auto message = next(stream, deadline);
  if (!message) return message.error();
  const auto* request = std::get_if<pb::PairRequest>(&*message);
  if (request == nullptr) return {ErrorCode::protocol, "the newcomer does not begin with PairRequest"};
  if (Status s = check(*request, role); !s.ok()) return refuse(stream, s.error(), deadline);
  const auto name = desk.take(request->ticket());
  if (!name) return refuse(stream, {ErrorCode::refused, "this one-time code has been used or has expired"}, deadline);
  const auto issued = sign(*name, request->public_key());
  if (!issued) return refuse(stream, issued.error(), deadline);
  pb::PairGrant grant;
  grant.set_authority(issued->authority);
  grant.set_certificate(issued->certificate);
  grant.set_time_s(wall_clock_s());
  return write_frame(stream, grant, deadline);
}

Result<Granted> ask_for_certificate(Stream& stream, const Code& code, Role role, Deadline deadline) {
  auto pair = make_key_pair();
  if (!pair) return pair.error();
  pb::PairRequest request;
  request.set_protocol(protocol_version);
  request.set_role(std::string(text(role)));
  request.set_ticket(code.ticket());
  request.set_public_key(pair->public_key);
  if (Status s = write_frame(stream, request, deadline); !s.ok()) return s.error();
  auto message = next(stream, deadline);
  if (!message) return message.error();
  if (const auto* error = std::get_if<pb::Error>(&*message)) return Error{ErrorCode::refused, error->text()};
  const auto* grant = std::get_if<pb::PairGrant>(&*message);
  if (grant == nullptr) return Error{ErrorCode::protocol, "the other side does not answer with PairGrant"};
  Identity identity;
  identity.authority = grant->authority();
  identity.certificate = grant->certificate();
  identity.key = std::move(pair->key);
  if (!is_pem(identity.authority) || !is_pem(identity.certificate)) {
    return Error{ErrorCode::protocol, "what the other side sent is no certificate"};
  }
  if (Status s = check_identity(identity); !s.ok()) return s.error();
  const auto facts = certificate_facts(identity.certificate);
  if (!facts) return facts.error();
  if (facts->role != text(role) || !valid_instance_name(facts->name)) {
    return Error{ErrorCode::protocol, "the other side's certificate is not for a " + std::string(text(role))};
  }
  return Granted{std::move(identity), facts->name, grant->time_s()};
}

}  // namespace amphion::link
