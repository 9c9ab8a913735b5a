// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/linux_hypervisor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "guest-kernel-mods/amphion_host/amphion_host.h"

namespace amphion::instance {
namespace {

using devices::OwnedFd;

Problem failed(const std::string& what) { return what + ": " + std::strerror(errno); }

template <typename Argument>
Problem call(int fd, unsigned long request, Argument argument, const char* what) {
  if (::ioctl(fd, request, argument) < 0) return failed(what);
  return {};
}

class LinuxPartition final : public Partition {
 public:
  LinuxPartition(OwnedFd fd, OwnedFd waker, std::span<std::byte> memory, std::span<std::byte> registers)
      : fd_(std::move(fd)), waker_(std::move(waker)), memory_(memory), registers_(registers) {}
  ~LinuxPartition() override {
    ::munmap(registers_.data(), registers_.size());
    ::munmap(memory_.data(), memory_.size());
  }
  LinuxPartition(const LinuxPartition&) = delete;
  LinuxPartition& operator=(const LinuxPartition&) = delete;

  std::span<std::byte> memory() override { return memory_; }
  std::span<std::byte> registers() override { return registers_; }
  int descriptor() const override { return fd_.get(); }

  Problem run() override { return call(fd_.get(), AMPHION_RUN, 0, "the hypervisor does not run the instance"); }
  Problem ask_pause() override {
    return call(fd_.get(), AMPHION_PAUSE, 0, "the hypervisor does not pause the instance");
  }
  Problem allow(std::uint32_t vcpus) override {
    return call(fd_.get(), AMPHION_ALLOW, &vcpus, "number of vCPUs refused");
  }

  void wait(int also) override {
    pollfd fds[3] = {{fd_.get(), POLLIN, 0}, {waker_.get(), POLLIN, 0}, {also, POLLIN, 0}};
    if (::poll(fds, 3, -1) > 0 && (fds[1].revents & POLLIN) != 0) {
      eventfd_t count = 0;
      (void)eventfd_read(waker_.get(), &count);
    }
  }
  void wake() override { (void)eventfd_write(waker_.get(), 1); }

  std::optional<Happening> next() override {
    amphion_next n{};
    if (::ioctl(fd_.get(), AMPHION_NEXT, &n) < 0) return {};
    return Happening{n.events, n.rung, std::to_array(n.doorbell), n.vcpu, n.address, n.bytes, n.write != 0, n.data};
  }
  void complete(std::uint32_t vcpu, std::uint32_t data) override {
    amphion_io_done done{vcpu, data};
    (void)::ioctl(fd_.get(), AMPHION_IO_DONE, &done);  // fails only for an access that nobody made
  }
  void set_line(std::uint32_t intid, bool level) override {
    amphion_irq irq{intid, level ? 1u : 0u};
    (void)::ioctl(fd_.get(), AMPHION_IRQ, &irq);  // the device model's interrupt numbers are all valid
  }
  void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) override {
    amphion_virtio_irq irq{slot, clear, set};
    (void)::ioctl(fd_.get(), AMPHION_VIRTIO_IRQ, &irq);  // ... and so are its slots
  }

  std::string take_serial() override {
    amphion_bytes bytes;
    bytes.count = 0;
    (void)::ioctl(fd_.get(), AMPHION_SERIAL_TAKE, &bytes);  // fails for no partition that exists
    return {reinterpret_cast<const char*>(bytes.data), bytes.count};
  }
  std::size_t give_serial(std::string_view text) override {
    amphion_bytes bytes;
    bytes.count = static_cast<std::uint32_t>(std::min(text.size(), sizeof bytes.data));
    std::copy_n(text.data(), bytes.count, bytes.data);
    return ::ioctl(fd_.get(), AMPHION_SERIAL_GIVE, &bytes) < 0 ? 0 : bytes.count;
  }

  Problem discard(std::uint32_t first_page, std::uint32_t pages) override {
    amphion_range range{first_page, pages};
    return call(fd_.get(), AMPHION_DISCARD, &range, "pages not discarded");
  }
  Problem log(bool start) override {
    std::uint32_t value = start ? 1 : 0;
    return call(fd_.get(), AMPHION_LOG, &value, "dirty log refused");
  }
  Problem bitmap(std::uint32_t kind, std::span<std::uint32_t> bits) override {
    amphion_bitmap b{kind, 0, static_cast<std::uint32_t>(bits.size() * 32), 0,
                     reinterpret_cast<std::uintptr_t>(bits.data())};
    return call(fd_.get(), AMPHION_BITMAP, &b, "page bitmap refused");
  }
  Problem stats(amphion_stats& out) override { return call(fd_.get(), AMPHION_STATS, &out, "no statistics"); }

