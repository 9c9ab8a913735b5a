// SPDX-License-Identifier: Apache-2.0
// Instances: storage, start and stop, news for the host, and the host instance itself; see instance.hpp.
#include "hyp/instance.hpp"

#include <new>

#include "hyp/cpu.hpp"
#include "hyp/gic.hpp"
#include "hyp/maintenance.hpp"
#include "hyp/panic.hpp"
#include "hyp/sched.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/timer.hpp"
#include "machine/phone.hpp"

namespace amphion::hyp {
namespace {

ArmMaintenance maintenance;
constinit PagePool pages;
Instance* instances = nullptr;
std::optional<Stage2Table> host_table;
HostMemory host_memory{Phys(0), 0};
constinit std::atomic<u32> news{0};

// VMID 0 stands in VTTBR while nothing is loaded.
constexpr Vmid vmid_of(u32 id) { return static_cast<Vmid>(id + 1); }

// The physical distributor follows what the host's kernel does to its virtual one. The amphion event interrupt is virtual only.
class HostLines final : public PhysicalLines {
 public:
  void enable(std::uint32_t intid) override {
    if (physical(intid)) gic::enable(intid);
  }
  void disable(std::uint32_t intid) override {
    if (physical(intid)) gic::disable(intid);
  }
  void configure(std::uint32_t intid, bool edge) override {
    if (physical(intid)) gic::set_edge(intid, edge);
  }
  void target(std::uint32_t intid, std::uint32_t vcpu) override {
    if (physical(intid)) gic::set_targets(intid, static_cast<u8>(1u << cpu_of(host().vcpu[vcpu])));
  }
  void deactivate(std::uint32_t, std::uint32_t physical_intid) override {
    if (physical(physical_intid)) gic::set_active(physical_intid, false);
  }

