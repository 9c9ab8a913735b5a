// SPDX-License-Identifier: Apache-2.0
// Random operations on the scheduler and on a naive one, which must agree after each.
#include "tests/unit/sched/naive.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/sched/machine.hpp"
#include "tests/unit/sched/seed.hpp"

namespace amphion::sched {
namespace {

class Twins {
 public:
  Twins(uint32_t cpus, Random& random, uint64_t origin) : random_(random), cpus_(cpus) {
    const uint32_t count = 1 + random.below(40);
    parts_ = std::make_unique<Parts>(cpus, count);
    for (uint32_t cpu = 0; cpu < cpus; ++cpu) parts_->queue(cpu).minimum_vt = origin;
    origin_ = origin;
    naive_.entities.resize(count);
    naive_.queues.resize(cpus);
    for (uint32_t first = 0; first < count;) {
      const uint32_t siblings = std::min(count - first, 1 + random.below(8)), weight_log2 = random.below(4) / 2;
      for (uint32_t id = first; id < first + siblings; ++id) {
        const uint32_t cpu = random.below(cpus);
        const uint32_t allowed = random.one_in(6) ? 1u << cpu | random.below(256) : ~0u;
        parts_->scheduler.create(id, first, siblings, static_cast<uint8_t>(cpu), weight_log2, allowed);
        NaiveEntity& e = naive_.entities[id];
        e.cpu = cpu, e.first_sibling = first, e.siblings = siblings, e.weight = 1u << weight_log2, e.allowed = allowed;
      }
      first += siblings;
    }
    tune();
  }

  void step() {
    now_ += random_.below(3000);
    const uint32_t id = random_.below(static_cast<uint32_t>(naive_.entities.size())), cpu = random_.below(cpus_);
    NaiveEntity& e = naive_.entities[id];
    Scheduler& scheduler = parts_->scheduler;
    ASSERT_EQ(scheduler.has_arrived(id, e.cpu), !e.away);
    switch (random_.below(16)) {
      case 0:
      case 1: {
        const bool known = random_.one_in(2);
        scheduler.wake(id, now_, known ? cpu : none);
        naive_.wake(id, known ? std::optional(cpu) : std::nullopt);
        break;
      }
      case 2:
        if (e.away) return;
        scheduler.block(id, now_);
        naive_.block(id);
        break;
      case 3:
        if (!e.away) charge(id);
        break;
      case 4:
        scheduler.yield(id);
        naive_.yield(id);
        break;
      case 5:
        scheduler.prefer(id);
        naive_.prefer(id);
        break;
      case 6:
        scheduler.arrive(cpu, now_);
        naive_.arrive(cpu);
        break;
      case 7:
        if (random_.one_in(50)) tune();
        break;
      default:
        if (naive_.queues[cpu].keep) charge(*naive_.queues[cpu].running);
        pick(cpu);
    }
  }

  void compare() {
    ASSERT_EQ(parts_->scheduler.broken(), nullptr);
    for (uint32_t id = 0; id < naive_.entities.size(); ++id) {
      const NaiveEntity& e = naive_.entities[id];
      const Entity& real = parts_->entities[id];
      const Place place = real.place();
      ASSERT_EQ(place.cpu, e.cpu) << id;
      ASSERT_EQ(place.life, e.life) << id;
      ASSERT_EQ(place.ordinate, e.ordinate) << id;
      ASSERT_EQ(real.away, e.away) << id;
      ASSERT_EQ(static_cast<int64_t>(real.node.key - (e.away ? 0 : origin_)), e.key) << id;
      ASSERT_EQ(real.tag.load(), e.tag) << id;
    }
    for (uint32_t cpu = 0; cpu < cpus_; ++cpu) {
      ASSERT_EQ(static_cast<int64_t>(parts_->queue(cpu).minimum_vt - origin_), naive_.queues[cpu].reached);
      ASSERT_EQ(parts_->queue(cpu).load(), naive_.load(cpu));
    }
  }
  [[nodiscard]] uint64_t lends() {
    uint64_t sum = 0;
    for (const Entity& entity : parts_->entities) sum += entity.statistics.lends;
    return sum;
  }

 private:
  void tune() {
    Naive::Settings& s = naive_.settings;
    s.policy = random_.one_in(2) ? "sbco" : policies[random_.below(policies.size())]->name;
    s.latency = 6000 + random_.below(20000);
    s.granularity = 1000 + random_.below(4000);
    s.threshold = random_.below(SBCO_THRESHOLD_ONE + 1);
    s.hand_over = !random_.one_in(4);
    parts_->tuning.policy = policy_named(s.policy);
    parts_->tuning.latency_ticks = static_cast<uint32_t>(s.latency);
    parts_->tuning.granularity_ticks = static_cast<uint32_t>(s.granularity);
    parts_->tuning.threshold = s.threshold;
    parts_->tuning.hand_over = s.hand_over;
  }
  void charge(uint32_t id) {
    const uint32_t ticks = random_.below(random_.one_in(40) ? 200'000 : 3000);
    parts_->scheduler.charge(id, ticks);
    naive_.charge(id, ticks);
  }
  void pick(uint32_t cpu) {
    const Turn turn = parts_->scheduler.pick(cpu, now_);
    const auto [id, ticks] = naive_.pick(cpu);
    ASSERT_EQ(turn.id, id.value_or(none));
    ASSERT_EQ(turn.ticks, static_cast<uint64_t>(ticks));
    ASSERT_EQ(parts_->scheduler.take_kicks(cpu), naive_.take_kicks(cpu));
  }

  Random& random_;
  uint32_t cpus_;
  std::unique_ptr<Parts> parts_;
  Naive naive_;
  uint64_t now_ = 0, origin_ = 0;
};

constexpr uint64_t century = uint64_t{100} * 365 * 86400 * 1'000'000'000;

TEST(Naive, AgreesAfterEachOperation) {
  Random random(1);
  uint64_t lends = 0;
  for (int machine = 0; machine < 120; ++machine) {
    // Also where virtual time is after 100 years, and where it wraps around.
    const uint64_t origins[] = {0, century, ~uint64_t{0} - 1'000'000, (uint64_t{1} << 63) - 1'000'000};
    Twins twins(1 + random.below(8), random, origins[machine % 4]);
    for (int step = 0; step < 3000; ++step) {
      ASSERT_NO_FATAL_FAILURE(twins.step()) << "machine " << machine << " step " << step;
      ASSERT_NO_FATAL_FAILURE(twins.compare()) << "machine " << machine << " step " << step;
    }
    lends += twins.lends();
  }
  EXPECT_GT(lends, 1000u);  // it was about something
}

}  // namespace
}  // namespace amphion::sched