  Problem get_vcpu(std::uint32_t vcpu, amphion_vcpu& out) override {
    amphion_vcpu_io io{};
    io.vcpu = vcpu;
    if (auto problem = call(fd_.get(), AMPHION_VCPU_GET, &io, "vCPU state not read")) return problem;
    out = io.state;
    return {};
  }
  Problem set_vcpu(std::uint32_t vcpu, const amphion_vcpu& state) override {
    amphion_vcpu_io io{vcpu, 0, state};
    return call(fd_.get(), AMPHION_VCPU_SET, &io, "vCPU state refused");
  }
  Problem get_gic(amphion_gic& out) override { return call(fd_.get(), AMPHION_GIC_GET, &out, "GIC state not read"); }
  Problem set_gic(const amphion_gic& state) override {
    return call(fd_.get(), AMPHION_GIC_SET, &state, "GIC state refused");
  }
  Problem get_uart(amphion_uart& out) override {
    return call(fd_.get(), AMPHION_SERIAL_GET, &out, "serial port's state not read");
  }
  Problem set_uart(const amphion_uart& state) override {
    return call(fd_.get(), AMPHION_SERIAL_SET, &state, "serial port's state refused");
  }
  Problem get_counter(std::uint64_t& out) override {
    return call(fd_.get(), AMPHION_COUNTER_GET, &out, "counter not read");
  }
  Problem set_counter(std::uint64_t ticks) override {
    return call(fd_.get(), AMPHION_COUNTER_SET, &ticks, "counter refused");
  }

 private:
  OwnedFd fd_, waker_;
  std::span<std::byte> memory_, registers_;
};

class LinuxHypervisor final : public Hypervisor {
 public:
  explicit LinuxHypervisor(OwnedFd fd) : fd_(std::move(fd)) {}

  Problem info(amphion_info& out) override { return call(fd_.get(), AMPHION_GET_INFO, &out, "/dev/amphion"); }
  Problem scheduling(amphion_sched& out) override {
    return call(fd_.get(), AMPHION_SCHED_GET, &out, "the scheduler's settings and statistics not read");
  }
  Problem set_scheduling(const amphion_sched& wanted) override {
    return call(fd_.get(), AMPHION_SCHED_SET, &wanted, "the scheduler's settings refused");
  }

  std::unique_ptr<Partition> create(const PartitionConfig& config, Problem& problem) override {
    amphion_create args{config.vcpus, config.vcpus_allowed, config.memory_pages, config.bound_pages};
    OwnedFd fd(::ioctl(fd_.get(), AMPHION_CREATE, &args));
    if (fd.get() < 0) {
      problem = failed("the hypervisor does not create the instance (" + std::to_string(config.bound_pages / 256) +
                       " MiB bound)");
      return nullptr;
    }
    return adopt_partition(std::move(fd), config.memory_pages, problem);
  }

 private:
  OwnedFd fd_;
};

}  // namespace

std::unique_ptr<Partition> adopt_partition(OwnedFd descriptor, std::uint32_t memory_pages, Problem& problem) {
  OwnedFd waker(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const std::size_t bytes = std::size_t{memory_pages} * AMPHION_PAGE_BYTES;
  const auto map = [&](std::size_t count, std::size_t offset) {
    void* const place =
        ::mmap(nullptr, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.get(), static_cast<off_t>(offset));
    return std::span(static_cast<std::byte*>(place), place == MAP_FAILED ? 0 : count);
  };
  const auto memory = map(bytes, 0), registers = map(AMPHION_PAGE_BYTES, bytes);
  if (!waker.valid() || memory.empty() || registers.empty()) {
    problem = failed("the instance's memory cannot be mapped");
    if (!memory.empty()) ::munmap(memory.data(), memory.size());
    return nullptr;
  }
  return std::make_unique<LinuxPartition>(std::move(descriptor), std::move(waker), memory, registers);
}

std::unique_ptr<Hypervisor> open_hypervisor(Problem& problem) {
  OwnedFd fd(::open("/dev/amphion", O_RDWR | O_CLOEXEC));
  if (fd.get() < 0) {
    problem =
        failed("cannot open /dev/amphion (is amphion_host loaded, and does this Linux run under the hypervisor?)");
    return nullptr;
  }
  auto hypervisor = std::make_unique<LinuxHypervisor>(std::move(fd));
  amphion_info info{};
  problem = hypervisor->info(info);
  if (!problem && info.abi_version != AMPHION_ABI_VERSION)
    problem = "the hypervisor speaks version " + std::to_string(info.abi_version) + ", this program " +
              std::to_string(AMPHION_ABI_VERSION);
  if (problem) return nullptr;
  return hypervisor;
}

}  // namespace amphion::instance
