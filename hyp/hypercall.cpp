// SPDX-License-Identifier: Apache-2.0
// Hypercalls; see hypercall.hpp. All but one are the host instance's alone. Each handler checks every argument before
// its first side effect. Locks: `creation` over the search for a free instance, the instance's `control` over
// everything done to it.
#include "hyp/hypercall.hpp"

#include <array>
#include <atomic>
#include <span>

#include "hyp/console.hpp"
#include "hyp/cpu.hpp"
#include "hyp/instance.hpp"
#include "hyp/sched.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/timer.hpp"
#include "machine/phone.hpp"

namespace amphion::hyp {
namespace {

struct Arguments {
  u32 a, b, c;  // r1..r3
};
struct Result {
  std::int32_t error = 0;
  u32 value = 0;
};

// A piece is done: the caller makes the call once more, with these.
constexpr std::int32_t goes_on = 1;
Result again(Arguments next) {
  constexpr u32 hvc_bytes = 4;  // in both instruction sets
  amphion_vcpu& caller = this_cpu().loaded->state;
  caller.pc -= hvc_bytes;
  caller.r[1] = next.a, caller.r[2] = next.b, caller.r[3] = next.c;
  return {goes_on};
}

constinit SpinLock creation;

// A page of the host's memory as the host sees it (stage 1 and stage 2 are both identities there).
template <typename T>
T* host_page(u64 address) {
  static_assert(sizeof(T) <= AMPHION_PAGE_BYTES);
  if (address % AMPHION_PAGE_BYTES != 0 || !in_host_memory(address, AMPHION_PAGE_BYTES)) return nullptr;
  return reinterpret_cast<T*>(static_cast<u32>(address));
}

// What is checked must be what is used: the host may write to its page at any time, and after the barrier the compiler
// cannot read it again.
template <typename T>
T copy_of(const T* page) {
  const T copy = *page;
  __asm__ volatile("" ::: "memory");
  return copy;
}

// Existing instance `id` with its lock held, if it exists. One that is ending exists only to who ends it.
class Held {
 public:
  explicit Held(u32 id, bool to_end = false)
      : instance_(id >= 1 && id < instance_count ? &hyp::instance(id) : nullptr) {
    if (instance_ == nullptr) return;
    instance_->control.lock();
    const Instance::State state = instance_->state.load();
    if (state == Instance::State::absent || (state == Instance::State::ending && !to_end)) release();
  }
  ~Held() {
    if (instance_ != nullptr) release();
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  explicit operator bool() const { return instance_ != nullptr; }
  Instance* operator->() const { return instance_; }
  Instance& operator*() const { return *instance_; }
  [[nodiscard]] bool stopped() const {
    return instance_->state.load(std::memory_order_acquire) == Instance::State::stopped;
  }

 private:
  void release() {
    instance_->control.unlock();
    instance_ = nullptr;
  }
  Instance* instance_;
};

Result info(Arguments args) {
  auto* out = host_page<amphion_info>(args.a);
  if (out == nullptr) return {AMPHION_EINVAL};
  *out = {.abi_version = AMPHION_ABI_VERSION,
          .cpus = cpu_count(),
          .pool_pages = pool().total_pages(),
          .pool_free_pages = pool().free_pages(),
          .reserved_pages = pool().reserved_pages(),
          .counter_frequency = Cntfrq::read(),
          .pool_clean_pages = pool().clean_pages()};
  return {};
}

bool acceptable(const amphion_config& config) {
  return config.vcpus >= 1 && config.vcpus <= AMPHION_MAX_VCPUS && config.vcpus_allowed >= 1 &&
         config.vcpus_allowed <= config.vcpus && config.memory_pages >= 1 &&
         config.memory_pages <= Stage2::max_ram_pages && config.bound_pages >= 1 &&
         config.bound_pages <= config.memory_pages;
}

// What an instance reaches without a trap beside its memory.
MapStatus map_devices(Stage2& memory, const amphion_config& config) {
  constexpr u64 cpu_interface_bytes = 0x2000;
  const MapStatus status =
      memory.map_device(Ipa(machine::gicc.base), Phys(board::board.gic.virtual_interface), cpu_interface_bytes, true);
  if (status != MapStatus::ok) return status;
  return memory.map_device(Ipa(machine::virtio.base), Phys(config.register_page), AMPHION_PAGE_BYTES, false);
}

std::int32_t make_memory(Instance& instance, const amphion_config& config) {
  const u32 wanted = config.bound_pages + Stage2::overhead_pages(config.memory_pages);
  if (!pool().reserve(wanted)) return AMPHION_ENOMEM;
  Stage2& memory = *instance.memory;
  MapStatus status = memory.create(Ipa(machine::ram_base), config.memory_pages, config.bound_pages);
  if (status == MapStatus::ok) {
    status = map_devices(memory, config);
    while (status != MapStatus::ok && !memory.destroy()) {
    }
  }
  if (status != MapStatus::ok) {
    pool().release(wanted);
    return status == MapStatus::invalid ? AMPHION_EINVAL : AMPHION_ENOMEM;
  }
  instance.reserved_pages = wanted;
  return 0;
}

Result create(Arguments args) {
  const auto* page = host_page<amphion_config>(args.a);
  if (page == nullptr) return {AMPHION_EINVAL};
  const amphion_config config = copy_of(page);
  auto* requests = host_page<amphion_request_page>(config.request_page);
  auto* registers = host_page<std::array<u8, AMPHION_PAGE_BYTES>>(config.register_page);
  if (requests == nullptr || registers == nullptr || config.register_page == config.request_page ||
      !acceptable(config)) {
    return {AMPHION_EINVAL};
  }

  LockGuard guard(creation);
  for (u32 id = 1; id < instance_count; ++id) {
    Instance& candidate = instance(id);
    if (candidate.state.load() != Instance::State::absent) continue;
    LockGuard control(candidate.control);
    if (const std::int32_t error = make_memory(candidate, config); error != 0) return {error};
    candidate.requests = requests;
    candidate.prepare(config.vcpus, config.vcpus_allowed);
    candidate.slots.attach(*requests, Phys(config.register_page), registers);
    candidate.state.store(Instance::State::stopped, std::memory_order_release);
    return {0, id};
  }
  return {AMPHION_ENOMEM};
}

Result destroy(Arguments args) {
  Held held(args.a, true);
  if (!held) return {AMPHION_ENOENT};
  if (held.stopped()) held->state.store(Instance::State::ending);
  if (held->state.load() != Instance::State::ending) return {AMPHION_ESTATE};
  if (!held->memory->destroy()) return again(args);
  pool().release(held->reserved_pages);
  held->requests = nullptr;
  held->state.store(Instance::State::absent, std::memory_order_release);
  return {};
}

Result run(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (!held.stopped()) return {AMPHION_ESTATE};
  if (held->restored && args.b < held->memory->ram_pages()) {
    constexpr u32 piece = Stage2::piece_pages / 4;  // cleaning takes longer than anything else that is done to a page
    if (args.b % piece != 0) return {AMPHION_EINVAL};
    held->memory->clean_populated(args.b, piece);
    return again({args.a, args.b + piece, args.c});
  }
  held->run();
  return {};
}

Result pause(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (held.stopped()) return {AMPHION_ESTATE};
  held->begin_stop(AMPHION_EVENT_PAUSED);
  return {};
}

Result allow(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (args.b < 1 || args.b > held->vcpu_count) return {AMPHION_EINVAL};
  LockGuard guard(held->psci);
  held->vcpus_allowed = args.b;
  return {};
}

Result events(Arguments) { return {0, take_news()}; }

Result io_done(Arguments args) {
  Held held(args.a);
  if (!held || args.b >= held->vcpu_count) return {AMPHION_ENOENT};
  const std::atomic_ref slot_state(held->requests->slot[args.b].state);
  if (slot_state.load(std::memory_order_acquire) != AMPHION_SLOT_COMPLETE) return {AMPHION_ESTATE};
  Vcpu& vcpu = held->vcpu[args.b];
  if (!vcpu.io_pending.exchange(false, std::memory_order_acq_rel)) return {AMPHION_ESTATE};
  post(vcpu, request::io);
  return {};
}

Result irq(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (args.b < Vgic::private_lines || args.b >= Vgic::lines || args.c > 1) return {AMPHION_EINVAL};
  post_all(*held, held->vgic.set_line(args.b, args.c != 0));
  return {};
}

Result page(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (args.b >= held->memory->ram_pages()) return {AMPHION_EINVAL};
  Phys address;
  switch (held->memory->page(args.b, address)) {
    case Stage2::Touch::mapped:
      return {0, static_cast<u32>(address.page())};
    case Stage2::Touch::again:
      return again(args);
    case Stage2::Touch::out_of_memory:
      return {AMPHION_ENOMEM};
    case Stage2::Touch::outside:
      break;
  }
  return {AMPHION_EINVAL};
}

Result discard(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  const u32 pages = held->memory->ram_pages();
  if (args.c == 0 || args.b >= pages || args.c > pages - args.b) return {AMPHION_EINVAL};
  const u32 room = Stage2::piece_pages - args.b % Stage2::piece_pages;  // pieces end where blocks do
  const u32 piece = args.c < room ? args.c : room;
  if (held->memory->discard(args.b, piece) != MapStatus::ok) return {AMPHION_ENOMEM};
  for (u32 i = 0; i < held->vcpu_count; ++i) post(held->vcpu[i], request::memory);
  return args.c == piece ? Result{} : again({args.a, args.b + piece, args.c - piece});
}

Result log(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  constexpr u32 piece = Stage2::piece_pages;
  const u32 pages = held->memory->ram_pages();
  if (args.b > 1 || args.c % piece != 0 || args.c >= pages) return {AMPHION_EINVAL};
  if (args.b == 1) {
    held->memory->log_start(args.c, piece);
  } else {
    held->memory->log_stop(args.c, piece);
  }
  return pages - args.c <= piece ? Result{} : again({args.a, args.b, args.c + piece});
}

Result bitmap(Arguments args) {
  constexpr u32 words_in_all = AMPHION_BITMAP_PAGES / 32, piece = Stage2::piece_pages / 32;
  constexpr u32 kind_bits = 4, kind_mask = (1u << kind_bits) - 1, low_mask = AMPHION_BITMAP_PAGES - 1;
  static_assert(AMPHION_BITMAP_PAGES == Stage2::bitmap_pages && words_in_all << kind_bits <= low_mask + 1);
  using Words = std::array<u32, words_in_all>;
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  auto* words = host_page<Words>(args.c);
  const u32 kind = args.b & kind_mask, first = args.b & ~low_mask, done = (args.b & low_mask) >> kind_bits;
  if (words == nullptr || kind > AMPHION_BITMAP_DIRTY || done % piece != 0 || done >= words_in_all)
    return {AMPHION_EINVAL};
  const auto which = kind == AMPHION_BITMAP_DIRTY ? Stage2::Bitmap::dirty : Stage2::Bitmap::populated;
  const std::span part = std::span(*words).subspan(done, piece);
  if (held->memory->fetch(which, first + done * 32, part) != MapStatus::ok) return {AMPHION_EINVAL};
  return done + piece == words_in_all ? Result{} : again({args.a, args.b + (piece << kind_bits), args.c});
}

Result vcpu_get(Arguments args) {
  Held held(args.a);
  if (!held || args.b >= held->vcpu_count) return {AMPHION_ENOENT};
  auto* out = host_page<amphion_vcpu>(args.c);
  if (out == nullptr) return {AMPHION_EINVAL};
  if (!held.stopped()) return {AMPHION_ESTATE};
  *out = held->vcpu[args.b].state;
  return {};
}

Result vcpu_set(Arguments args) {
  Held held(args.a);
  if (!held || args.b >= held->vcpu_count) return {AMPHION_ENOENT};
  const auto* in = host_page<amphion_vcpu>(args.c);
  if (in == nullptr) return {AMPHION_EINVAL};
  if (!held.stopped()) return {AMPHION_ESTATE};
  const amphion_vcpu state = copy_of(in);
  if (!valid(state)) return {AMPHION_EINVAL};
  Vcpu& vcpu = held->vcpu[args.b];
  vcpu.state = state;
  vcpu.run = state.power != 0 ? Run::ready : Run::off;
  held->restored = true;
  return {};
}

Result gic_get(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  auto* out = host_page<amphion_gic>(args.b);
  if (out == nullptr) return {AMPHION_EINVAL};
  if (!held.stopped()) return {AMPHION_ESTATE};
  held->vgic.get(*out);
  return {};
}

Result gic_set(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  const auto* in = host_page<amphion_gic>(args.b);
  if (in == nullptr) return {AMPHION_EINVAL};
  if (!held.stopped()) return {AMPHION_ESTATE};
  const amphion_gic state = copy_of(in);
  return {held->vgic.set(state) == Vgic::Status::ok ? 0 : AMPHION_EINVAL};
}

Result counter(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  auto* value = host_page<u64>(args.b);
  if (value == nullptr || args.c > 1) return {AMPHION_EINVAL};
  if (!held.stopped()) return {AMPHION_ESTATE};
  if (args.c == 0) {
    *value = held->stopped_counter;
  } else {
    held->stopped_counter = copy_of(value);
  }
  return {};
}

Result stats(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  auto* out = host_page<amphion_stats>(args.b);
  if (out == nullptr) return {AMPHION_EINVAL};
  amphion_stats result{};
  for (u32 i = 0; i < held->vcpu_count; ++i) {
    const Vcpu& vcpu = held->vcpu[i];
    result.sched[i] = scheduling_of(vcpu);
    result.exits[i] = vcpu.exits;
    if (vcpu.run == Run::parked) result.parked |= 1u << i;
  }
  result.populated_pages = held->memory->populated_pages();
  result.bound_pages = held->memory->bound_pages();
  result.state = held.stopped() ? 0 : 1;
  *out = result;
  return {};
}

Result virtio_irq(Arguments args) {
  constexpr u32 most = 0xffff;
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  if (args.b >= AMPHION_VIRTIO_SLOTS || args.c > most) return {AMPHION_EINVAL};
  held->slots.publish(args.b * machine::virtio_slot_bytes);
  post_all(*held, held->slots.change_status(args.b, args.c >> 8, args.c & 0xff));
  return {};
}

Result uart_take(Instance& instance, amphion_bytes& page) {
  const Uart::Outcome done = instance.uart.take(page.data);
  page.count = done.value;
  post_all(instance, done.concerned);
  return {};
}

Result uart_give(Instance& instance, const amphion_bytes& page) {
  const u32 count = copy_of(&page.count);
  if (count > sizeof page.data) return {AMPHION_EINVAL};
  const Uart::Outcome done = instance.uart.give(std::span(page.data).first(count));
  post_all(instance, done.concerned);
  return {0, done.value};
}

Result uart_set(Instance& instance, const amphion_uart& page) {
  Vgic::Mask concerned = 0;
  if (!instance.uart.set(copy_of(&page), concerned)) return {AMPHION_EINVAL};
  post_all(instance, concerned);
  return {};
}

Result uart(Arguments args) {
  Held held(args.a);
  if (!held) return {AMPHION_ENOENT};
  auto* bytes = host_page<amphion_bytes>(args.c);
  auto* state = host_page<amphion_uart>(args.c);
  if (bytes == nullptr || args.b > AMPHION_UART_SET) return {AMPHION_EINVAL};
  if (args.b == AMPHION_UART_TAKE) return uart_take(*held, *bytes);
  if (args.b == AMPHION_UART_GIVE) return uart_give(*held, *bytes);
  if (!held.stopped()) return {AMPHION_ESTATE};
  if (args.b == AMPHION_UART_SET) return uart_set(*held, *state);
  held->uart.get(*state);
  return {};
}

using Text = std::array<char, AMPHION_PAGE_BYTES>;

Result last_log(Arguments args) {
  auto* out = host_page<Text>(args.a);
  if (out == nullptr || args.b % out->size() != 0) return {AMPHION_EINVAL};
  const std::string_view text = run_log().last();
  if (args.b < text.size()) text.substr(args.b).copy(out->data(), out->size());
  return {0, static_cast<u32>(text.size())};
}

Result sched_settings(Arguments args) {
  auto* page = host_page<amphion_sched>(args.a);
  if (page == nullptr || args.b > 1) return {AMPHION_EINVAL};
  if (args.b == 1) return {set_scheduling(copy_of(page)) ? 0 : AMPHION_EINVAL};
  *page = scheduling();
  return {};
}

Result last_words(Arguments args) {
  const auto* text = host_page<Text>(args.a);
  if (args.b == 0) {
    keep_end_in_order();
    return {};
  }
  if (text == nullptr || args.b > text->size()) return {AMPHION_EINVAL};
  keep(text->data(), args.b);
  return {};
}

using Handler = Result (*)(Arguments);
constexpr std::array<Handler, 25> table{info,    create,  destroy, run,     pause,      allow,    events,   io_done,
                                        irq,     page,    discard, log,     bitmap,     vcpu_get, vcpu_set, gic_get,
                                        gic_set, counter, stats,   nullptr, virtio_irq, uart,     last_log, last_words,
                                        sched_settings};
constexpr u32 yield_index = AMPHION_HC_YIELD - AMPHION_HC_INFO;  // anyone's: not in the table
static_assert(AMPHION_HC_END - AMPHION_HC_INFO == table.size() && table[yield_index] == nullptr);

}  // namespace

bool on_hypercall(Vcpu& vcpu) {
  auto& r = vcpu.state.r;
  if (r[0] == AMPHION_HC_YIELD) {
    yield(vcpu);
    r[0] = r[1] = 0;
    return true;
  }
  const u32 index = r[0] - AMPHION_HC_INFO;
  if (index >= table.size()) return false;
  if (!vcpu.instance->is_host()) {
    r[0] = static_cast<u32>(AMPHION_EDENIED);
    return true;
  }
  const Result result = table[index]({r[1], r[2], r[3]});
  if (result.error == goes_on) return true;
  r[0] = static_cast<u32>(result.error);
  r[1] = result.value;
  return true;
}

}  // namespace amphion::hyp
