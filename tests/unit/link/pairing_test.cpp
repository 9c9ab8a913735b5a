// SPDX-License-Identifier: Apache-2.0
// Pairing over real TLS on the loopback: the right code, wrong ones, used and expired ones, two newcomers with one
// code, a connection that is cut at each message, and hostile bytes where messages must be (fixed seed).
#include "link/pairing.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "link/frame.hpp"
#include "tests/unit/link/world.hpp"

namespace amphion::link::test {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

constexpr Seconds life{600};
std::atomic<Clock::rep> later{0};
Deadline test_now() { return Clock::now() + Clock::duration(later); }
Deadline soon() { return in(Milliseconds(10000)); }

// A signer as amphiond is one: serves every newcomer in a thread, remembers whom it has signed for.
class Signer {
 public:
  Signer() {
    later = 0;
    auto opened = TlsListener::open({"127.0.0.1", 0}, identity_in(pki_folder(), Role::cloud), {Role::phone},
                                    [this] { return desk.key(); });
    EXPECT_TRUE(opened) << opened.error().text;
    listener_ = std::move(*opened);
    acceptor_ = std::thread([this] {
      while (auto pending = listener_->accept()) {
        threads_.emplace_back([this, one = std::shared_ptr(std::move(*pending))] { serve(*one); });
      }
    });
  }
  ~Signer() {
    listener_->close();
    acceptor_.join();
    for (auto& one : threads_) one.join();
  }

  [[nodiscard]] Endpoint at() const { return {"127.0.0.1", listener_->port()}; }
  [[nodiscard]] std::string open(const std::string& name = "phone-7") { return desk.open(name, life)->text(); }

  CodeDesk desk{test_now};
  std::atomic<int> signed_for{0};
  std::string trouble;  // sign() fails with it

 private:
  void serve(TlsListener::Pending& pending) {
    auto stream = pending.handshake(soon());
    if (!stream || (*stream)->peer_role() != Role::newcomer) return;
    (void)serve_newcomer(
        **stream, desk, Role::phone,
        [&](const std::string& name, std::string_view key) -> Result<Issued> {
          if (!trouble.empty()) return Error{ErrorCode::io, trouble};
          ++signed_for;
          return issue_for_key(pki_folder(), {.role = Role::phone, .name = name}, key);
        },
        soon());
  }

  std::unique_ptr<TlsListener> listener_;
  std::thread acceptor_;
  std::vector<std::thread> threads_;
};

Result<Granted> pair(const Signer& signer, const std::string& typed, Role role = Role::phone) {
  const auto code = Code::read(typed);
  if (!code) return code.error();
  auto stream = tls_connect_by_code(signer.at(), code->key(), soon());
  if (!stream) return stream.error();
  return ask_for_certificate(**stream, *code, role, soon());
}

void expect_refused(const Result<Granted>& got, const std::string& part) {
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().text.find(part), std::string::npos) << got.error().text;
}

TEST(Codes, AreReadAsHumansTypeThem) {
  const auto code = Code::make();
  ASSERT_TRUE(code);
  const std::string text = code->text();
  EXPECT_EQ(text.size(), 19u);
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(c));
  EXPECT_EQ(Code::read(lower)->key(), code->key());
  EXPECT_EQ(Code::read("  oil0 1111 2222 3333 ")->text(), "0110-1111-2222-3333");
  EXPECT_NE(Code::make()->text(), text);
  EXPECT_NE(code->key(), code->ticket());
  for (const char* bad : {"", "ABCD", "ABCD-EFGH-JKMN-PQR", "ABCD-EFGH-JKMN-PQRSS", "ABCD-EFGH-JKMN-PQRU", "????"})
    EXPECT_FALSE(Code::read(bad)) << bad;
}

TEST(Codes, ComeWithTheirPlace) {
  const auto got = parse_invitation("ABCD-EFGH-JKMN-PQRS@cloud.example:99", 7448);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->at.host, "cloud.example");
  EXPECT_EQ(got->at.port, 99);
  EXPECT_EQ(parse_invitation("ABCD-EFGH-JKMN-PQRS@h", 7448)->at.port, 7448);
  for (const char* bad : {"", "ABCD-EFGH-JKMN-PQRS", "x@h:1", "ABCD-EFGH-JKMN-PQRS@", "ABCD-EFGH-JKMN-PQRS@h:0"})
    EXPECT_FALSE(parse_invitation(bad, 7448)) << bad;
}

TEST(Pairing, GivesACertificateThatIsGoodForASession) {
  Signer signer;
  const auto got = pair(signer, signer.open());
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->name, "phone-7");
  EXPECT_NEAR(static_cast<double>(got->time_s), static_cast<double>(wall_clock_s()), 60);
  auto listener = TlsListener::open({"127.0.0.1", 0}, identity_in(pki_folder(), Role::cloud), {Role::phone});
  std::thread accepting([&] {
    auto stream = (*(*listener)->accept())->handshake(soon());
    ASSERT_TRUE(stream) << stream.error().text;
    EXPECT_EQ((*stream)->peer_name(), "phone-7");
    EXPECT_EQ((*stream)->peer().fingerprint, certificate_facts(got->identity.certificate)->fingerprint);
  });
  EXPECT_TRUE(tls_connect({"127.0.0.1", (*listener)->port()}, got->identity, Role::cloud, soon()));
  accepting.join();
}

