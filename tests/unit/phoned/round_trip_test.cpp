// SPDX-License-Identifier: Apache-2.0
// A whole phone but for the hypervisor, docked and undocked over a real link: where it lives, what it holds, that no
// key is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "link/pki.hpp"
#include "machine/envelope.hpp"
#include "phone-side/phoned/phone.hpp"
#include "tests/unit/cloud/sample_state.hpp"
#include "tests/unit/phoned/fake_cloud.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using link::pb::REGION_DISK0;
using link::pb::REGION_MEMORY;
using nlohmann::json;
using testing::HasSubstr;

class RoundTrip : public testing::Test {
 protected:
  RoundTrip() {
    EXPECT_TRUE(link::create_authority(folder_.path()).ok());
    for (const auto role : {link::Role::phone, link::Role::owner, link::Role::cloud}) {
      EXPECT_TRUE(link::issue_certificate(folder_.path(), {role, std::string(link::text(role))}).ok());
    }
    std::ofstream(folder_.path() + "/template", std::ios::binary) << std::string(8192, 'd');
    cloud_ = std::make_unique<fakes::FakeCloud>(folder_.path());
    start();
  }

  // Also after stop(): a phone that was switched off.
  void start() {
    Config config;
    config.data = folder_.path();
    config.pki = folder_.path();
    config.cloud = "127.0.0.1:" + std::to_string(cloud_->port());
    config.control.clear();
    config.socket.clear();
    config.instances.push_back(fakes::small_instance("work", folder_.path() + "/template"));
    phone_ = std::make_unique<Phone>(
        config, hypervisor_.factory(), hypervisor_, logs_, [] {}, [] {}, clock_);
    phone_->start();
    ASSERT_TRUE(eventually([&] { return state()["cloud"]["connected"] == true; }));
  }
  void stop() { phone_.reset(); }
  void type(const Frame& frame) { phone_->keys({&frame, 1}); }

  template <typename Condition>
  static bool eventually(Condition condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  json command(Operation operation) {
    return phone_->execute({operation, "work"}, [](const json&) {});
  }
  json state() {
    return phone_->execute({Operation::status, {}}, [](const json&) {});
  }
  std::string state_of() { return state()["instances"][0]["state"]; }
  std::string refusal(Operation operation) {
    try {
      (void)command(operation);
    } catch (const CommandError& error) {
      return error.what();
    }
    return "no error";
  }
  fakes::FakeInstance& live() { return *hypervisor_.last; }
  // The cloud confirms a dock, then starts its clone.
  bool clone_runs() {
    return eventually([&] { return cloud_->image.runs(); });
  }
  std::string in_cloud(std::size_t page) { return cloud_->image.text(REGION_MEMORY, page); }
  void write_in_cloud(link::pb::Region region, std::size_t page, const std::string& text) {
    cloud_->image.put(region, page, text);
  }
  static std::string sealed_state() {
    const auto config = fakes::small_instance("work");
    return machine::seal(cloud::testing::sample_state(config.shape, 8192));
  }
  std::string disk() {
    std::ifstream in(folder_.path() + "/instances/work/disk0", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static std::uint16_t code_of(int tap) { return static_cast<std::uint16_t>(KEY_1 + tap % 9); }

  fakes::Folder folder_;
  Logs logs_{link::real_files(), folder_.path() + "/logs"};
  fakes::FakeHypervisor hypervisor_;
  std::unique_ptr<fakes::FakeCloud> cloud_;
  fakes::StillClock clock_;
  std::unique_ptr<Phone> phone_;
};

TEST_F(RoundTrip, DockCarriesMemoryDiskAndState) {
  live().write(5, "an editor's text");
  const json answer = command(Operation::dock);
  EXPECT_EQ(answer["place"], "cloud");
  EXPECT_EQ(state_of(), "docked");
  EXPECT_EQ(command(Operation::sched_stats)["vcpus"].size(), 1u) << "only the host's: its vCPUs are in the cloud";
  EXPECT_FALSE(live().running);
  EXPECT_TRUE(clone_runs());
  EXPECT_EQ(in_cloud(5), "an editor's text");
  EXPECT_EQ(cloud_->image.state(), "state");
  EXPECT_EQ(cloud_->image.size(REGION_DISK0), 8192u);
  EXPECT_EQ(refusal(Operation::dock), "work is already docked");
}

TEST_F(RoundTrip, KeysOfADockedInstanceReachTheClone) {
  type(fakes::tap(30));
  (void)command(Operation::dock);
  type(fakes::tap(31));
  type(fakes::tap(32));
  EXPECT_EQ(live().received.size(), 2u);
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 4; }));
  EXPECT_EQ(cloud_->keys()[0].code(), 31u);
  EXPECT_EQ(cloud_->keys()[2].code(), 32u);
  EXPECT_TRUE(eventually([&] { return command(Operation::journal)["waiting"] == 0; }));
}

