// SPDX-License-Identifier: Apache-2.0
// The owner's commands through a whole phone but for the hypervisor: instances that come, go, stop, start and go back
// to snapshots; what a power cut leaves; what is refused. After each "reboot" the phone is made anew from its data
// folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/input-event-codes.h>
#include <sys/resource.h>

#include <csignal>

#include "phone-side/phoned/phone.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

class Owner : public testing::Test {
 protected:
  Owner() {
    std::ofstream(folder_.path() + "/template", std::ios::binary) << std::string(8192, 't');
    std::ofstream(folder_.path() + "/kernel") << "zImage";
    boot();
  }

  void boot() {
    Config config;
    config.data = folder_.path();
    config.pki = folder_.path();
    config.control.clear();
    config.socket.clear();
    config.instances.push_back(fakes::small_instance("work", folder_.path() + "/template"));
    config.instance_template = json::parse(R"({"vcpus": 2, "vcpus_allowed": 1, "memory_mib": 64, "bound_mib": 48,
                                               "cmdline": "amphion.name={name}"})");
    config.instance_template["kernel"] = folder_.path() + "/kernel";
    config.instance_template["disk"] = folder_.path() + "/template";
    phone_ = std::make_unique<Phone>(
        config, hypervisor_.factory(), hypervisor_, logs_, [] {}, [this] { ++switched_off_; }, clock_);
    phone_->start();
  }
  void reboot() {
    phone_.reset();
    boot();
  }

  void type(std::uint16_t code) {
    const Frame frame = fakes::tap(code);
    phone_->keys({&frame, 1});
  }
  json ask(Request request) {
    request = std::get<Request>(parse_request(to_json(request).dump()));  // as it comes by the wire
    return phone_->execute(request, [this](const json& line) { steps_.push_back(line); });
  }
  json ask(Operation operation, const std::string& name = "work", const std::string& label = {}) {
    Request request{operation, name};
    request.label = label;
    return ask(request);
  }
  json set(const json& with, const std::string& name = "work") {
    Request request{Operation::set, name};
    request.with = with;
    return ask(request);
  }
  json sched(const json& with) {
    Request request{Operation::sched};
    request.with = with;
    return ask(request);
  }
  json create(const std::string& name, const json& with = json::object()) {
    Request request{Operation::create, name};
    request.with = with;
    return ask(request);
  }
  template <typename Call>
  std::string refused(Call call) {
    try {
      (void)call();
    } catch (const CommandError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string refusal(Operation operation, const std::string& name = "work", const std::string& label = {}) {
    return refused([&] { return ask(operation, name, label); });
  }
  json status(const std::string& name = "work") { return ask(Operation::status, name)["instances"][0]; }
  std::string state(const std::string& name = "work") { return status(name)["state"]; }
  std::vector<std::string> names() {
    std::vector<std::string> all;
    const json list = ask(Operation::list, "");
    for (const json& one : list["instances"]) all.push_back(one["name"]);
    return all;
  }
  fakes::FakeInstance& live() { return *hypervisor_.last; }
  [[nodiscard]] std::string path(const std::string& file) const { return folder_.path() + "/instances/" + file; }
  [[nodiscard]] static std::string contents(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  fakes::Folder folder_;
  Logs logs_{link::real_files(), folder_.path() + "/logs"};
  fakes::FakeHypervisor hypervisor_;
  fakes::StillClock clock_;
  std::unique_ptr<Phone> phone_;
  std::vector<json> steps_;
  int switched_off_ = 0;
};

// ---- The scheduler ----

TEST_F(Owner, SchedulersSettingsAreShownAndChangedUntilTheNextBoot) {
  const json before{{"ok", true},        {"policy", "sbco"},      {"threshold", 0.667},
                    {"latency_ms", 6.0}, {"granularity_ms", 3.0}, {"hand_over", true}};
  EXPECT_EQ(ask(Operation::sched, ""), before);
  EXPECT_EQ(hypervisor_.changes, 0);
  EXPECT_EQ(sched({{"policy", "bal"}})["policy"], "bal");
  EXPECT_EQ(hypervisor_.sched.policy, AMPHION_SCHED_BAL);
  EXPECT_EQ(hypervisor_.sched.threshold, 683u) << "what nobody wished for stays as it was";
  const json all{
      {"policy", "dft"}, {"threshold", 1}, {"latency_ms", 0.1}, {"granularity_ms", 100}, {"hand_over", false}};
  const json answer = sched(all);
  EXPECT_EQ(answer["threshold"], 1.0);
  EXPECT_EQ(hypervisor_.sched.policy, AMPHION_SCHED_DFT);
  EXPECT_EQ(hypervisor_.sched.threshold, AMPHION_SCHED_THRESHOLD_ONE);
  EXPECT_EQ(hypervisor_.sched.latency_us, AMPHION_SCHED_SHORTEST_US);
  EXPECT_EQ(hypervisor_.sched.granularity_us, AMPHION_SCHED_LONGEST_US);
  EXPECT_EQ(hypervisor_.sched.hand_over, 0u);
}

TEST_F(Owner, SchedulersSettingsAreCheckedWholeBeforeAnyIsChanged) {
  const auto why = [&](const json& with) { return refused([&] { return sched(with); }); };
  EXPECT_EQ(why({{"policy", "fifo"}}), "--policy: must be one of dft, bal, procco, cpuco, sbco");
  EXPECT_EQ(why({{"policy", 1}}), "--policy: must be one of dft, bal, procco, cpuco, sbco");
  for (const json& bad : {json(1.001), json(-0.001), json("0.5"), json(nullptr), json(1e300)}) {
    EXPECT_EQ(why({{"threshold", bad}}), "--threshold: must be 0 to 1, a fraction of the queue's length");
  }
  for (const json& bad : {json(0.099), json(100.001), json(0), json(-1), json(1e300), json("6"), json(true)}) {
    EXPECT_EQ(why({{"latency_ms", bad}}), "--latency: must be 0.1 to 100 ms");
    EXPECT_EQ(why({{"granularity_ms", bad}}), "--granularity: must be 0.1 to 100 ms");
  }
  EXPECT_EQ(why({{"hand_over", 1}}), "--hand-over: must be on or off");
  EXPECT_EQ(why({{"policy", "bal"}, {"speed", 1}}), "\"sched\" knows no setting \"speed\"");
  EXPECT_EQ(hypervisor_.changes, 0);
}

TEST_F(Owner, SchedulersStatisticsAreThoseOfCpusAndOfVcpusThatRunHere) {
  json answer = ask(Operation::sched_stats, "");
  EXPECT_EQ(answer["policy"], "sbco");
  ASSERT_EQ(answer["cpus"].size(), 2u);
  const json second{{"cpu", 1},       {"run_ns", 11}, {"idle_ns", 12}, {"wait_ns", 13},           {"decisions", 14},
                    {"switches", 15}, {"lends", 16},  {"debts", 17},   {"stackings_avoided", 18}, {"moves", 19}};
  EXPECT_EQ(answer["cpus"][1], second);
  const json vcpu{{"instance", "work"}, {"vcpu", 0},  {"run_ns", 1'000'000}, {"wait_ns", 500'000},
                  {"switches", 4},      {"moves", 3}, {"lends", 2},          {"debts", 1}};
  const json of_host{{"instance", "host"}, {"vcpu", 1},   {"run_ns", 21}, {"wait_ns", 22},
                     {"switches", 23},     {"moves", 24}, {"lends", 25},  {"debts", 26}};
  EXPECT_EQ(answer["vcpus"], json::array({of_host, vcpu})) << "one that has never run is not there";
  (void)ask(Operation::stop);
  EXPECT_EQ(ask(Operation::sched_stats, "")["vcpus"], json::array({of_host}));
}

// ---- On and off ----

TEST_F(Owner, StopAsksByThePowerKeyAndStaysOverAReboot) {
  const json answer = ask(Operation::stop);
  EXPECT_EQ(answer["state"], "stopped");
  ASSERT_FALSE(live().received.empty());
  EXPECT_EQ(live().received.front().event.code, KEY_POWER);
  EXPECT_EQ(refusal(Operation::stop), "work is stopped already");
  const int made = hypervisor_.count;
  reboot();
  EXPECT_EQ(state(), "stopped");
  EXPECT_EQ(hypervisor_.count, made);
  EXPECT_EQ(ask(Operation::start)["state"], "running");
  EXPECT_TRUE(live().booted);
  reboot();
  EXPECT_EQ(state(), "running");
}

TEST_F(Owner, ForceDoesNotAsk) {
  live().stubborn = true;
  Request request{Operation::stop, "work"};
  request.force = true;
  EXPECT_EQ(ask(request)["state"], "stopped");
  EXPECT_TRUE(live().received.empty());
  EXPECT_FALSE(live().running);
}

TEST_F(Owner, OneThatSwitchedItselfOffStartsAgain) {
  live().events().off();
  EXPECT_EQ(state(), "off");
  EXPECT_EQ(ask(Operation::start)["state"], "running");
  EXPECT_EQ(hypervisor_.count, 2);
  EXPECT_EQ(refusal(Operation::start), "work runs already; amphion reset work starts it anew");
}

TEST_F(Owner, OneThatFailedStartsAgain) {
  live().lose();
  EXPECT_EQ(state(), "failed");
  hypervisor_.refuse = "the pool has 10 MiB left";
  EXPECT_THAT(refusal(Operation::start), HasSubstr("work: does not start: the pool has 10 MiB left"));
  hypervisor_.refuse.clear();
  EXPECT_EQ(ask(Operation::start)["state"], "running");
}

TEST_F(Owner, ResetStartsAnew) {
  live().write(5, "unsaved");
  EXPECT_EQ(ask(Operation::reset)["state"], "running");
  EXPECT_EQ(hypervisor_.count, 2);
  EXPECT_TRUE(live().booted);
  EXPECT_EQ(live().text(5), "");
}

// A new start's keyboard is told where the numbers are, so that phone and cloud never see one twice.
TEST_F(Owner, AKeyboardsPowerKeySwitchesThePhoneOffAndNotTheInstance) {
  const Frame press{{EV_KEY, KEY_POWER, 1}, {EV_SYN, SYN_REPORT, 0}},
      repeat{{EV_KEY, KEY_POWER, 2}, {EV_SYN, SYN_REPORT, 0}};
  phone_->keys({&press, 1});
  phone_->keys({&repeat, 1});
  EXPECT_EQ(switched_off_, 1);
  EXPECT_TRUE(live().received.empty());
}

TEST_F(Owner, KeysAreNumberedOnOverStarts) {
  type(30);
  (void)ask(Operation::reset);
  EXPECT_EQ(live().received_last, 2u);
  type(31);
  ASSERT_FALSE(live().received.empty());
  EXPECT_EQ(live().received.front().sequence, 3u);
  EXPECT_EQ(ask(Operation::journal)["reached"], 4u);
}

// ---- Its share ----

TEST_F(Owner, CpusChangeAtOnceWhereTheGuestsServiceAnswers) {
  live().grow_answer = "noise\ncpus x ok\ncpus 99 ok\ncpus 2 ok\n";
  const json answer = set({{"vcpus_allowed", 2}});
  EXPECT_EQ(answer["vcpus_online"], 2u);
  EXPECT_EQ(live().grown, "cpus 2\n");
  EXPECT_EQ(live().allowed, std::vector<std::uint32_t>{2});
  EXPECT_EQ(status()["vcpus_allowed"], 2u);
  reboot();
  EXPECT_EQ(hypervisor_.last_config.vcpus_allowed, 2u);
}

TEST_F(Owner, WithoutAServiceTheNextStartCountsAndThatIsSaid) {
  EXPECT_THAT(set({{"vcpus_allowed", 2}})["note"].get<std::string>(), HasSubstr("from its next start"));
}

TEST_F(Owner, MemoryCountsFromTheNextStart) {
  const json answer = set({{"bound_mib", 32}});
  EXPECT_EQ(answer["next_start"], true);
  EXPECT_EQ(status()["bound_bytes"], 48u << 20);
  EXPECT_EQ(status()["next_bound_bytes"], 32u << 20);
  (void)ask(Operation::reset);
  EXPECT_EQ(hypervisor_.last_config.bound_bytes, 32u << 20);
  EXPECT_EQ(status()["bound_bytes"], 32u << 20);
}

TEST_F(Owner, WishesAreCheckedWholeAndNamedAsTheOwnerKnowsThem) {
  EXPECT_EQ(refused([&] { return set({{"bound_mib", 96}}); }), "--memory: must be a number from 32 to 64 MiB");
  EXPECT_EQ(refused([&] { return set({{"vcpus_allowed", 3}}); }), "--cpus: must be a number from 1 to 2");
  EXPECT_EQ(refused([&] { return set({{"vcpus", 3}}); }), "--cpus-max: unknown key");
  EXPECT_EQ(refused([&] { return set({{"bound_mib", "x"}}); }), "--memory: must be a number from 32 to 64 MiB");
  EXPECT_EQ(refused([&] {
              return create("notes", {{"memory_mib", 65}});
            }),
            "--memory-max: must be a multiple of 2 from 64 to 2048 MiB");
  EXPECT_EQ(refused([&] { return create("notes", {{"name", "other"}}); }), "name: unknown key");
  EXPECT_EQ(refused([&] {
              return create("notes", {{"bound_mib", -3}});
            }),
            "--memory: must be a number from 32 to 64 MiB");
  EXPECT_EQ(names(), std::vector<std::string>{"work"});
}

// ---- Coming and going ----

TEST_F(Owner, CreateMakesAStoppedInstanceFromTheTemplate) {
  const json answer = create("notes");
  EXPECT_EQ(answer["state"], "stopped");
  EXPECT_EQ(answer["number"], 2u);
  EXPECT_EQ(contents(path("notes/disk0")), std::string(8192, 't'));
  EXPECT_EQ(hypervisor_.count, 1) << "it does not run yet";
  EXPECT_EQ(ask(Operation::start, "notes")["state"], "running");
  EXPECT_EQ(hypervisor_.last_config.cmdline, "amphion.name=notes");
  reboot();
  EXPECT_EQ(names(), (std::vector<std::string>{"work", "notes"}));
  EXPECT_EQ(state("notes"), "running");
}

TEST_F(Owner, TheDiskIsAsLargeAsWanted) {
  (void)create("notes", {{"disk_mib", 3}});
  EXPECT_EQ(fs::file_size(path("notes/disk0")), 3u << 20);
  EXPECT_EQ(contents(path("notes/disk0")).substr(0, 8192), std::string(8192, 't'));
  EXPECT_EQ(status("notes")["disk"]["size_bytes"], 3u << 20);
}

TEST_F(Owner, WhatCannotBeMadeIsRefusedAndLeavesNothing) {
  EXPECT_THAT(refusal(Operation::create, "Notes"), HasSubstr("\"Notes\" is no name"));
  EXPECT_THAT(refusal(Operation::create, "host"), HasSubstr("host is the phone's own Linux"));
  EXPECT_THAT(refusal(Operation::create, "work"), HasSubstr("there is an instance work already"));
  EXPECT_THAT(refused([&] { return create("notes", {{"kernel", "/nowhere"}}); }), HasSubstr("--kernel /nowhere: "));
  EXPECT_THAT(refused([&] { return create("notes", {{"disk", "/dev/null"}}); }), HasSubstr("/dev/null: is no file"));
  EXPECT_THAT(refused([&] { return create("notes", {{"disk", ""}}); }), HasSubstr("it has no disk"));
  EXPECT_EQ(names(), std::vector<std::string>{"work"});
  EXPECT_FALSE(fs::exists(path("notes")));
}

TEST_F(Owner, ACopyThatFailsHalfwayLeavesNothing) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{6000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string why = refusal(Operation::create, "notes");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(why, HasSubstr("notes was not created: "));
  EXPECT_THAT(why, HasSubstr("File too large"));
  EXPECT_FALSE(fs::exists(path("notes")));
  EXPECT_EQ(names(), std::vector<std::string>{"work"});
  EXPECT_EQ(create("notes")["state"], "stopped") << "the name is free again";
}

TEST_F(Owner, FilesOfNobodyAreNotTakenForADisk) {
  fs::create_directories(path("notes"));
  std::ofstream(path("notes/disk0")) << "somebody's";
  EXPECT_THAT(refusal(Operation::create, "notes"), HasSubstr("not in the phone's list; move it away"));
  EXPECT_EQ(contents(path("notes/disk0")), "somebody's");
}

TEST_F(Owner, AllOfThemMustFitIntoTheMemoryTogether) {
  (void)create("notes");
  EXPECT_EQ(
      refusal(Operation::create, "more"),
      "more was not created: --memory: 48 MiB for more and 96 MiB for the other instances are more than the 128 MiB "
      "that this phone has for them; at most 32 MiB are left");
  (void)create("more", {{"bound_mib", 32}});
  EXPECT_THAT(refused([&] { return set({{"bound_mib", 33}}, "more"); }), HasSubstr("at most 32 MiB are left"));
  EXPECT_EQ(set({{"bound_mib", 32}}, "work")["bound_bytes"], 32u << 20);
}

TEST_F(Owner, RemoveTakesEverythingAndTheNumberIsFree) {
  (void)create("notes");
  EXPECT_THAT(refusal(Operation::remove), HasSubstr("work runs; amphion stop work stops it first"));
  EXPECT_EQ(ask(Operation::remove, "notes")["ok"], true);
  EXPECT_EQ(names(), std::vector<std::string>{"work"});
  EXPECT_FALSE(fs::exists(path("notes")));
  EXPECT_FALSE(fs::exists(folder_.path() + "/records/notes.record"));
  EXPECT_THAT(refusal(Operation::start, "notes"), HasSubstr("unknown instance \"notes\"; there are: work"));
  EXPECT_EQ(create("again")["number"], 2u);
}

TEST_F(Owner, ThePhoneGoesOnWithoutAnyInstance) {
  Request request{Operation::remove, "work"};
  request.force = true;
  (void)ask(request);
  type(30);
  EXPECT_TRUE(names().empty());
  EXPECT_THAT(refusal(Operation::start), HasSubstr("there is none; amphion create makes one"));
  reboot();
  EXPECT_TRUE(names().empty()) << "the configuration's are for a new phone";
  (void)create("work");
  (void)ask(Operation::start);
  type(31);
  EXPECT_EQ(live().received.size(), 2u) << "it has the focus";
}

TEST_F(Owner, WhatPowerCutsLeaveIsClearedAwayAtTheNextStart) {
  (void)create("notes");
  phone_.reset();
  {
    InstanceList list(link::real_files(), folder_.path() + "/instances.list");
    ASSERT_TRUE(list.open({}).ok());
    ASSERT_TRUE(list.change("notes", [](InstanceEntry& one) { one.whole = false; }).ok());
    ASSERT_TRUE(list.change("work",
                            [](InstanceEntry& one) {
                              one.last_snapshot = 1;
                              one.snapshots.push_back({1, "cut-off", 0, 0, 0, false});
                            })
                    .ok());
    fs::create_directories(path("work/snapshots"));
    std::ofstream(path("work/snapshots/1.ram")) << "half";
  }
  boot();
  EXPECT_EQ(names(), std::vector<std::string>{"work"});
  EXPECT_FALSE(fs::exists(path("notes")));
  EXPECT_FALSE(fs::exists(path("work/snapshots/1.ram")));
  EXPECT_TRUE(status()["snapshots"].empty());
}

// ---- Snapshots ----

TEST_F(Owner, ASnapshotBringsBackMemoryDiskAndState) {
  live().write(5, "then");
  live().state = "state of then";
  const json answer = ask(Operation::snapshot, "work", "before");
  EXPECT_EQ(answer["label"], "before");
  EXPECT_EQ(state(), "running");
  EXPECT_TRUE(live().running);
  EXPECT_FALSE(live().tracking);
  live().write(5, "now");
  live().write(6, "new");
  std::ofstream(path("work/disk0"), std::ios::binary | std::ios::in) << "changed";
  (void)ask(Operation::restore, "work", "before");
  EXPECT_EQ(state(), "running");
  EXPECT_EQ(live().loaded, "state of then");
  EXPECT_EQ(live().text(5), "then");
  EXPECT_EQ(live().text(6), "");
  EXPECT_EQ(contents(path("work/disk0")), std::string(8192, 't'));
  EXPECT_FALSE(live().booted);
  link::Records records(link::real_files(), folder_.path() + "/records", link::pb::SIDE_PHONE);
  EXPECT_EQ(records.load("work")->generation, 1u) << "no generation is ever gone back to";
  EXPECT_EQ(records.load("work")->saved, 0u);
  (void)ask(Operation::restore, "work", "before");
  EXPECT_EQ(live().text(5), "then") << "as often as wanted";
}

TEST_F(Owner, KeysTypedBeforeARestoreAreNotForTheRestored) {
  (void)ask(Operation::snapshot, "work", "before");
  type(30);
  (void)ask(Operation::restore, "work", "before");
  EXPECT_EQ(live().received_last, 2u);
  EXPECT_TRUE(live().received.empty());
  type(31);
  ASSERT_FALSE(live().received.empty());
  EXPECT_EQ(live().received.front().sequence, 3u);
}

TEST_F(Owner, AStoppedOneGoesOnFromASnapshotAlsoAfterAReboot) {
  live().write(5, "then");
  (void)ask(Operation::snapshot, "work", "before");
  (void)ask(Operation::stop);
  reboot();
  EXPECT_THAT(refusal(Operation::snapshot), HasSubstr("work is stopped, and a snapshot is of one that runs"));
  (void)ask(Operation::restore, "work", "before");
  EXPECT_EQ(live().text(5), "then");
  EXPECT_EQ(state(), "running");
}

TEST_F(Owner, SnapshotsHaveLabelsAndCanBeDeleted) {
  EXPECT_EQ(ask(Operation::snapshot)["label"], "snapshot-1");
  EXPECT_EQ(ask(Operation::snapshot, "work", "b")["label"], "b");
  EXPECT_THAT(refusal(Operation::snapshot, "work", "b"), HasSubstr("there is a snapshot b already"));
  EXPECT_THAT(refusal(Operation::snapshot, "work", "../b"), HasSubstr("a label is"));
  EXPECT_EQ(refusal(Operation::restore, "work", "c"), "work has no snapshot \"c\"; there are: snapshot-1, b");
  EXPECT_EQ(status()["snapshots"].size(), 2u);
  (void)ask(Operation::delete_snapshot, "work", "b");
  EXPECT_THAT(refusal(Operation::delete_snapshot, "work", "b"), HasSubstr("there are: snapshot-1"));
  EXPECT_FALSE(fs::exists(path("work/snapshots/2.ram")));
  EXPECT_TRUE(fs::exists(path("work/snapshots/1.ram")));
  for (std::size_t i = 1; i < max_snapshots; ++i) (void)ask(Operation::snapshot);
  EXPECT_THAT(refusal(Operation::snapshot), HasSubstr("it has 16 already"));
  EXPECT_EQ(state(), "running");
}

TEST_F(Owner, ASnapshotThatDoesNotFitTheBoundIsRefusedAndItGoesOn) {
  for (std::size_t page = 0; page < (40u << 20) / 4096; ++page) live().write(page, "full");
  (void)ask(Operation::snapshot, "work", "large");
  (void)set({{"bound_mib", 32}});
  EXPECT_THAT(refusal(Operation::restore, "work", "large"), HasSubstr("this phone gives it 32 MiB; amphion set work"));
  EXPECT_EQ(state(), "running");
  EXPECT_EQ(hypervisor_.count, 1);
}

// The image is complete and the record says so, and then power goes: the next start goes on from it.
TEST_F(Owner, ARestoreThatWasCutOffAfterItsRecordIsDoneAtTheNextStart) {
  live().write(5, "then");
  (void)ask(Operation::snapshot, "work", "before");
  phone_.reset();
  const SavedImage from(path("work/snapshots"), 1);
  SavedImage image(path("work"), 1);
  ASSERT_TRUE(image.take_over(from, {}).ok());
  link::Records records(link::real_files(), folder_.path() + "/records", link::pb::SIDE_PHONE);
  auto record = *records.load("work");
  record.saved = 1;
  ASSERT_TRUE(records.store(record).ok());
  boot();
  EXPECT_EQ(live().text(5), "then");
  EXPECT_EQ(live().loaded, "state");
  EXPECT_EQ(state(), "running");
}

// ---- Logs ----

TEST_F(Owner, LogsHoldWhatTheSerialPortSaid) {
  live().serial_input("Linux version 6\n");
  const Request request{Operation::logs, "work"};
  const auto view = phone_->open_logs(request);
  EXPECT_EQ(view->next(), "Linux version 6\n");
  EXPECT_EQ(view->next(), std::nullopt);
  EXPECT_THROW((void)phone_->open_logs({Operation::logs, "nobody"}), CommandError);
}

}  // namespace
}  // namespace amphion::phoned
