// SPDX-License-Identifier: Apache-2.0
// The durable pairing: power cuts and failing disks at each file operation leave the phone as it was or as it was to
// be; damaged files; the certificates that came with an image; owners by a one-time code.
#include "phone-side/phoned/cloud_pairing.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "link/memory_files.hpp"
#include "phone-side/cli/client.hpp"
#include "phone-side/cli/join.hpp"
#include "phone-side/phoned/owners.hpp"
#include "tests/unit/phoned/fake_commands.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using testing::HasSubstr;

constexpr char cloud[] = "192.0.2.1:7448";

link::Identity granted() {
  link::Identity identity;
  identity.authority = "-----BEGIN authority";
  identity.certificate = "-----BEGIN certificate";
  identity.key = "-----BEGIN key";
  return identity;
}

class CloudPairingTest : public testing::Test {
 protected:
  CloudPairingTest() { (void)files_.make_folder("/data/pki"); }

  [[nodiscard]] CloudPairing pairing(const std::string& configured = "") {
    return {files_, "/data", configured, "/data/pki"};
  }
  [[nodiscard]] CloudTarget now() { return *pairing().load(); }
  void put(const std::string& path, const std::string& text) {
    ASSERT_TRUE(link::write_durably(files_, path, text).ok());
  }
  void image() {
    for (const char* name : {"ca.crt", "phone.crt", "phone.key"}) {
      put(std::string("/data/pki/") + name, std::string("-----BEGIN ") + name);
    }
  }
  // `step` with a power cut at each of its file operations; `before` and `after` are addresses.
  template <typename Step>
  void cut_everywhere(Step step, const std::function<void()>& prepare,
                      const std::function<bool(const CloudTarget&)>& before,
                      const std::function<bool(const CloudTarget&)>& after) {
    for (int at = 0;; ++at) {
      SCOPED_TRACE(at);
      prepare();
      const int start = files_.changes();
      files_.fail_after(at);
      const bool done = step().ok();
      const int operations = files_.changes() - start;
      files_.power_off();
      const CloudTarget found = now();
      EXPECT_TRUE(after(found) || (!done && before(found))) << found.address;
      if (done && at > operations) return;
    }
  }

  link::MemoryFiles files_;
};

bool is_none(const CloudTarget& target) { return target.address.empty() && target.identity.key.empty(); }
bool is_paired(const CloudTarget& target) {
  return target.address == cloud && !target.leaving && target.identity.key == granted().key;
}
bool is_leaving(const CloudTarget& target) { return target.address == cloud && target.leaving; }

TEST_F(CloudPairingTest, IsKeptWholeAndOnce) {
  EXPECT_EQ(now().address, "");
  ASSERT_TRUE(pairing().pair(cloud, granted()).ok());
  EXPECT_TRUE(is_paired(now()));
  EXPECT_TRUE(now().identity.clock_may_be_late);
  EXPECT_EQ(pairing().pair("192.0.2.2:1", granted()).error().code, link::ErrorCode::conflict);
  ASSERT_TRUE(pairing().leave().ok());
  EXPECT_TRUE(is_leaving(now()));
  ASSERT_TRUE(pairing().forget().ok());
  EXPECT_TRUE(is_none(now()));
  EXPECT_TRUE(pairing().pair(cloud, granted()).ok());
}

TEST_F(CloudPairingTest, IsNeverHalf) {
  const auto none = [&] { (void)pairing().forget(); };
  const auto paired = [&] {
    none();
    ASSERT_TRUE(pairing().pair(cloud, granted()).ok());
  };
  const auto leaving = [&] {
    paired();
    ASSERT_TRUE(pairing().leave().ok());
  };
  cut_everywhere([&] { return pairing().pair(cloud, granted()); }, none, is_none, is_paired);
  cut_everywhere([&] { return pairing().leave(); }, paired, is_paired, is_leaving);
  cut_everywhere([&] { return pairing().forget(); }, leaving, is_leaving, is_none);
}

