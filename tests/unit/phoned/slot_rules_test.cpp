// SPDX-License-Identifier: Apache-2.0
// Every command in every state.
#include "phone-side/phoned/slot_rules.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace amphion::phoned {
namespace {

constexpr std::array acts{Act::dock,     Act::undock,  Act::start,           Act::stop,  Act::reset, Act::set,
                          Act::snapshot, Act::restore, Act::delete_snapshot, Act::remove};

struct Row {
  SlotState state;
  // As in `acts`: y may, n may not, ! may with --force.
  std::string_view may;
};

constexpr std::array table{
    //                            dock undock start stop reset set snapshot restore delete remove
    Row{SlotState::starting, "nnnnnnnnnn"},      Row{SlotState::stopping, "nnnnnnnnnn"},
    Row{SlotState::snapshotting, "nnnnnnnnnn"},  Row{SlotState::restoring, "nnnnnnnnnn"},
    Row{SlotState::removing, "nnnnnnnnnn"},      Row{SlotState::docking, "nnnnnnnnnn"},
    Row{SlotState::undocking, "nnnnnnnnnn"},     Row{SlotState::running, "ynnyyyyyy!"},
    Row{SlotState::out_of_memory, "ynnyyyyyy!"}, Row{SlotState::off, "nnyynynyyy"},
    Row{SlotState::stopped, "nnynnynyyy"},       Row{SlotState::failed, "nnyynynyyy"},
    Row{SlotState::docked, "nynnnnnnn!"},        Row{SlotState::asking, "nnnnnnnnn!"},
};

TEST(SlotRules, TheTable) {
  for (const Row& row : table) {
    for (std::size_t i = 0; i < acts.size(); ++i) {
      const bool plain = !refusal(acts[i], row.state, "work", false);
      const bool forced = !refusal(acts[i], row.state, "work", true);
      EXPECT_EQ(plain, row.may[i] == 'y') << text(row.state) << ", act " << i;
      EXPECT_EQ(forced, row.may[i] != 'n') << text(row.state) << ", act " << i << " with force";
    }
  }
}

TEST(SlotRules, ARefusalSaysWhyAndWhatToDo) {
  using testing::HasSubstr;
  EXPECT_THAT(*refusal(Act::set, SlotState::docked, "work", false),
              HasSubstr("lives in the cloud; amphion undock work"));
  EXPECT_THAT(*refusal(Act::remove, SlotState::docked, "work", false), HasSubstr("--force gives up"));
  EXPECT_THAT(*refusal(Act::remove, SlotState::running, "work", false), HasSubstr("amphion stop work"));
  EXPECT_THAT(*refusal(Act::reset, SlotState::off, "work", false), HasSubstr("amphion start work"));
  EXPECT_EQ(*refusal(Act::dock, SlotState::docked, "work", false), "is already docked");
  EXPECT_EQ(*refusal(Act::start, SlotState::docking, "work", false), "is busy (docking); try again when that is done");
}

}  // namespace
}  // namespace amphion::phoned
