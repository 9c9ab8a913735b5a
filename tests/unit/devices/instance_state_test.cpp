// SPDX-License-Identifier: Apache-2.0
// An instance's saved state: round trips, and states that are another's.
#include "machine/validate.hpp"
#include "tests/unit/devices/instance_world.hpp"

namespace amphion::instance {
namespace {

TEST_F(InstanceTest, StateRoundTrips) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  fake->counter = 12345;
  fake->vcpus[1].r[3] = 77;
  fake->gic.spi[10] = {AMPHION_LINE_ENABLED | AMPHION_LINE_EDGE, 0xa0, 1, 0};
  fake->uart.imsc = 0x30;
  fake->uart.fifo[0] = 'q';
  fake->uart.received = 1;
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  EXPECT_EQ(machine::validate(state), std::nullopt);
  EXPECT_EQ(state.counter(), 12345u);
  EXPECT_EQ(state.vcpus(1).r(3), 77u);

  make();  // another one
  ASSERT_EQ(instance->restore(state), Problem{});
  EXPECT_EQ(fake->counter, 12345u);
  EXPECT_EQ(fake->gic.spi[10].priority, 0xa0);
  EXPECT_EQ(fake->uart.imsc, 0x30u);
  EXPECT_EQ(fake->uart.fifo[0], 'q');
  machine::InstanceState again;
  ASSERT_EQ(instance->save(again), Problem{});
  EXPECT_EQ(again.SerializeAsString(), state.SerializeAsString());
}

TEST_F(InstanceTest, RefusesTheStateOfAnother) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  auto other = state;
  other.set_counter_frequency(24'000'000);
  EXPECT_EQ(*instance->restore(other), "the saved state's counter runs at 24000000 Hz, this board's at 62500000");
  other = state;
  other.mutable_shape()->set_memory_bytes(128u << 20);
  EXPECT_TRUE(instance->restore(other).has_value());
  other = state;
  other.mutable_virtio(0)->mutable_blk()->set_capacity_sectors(5);
  EXPECT_EQ(*instance->restore(other), "the saved state is of an instance with a disk of another size");
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_TRUE(instance->save(state).has_value());
  EXPECT_TRUE(instance->restore(state).has_value());
}

TEST_F(InstanceTest, RefusesTheStateOfAnotherAddress) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  state.mutable_virtio(1)->mutable_network()->mutable_mac()->at(4) ^= 1;
  EXPECT_EQ(instance->restore(state), Problem("the saved state is of an instance with another network address"));
}

}  // namespace
}  // namespace amphion::instance