TEST_F(RoundTrip, KeysTheGuestHadNoRoomForGoOnInTheCloud) {
  live().deaf = true;
  type(fakes::tap(30));
  (void)command(Operation::dock);
  type(fakes::tap(31));
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 4; }));
  EXPECT_EQ(cloud_->keys()[0].code(), 30u);
}

TEST_F(RoundTrip, KeysTypedWhileTheLinkIsCutArriveLaterOnce) {
  (void)command(Operation::dock);
  type(fakes::tap(30));
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 2; }));
  cloud_->cut();
  type(fakes::tap(31));
  type(fakes::tap(32));
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 6; }));
  EXPECT_EQ(cloud_->keys()[2].code(), 31u);
  EXPECT_EQ(cloud_->keys()[4].code(), 32u);
}

TEST_F(RoundTrip, KeysTheCloudDroppedAreSentAgainThoughOtherMessagesFlow) {
  (void)command(Operation::dock);
  cloud_->deaf = true;
  type(fakes::tap(30));
  (void)state();  // answered after the keys have arrived
  cloud_->deaf = false;
  EXPECT_TRUE(eventually([&] { return state()["cloud"]["connected"] == true && cloud_->keys().size() == 2; }));
}

TEST_F(RoundTrip, UndockBringsTheChangesHome) {
  live().state = sealed_state();
  live().write(5, "before");
  live().write(6, "gone later");
  (void)command(Operation::dock);
  write_in_cloud(REGION_MEMORY, 5, "afterwards");
  write_in_cloud(REGION_DISK0, 1, "saved file");
  write_in_cloud(REGION_MEMORY, 6, std::string(16, '\0'));
  live().booted = false;
  const json answer = command(Operation::undock);
  EXPECT_EQ(answer["place"], "phone");
  EXPECT_EQ(state_of(), "running");
  EXPECT_TRUE(live().running);
  EXPECT_FALSE(live().booted);
  EXPECT_EQ(live().text(5), "afterwards");
  EXPECT_EQ(live().text(6), "");
  EXPECT_EQ(hypervisor_.count, 1) << "what came was put over its copy in memory";
  EXPECT_EQ(disk().substr(4096, 10), "saved file");
  EXPECT_EQ(disk()[0], 'd');
  EXPECT_LT(answer["raw_bytes"], 64u << 10) << "only what differs came";
  EXPECT_FALSE(cloud_->image.runs());
  EXPECT_EQ(refusal(Operation::undock), "work is not docked; it is on this phone");
}

TEST_F(RoundTrip, IsUnpairedOnlyWithAllAtHome) {
  live().state = sealed_state();
  (void)command(Operation::dock);
  EXPECT_THAT(refusal(Operation::unpair), HasSubstr("work is not at home: `amphion undock` first"));
  EXPECT_EQ(state()["cloud"]["connected"], true);
  EXPECT_THAT(refusal(Operation::pair), HasSubstr("CODE@HOST:PORT"));
  (void)command(Operation::undock);
  EXPECT_EQ(command(Operation::unpair)["told"], true);
  EXPECT_EQ(state()["cloud"]["address"], "");
  const json doctor = phone_->execute({Operation::doctor, {}}, [](const json&) {});
  const auto owners = std::find_if(doctor["checks"].begin(), doctor["checks"].end(),
                                   [](const json& check) { return check["name"] == "owners' certificate"; });
  ASSERT_NE(owners, doctor["checks"].end());
  EXPECT_EQ((*owners)["health"], "good") << *owners;
  EXPECT_EQ(refusal(Operation::unpair), "this phone is paired with no cloud");
  EXPECT_THAT(refusal(Operation::dock), HasSubstr("cloud"));
  EXPECT_EQ(state_of(), "running");
}