 private:
  static bool physical(std::uint32_t intid) {
    return intid >= Vgic::private_lines && intid < gic::line_count() && intid != board::board.interrupts.amphion_event;
  }
};
HostLines host_lines;

bool map_host(u64 first, u64 end, u64 output, bool device) {
  if (first == end) return true;
  const Attributes attributes{.device = device, .write = true, .execute = !device};
  return host_table->map(Ipa(first), Phys(output), end - first, attributes, Largest::gib) == MapStatus::ok;
}

// All devices but the GIC's, its CPU interface replaced by the virtual one; all RAM but the hypervisor's.
void map_host_memory() {
  constexpr const Board& b = board::board;
  constexpr u64 cpu_interface_bytes = 0x2000;
  constexpr u64 ram_end = u64{b.ram_base} + b.ram_max_bytes;
  constexpr u64 gic_end = b.gic.region_base + b.gic.region_bytes;
  if (!host_table->create() || !map_host(0, b.gic.region_base, 0, true) ||
      !map_host(b.gic.cpu_interface, b.gic.cpu_interface + cpu_interface_bytes, b.gic.virtual_interface, true) ||
      !map_host(gic_end, b.ram_base, gic_end, true) ||
      !map_host(b.ram_base + b.hypervisor_bytes, ram_end, b.ram_base + b.hypervisor_bytes, false)) {
    panic("the pool is too small for the host's page tables");
  }
}

}  // namespace

Instance& instance(u32 id) { return instances[id]; }
Instance& host() { return instances[host_id]; }
PagePool& pool() { return pages; }

Instance::Instance() : slots(vgic, maintenance) {}

u64 Instance::vttbr() const { return is_host() ? hyp::vttbr(host_table->root(), vmid_of(id)) : memory->vttbr(); }

void post_all(Instance& instance, Vgic::Mask mask) {
  for (u32 i = 0; mask != 0; ++i, mask >>= 1) {
    if ((mask & 1) != 0) post(instance.vcpu[i], request::kick);
  }
}

void Instance::prepare(u32 vcpus, u32 allowed) {
  vcpu_count = vcpus;
  vcpus_allowed = allowed;
  counter_offset = 0;
  stopped_counter = 0;
  stop_events_.store(0);
  restored = false;
  scheduler().group(vcpu[0].entity, vcpus);
  vgic.init(vcpus, gic::list_register_count(), is_host() ? &host_lines : nullptr);
  uart.reset();
  for (u32 i = 0; i < vcpus; ++i) {
    Vcpu& one = vcpu[i];
    reset_registers(one.state);
    one.run = Run::off;
    one.paused = true;
    one.pause_wanted = false;
    one.deadline = never;
    one.exits = 0;
    one.requests.store(0);
    one.io_pending.store(false);
    vgic.bind_hw(i, machine::timer_virtual_irq, board::board.interrupts.virtual_timer);
  }
}

// The host has written memory, code included.
void Instance::forget_past() {
  maintenance.invalidate_vmid(vmid_of(id));
  maintenance.invalidate_instructions();
  restored = false;
}

void Instance::run() {
  if (restored) forget_past();
  counter_offset = now() - stopped_counter;
  stop_events_.store(0);
  state.store(State::running, std::memory_order_release);
  for (u32 i = 0; i < vcpu_count; ++i) post(vcpu[i], request::resume);
}

void Instance::begin_stop(u32 events) {
  const State current = state.load();
  if (current != State::running && current != State::stopping) return;
  stop_events_.fetch_or(events);
  if (current == State::stopping) return;
  still_running_.store(vcpu_count);
  state.store(State::stopping);
  for (u32 i = 0; i < vcpu_count; ++i) post(vcpu[i], request::pause);
}

void Instance::vcpu_stopped() {
  if (still_running_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // Until the host has been told: from `stopped` on it may destroy the instance, whose request page is then its own.
  const LockGuard guard(control);
  stopped_counter = now() - counter_offset;
  state.store(State::stopped, std::memory_order_release);
  notify(stop_events_.exchange(0));
}

void Instance::notify(u32 events) {
  if (events != 0) std::atomic_ref(requests->events).fetch_or(events, std::memory_order_release);
  news.fetch_or(1u << id, std::memory_order_release);
  post_all(host(), host().vgic.pend(board::board.interrupts.amphion_event));
}

void Instance::ring_uart() {
  const u32 before = std::atomic_ref(requests->rung).fetch_or(AMPHION_RUNG_UART, std::memory_order_acq_rel);
  if ((before & AMPHION_RUNG_UART) == 0) notify(0);
}

u32 take_news() { return news.exchange(0, std::memory_order_acquire); }

constinit const u32 instances_bytes = (sizeof(Instance) * instance_count + page_bytes - 1) / page_bytes * page_bytes;

void init_instances(Phys place) {
  instances = static_cast<Instance*>(pages.memory().at(place));
  host_table.emplace(pages, pages.memory(), Stage2Tlb(maintenance, vmid_of(host_id)));
  for (u32 id = 0; id < instance_count; ++id) {
    Instance& one = *new (instances + id) Instance();
    one.id = id;
    if (id != host_id) one.memory.emplace(pages, maintenance, vmid_of(id));
    for (u32 i = 0; i < AMPHION_MAX_VCPUS; ++i) {
      Vcpu& v = one.vcpu[i];
      v.instance = &one;
      v.index = i;
    }
  }
}

void create_host(HostMemory memory, u32 entry, u32 device_tree) {
  host_memory = memory;
  map_host_memory();
  Instance& it = host();
  it.prepare(cpu_count(), cpu_count());
  amphion_vcpu& first = it.vcpu[0].state;
  first.power = 1;
  first.pc = entry;
  first.r[1] = ~0u;  // no machine number
  first.r[2] = device_tree;
  it.vcpu[0].run = Run::ready;
  it.stopped_counter = now();  // the host's counter is the physical one
  it.run();
}

bool in_host_memory(u64 address, u32 bytes) {
  const u64 base = host_memory.base.value();
  return address >= base && address - base <= host_memory.bytes && bytes <= host_memory.bytes - (address - base);
}

}  // namespace amphion::hyp