TEST(Pairing, RefusesAWrongCodeAndTellsWhy) {
  Signer signer;
  const std::string code = signer.open();
  expect_refused(pair(signer, Code::make()->text()), "not the one that is waited for");
  EXPECT_TRUE(pair(signer, code));
}

TEST(Pairing, EndsACodeThatIsTriedTooOften) {
  Signer signer;
  const std::string code = signer.open();
  for (int i = 0; i < CodeDesk::max_attempts; ++i) EXPECT_FALSE(pair(signer, Code::make()->text()));
  expect_refused(pair(signer, code), "nobody waits for a one-time code");
  EXPECT_EQ(signer.signed_for, 0);
}

TEST(Pairing, RefusesWithoutAnOpenCode) {
  Signer signer;
  expect_refused(pair(signer, Code::make()->text()), "nobody waits for a one-time code");
  const std::string code = signer.open();
  signer.desk.close();
  expect_refused(pair(signer, code), "nobody waits for a one-time code");
}

TEST(Pairing, RefusesAReplay) {
  Signer signer;
  const std::string code = signer.open();
  EXPECT_TRUE(pair(signer, code));
  expect_refused(pair(signer, code), "nobody waits for a one-time code");
  EXPECT_EQ(signer.signed_for, 1);
}

TEST(Pairing, RefusesAnExpiredCode) {
  Signer signer;
  const std::string code = signer.open();
  later = Clock::duration(life).count() - Clock::duration(Seconds(5)).count();
  const auto early = Code::read(code);
  auto stream = tls_connect_by_code(signer.at(), early->key(), soon());
  ASSERT_TRUE(stream) << stream.error().text;
  later = Clock::duration(life).count();  // between the handshake and the question
  expect_refused(ask_for_certificate(**stream, *early, Role::phone, soon()), "used or has expired");
  expect_refused(pair(signer, code), "nobody waits for a one-time code");
  EXPECT_EQ(signer.signed_for, 0);
}

TEST(Pairing, LetsInOneOfTwoWithTheSameCode) {
  Signer signer;
  const auto code = Code::read(signer.open());
  auto first = tls_connect_by_code(signer.at(), code->key(), soon());
  auto second = tls_connect_by_code(signer.at(), code->key(), soon());
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(ask_for_certificate(**second, *code, Role::phone, soon()));
  expect_refused(ask_for_certificate(**first, *code, Role::phone, soon()), "used or has expired");
  EXPECT_EQ(signer.signed_for, 1);
}

TEST(Pairing, DoesNotTakeAnEarlierCodesConnectionForTheNextOnes) {
  Signer signer;
  const auto earlier = Code::read(signer.open("phone-1"));
  auto stream = tls_connect_by_code(signer.at(), earlier->key(), soon());
  ASSERT_TRUE(stream);
  const std::string next = signer.open("phone-2");
  expect_refused(ask_for_certificate(**stream, *earlier, Role::phone, soon()), "used or has expired");
  EXPECT_EQ(pair(signer, next)->name, "phone-2");
}

TEST(Pairing, RefusesAnotherRole) {
  Signer signer;
  const std::string code = signer.open();
  expect_refused(pair(signer, code, Role::owner), "this code is for a new phone");
  EXPECT_TRUE(pair(signer, code)) << "asking for the wrong thing does not use the code";
}

TEST(Pairing, TellsTheSignersTrouble) {
  Signer signer;
  signer.trouble = "the disk is full";
  expect_refused(pair(signer, signer.open()), "the disk is full");
}

TEST(Pairing, ANewcomerIsNoPhoneAndAPhoneNoNewcomer) {
  auto listener = TlsListener::open({"127.0.0.1", 0}, identity_in(pki_folder(), Role::cloud), {Role::phone});
  std::thread accepting([&] { EXPECT_FALSE((*(*listener)->accept())->handshake(soon())); });
  EXPECT_FALSE(tls_connect_by_code({"127.0.0.1", (*listener)->port()}, Code::make()->key(), soon()));
  accepting.join();
  // A certificate cannot claim to be a code's.
  Signer signer;
  const std::string code = signer.open();
  auto stream = tls_connect(signer.at(), identity_in(pki_folder(), Role::phone), Role::cloud, soon());
  ASSERT_TRUE(stream);
  EXPECT_FALSE(ask_for_certificate(**stream, *Code::read(code), Role::phone, soon()));
  EXPECT_EQ(signer.signed_for, 0);
}

TEST(Pairing, AManInTheMiddleLearnsNothing) {
  // He has a certificate of the authority, and no code.
  auto listener = TlsListener::open({"127.0.0.1", 0}, identity_in(pki_folder(), Role::cloud), {Role::phone},
                                    [] { return Code::make()->key(); });
  std::thread accepting([&] { EXPECT_FALSE((*(*listener)->accept())->handshake(soon())); });
  const auto stream = tls_connect_by_code({"127.0.0.1", (*listener)->port()}, Code::make()->key(), soon());
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::refused);
  accepting.join();
}

