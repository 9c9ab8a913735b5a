// SPDX-License-Identifier: Apache-2.0
// The server's door, over real TLS: a phone is paired by a code, comes in with what it got, unpairs itself or is
// unpaired, and is refused from then on; nothing is lost by a restart; admissions with power cuts.
#include "cloud-side/amphiond/server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <future>

#include "link/memory_files.hpp"
#include "tests/unit/cloud/fake_clone.hpp"
#include "tests/unit/cloud/faulty_files.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

link::Deadline soon() { return link::in(10s); }

// A phone's session that waits for the cloud to confirm its unpairing, or to end.
class Listener final : public link::Session::Handler {
 public:
  void on_offer(link::Session&, const link::pb::Offer&, std::shared_ptr<link::Channel>) override {}
  void on_message(link::Session&, link::Message message) override {
    if (std::holds_alternative<link::pb::Unpaired>(message)) unpaired.set_value();
  }
  void on_closed(link::Session&, const link::Error& why) override { closed.set_value(why.text); }
  std::promise<void> unpaired;
  std::promise<std::string> closed;
};

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    if (std::getenv("AMPHION_TEST_LOG") == nullptr) spdlog::set_level(spdlog::level::off);
    EXPECT_TRUE(link::create_authority(pki()).ok());
    EXPECT_TRUE(link::issue_certificate(pki(), {.role = link::Role::cloud, .name = "cloud"}).ok());
    open();
  }
  void open() {
    server_.reset();
    server_ = std::make_unique<Server>(scratch_.path() / "data", files_, link::real_files(), world_);
    server_->listen({"127.0.0.1", 0}, pki());
  }
  [[nodiscard]] std::string pki() const { return (scratch_.path() / "pki").string(); }
  [[nodiscard]] link::Endpoint at() const { return {"127.0.0.1", server_->port()}; }

  link::Result<link::Granted> pair(const std::string& name = "") {
    const auto answer = server_->admin({{"do", "pair"}, {"name", name}});
    EXPECT_EQ(answer.value("error", ""), "");
    const auto code = link::Code::read(answer["code"].get<std::string>());
    auto stream = link::tls_connect_by_code(at(), code->key(), soon());
    if (!stream) return stream.error();
    return link::ask_for_certificate(**stream, *code, link::Role::phone, soon());
  }
  link::Result<std::shared_ptr<link::Session>> come(const link::Granted& phone, Listener& listener) {
    auto stream = link::tls_connect(at(), phone.identity, link::Role::cloud, soon());
    if (!stream) return stream.error();
    link::pb::Hello hello;
    hello.set_side(link::pb::SIDE_PHONE);
    hello.set_name(phone.name);
    return link::Session::open(std::move(*stream), hello, listener);
  }
  [[nodiscard]] std::string refusal(const link::Granted& phone) {
    Listener listener;
    const auto session = come(phone, listener);
    return session ? "let in" : session.error().text;
  }
  [[nodiscard]] bool comes_in(const link::Granted& phone) {
    Listener listener;
    const auto session = come(phone, listener);
    if (!session) return false;
    EXPECT_NEAR(static_cast<double>((*session)->peer().time_s()), static_cast<double>(link::wall_clock_s()), 60);
    return true;
  }

  Scratch scratch_;
  FaultyFiles files_;
  FakeWorld world_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, pairs_a_phone_that_comes_in_from_then_on) {
  const auto phone = pair();
  ASSERT_TRUE(phone) << phone.error().text;
  EXPECT_EQ(phone->name, "phone");
  EXPECT_TRUE(comes_in(*phone));
  open();
  EXPECT_TRUE(comes_in(*phone));
  EXPECT_EQ(pair()->name, "phone-2");
}

