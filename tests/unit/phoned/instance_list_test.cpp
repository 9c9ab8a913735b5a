// SPDX-License-Identifier: Apache-2.0
// The list of instances: what it takes and refuses, and that it is the old one or the new one wherever power goes or
// the disk fails.
#include "phone-side/phoned/instance_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "link/memory_files.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

constexpr char file[] = "/data/instances.list";

InstanceEntry entry(const std::string& name) {
  InstanceEntry one;
  one.config = fakes::small_instance(name, "/template");
  one.whole = true;
  return one;
}

link::Status anybody(const std::vector<InstanceEntry>&) { return {}; }

std::vector<std::string> names(const InstanceList& list) {
  std::vector<std::string> all;
  for (const InstanceEntry& one : list.entries()) all.push_back(one.config.name);
  return all;
}

std::vector<std::string> stored(link::MemoryFiles& files) {
  InstanceList list(files, file);
  const auto opened = list.open({});
  EXPECT_TRUE(opened.ok()) << opened.error().text;
  return names(list);
}

TEST(InstanceList, TheConfigurationsAreTakenOverOnce) {
  link::MemoryFiles files;
  InstanceList list(files, file);
  ASSERT_TRUE(list.open({fakes::small_instance("personal"), fakes::small_instance("work")}).ok());
  EXPECT_EQ(list.find("work")->number, 1u);
  EXPECT_TRUE(list.find("work")->whole);
  ASSERT_TRUE(list.remove("work").ok());
  InstanceList again(files, file);
  ASSERT_TRUE(again.open({fakes::small_instance("personal"), fakes::small_instance("work")}).ok());
  EXPECT_EQ(names(again), std::vector<std::string>{"personal"});
}

TEST(InstanceList, EverythingOfAnEntryIsKept) {
  link::MemoryFiles files;
  InstanceList list(files, file);
  ASSERT_TRUE(list.open({}).ok());
  InstanceEntry one = entry("work");
  one.config.initrd = "/initrd";
  one.config.cmdline = "console=ttyAMA0 \"quoted\" \xc3\xa4";
  one.config.disk_bytes = 128u << 20;
  one.stopped = true;
  one.last_snapshot = 7;
  one.snapshots = {{7, "before", 1790000000, 40u << 20, 12u << 20, true}, {6, "cut off", -5, 0, 0, false}};
  ASSERT_TRUE(list.add(one, anybody).ok());
  files.power_off();
  InstanceList again(files, file);
  ASSERT_TRUE(again.open({}).ok());
  const auto back = again.find("work");
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(back->config), to_json(one.config));
  EXPECT_EQ(back->stopped, true);
  EXPECT_EQ(back->last_snapshot, 7u);
  EXPECT_EQ(back->snapshots, one.snapshots);
  EXPECT_NE(back->snapshot("before"), nullptr);
  EXPECT_EQ(back->snapshot("cut off"), nullptr) << "it is not whole";
}

// From before the name was the phone's own Linux's.
TEST(InstanceList, OneNamedHostIsKept) {
  link::MemoryFiles files;
  InstanceList list(files, file);
  ASSERT_TRUE(list.open({}).ok());
  ASSERT_TRUE(list.add(entry("host"), anybody).ok());
  EXPECT_EQ(stored(files), std::vector<std::string>{"host"});
}

TEST(InstanceList, NumbersAreTheLowestThatAreFree) {
  link::MemoryFiles files;
  InstanceList list(files, file);
  ASSERT_TRUE(list.open({}).ok());
  for (std::size_t i = 0; i < max_instances; ++i) {
    EXPECT_EQ(list.add(entry("i" + std::to_string(i)), anybody)->number, i);
  }
  EXPECT_THAT(list.add(entry("ninth"), anybody).error().text, testing::HasSubstr("at most 8 instances"));
  ASSERT_TRUE(list.remove("i3").ok());
  EXPECT_EQ(list.find("i7")->number, 7u) << "the others keep theirs";
  EXPECT_EQ(list.add(entry("ninth"), anybody)->number, 3u);
  EXPECT_THAT(list.add(entry("i7"), anybody).error().text, testing::HasSubstr("there is an instance i7 already"));
}

