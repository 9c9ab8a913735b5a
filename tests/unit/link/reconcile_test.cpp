// SPDX-License-Identifier: Apache-2.0
// Reconciliation: every pair of claims. Both sides decide alone, and their decisions fit; the pairs that a hand-over
// can leave behind end with the instance in exactly one place.
#include "link/reconcile.hpp"

#include <gtest/gtest.h>

#include "link/memory_files.hpp"

namespace amphion::link {
namespace {

pb::Claim claim(std::uint64_t generation, Place place, std::uint64_t prepared) {
  pb::Claim out;
  out.set_instance("work");
  out.set_generation(generation);
  out.set_place(place);
  out.set_prepared(prepared);
  return out;
}

std::vector<pb::Claim> all_claims() {
  std::vector<pb::Claim> all;
  for (std::uint64_t generation = 0; generation <= 4; ++generation) {
    for (const Place place : {pb::SIDE_PHONE, pb::SIDE_CLOUD}) {
      for (const std::uint64_t prepared : {0, 2, 3, 4, 5}) all.push_back(claim(generation, place, prepared));
    }
  }
  return all;
}

bool has_it(Place side, const pb::Claim& mine, Verdict verdict) {
  switch (verdict) {
    case Verdict::agree:
    case Verdict::discard_prepared:
    case Verdict::leads:
      return mine.place() == side;
    case Verdict::take:
      return true;
    default:
      return false;
  }
}

TEST(Reconcile, NeverLeavesItInTwoPlaces) {
  for (const pb::Claim& phone : all_claims()) {
    for (const pb::Claim& cloud : all_claims()) {
      const Verdict at_phone = reconcile(pb::SIDE_PHONE, phone, &cloud);
      const Verdict at_cloud = reconcile(pb::SIDE_CLOUD, cloud, &phone);
      EXPECT_FALSE(has_it(pb::SIDE_PHONE, phone, at_phone) && has_it(pb::SIDE_CLOUD, cloud, at_cloud))
          << phone.generation() << phone.place() << phone.prepared() << " " << cloud.generation() << cloud.place()
          << cloud.prepared();
      const bool broken = at_phone == Verdict::lost || at_phone == Verdict::conflict || at_cloud == Verdict::lost ||
                          at_cloud == Verdict::conflict;
      EXPECT_TRUE(broken || has_it(pb::SIDE_PHONE, phone, at_phone) || has_it(pb::SIDE_CLOUD, cloud, at_cloud));
      EXPECT_EQ(at_phone == Verdict::take, at_cloud == Verdict::other_takes);
      EXPECT_EQ(at_phone == Verdict::other_takes, at_cloud == Verdict::take);
      EXPECT_EQ(at_phone == Verdict::leads, at_cloud == Verdict::follow);
    }
  }
}

struct Row {
  Place side;
  pb::Claim mine;
  pb::Claim theirs;
  Verdict verdict;
};

TEST(Reconcile, Table) {
  const Place phone = pb::SIDE_PHONE;
  const Place cloud = pb::SIDE_CLOUD;
  const std::vector<Row> rows{
      {phone, claim(1, phone, 0), claim(1, phone, 0), Verdict::agree},
      {cloud, claim(1, phone, 2), claim(1, phone, 0), Verdict::discard_prepared},  // broken off after Prepared
      {cloud, claim(0, phone, 2), claim(1, phone, 0), Verdict::follow},            // the same at its first dock
      {cloud, claim(0, phone, 2), claim(2, cloud, 0), Verdict::take},              // broken after the commit
      {phone, claim(2, cloud, 0), claim(0, phone, 2), Verdict::other_takes},
      {phone, claim(2, cloud, 0), claim(2, cloud, 0), Verdict::agree},
      {phone, claim(2, cloud, 3), claim(3, phone, 0), Verdict::take},
      {phone, claim(2, cloud, 3), claim(2, cloud, 0), Verdict::discard_prepared},
      {cloud, claim(3, phone, 0), claim(2, cloud, 3), Verdict::other_takes},
      {phone, claim(1, phone, 0), claim(3, cloud, 0), Verdict::follow},  // an old backup of the phone's record
      {cloud, claim(3, cloud, 0), claim(1, phone, 0), Verdict::leads},
      {phone, claim(3, cloud, 0), claim(2, phone, 0), Verdict::lost},
      {phone, claim(2, phone, 0), claim(2, cloud, 0), Verdict::conflict},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(reconcile(rows[i].side, rows[i].mine, &rows[i].theirs), rows[i].verdict) << "row " << i;
  }
  EXPECT_EQ(reconcile(phone, claim(1, phone, 0), nullptr), Verdict::agree);
  EXPECT_EQ(reconcile(phone, claim(2, cloud, 0), nullptr), Verdict::lost);
}

TEST(Reconcile, AppliesDurably) {
  MemoryFiles files;
  Records records(files, "/data", pb::SIDE_CLOUD);
  InstanceRecord record;
  record.instance = "work";
  record.prepared = 2;
  record.input_sequence = 9;
  ASSERT_TRUE(records.store(record).ok());
  ASSERT_TRUE(apply(Verdict::take, records, "work", claim(2, pb::SIDE_CLOUD, 0)));
  files.power_off();
  const InstanceRecord taken = *records.load("work");
  EXPECT_EQ(taken.place, pb::SIDE_CLOUD);
  EXPECT_EQ(taken.generation, 2u);
  EXPECT_EQ(taken.saved, 2u);
  EXPECT_EQ(taken.prepared, 0u);
  EXPECT_EQ(start_decision(pb::SIDE_CLOUD, taken), StartDecision::start_saved);
  EXPECT_FALSE(apply(Verdict::take, records, "work", claim(3, pb::SIDE_CLOUD, 0)));
}

TEST(Reconcile, StartDecisions) {
  InstanceRecord record;
  record.place = pb::SIDE_PHONE;
  EXPECT_EQ(start_decision(pb::SIDE_PHONE, record), StartDecision::cold_boot);
  EXPECT_EQ(start_decision(pb::SIDE_CLOUD, record), StartDecision::elsewhere);
  record.saved = 2;
  EXPECT_EQ(start_decision(pb::SIDE_PHONE, record), StartDecision::start_saved);
  record.place = pb::SIDE_CLOUD;
  record.prepared = 3;
  EXPECT_EQ(start_decision(pb::SIDE_PHONE, record), StartDecision::ask);
}

}  // namespace
}  // namespace amphion::link