TEST_F(ServerTest, a_phone_unpairs_itself) {
  const auto phone = pair("mine");
  Listener listener;
  auto session = come(*phone, listener);
  ASSERT_TRUE(session) << session.error().text;
  (*session)->start();
  ASSERT_TRUE((*session)->send(link::pb::Unpair()).ok());
  EXPECT_EQ(listener.unpaired.get_future().wait_for(10s), std::future_status::ready);
  (*session)->close();
  session->reset();
  EXPECT_THAT(refusal(*phone), HasSubstr("has been unpaired"));
  open();
  EXPECT_THAT(refusal(*phone), HasSubstr("has been unpaired"));
}

TEST_F(ServerTest, a_phone_is_unpaired_while_it_is_there) {
  const auto phone = pair("mine");
  Listener listener;
  auto session = come(*phone, listener);
  ASSERT_TRUE(session) << session.error().text;
  (*session)->start();
  EXPECT_EQ(server_->admin({{"do", "unpair"}, {"device", "mine"}})["ok"], true);
  auto closed = listener.closed.get_future();
  ASSERT_EQ(closed.wait_for(10s), std::future_status::ready);
  session->reset();
  EXPECT_THAT(refusal(*phone), HasSubstr("has been unpaired"));
  EXPECT_THAT(server_->admin({{"do", "unpair"}, {"device", "nobody"}})["error"], "no phone is named 'nobody'");
}

TEST_F(ServerTest, pairing_anew_by_name_makes_the_earlier_certificate_void) {
  const auto lost = pair("mine");
  EXPECT_TRUE(comes_in(*lost));
  const auto found = pair("mine");
  EXPECT_TRUE(comes_in(*found));
  EXPECT_THAT(refusal(*lost), HasSubstr("not the one that its last pairing gave it"));
}

TEST_F(ServerTest, a_certificate_made_by_hand_is_let_in_until_it_is_unpaired) {
  ASSERT_TRUE(link::issue_certificate(pki(), {.role = link::Role::phone, .name = "old"}, "old").ok());
  link::Granted phone{link::identity_in(pki(), link::Role::phone), "old"};
  phone.identity.certificate = pki() + "/old.crt";
  phone.identity.key = pki() + "/old.key";
  EXPECT_TRUE(comes_in(phone));
  EXPECT_EQ(server_->admin({{"do", "unpair"}, {"device", "old"}})["ok"], true);
  EXPECT_THAT(refusal(phone), HasSubstr("has been unpaired"));
}

TEST_F(ServerTest, no_code_without_the_authoritys_key_or_with_a_bad_name) {
  EXPECT_THAT(server_->admin({{"do", "pair"}, {"name", "../x"}})["error"].get<std::string>(), HasSubstr("is no name"));
  std::filesystem::remove(pki() + "/ca.key");
  EXPECT_THAT(server_->admin({{"do", "pair"}})["error"].get<std::string>(), HasSubstr("no authority's key"));
}

TEST(Admissions, are_one_or_the_other_after_a_power_cut) {
  link::MemoryFiles files;
  for (int at = 0;; ++at) {
    Admissions admissions(files, "/admissions");
    ASSERT_TRUE(admissions.allow("mine", "aa").ok());
    files.fail_after(at);
    const bool done = admissions.deny("mine").ok();
    files.power_off();
    const bool old = admissions.check("mine", "aa").ok();
    EXPECT_FALSE(done && old) << at;
    if (done) break;
  }
}

TEST(Admissions, a_damaged_file_lets_nobody_in) {
  link::MemoryFiles files;
  Admissions admissions(files, "/admissions");
  EXPECT_TRUE(admissions.check("mine", "aa").ok());
  EXPECT_FALSE(admissions.check("../mine", "aa").ok());
  ASSERT_TRUE(link::write_durably(files, "/admissions/mine", "nonsense").ok() || files.make_folder("/admissions").ok());
  ASSERT_TRUE(link::write_durably(files, "/admissions/mine", "nonsense").ok());
  EXPECT_FALSE(admissions.check("mine", "aa").ok());
}

}  // namespace
}  // namespace amphion::cloud::testing