TEST(InstanceList, WhoRefusesSeesTheOthersAndNothingChanges) {
  link::MemoryFiles files;
  InstanceList list(files, file);
  ASSERT_TRUE(list.open({fakes::small_instance("personal"), fakes::small_instance("work")}).ok());
  const auto refuse = [](const std::vector<InstanceEntry>& others) {
    return link::Status(link::ErrorCode::no_space, std::to_string(others.size()) + " others");
  };
  EXPECT_EQ(list.add(entry("third"), refuse).error().text, "2 others");
  const auto stop = [](InstanceEntry& one) { one.stopped = true; };
  EXPECT_EQ(list.change("work", stop, refuse).error().text, "1 others");
  EXPECT_FALSE(list.find("work")->stopped);
  EXPECT_EQ(list.change("nobody", stop).error().code, link::ErrorCode::not_found);
}

TEST(InstanceList, PowerCutAtEachWriteLeavesTheOldOrTheNew) {
  using Change = std::function<link::Status(InstanceList&)>;
  const std::vector<std::pair<Change, std::vector<std::string>>> changes{
      {[](InstanceList& list) {
         auto added = list.add(entry("third"), anybody);
         return added.ok() ? link::Status() : link::Status(added.error());
       },
       {"personal", "work", "third"}},
      {[](InstanceList& list) { return list.remove("work"); }, {"personal"}}};
  const std::vector<std::string> before{"personal", "work"};
  for (const auto& [change, after] : changes) {
    bool done = false;
    for (int at = 0; !done; ++at) {
      link::MemoryFiles files;
      InstanceList list(files, file);
      ASSERT_TRUE(list.open({fakes::small_instance("personal"), fakes::small_instance("work")}).ok());
      files.fail_after(at);
      done = change(list).ok();
      EXPECT_EQ(names(list), done ? after : before) << "in memory, at " << at;
      files.power_off();
      const auto left = stored(files);
      EXPECT_TRUE(left == after || (!done && left == before)) << "at " << at;
      ASSERT_LT(at, 50);
    }
  }
}

TEST(InstanceList, DamageIsSaidAndNothingIsGuessed) {
  const auto error_of = [](const std::string& contents) {
    link::MemoryFiles files;
    EXPECT_TRUE(link::write_durably(files, file, contents).ok());
    InstanceList list(files, file);
    const auto status = list.open({fakes::small_instance("work")});
    return status.ok() ? "no error" : status.error().text;
  };
  const auto sealed = [](const std::string& body) { return link::seal("AmIn", 1, body); };
  EXPECT_THAT(error_of(""), testing::HasSubstr("truncated"));
  EXPECT_THAT(error_of("rubbish"), testing::HasSubstr("truncated"));
  EXPECT_THAT(error_of(link::seal("AmIn", 2, "{}")), testing::HasSubstr("format version 2"));
  std::string torn = sealed(R"({"instances": []})");
  torn.back() = 'x';
  EXPECT_THAT(error_of(torn), testing::HasSubstr("damaged"));
  for (const char* body :
       {"", "[]", "{", R"({"instances": 1})", R"({"instances": [1]})", R"({"instances": [{}]})",
        R"({"instances": [{"instance": {"name": "../x", "kernel": "k"}, "number": 0, "stopped": false,
                               "whole": true, "last_snapshot": 0, "snapshots": []}]})",
        R"({"instances": [{"instance": {"name": "x", "kernel": "k"}, "number": 8, "stopped": false,
                               "whole": true, "last_snapshot": 0, "snapshots": []}]})",
        R"({"instances": [{"instance": {"name": "x", "kernel": "k"}, "number": 0, "stopped": "no",
                               "whole": true, "last_snapshot": 0, "snapshots": []}]})"}) {
    EXPECT_THAT(error_of(sealed(body)), testing::HasSubstr("is no list of instances")) << body;
  }
}

TEST(Labels, AreFileAndShellFriendly) {
  for (const char* good : {"a", "before-update_2.1", "2026"}) EXPECT_TRUE(valid_label(good)) << good;
  for (const char* bad : {"", "-a", ".a", "a b", "a/b", "\xc3\xa4", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_FALSE(valid_label(bad)) << bad;
  }
}

}  // namespace
}  // namespace amphion::phoned