TEST(Pairing, ACutUsesTheCodeOnlyOnceItWasAskedFor) {
  Signer signer;
  const std::string code = signer.open();
  const auto read = Code::read(code);
  { EXPECT_TRUE(tls_connect_by_code(signer.at(), read->key(), soon())); }  // cut after the handshake
  {
    auto stream = tls_connect_by_code(signer.at(), read->key(), soon());
    const std::array<std::byte, 5> begun{std::byte{'A'}, std::byte{'m'}, std::byte{'L'}, std::byte{'k'}, std::byte{25}};
    EXPECT_TRUE((*stream)->write(begun, soon()).ok());  // cut in the request
  }
  EXPECT_EQ(signer.signed_for, 0);
  EXPECT_TRUE(pair(signer, code));
}

// ---- Hostile bytes, over a pipe ----

std::string request_frame(const Code& code) {
  auto [mine, theirs] = make_pipe();
  pb::PairRequest request;
  request.set_protocol(protocol_version);
  request.set_role("phone");
  request.set_ticket(code.ticket());
  request.set_public_key(make_key_pair()->public_key);
  EXPECT_TRUE(write_frame(*mine, request, soon()).ok());
  std::string bytes(2000, '\0');
  bytes.resize(*theirs->read(std::as_writable_bytes(std::span(bytes)), soon()));
  return bytes;
}

Status serve_bytes(const std::string& bytes, CodeDesk& desk, int& signatures) {
  auto [mine, theirs] = make_pipe();
  EXPECT_TRUE(mine->write(std::as_bytes(std::span(bytes)), soon()).ok());
  std::thread reader([&mine = *mine] {
    std::array<std::byte, 4096> rest;
    while (mine.read(rest, soon()).ok()) break;
  });
  const Status status = serve_newcomer(
      *theirs, desk, Role::phone,
      [&](const std::string& name, std::string_view key) -> Result<Issued> {
        auto issued = issue_for_key(pki_folder(), {.role = Role::phone, .name = name}, key);
        signatures += issued ? 1 : 0;
        return issued;
      },
      in(Milliseconds(20)));
  theirs->close();
  reader.join();
  return status;
}

TEST(Pairing, SurvivesHostileRequests) {
  std::mt19937 random(7448);  // fixed
  CodeDesk desk;
  int signatures = 0;
  for (int round = 0; round < 400; ++round) {
    const auto code = desk.open("phone-1", life);
    std::string bytes = request_frame(*code);
    for (std::size_t i = 0; i < 1 + random() % 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    const int before = signatures;
    const Status status = serve_bytes(bytes, desk, signatures);
    if (status.ok()) {
      EXPECT_EQ(signatures, before + 1);
    }
  }
}

TEST(Pairing, SignsForNoOtherKindOfKey) {
  const auto pair = make_key_pair();
  const CertificateOptions options{.role = Role::phone, .name = "phone-1"};
  EXPECT_TRUE(issue_for_key(pki_folder(), options, pair->public_key));
  for (std::size_t size = 0; size < pair->public_key.size(); ++size)
    EXPECT_FALSE(issue_for_key(pki_folder(), options, std::string_view(pair->public_key).substr(0, size))) << size;
  std::string off = pair->public_key;
  off.back() = static_cast<char>(off.back() ^ 1);  // a point beside the curve
  EXPECT_FALSE(issue_for_key(pki_folder(), options, off));
  EXPECT_FALSE(issue_for_key(pki_folder(), options, std::string(max_public_key_bytes + 1, 'x')));
}

// A signer that answers nonsense: the newcomer takes nothing.
Result<Granted> ask(const std::function<void(Stream&)>& answer) {
  auto [mine, theirs] = make_pipe();
  const auto code = Code::make();
  std::thread other([&, end = theirs.get()] {
    (void)read_frame(*end, soon());
    answer(*end);
  });
  auto got = ask_for_certificate(*mine, *code, Role::phone, in(Milliseconds(500)));
  other.join();
  return got;
}

TEST(Pairing, TakesNoCertificateThatIsNotItsOwn) {
  const auto strange = make_key_pair();
  const auto issued = issue_for_key(pki_folder(), {.role = Role::phone, .name = "phone-1"}, strange->public_key);
  expect_refused(ask([&](Stream& stream) {
                   pb::PairGrant grant;
                   grant.set_authority(issued->authority);
                   grant.set_certificate(issued->certificate);
                   (void)write_frame(stream, grant, soon());
                 }),
                 "the key is not the certificate's");
  expect_refused(ask([&](Stream& stream) {
                   pb::PairGrant grant;
                   grant.set_authority("/etc/passwd");  // a name is not a certificate
                   grant.set_certificate(issued->certificate);
                   (void)write_frame(stream, grant, soon());
                 }),
                 "no certificate");
  EXPECT_FALSE(ask([](Stream& stream) { (void)write_frame(stream, pb::Keepalive(), soon()); }));
  EXPECT_FALSE(ask([](Stream& stream) { stream.close(); }));
}

}  // namespace
}  // namespace amphion::link::test
