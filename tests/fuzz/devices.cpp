// SPDX-License-Identifier: Apache-2.0
// The device model against a guest that writes any register, any ring, and the rings again while they are served; and
// against saved states. What it saves at any time is a valid state.
#include "machine/cold_start.hpp"
#include "machine/envelope.hpp"
#include "machine/validate.hpp"
#include "tests/fuzz/driver.hpp"
#include "tests/unit/devices/world.hpp"

namespace amphion::fuzz {
namespace {

using devices::testing::Driver, devices::testing::World;
using machine::VirtioSlot;

constexpr machine::Shape shape{1, machine::min_memory_bytes};
constexpr std::uint32_t queues = 6;

machine::InstanceState cold() { return machine::cold_state(shape, 62'500'000, (1u << 20) / 512); }

machine::InstanceState saved(const World& world) {
  machine::InstanceState state = cold();
  world.model.save(state);
  const auto problem = machine::validate(state);
  require(!problem, problem ? problem->c_str() : "");
  return state;
}

class Guest {
 public:
  explicit Guest(Random& random) : random_(random) {
    for (const auto slot : {VirtioSlot::disk0, VirtioSlot::network, VirtioSlot::console, VirtioSlot::keyboard,
                            VirtioSlot::entropy, VirtioSlot::balloon}) {
      drivers_.emplace_back(world, slot);
    }
    for (auto& driver : drivers_) driver.start();
    world.memory.after_store16 = [this](std::uint64_t) { other_vcpu(); };
  }
  void step() {
    switch (random_.below(12)) {
      case 0:
        return write_register();
      case 1:
        return write_anywhere();
      case 2:
        return host();
      case 3:
        return start_again();
      case 4:
        return move();
      default:
        fill(driver());
        return ring();
    }
  }

  World world;

 private:
  Driver& driver() { return random_.one_of(drivers_); }
  std::uint64_t address() {
    if (random_.one_in(40)) return std::uint64_t{random_.edge()} << 32 | random_.edge();
    if (random_.one_in(40)) return machine::ram_base + (2u << 20) - random_.below(64);
    return Driver::buffers + random_.below(0x8000);
  }

  void fill(Driver& d) {
    const std::uint32_t n = random_.below(queues);
    for (int i = 0; i < 6; ++i) {
      const std::uint32_t bytes = random_.one_in(30) ? random_.edge() : random_.below(2048);
      const auto flags = static_cast<std::uint16_t>(random_.one_in(60) ? random_() : random_.below(4));
      const std::uint32_t limit = random_.one_in(60) ? 128 : Driver::size;
      d.put_desc(n, random_.below(Driver::size), address(), bytes, flags,
                 static_cast<std::uint16_t>(random_.below(limit)));
    }
    for (int i = 0; i < 16; ++i) {
      world.memory.put<std::uint32_t>(Driver::buffers + 4ull * random_.below(0x2000), random_.below(10));
    }
    d.offer(n, static_cast<std::uint16_t>(random_.one_in(60) ? random_() : random_.below(Driver::size)));
    if (random_.one_in(40)) world.memory.put<std::uint16_t>(d.avail(n) + 2, static_cast<std::uint16_t>(random_()));
  }
  void ring() {
    world.model.ring(random_.below(machine::virtio_slots + 1), random_.one_in(20) ? random_() : random_.below(64));
  }

  // Between two of the device's own accesses. Not for ever: it would never come back.
  void other_vcpu() {
    if (random_.below(8) == 0 && meanwhile_ < 2000) ++meanwhile_, fill(driver());
  }