TEST_F(RoundTrip, WhoWasCutOffWhileItLeftGoesOnLeaving) {
  stop();
  const std::string address = "127.0.0.1:" + std::to_string(cloud_->port());
  ASSERT_TRUE(CloudPairing(link::real_files(), folder_.path(), address, folder_.path()).leave().ok());
  Config config;
  config.data = config.pki = folder_.path();
  config.control.clear();
  config.socket.clear();
  config.instances.push_back(fakes::small_instance("work", folder_.path() + "/template"));
  phone_ = std::make_unique<Phone>(
      config, hypervisor_.factory(), hypervisor_, logs_, [] {}, [] {}, clock_);
  phone_->start();
  EXPECT_TRUE(eventually([&] { return state()["cloud"]["address"] == ""; }));
}

TEST_F(RoundTrip, SecondDockSendsOnlyWhatDiffers) {
  live().state = sealed_state();
  for (std::size_t page = 5; page < 500; ++page) live().write(page, "page " + std::to_string(page));
  const json first = command(Operation::dock);
  (void)command(Operation::undock);
  live().state = sealed_state();
  live().write(7, "changed");
  const json second = command(Operation::dock);
  EXPECT_GE(first["blocks_sent"], 495u);
  EXPECT_EQ(second["blocks_sent"], 1u);
  EXPECT_EQ(in_cloud(7), "changed");
  EXPECT_EQ(in_cloud(8), "page 8");
}

// Each key once and in order, wherever it goes; consoles end when the instance moves.
TEST_F(RoundTrip, OthersLookAndTypeWhileItMoves) {
  constexpr int taps = 200;
  live().state = sealed_state();
  std::atomic<bool> over{false};
  std::thread lists([&] {
    while (!over) (void)phone_->execute({Operation::list, {}}, [](const json&) {});
  });
  std::thread watches([&] {
    const Request request{Operation::console, "work"};
    while (!over) {
      try {
        const auto view = phone_->open_console(request);
        std::thread output([&] {
          while (view->next()) {
          }
        });
        phone_->console_input(request, "x");
        view->end({});
        output.join();
        phone_->console_left(request);
      } catch (const CommandError&) {  // just now it is nowhere
      }
    }
  });
  std::thread types([&] {
    for (int i = 0; i < taps; ++i) {
      type({{EV_KEY, code_of(i), 1}, {EV_SYN, SYN_REPORT, 0}});
      type({{EV_KEY, code_of(i), 0}, {EV_SYN, SYN_REPORT, 0}});
    }
  });
  EXPECT_EQ(command(Operation::dock)["place"], "cloud");
  const auto docked = static_cast<std::ptrdiff_t>(live().received.size());
  EXPECT_EQ(command(Operation::undock)["place"], "phone");
  types.join();
  over = true;
  lists.join();
  watches.join();
  std::vector<std::uint32_t> codes;
  const auto& here = live().received;
  for (auto one = here.begin(); one != here.begin() + docked; ++one) codes.push_back(one->event.code);
  for (const auto& one : cloud_->keys()) codes.push_back(one.code());
  for (auto one = here.begin() + docked; one != here.end(); ++one) codes.push_back(one->event.code);
  ASSERT_EQ(codes.size(), 4u * taps);
  for (int i = 0; i < taps; ++i) EXPECT_EQ(codes[4 * static_cast<std::size_t>(i)], code_of(i));
}

TEST_F(RoundTrip, KeysThatTheCloneNeverGotComeHome) {
  live().state = sealed_state();
  (void)command(Operation::dock);
  cloud_->deaf = true;
  type(fakes::tap(30));
  type(fakes::tap(31));
  (void)command(Operation::undock);
  ASSERT_EQ(live().received.size(), 4u);
  EXPECT_EQ(live().received[0].event.code, 30u);
  type(fakes::tap(32));
  EXPECT_EQ(live().received.back().sequence, 6u);
}

TEST_F(RoundTrip, PhoneSwitchedOffWhileDockedUndocksWithoutItsCopy) {
  live().state = sealed_state();
  live().write(5, "kept");
  (void)command(Operation::dock);
  type(fakes::tap(30));
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 2; }));
  stop();
  start();
  EXPECT_EQ(state_of(), "docked");
  type(fakes::tap(31));
  ASSERT_TRUE(eventually([&] { return cloud_->keys().size() == 4; }));
  const json answer = command(Operation::undock);
  EXPECT_EQ(live().text(5), "kept");
  EXPECT_EQ(state_of(), "running");
  EXPECT_GE(answer["blocks_sent"], 1u);
}

