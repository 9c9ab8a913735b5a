// SPDX-License-Identifier: Apache-2.0
// TLS on the loopback: both directions carry bytes; certificates of another authority, expired, none, or of the wrong
// role are refused in both directions, and both sides say why.
#include <gtest/gtest.h>

#include "link/frame.hpp"
#include "link/pki.hpp"
#include "tests/unit/link/world.hpp"

namespace amphion::link::test {
namespace {

using Milliseconds = std::chrono::milliseconds;

struct Texts {
  std::string client;  // empty: no error
  std::string server;
};

Identity other_authority(Role role) {
  Identity identity = identity_in(pki_folder() + "/other", role);
  identity.authority = pki_folder() + "/ca.crt";  // it trusts the right one, and is itself from elsewhere
  return identity;
}

Identity expired(Role role) {
  Identity identity = identity_in(pki_folder(), role);
  const std::string stem = pki_folder() + "/" + std::string(text(role)) + "-expired";
  identity.certificate = stem + ".crt";
  identity.key = stem + ".key";
  return identity;
}

Identity none(Role role) {
  Identity identity = identity_in(pki_folder(), role);
  identity.certificate.clear();
  return identity;
}

// Both sides' errors. A client whose handshake is done learns of a refusal when it reads.
Texts meet(const Identity& client, const Identity& server, Role role_of_server = Role::cloud) {
  Texts texts;
  auto listener = TlsListener::open({"127.0.0.1", 0}, server, {Role::phone});
  EXPECT_TRUE(listener) << listener.error().text;
  std::thread accepting([&] {
    auto pending = (*listener)->accept();
    auto stream = (*pending)->handshake(in(Milliseconds(5000)));
    if (!stream) texts.server = stream.error().text;
  });
  auto stream = tls_connect({"127.0.0.1", (*listener)->port()}, client, role_of_server, in(Milliseconds(5000)));
  if (!stream) {
    texts.client = stream.error().text;
  } else {
    std::array<std::byte, 1> byte;
    const auto got = (*stream)->read(byte, in(Milliseconds(5000)));
    if (!got) texts.client = got.error().text;
  }
  accepting.join();
  return texts;
}

Identity good(Role role) { return identity_in(pki_folder(), role); }

void expect_in(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" lacks \"" << part << "\"";
}

TEST(Tls, CarriesBytesBothWaysAtOnce) {
  auto [client, server] = tls_pair();
  EXPECT_EQ(client->peer_role(), Role::cloud);
  EXPECT_EQ(server->peer_role(), Role::phone);
  EXPECT_EQ(server->peer_name(), "phone");
  constexpr std::size_t total = 8u << 20;
  const auto pump = [](Stream& stream) {
    const std::vector<std::byte> chunk(100'000, std::byte{0x5a});
    for (std::size_t sent = 0; sent < total; sent += chunk.size()) {
      ASSERT_TRUE(stream.write(chunk, in(Milliseconds(10000))).ok());
    }
  };
  const auto drain = [](Stream& stream) {
    std::vector<std::byte> buffer(64u << 10);
    std::size_t received = 0;
    while (received < total) {
      const auto got = stream.read(buffer, in(Milliseconds(10000)));
      ASSERT_TRUE(got) << got.error().text;
      ASSERT_GT(*got, 0u);
      received += *got;
    }
  };
  std::thread a([&] { pump(*client); });
  std::thread b([&] { pump(*server); });
  std::thread c([&] { drain(*client); });
  drain(*server);
  a.join();
  b.join();
  c.join();
}

TEST(Tls, TellsAnOrderlyEndAndAWakesAReader) {
  auto [client, server] = tls_pair();
  std::thread closer([&, end = client.get()] {
    std::this_thread::sleep_for(Milliseconds(20));
    end->close();
  });
  std::array<std::byte, 8> bytes;
  const auto got = server->read(bytes, in(Milliseconds(5000)));
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(*got, 0u);
  closer.join();
  const auto own = client->read(bytes, in(Milliseconds(5000)));
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().code, ErrorCode::closed);
}

TEST(Tls, TimesOut) {
  auto [client, server] = tls_pair();
  std::array<std::byte, 8> bytes;
  const auto got = server->read(bytes, in(Milliseconds(20)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::timeout);
}

TEST(Tls, RefusesAPhoneOfAnotherAuthority) {
  const Texts texts = meet(other_authority(Role::phone), good(Role::cloud));
  expect_in(texts.server, "issued by another authority");
  expect_in(texts.client, "issued by another authority");
}

TEST(Tls, RefusesAnExpiredPhone) {
  const Texts texts = meet(expired(Role::phone), good(Role::cloud));
  expect_in(texts.server, "has expired");
  expect_in(texts.client, "has expired");
}

TEST(Tls, RefusesAPhoneWithoutACertificate) {
  const Texts texts = meet(none(Role::phone), good(Role::cloud));
  expect_in(texts.server, "sent no certificate");
  expect_in(texts.client, "sent no certificate");
}

TEST(Tls, RefusesACloudOfAnotherAuthority) {
  const Texts texts = meet(good(Role::phone), other_authority(Role::cloud));
  expect_in(texts.client, "issued by another authority");
  expect_in(texts.server, "issued by another authority");
}

TEST(Tls, RefusesAnExpiredCloud) {
  const Texts texts = meet(good(Role::phone), expired(Role::cloud));
  expect_in(texts.client, "has expired");
  expect_in(texts.server, "has expired");
}

TEST(Tls, RefusesACloudWithoutACertificate) {
  const Texts texts = meet(good(Role::phone), none(Role::cloud));
  expect_in(texts.client, "no certificate");
}

// ---- Clocks: 1970, and after 2038 (docs/time.md) ----

std::int64_t in_1970() { return 5; }
std::int64_t in_2040() { return seconds_of(2040, 2, 29); }

Identity of_2040(Role role, std::int64_t (*now_s)() = in_2040) {
  static const std::string folder = [] {
    const std::string path = pki_folder() + "/2040";
    EXPECT_TRUE(create_authority(path, "later", in_2040()).ok());
    for (const Role each : {Role::cloud, Role::phone}) {
      EXPECT_TRUE(issue_certificate(path, {.role = each, .name = std::string(text(each)), .at = in_2040()}).ok());
    }
    return path;
  }();
  Identity identity = identity_in(folder, role);
  identity.now_s = now_s;
  return identity;
}

TEST(Tls, MeetsAfter2038) {
  const Texts texts = meet(of_2040(Role::phone), of_2040(Role::cloud));
  EXPECT_EQ(texts.server, "");
  EXPECT_EQ(certificate_facts(of_2040(Role::phone).certificate)->from, in_2040() - 86400);
  Identity expired = of_2040(Role::phone);
  expired.now_s = [] { return seconds_of(2051, 1, 1); };  // from 2050 on, certificates write their dates otherwise
  expect_in(meet(expired, of_2040(Role::cloud)).client,
            "has expired (on 2050-02-26 00:00:00 UTC; this clock says 2051");
}

TEST(Tls, ALateClockIsSaidOrBorne) {
  expect_in(meet(of_2040(Role::phone, in_1970), of_2040(Role::cloud)).client,
            "not valid yet (from 2040-02-28 00:00:00 UTC on; this clock says 1970-01-01 00:00:05 UTC: is it right?)");
  Identity late = of_2040(Role::phone, in_1970);
  late.clock_may_be_late = true;
  EXPECT_EQ(meet(late, of_2040(Role::cloud)).server, "");
  late.now_s = [] { return seconds_of(2051, 1, 1); };
  expect_in(meet(late, of_2040(Role::cloud)).client, "has expired");
  Identity stranger = other_authority(Role::phone);
  stranger.clock_may_be_late = true;
  expect_in(meet(stranger, good(Role::cloud)).server, "issued by another authority");
}

TEST(Times, AreWrittenAndRead) {
  EXPECT_EQ(utc_text(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(utc_text(-1), "1969-12-31 23:59:59 UTC");
  EXPECT_EQ(seconds_of(2038, 1, 19, 3, 14, 7), 0x7fffffff);
  EXPECT_EQ(utc_text(std::int64_t{0x7fffffff} + 1), "2038-01-19 03:14:08 UTC");
  EXPECT_EQ(asn1_text(seconds_of(2050, 12, 31, 23, 59, 59)), "20501231235959");
}

TEST(Tls, RefusesTheWrongRole) {
  Texts texts = meet(good(Role::owner), good(Role::cloud));
  expect_in(texts.server, "role \"owner\"");
  expect_in(texts.client, "role");
  texts = meet(good(Role::phone), good(Role::phone));
  expect_in(texts.client, "role \"phone\"");
}

TEST(Tls, SaysThatNobodyAnswers) {
  const auto stream = tls_connect({"127.0.0.1", 1}, good(Role::phone), Role::cloud, in(Milliseconds(2000)));
  ASSERT_FALSE(stream);
  expect_in(stream.error().text, "no one answers at 127.0.0.1:1");
  const Identity missing = identity_in("/nonexistent", Role::phone);
  const auto unreadable = tls_connect({"127.0.0.1", 1}, missing, Role::cloud, in(Milliseconds(2000)));
  ASSERT_FALSE(unreadable);
  expect_in(unreadable.error().text, "cannot read the authority /nonexistent/ca.crt");
}

TEST(Tls, RefusesWhatIsNotTls) {
  auto listener = TlsListener::open({"127.0.0.1", 0}, good(Role::cloud), {Role::phone});
  std::thread accepting([&] {
    auto pending = (*listener)->accept();
    const auto stream = (*pending)->handshake(in(Milliseconds(300)));
    EXPECT_FALSE(stream);
  });
  const auto stream =
      tls_connect({"localhost", (*listener)->port()}, none(Role::phone), Role::cloud, in(Milliseconds(3000)));
  EXPECT_FALSE(stream);
  accepting.join();
  std::thread waiting([&] { EXPECT_EQ((*listener)->accept().error().code, ErrorCode::closed); });
  (*listener)->close();
  waiting.join();
}

TEST(Endpoints, AreParsedOrRefused) {
  EXPECT_EQ(parse_endpoint("localhost", 7448)->port, 7448);
  EXPECT_EQ(parse_endpoint("10.0.0.1:99", 7448)->port, 99);
  EXPECT_EQ(parse_endpoint("[::1]:99", 7448)->host, "::1");
  for (const char* bad : {"", ":1", "a:", "a:0", "a:65536", "a:1x", "[::1", "[::1]x"})
    EXPECT_FALSE(parse_endpoint(bad, 1)) << bad;
}

}  // namespace
}  // namespace amphion::link::test