TEST_F(CloudPairingTest, TheImagesCertificatesCountUntilTheyAreForgotten) {
  EXPECT_EQ(pairing(cloud).load()->address, "") << "an address without a certificate waits for a pairing";
  image();
  EXPECT_EQ(pairing(cloud).load()->address, cloud);
  EXPECT_EQ(pairing(cloud).load()->identity.key, "/data/pki/phone.key");
  ASSERT_TRUE(pairing(cloud).leave().ok());
  EXPECT_EQ(pairing(cloud).load()->identity.key, "-----BEGIN phone.key");
  ASSERT_TRUE(pairing(cloud).forget().ok());
  EXPECT_EQ(pairing(cloud).load()->address, "");
  EXPECT_TRUE(files_.read("/data/pki/phone.key", 100).ok()) << "owners know the phone by it";
}

TEST_F(CloudPairingTest, ADamagedFileIsSaidAndCanBeForgotten) {
  ASSERT_TRUE(pairing().pair(cloud, granted()).ok());
  std::string bytes = *files_.read("/data/pairing", 10000);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string bad = bytes;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    put("/data/pairing", bad);
    ASSERT_FALSE(pairing().load()) << i;
  }
  put("/data/pairing", bytes.substr(0, bytes.size() / 2));
  EXPECT_THAT(pairing().load().error().text, HasSubstr("amphion unpair --force"));
  EXPECT_FALSE(pairing().pair(cloud, granted()).ok());
  ASSERT_TRUE(pairing().forget().ok());
  EXPECT_TRUE(pairing().pair(cloud, granted()).ok());
}

// ---- Owners ----

class OwnersTest : public testing::Test {
 protected:
  void start() {
    ASSERT_TRUE(owners_.start().ok());
    server_.start(owners_.identity(), &owners_.desk(),
                  [this](const std::string& name, std::string_view key) { return owners_.sign(name, key); });
  }
  [[nodiscard]] std::string at(const std::string& code) const {
    return code + "@127.0.0.1:" + std::to_string(server_.port());
  }

  fakes::Folder folder_;
  fakes::FakeCommands commands_;
  Owners owners_{folder_.path(), folder_.path() + "/pki"};
  ControlServer server_{{"127.0.0.1:" + fakes::free_port(), ""}, commands_};
};

TEST_F(OwnersTest, ComeInByACodeAndStay) {
  start();
  const auto code = owners_.invite();
  ASSERT_TRUE(code) << code.error().text;
  const std::string pki = folder_.path() + "/computer";
  const std::string phone = cli::join(at(code->text()), pki);
  cli::Client client(cli::connect({phone, pki}));
  EXPECT_EQ(client.ask({{"op", "list"}})["ok"], true);
  EXPECT_THROW((void)cli::join(at(code->text()), folder_.path() + "/other"), cli::ClientError) << "once";
  EXPECT_THROW((void)cli::join(at(owners_.invite()->text()), pki), cli::ClientError) << "nothing is written over";
  Owners again(folder_.path(), folder_.path() + "/pki");  // the phone starts again
  ASSERT_TRUE(again.start().ok());
  EXPECT_EQ(link::certificate_facts(again.identity().certificate)->fingerprint,
            link::certificate_facts(owners_.identity().certificate)->fingerprint);
}

TEST_F(OwnersTest, AnAuthorityThatWasCutOffIsMadeAnew) {
  ASSERT_TRUE(link::create_authority(folder_.path() + "/owners.new", "phone").ok());
  start();
  EXPECT_TRUE(owners_.invite());
}

TEST_F(OwnersTest, TheImagesCertificatesHaveTheirOwnOwners) {
  const std::string pki = folder_.path() + "/pki";
  ASSERT_TRUE(link::create_authority(pki).ok());
  ASSERT_TRUE(link::issue_certificate(pki, {.role = link::Role::phone, .name = "phone"}).ok());
  start();
  EXPECT_THAT(owners_.invite().error().text, HasSubstr("came with its image"));
}

}  // namespace
}  // namespace amphion::phoned