TEST_F(RoundTrip, DockedItsDeviceModelIsGoneAndItsCopyMayBeLost) {
  live().state = sealed_state();
  live().write(5, "kept");
  (void)command(Operation::dock);
  EXPECT_TRUE(live().retired);
  live().lose();
  EXPECT_EQ(state_of(), "docked");
  (void)command(Operation::undock);
  EXPECT_EQ(state_of(), "running");
  EXPECT_EQ(live().text(5), "kept");
  EXPECT_EQ(hypervisor_.count, 2);
}

TEST_F(RoundTrip, CommandsOnADockedInstanceSayWhereItIs) {
  (void)command(Operation::dock);
  for (const auto operation : {Operation::start, Operation::stop, Operation::reset, Operation::set, Operation::remove,
                               Operation::snapshot, Operation::restore}) {
    EXPECT_THAT(refusal(operation), HasSubstr("work is docked and lives in the cloud; amphion undock work"));
  }
  EXPECT_EQ(state_of(), "docked");
  EXPECT_TRUE(clone_runs());
}

// The generation goes on, so the cloud's side is behind: its clone must end, and it can never come back.
TEST_F(RoundTrip, ADockedOneThatIsRemovedIsBehindInTheCloud) {
  (void)command(Operation::dock);
  Request request{Operation::remove, "work"};
  request.force = true;
  const json answer = phone_->execute(request, [](const json&) {});
  EXPECT_THAT(answer["note"].get<std::string>(), HasSubstr("the cloud keeps its copy of work"));
  EXPECT_TRUE(state()["instances"].empty());
  link::Records records(link::real_files(), folder_.path() + "/records", link::pb::SIDE_PHONE);
  const auto left = records.load("work");
  ASSERT_TRUE(left.ok());
  EXPECT_EQ(left->generation, 3u);
  EXPECT_EQ(left->place, link::pb::SIDE_PHONE);
  const auto mine = link::claim_of(*left), clouds = link::claim_of(*cloud_->records.load("work"));
  EXPECT_EQ(link::reconcile(link::pb::SIDE_CLOUD, clouds, &mine), link::Verdict::follow);
}

TEST_F(RoundTrip, RefusedDockLeavesItRunning) {
  cloud_->image.refuse("the disk of the cloud is full: ");
  EXPECT_EQ(refusal(Operation::dock), "work was not docked: the disk of the cloud is full: work");
  EXPECT_EQ(state_of(), "running");
  EXPECT_TRUE(live().running);
  type(fakes::tap(30));
  EXPECT_EQ(live().received.size(), 2u);
}

TEST_F(RoundTrip, RefusedUndockLeavesItDocked) {
  (void)command(Operation::dock);
  cloud_->refuse_undock("work uses 700 MiB, this phone gives it 48 MiB");
  EXPECT_EQ(refusal(Operation::undock), "work was not undocked: work uses 700 MiB, this phone gives it 48 MiB");
  EXPECT_EQ(state_of(), "docked");
  EXPECT_TRUE(clone_runs());
}

TEST_F(RoundTrip, TooLargeForThePhoneIsRefusedByThePhoneToo) {
  live().state = sealed_state();
  (void)command(Operation::dock);
  for (std::size_t page = 0; page < (49u << 20) / 4096; ++page) write_in_cloud(REGION_MEMORY, page, "full");
  EXPECT_THAT(refusal(Operation::undock), HasSubstr("this phone gives it 48 MiB"));
  EXPECT_EQ(state_of(), "docked");
  EXPECT_TRUE(clone_runs());
}

TEST_F(RoundTrip, DamagedStateIsRefusedAndTheCloneGoesOn) {
  live().state = "not a state at all";
  (void)command(Operation::dock);
  EXPECT_THAT(refusal(Operation::undock), HasSubstr("work was not undocked: "));
  EXPECT_EQ(state_of(), "docked");
  EXPECT_TRUE(clone_runs());
}

}  // namespace
}  // namespace amphion::phoned