  void write_register() {
    using namespace devices::testing;
    static constexpr std::array<std::uint32_t, 14> registers{m_features_sel,
                                                             m_driver_features,
                                                             m_driver_features_sel,
                                                             m_queue_sel,
                                                             m_queue_num,
                                                             m_queue_ready,
                                                             m_status,
                                                             m_desc,
                                                             m_driver,
                                                             m_device,
                                                             m_config,
                                                             m_config + 4,
                                                             m_desc + 4,
                                                             m_device + 4};
    driver().write(random_.one_of(registers), random_.one_in(2) ? random_.edge() : random_.below(16));
  }
  void write_anywhere() {
    const std::uint32_t base = random_.one_in(3) ? machine::pcie_ecam.base : machine::virtio.base;
    const std::uint32_t at = (random_.one_in(8) ? machine::devices.base : base) + random_.below(0x4000);
    const std::uint32_t bytes = 1u << random_.below(3);
    world.model.write(at, bytes, random_.edge());
    static_cast<void>(world.model.read(at, bytes));
  }
  void host() {
    const std::array<std::byte, 5> hello{};
    static_cast<void>(world.model.console().send(random_.below(2), hello));
    static_cast<void>(world.model.keyboard().offer({++typed_, 1, 30, 1}));
    world.model.balloon().set_target(random_.below(shape.memory_bytes / machine::page_bytes));
    world.memory.refuse_writes = random_.one_in(20);
    world.disk.fail = random_.one_in(10);
  }
  void start_again() {
    Driver& d = driver();
    for (std::uint32_t q = 0; q < queues; ++q) world.memory.put<std::uint16_t>(d.avail(q) + 2, 0);
    d.start();
  }
  void move() {
    const machine::InstanceState state = saved(world);
    if (random_.one_in(4)) world.model.reset();
    world.model.restore(state);
    machine::InstanceState again = saved(world);
    require(again.virtio_size() == state.virtio_size(), "a device was lost on the way");
    for (int i = 0; i < again.virtio_size(); ++i) {
      require(again.virtio(i).queues_size() == state.virtio(i).queues_size(), "a queue was lost on the way");
    }
  }

  Random& random_;
  std::vector<Driver> drivers_;
  std::uint64_t typed_ = 0;
  std::uint32_t meanwhile_ = 0;
};

}  // namespace

void devices(Random& random) {
  Guest guest(random);
  for (std::uint32_t n = 20 + random.below(80); n != 0; --n) guest.step();
  static_cast<void>(saved(guest.world));
  for (const auto& [first, pages] : guest.world.discarded) {
    require(first < (2u << 20) / machine::page_bytes && pages <= (2u << 20) / machine::page_bytes - first,
            "the balloon took pages outside of memory");
  }
}

// Bytes that claim to be a state: refused, or a device model can live with them.
void states(Random& random) {
  machine::InstanceState state = cold();
  std::string body;
  for (auto& device : *state.mutable_virtio()) {
    for (auto& queue : *device.mutable_queues()) {
      if (random.one_in(2)) continue;
      queue.set_size(1u << random.below(8));
      queue.set_ready(random.one_in(2));
      queue.set_desc(machine::ram_base + 16ull * random.below(0x20000));
      queue.set_driver(machine::ram_base + 2ull * random.below(0x100000));
      queue.set_device(machine::ram_base + 4ull * random.below(0x80000));
      queue.set_last_avail(random.below(0x10000));
      queue.set_used(random.below(0x10000));
    }
    device.set_status(random.below(128));
  }
  state.SerializeToString(&body);
  if (random.one_in(2)) mutate(body, random);
  machine::InstanceState changed;
  if (changed.ParseFromString(body) && !machine::validate(changed)) {
    World world;
    world.model.restore(changed);
    for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) world.model.ring(slot, ~0u);
    static_cast<void>(world.model.keyboard().offer({~0ull, 1, 30, 1}));
    machine::InstanceState again = changed;
    world.model.save(again);
    const auto problem = machine::validate(again);
    require(!problem, problem ? problem->c_str() : "");
  }
  std::string envelope = machine::seal(state);
  mutate(envelope, random);
  machine::InstanceState opened;
  if (!machine::open_envelope(envelope, opened)) require(!machine::validate(opened), "an invalid state was let in");
}

}  // namespace amphion::fuzz
