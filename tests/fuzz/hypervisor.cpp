// SPDX-License-Identifier: Apache-2.0
// The hypervisor's own parsers and devices. Its memory and the order of its interrupts have naive models in
// tests/unit/hyp.
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "hyp/bundle.hpp"
#include "hyp/uart.hpp"
#include "hyp/vgic.hpp"
#include "hyp/virtio_slots.hpp"
#include "tests/fuzz/driver.hpp"
#include "tests/unit/hyp/fakes.hpp"

namespace amphion::fuzz {
namespace {

using namespace hyp;

constexpr std::uint64_t mib = 1u << 20;

bool inside(const BundleHeader& header, const BundleItem& item) {
  const std::uint64_t in_bundle = std::uint64_t{item.offset} + item.bytes, in_host = item.load + item.bytes;
  return in_bundle <= header.total_bytes && item.load >= header.host.base &&
         in_host <= header.host.base + header.host.bytes;
}

template <typename T>
void mutate_words(T& value, Random& random) {
  static_assert(sizeof(T) % 4 == 0);
  for (std::uint32_t n = random.below(5); n != 0; --n) {
    const std::uint32_t word = random.edge();
    std::memcpy(reinterpret_cast<char*>(&value) + 4 * random.below(sizeof(T) / 4), &word, 4);
  }
}

// The state as it is got is set again by another, and got the same.
void move(Vgic& from, Vgic& to) {
  auto state = std::make_unique<amphion_gic>(), again = std::make_unique<amphion_gic>();
  from.get(*state);
  require(to.set(*state) == Vgic::Status::ok, "a GIC's own state is accepted");
  to.get(*again);
  require(std::memcmp(state.get(), again.get(), sizeof *state) == 0, "a GIC's state goes on elsewhere as it is");
}

// With many lines enabled, for any of the vCPUs.
std::unique_ptr<Vgic> busy_gic(std::uint32_t vcpus, std::uint32_t lists, Random& random) {
  auto vgic = std::make_unique<Vgic>();
  vgic->init(vcpus, lists, nullptr);
  auto state = std::make_unique<amphion_gic>();
  vgic->get(*state);
  state->gicd_ctlr = 3;
  for (std::uint32_t v = 0; v < vcpus; ++v) state->cpu[v].ctlr = 3, state->cpu[v].pmr = 0xf8;
  for (std::uint32_t i = 0; i < 16; ++i) {
    state->spi[i].flags |= AMPHION_LINE_ENABLED;
    state->spi[i].priority = static_cast<std::uint8_t>(16 * random.below(8));
    state->spi[i].targets = static_cast<std::uint8_t>(1u << random.below(vcpus));
  }
  require(vgic->set(*state) == Vgic::Status::ok, "a good state is accepted");
  return vgic;
}

// What a CPU does with its vCPU: exits for distributor accesses, and enters again.
void run_vcpu(Vgic& vgic, std::uint32_t vcpu, Random random) {
  constexpr std::array<std::uint32_t, 6> blocks{0x100, 0x180, 0x200, 0x280, 0x300, 0x380};
  for (std::uint32_t n = 500; n != 0; --n) {
    vgic.flush(vcpu);
    static_cast<void>(vgic.sync(vcpu));
    const std::uint32_t line = 32 + random.below(16);
    switch (random.below(4)) {
      case 0:
        static_cast<void>(vgic.write(vcpu, 0xf00, 4, random.below(16) << 16 | random.below(16)));
        break;
      case 1:
        static_cast<void>(vgic.write(vcpu, 0x800 + line, 1, 1u << random.below(4)));
        break;
      default:
        static_cast<void>(vgic.write(vcpu, random.one_of(blocks) + line / 8, 1, 1u << line % 8));
    }
  }
}

}  // namespace

void hypervisor_bundle(Random& random) {
  constexpr std::uint32_t item = 64;
  BundleHeader header{.magic = bundle_magic,
                      .version = bundle_version,
                      .crc32 = 0,
                      .total_bytes = sizeof(BundleHeader) + 3 * item,
                      .header_bytes = sizeof(BundleHeader),
                      .host = {0x4800'0000, 256 * mib},
                      .pool = {{{0x4040'0000, 124 * mib}, {0x5800'0000, 640 * mib}, {0, 0}, {0, 0}}},
                      .kernel = {sizeof(BundleHeader), item, 0x4a00'0000},
                      .initrd = {sizeof(BundleHeader) + item, item, 0x4e00'0000},
                      .dtb = {sizeof(BundleHeader) + 2 * item, item, 0x4d00'0000},
                      .sched = {}};
  mutate_words(header, random);
  std::vector<std::uint8_t> bytes(sizeof header + 3 * item, 0x5a);  // exactly: one byte further is found
  std::memcpy(bytes.data(), &header, sizeof header);
  if (header.total_bytes >= bundle_crc_from && header.total_bytes <= bytes.size()) {
    header.crc32 = bundle_crc32(bytes.data() + bundle_crc_from, header.total_bytes - bundle_crc_from);
  }
  std::memcpy(bytes.data(), &header, sizeof header);
  const std::size_t available = random.one_in(8) ? random.below(bytes.size()) : bytes.size();
  bytes.resize(available);
  bytes.shrink_to_fit();
  if (available < sizeof(std::uint64_t)) return;  // its caller has a page at least
  if (check(reinterpret_cast<const BundleHeader*>(bytes.data()), available) != BundleError::none) return;
  require(header.total_bytes <= available && inside(header, header.kernel) && inside(header, header.dtb) &&
              (header.initrd.bytes == 0 || inside(header, header.initrd)),
          "a bundle that was accepted lies where it says");
  require(header.sched.policy <= AMPHION_SCHED_SBCO + 1 && header.sched.latency_us <= AMPHION_SCHED_LONGEST_US,
          "a bundle that was accepted asks for a policy that there is, and a period within bounds");
}

void hypervisor_devices(Random& random) {
  Vgic vgic;
  vgic.init(2, 4, nullptr);
  Uart uart(vgic);
  uart.reset();
  FakeMaintenance maintenance;
  VirtioSlots slots(vgic, maintenance);
  amphion_request_page requests{};
  std::vector<std::uint32_t> page(AMPHION_PAGE_BYTES / 4);
  slots.attach(requests, Phys{0x8000'0000}, page.data());
  std::vector<std::uint8_t> bytes;
  for (std::uint32_t n = 100 + random.below(200); n != 0; --n) {
    bytes.assign(random.below(40), static_cast<std::uint8_t>(random()));
    const std::uint32_t reg = random.one_in(4) ? random.below(0x1000) : 4 * random.below(20);
    const std::uint32_t slot = random.below(AMPHION_VIRTIO_SLOTS);
    switch (random.below(8)) {
      case 0:
        static_cast<void>(uart.read(reg));
        break;
      case 1:
        static_cast<void>(uart.write(reg, random.edge()));
        break;
      case 2:
        require(uart.take(bytes).value <= bytes.size(), "no more is taken than there is room for");
        break;
      case 3:
        require(uart.give(bytes).value <= bytes.size(), "no more is given than there is");
        break;
      case 4: {
        amphion_uart state{}, again{};
        uart.get(state);
        Vgic::Mask concerned = 0;
        amphion_uart changed = state;
        mutate_words(changed, random);
        static_cast<void>(uart.set(changed, concerned));
        require(uart.set(state, concerned), "a UART's own state is accepted");
        uart.get(again);
        require(std::memcmp(&state, &again, sizeof state) == 0, "a UART's state goes on elsewhere as it is");
        break;
      }
      case 5:
        static_cast<void>(slots.change_status(slot, random() & 0xff, random() & 0xff));
        break;
      case 6:
        slots.publish(slot * machine::virtio_slot_bytes + random.below(machine::virtio_slot_bytes));
        break;
      default:
        static_cast<void>(slots.write(4 * random.below(AMPHION_PAGE_BYTES / 4), random.edge()));
    }
    const bool high = page[(slot * machine::virtio_slot_bytes + 0x60) / 4] != 0;
    require(vgic.level(0, machine::virtio_irq + slot) == high, "a slot's line follows its InterruptStatus");
  }
}

// Any access of any vCPU, lines, state that is set, in any order, with what the world switch does in between.
void hypervisor_gic(Random& random) {
  const std::uint32_t vcpus = 1 + random.below(4), lists = 1 + random.below(4);
  auto vgic = std::make_unique<Vgic>(), other = std::make_unique<Vgic>();
  for (Vgic* one : {vgic.get(), other.get()}) {
    one->init(vcpus, lists, nullptr);
    for (std::uint32_t v = 0; v < vcpus; ++v) one->flush(v);
  }
  auto state = std::make_unique<amphion_gic>();
  for (std::uint32_t n = 50 + random.below(200); n != 0; --n) {
    const std::uint32_t v = random.below(vcpus), bytes = 1u << random.below(3);
    const std::uint32_t offset = (random.one_in(8) ? random.below(0x1'0000) : random.below(0x1000)) & ~(bytes - 1);
    static_cast<void>(vgic->sync(v));
    switch (random.below(8)) {
      case 0:
        static_cast<void>(vgic->read(v, offset, bytes));
        break;
      case 1:
        static_cast<void>(vgic->set_line(32 + random.below(Vgic::lines - 32), random.one_in(2)));
        break;
      case 2:
        for (std::uint32_t one = 0; one < vcpus; ++one)
          static_cast<void>(vgic->sync(one)), static_cast<void>(other->sync(one));
        vgic->get(*state);
        mutate_words(*state, random);
        if (vgic->set(*state) == Vgic::Status::ok) move(*vgic, *other);
        for (std::uint32_t one = 0; one < vcpus; ++one) vgic->flush(one), other->flush(one);
        continue;
      default:
        static_cast<void>(vgic->write(v, offset, bytes, random.edge()));
    }
    vgic->flush(v);
    require(vgic->cpu(v).used <= lists, "no more list registers are used than there are");
  }
}

// vCPUs on CPUs of their own, and a host that drives lines, all at once. When they stand still, what is deliverable is
// what is deliverable to one that was given the same state: no update was lost.
void hypervisor_gic_threads(Random& random) {
  const std::uint32_t vcpus = 2 + random.below(3), lists = 1 + random.below(4);
  const auto vgic = busy_gic(vcpus, lists, random);
  std::vector<std::thread> cpus;
  for (std::uint32_t v = 0; v < vcpus; ++v) {
    cpus.emplace_back([&vgic, v, seed = random()] { run_vcpu(*vgic, v, Random(seed)); });
  }
  for (std::uint32_t n = 500; n != 0; --n) static_cast<void>(vgic->set_line(32 + random.below(16), random.one_in(2)));
  for (std::thread& cpu : cpus) cpu.join();
  for (std::uint32_t v = 0; v < vcpus; ++v) static_cast<void>(vgic->sync(v));
  Vgic other;
  other.init(vcpus, lists, nullptr);
  move(*vgic, other);
  for (std::uint32_t v = 0; v < vcpus; ++v) {
    require(vgic->deliverable(v) == other.deliverable(v), "what is deliverable is what the state says");
  }
}

}  // namespace amphion::fuzz
