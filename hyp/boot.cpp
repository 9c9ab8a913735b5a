// SPDX-License-Identifier: Apache-2.0
// The order of boot. amphion_main() is called by start.S on every CPU, on its own stack, with the MMU on.
#include "hyp/bundle.hpp"
#include "hyp/console.hpp"
#include "hyp/cpu.hpp"
#include "hyp/gic.hpp"
#include "hyp/instance.hpp"
#include "hyp/panic.hpp"
#include "hyp/sched.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/timer.hpp"

extern "C" {
extern char _start[];
extern char __bss_start[];
extern char __image_end[];
using Constructor = void (*)();
extern Constructor __init_array_start[];
extern Constructor __init_array_end[];
void* memmove(void* to, const void* from, amphion::hyp::u32 bytes);
}

namespace amphion::hyp {
namespace {

void run_constructors() {
  for (Constructor* one = __init_array_start; one != __init_array_end; ++one) (*one)();
}

void check_place() {
  constexpr const Board& b = board::board;
  if (reinterpret_cast<u32>(&_start) != b.load_address || reinterpret_cast<u32>(&__bss_start) != b.ram_base) {
    panic("the image was linked for another board");
  }
  if (reinterpret_cast<u32>(&__image_end) > b.ram_base + b.hypervisor_bytes)
    panic("the image is larger than its region");
}

const BundleHeader& checked_bundle() {
  const u32 address = reinterpret_cast<u32>(&__image_end);
  const auto* header = reinterpret_cast<const BundleHeader*>(address);
  const BundleError error = check(header, board::board.bundle_limit - address);
  if (error != BundleError::none) panic(text(error));
  return *header;
}

// The guest's kernel starts with its caches off.
void place(const BundleHeader& header, const BundleItem& item) {
  const u32 to = static_cast<u32>(item.load);
  memmove(reinterpret_cast<void*>(to), reinterpret_cast<const u8*>(&header) + item.offset, item.bytes);
  clean_invalidate(to, item.bytes);
}

// The bundle lies in what becomes the pool: placed first, and its header copied.
BundleHeader unpack_bundle() {
  const u64 begin = now();
  const BundleHeader header = checked_bundle();
  const BundleHeader& in_place = *reinterpret_cast<const BundleHeader*>(&__image_end);
  if (header.host.base < board::board.bundle_limit) panic("bundle: the host's memory begins below the bundle's limit");
  place(in_place, header.kernel);
  place(in_place, header.initrd);
  place(in_place, header.dtb);
  Line() << "bundle of " << header.total_bytes / 1024 << " KiB checked and placed in "
         << static_cast<u32>(ns_of_ticks(now() - begin) / 1000) << " us";
  return header;
}

// Returns where the instances stand: before what the pool gets.
Phys fill_pool(const BundleHeader& header) {
  constexpr u64 first = board::board.ram_base + board::board.hypervisor_bytes;
  Phys place;
  for (BundleRange range : header.pool) {
    if (range.bytes == 0) continue;
    if (range.base < first) panic("bundle: a pool range overlaps the hypervisor");
    if (place == Phys() && range.bytes > instances_bytes) {
      place = Phys(range.base);
      range = {range.base + instances_bytes, range.bytes - instances_bytes};
    }
    if (!pool().add_range(Phys(range.base), range.bytes)) panic("bundle: a pool range was refused");
  }
  if (place == Phys()) panic("bundle: there is no room for the instances");
  return place;
}

// The host's tables, and a page for each CPU that may be scrubbing it: what is left can be promised to instances.
void reserve_what_is_taken() {
  if (!pool().reserve(pool().total_pages() - pool().free_pages() + cpu_count())) panic("the pool is too small");
}

void begin_log() {
  constexpr const Board& b = board::board;
  static_assert(b.run_log == b.load_address - b.run_log_bytes && b.run_log_bytes <= 16 << 10,
                "where hyp.ld leaves room");
  const auto clean = [](const void* start, u32 bytes) { clean_invalidate(reinterpret_cast<u32>(start), bytes); };
  run_log().begin({reinterpret_cast<std::byte*>(b.run_log), b.run_log_bytes}, clean);
}

[[noreturn]] void boot() {
  run_constructors();
  check_place();
  begin_log();
  Line() << "hypervisor on " << board::board.name;
  const BundleHeader header = unpack_bundle();
  const Phys place = fill_pool(header);
  gic::init_distributor();
  init_cpu(cpus[0]);
  start_secondaries();
  Line() << cpu_count() << " CPUs, " << gic::list_register_count() << " list registers, " << pool().total_pages() / 256
         << " MiB for phones";
  init_instances(place);
  init_scheduler(header.sched);
  create_host({Phys(header.host.base), header.host.bytes}, static_cast<u32>(header.kernel.load),
              static_cast<u32>(header.dtb.load));
  reserve_what_is_taken();
  if (!run_log().last().empty()) Line() << "the last run was not ended in order; its log is kept for the host instance";
  Line() << "starting the host instance";
  reset_on_panic();
  release_secondaries();
  run_loop(cpus[0]);
}

}  // namespace

extern "C" [[noreturn]] void amphion_main(u32 cpu) {
  if (cpu == 0) boot();
  init_cpu(cpus[cpu]);
  run_loop(cpus[cpu]);
}

}  // namespace amphion::hyp
