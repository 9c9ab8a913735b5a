// SPDX-License-Identifier: Apache-2.0
// Records, hash lists and the envelope: durable at every point of failure, damaged or unknown ones are refused.
#include "link/records.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "link/memory_files.hpp"

namespace amphion::link {
namespace {

InstanceRecord record_of(std::uint64_t generation) {
  InstanceRecord record;
  record.instance = "work";
  record.shape = {4, 512u << 20};
  record.generation = record.attempt = generation;
  record.place = pb::SIDE_CLOUD;
  record.saved = 3;
  record.input_sequence = 77;
  return record;
}

TEST(Records, KeepWhatIsStored) {
  MemoryFiles files;
  Records records(files, "/data", pb::SIDE_PHONE);
  EXPECT_EQ(records.load("work").error().code, ErrorCode::not_found);
  ASSERT_TRUE(records.store(record_of(5)).ok());
  files.power_off();
  EXPECT_EQ(*records.load("work"), record_of(5));
  EXPECT_EQ(records.list()->size(), 1u);
  EXPECT_EQ((*records.claims())[0].generation(), 5u);
}

TEST(Records, AreOldOrNewWhateverFails) {
  for (int at = 0;; ++at) {
    MemoryFiles files;
    Records records(files, "/data", pb::SIDE_PHONE);
    ASSERT_TRUE(records.store(record_of(5)).ok());
    files.fail_after(at);
    const bool stored = records.store(record_of(6)).ok();
    files.power_off();
    const auto loaded = records.load("work");
    ASSERT_TRUE(loaded) << loaded.error().text;
    EXPECT_TRUE(*loaded == record_of(5) || *loaded == record_of(6));
    if (!stored) continue;
    EXPECT_EQ(*loaded, record_of(6));
    EXPECT_GE(at, 4);
    break;
  }
}

TEST(Records, RefuseDamageAndUnknownVersions) {
  MemoryFiles files;
  Records records(files, "/data", pb::SIDE_PHONE);
  ASSERT_TRUE(records.store(record_of(5)).ok());
  const std::string good = *files.read("/data/work.record", 10000);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x40);
    ASSERT_TRUE(write_durably(files, "/data/work.record", bad).ok());
    const auto loaded = records.load("work");
    ASSERT_FALSE(loaded) << i;
    EXPECT_EQ(loaded.error().code, i >= 4 && i < 8 ? ErrorCode::version : ErrorCode::damaged) << i;
    EXPECT_NE(loaded.error().text.find("/data/work.record"), std::string::npos);
  }
  ASSERT_TRUE(write_durably(files, "/data/work.record", good.substr(0, 30)).ok());
  EXPECT_EQ(records.load("work").error().code, ErrorCode::damaged);
}

TEST(Records, RefuseImpossibleNames) {
  for (const char* name : {"", "Work", "a/b", "..", "a.b", "123456789012345678901234567890123"}) {
    EXPECT_FALSE(valid_instance_name(name)) << name;
  }
  EXPECT_TRUE(valid_instance_name("work-2"));
}

TEST(Records, UseASavedImageOnce) {
  MemoryFiles files;
  Records records(files, "/data", pb::SIDE_PHONE);
  ASSERT_TRUE(records.store(record_of(5)).ok());
  EXPECT_EQ(*use_saved(records, "work"), 3u);
  files.power_off();
  EXPECT_EQ(*use_saved(records, "work"), 0u);
}

TEST(Records, WorkOnRealFiles) {
  char name[] = "/tmp/amphion-records-XXXXXX";
  const std::string folder = ::mkdtemp(name);
  Records records(real_files(), folder, pb::SIDE_PHONE);
  ASSERT_TRUE(records.store(record_of(5)).ok());
  EXPECT_EQ(*records.load("work"), record_of(5));
  HashList list({{pb::REGION_MEMORY, 1000}});
  list.set(pb::REGION_MEMORY, 999, sha256({}));
  ASSERT_TRUE(records.store_hashes("work", 4, list).ok());
  ASSERT_TRUE(records.store_hashes("work", 5, list).ok());
  records.drop_hashes("work", 5);
  EXPECT_FALSE(records.load_hashes("work", 4));
  EXPECT_EQ(records.load_hashes("work", 5)->digest(), list.digest());
  ASSERT_TRUE(records.remove("work").ok());
  EXPECT_EQ(records.list()->size(), 0u);
  std::filesystem::remove_all(folder);
}

TEST(HashLists, DigestNamesTheContents) {
  HashList a({{pb::REGION_MEMORY, 1000}, {pb::REGION_DISK0, 300}});
  HashList b({{pb::REGION_MEMORY, 1000}, {pb::REGION_DISK0, 300}});
  EXPECT_EQ(a.digest(), b.digest());
  a.set(pb::REGION_DISK0, 299, sha256({}));
  EXPECT_NE(a.digest(), b.digest());
  b = a.clone();
  EXPECT_EQ(a.digest(), b.digest());
  a.set(pb::REGION_DISK0, 299, zero_hash);  // a chunk of zeros and no chunk are the same
  EXPECT_EQ(a.digest(), HashList({{pb::REGION_MEMORY, 1000}, {pb::REGION_DISK0, 300}}).digest());
  EXPECT_FALSE(a.contains(pb::REGION_DISK0, 300));
  EXPECT_FALSE(a.contains(pb::REGION_DISK1, 0));
  const auto parsed = HashList::parse(b.serialize());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->digest(), b.digest());
  EXPECT_FALSE(HashList::parse(b.serialize() + "x"));
  EXPECT_FALSE(HashList::parse(b.serialize().substr(0, 100)));
}

}  // namespace
}  // namespace amphion::link
