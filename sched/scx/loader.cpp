// SPDX-License-Identifier: MIT OR GPL-2.0-only
#include "sched/scx/loader.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>

using u32 = uint32_t;  // as the skeleton names them
using u64 = unsigned long long;
#include "sbco.skel.h"

namespace amphion::scx {
namespace {

constexpr const char* state_file = "/sys/kernel/sched_ext/state";
constexpr const char* hotplug_file = "/sys/kernel/sched_ext/hotplug_seq";
constexpr const char* not_here = "SBCO does not run here: start amphion-scx, or amphiond with it";
constexpr const char* data_map = "sbco.bss";  // as libbpf names it
constexpr int unregistered_by_loader = 64;    // enum scx_exit_kind
constexpr int unregistered_by_scheduler = 65, unregistered_by_kernel = 66;

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string why(int error) {
  return error == EPERM || error == EACCES ? "it needs root (CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN)"
                                           : std::strerror(error);
}

// For developers: what the verifier says (4: figures, 1: why it refuses).
uint32_t verbose_level() {
  const char* level = std::getenv("AMPHION_SCX_VERBOSE");
  return level == nullptr ? 0 : static_cast<uint32_t>(std::strtoul(level, nullptr, 10));
}

std::string& messages() {  // libbpf's, of one load
  static std::string text;
  return text;
}
int keep_message(libbpf_print_level level, const char* format, va_list arguments) {
  if (verbose_level() != 0) return std::vfprintf(stderr, format, arguments);
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 65536> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  messages() += line.data();
  return 0;
}

[[noreturn]] void fail(const std::string& what, int error) {
  if (!messages().empty()) std::fputs(messages().c_str(), stderr);
  throw std::runtime_error(what + ": " + why(error));
}

int remember(void* into, void* data, std::size_t size) {
  if (size >= sizeof(sbco_ending)) std::memcpy(into, data, sizeof(sbco_ending));
  return 0;
}

// The scheduler's data, mapped from the map of that name, if one is there.
class Data {
 public:
  using bss_t = sbco::sbco__bss;
  Data() {
    for (uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) take(id);
    if (data_ != nullptr) return;
    throw std::runtime_error(errno == EPERM ? "the statistics need root" : not_here);
  }
  ~Data() { ::munmap(const_cast<bss_t*>(data_), sizeof(bss_t)); }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  [[nodiscard]] const bss_t& operator*() const { return *data_; }

 private:
  // The youngest counts: the data of one that has ended may still be there.
  void take(uint32_t id) {
    const int fd = bpf_map_get_fd_by_id(id);
    if (fd < 0) return;
    bpf_map_info info{};
    uint32_t size = sizeof info;
    if (bpf_map_get_info_by_fd(fd, &info, &size) == 0 && std::strcmp(info.name, data_map) == 0 &&
        info.value_size >= sizeof(bss_t)) {
      void* at = ::mmap(nullptr, sizeof(bss_t), PROT_READ, MAP_SHARED, fd, 0);
      if (at != MAP_FAILED) {
        if (data_ != nullptr) ::munmap(const_cast<bss_t*>(data_), sizeof(bss_t));
        data_ = static_cast<const bss_t*>(at);
      }
    }
    ::close(fd);
  }

  const bss_t* data_ = nullptr;
};

void add(sbco_counters& sum, const sbco_counters& more) {
  std::array<unsigned long long, sizeof(sbco_counters) / sizeof(unsigned long long)> left, right;
  std::memcpy(left.data(), &sum, sizeof sum);
  std::memcpy(right.data(), &more, sizeof more);
  for (std::size_t n = 0; n < left.size(); ++n) left[n] += right[n];
  std::memcpy(&sum, left.data(), sizeof sum);
}

}  // namespace

std::optional<std::string> obstacle() {
  const std::string state = first_line(state_file);
  if (state.empty()) return "this kernel has no sched_ext: it needs Linux 6.12 or later with CONFIG_SCHED_CLASS_EXT";
  if (state != "disabled") {
    const std::string name = first_line("/sys/kernel/sched_ext/root/ops");
    return "another scheduler is loaded (" + (name.empty() ? state : name) + "): end it first";
  }
  if (::geteuid() != 0) return "a scheduler is loaded by root only";
  return std::nullopt;
}

Loader::Loader(const Tuning& tuning) {
  if (const auto reason = obstacle()) throw std::runtime_error(*reason);
  messages().clear();
  libbpf_set_print(keep_message);
  LIBBPF_OPTS(bpf_object_open_opts, options);
  options.kernel_log_level = verbose_level();
  skeleton_ = sbco::open(&options);
  if (skeleton_ == nullptr) fail("the scheduler's program cannot be read", errno);
  skeleton_->rodata->latency_ns = tuning.latency_ns;
  skeleton_->rodata->granularity_ns = tuning.granularity_ns;
  skeleton_->rodata->threshold = tuning.threshold;
  // CPUs that come or go before it is attached are noticed by the kernel.
  skeleton_->struct_ops.sbco->hotplug_seq = std::strtoull(first_line(hotplug_file).c_str(), nullptr, 10);
  skeleton_->struct_ops.sbco->timeout_ms = tuning.watchdog_ms;
  if (const int error = sbco::load(skeleton_); error != 0) {
    sbco::destroy(skeleton_);
    fail("the kernel does not take the scheduler", -error);
  }
  endings_ = ring_buffer__new(bpf_map__fd(skeleton_->maps.endings), remember, &ending_, nullptr);
  link_ = endings_ == nullptr ? nullptr : bpf_map__attach_struct_ops(skeleton_->maps.sbco);
  if (link_ == nullptr) {
    const int error = errno;
    ring_buffer__free(endings_);
    sbco::destroy(skeleton_);
    fail("the scheduler cannot be attached", error);
  }
}

Loader::~Loader() {
  bpf_link__destroy(link_);
  ring_buffer__free(endings_);
  sbco::destroy(skeleton_);
}

Ending Loader::wait(int signals) {
  std::array<pollfd, 2> waited{{{signals, POLLIN, 0}, {ring_buffer__epoll_fd(endings_), POLLIN, 0}}};
  while (ending_.kind == 0) {
    if (::poll(waited.data(), waited.size(), -1) < 0 && errno != EINTR) fail("waiting", errno);
    if (waited[0].revents != 0) return {};
    if (waited[1].revents != 0) (void)ring_buffer__consume(endings_);
  }
  Ending ending{false, false, ending_.reason};
  if (ending_.message[0] != '\0') ending.text += std::string(": ") + ending_.message;
  ending.wanted = ending_.kind == unregistered_by_loader || ending_.kind == unregistered_by_scheduler;
  ending.restart = ending_.kind == unregistered_by_kernel;
  return ending;
}

Statistics statistics() {
  // The data of one that has been killed may outlive it for a while.
  if (first_line(state_file) != "enabled") throw std::runtime_error(not_here);
  const Data data;
  Statistics all;
  for (const auto& one : (*data).counters) add(all.counters, one);
  for (const auto& task : (*data).tasks) {
    if (task.vm == SBCO_NONE || task.pid == 0 || task.debt == SBCO_DEAD) continue;
    const uint64_t place = *const_cast<const volatile unsigned long long*>(&task.place);
    all.vcpus.push_back({task.tgid, task.pid, sbco_place_cpu(place), static_cast<sbco_life>(sbco_place_life(place)),
                         static_cast<uint32_t>(sbco_place_ordinate(place))});
  }
  return all;
}

}  // namespace amphion::scx
