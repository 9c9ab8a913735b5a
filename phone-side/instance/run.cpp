// SPDX-License-Identifier: Apache-2.0
// amphion-run: runs one instance from files, without phoned, with its serial line on the terminal. For bringing up the
// hypervisor and for debugging: --trace shows every device access. Ends when the guest switches itself off, after
// --seconds, or at the end of input (Ctrl-D on a terminal goes to the guest; Ctrl-] ends).
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>

#include "phone-side/instance/instance.hpp"
#include "phone-side/instance/linux_hypervisor.hpp"

namespace {

using amphion::devices::OwnedFd;
using amphion::instance::Happening;
using amphion::instance::Instance;
using amphion::instance::InstanceConfig;
using amphion::instance::InstanceEvents;
using amphion::instance::Problem;

constexpr char escape = 0x1d;  // Ctrl-]

struct Options {
  InstanceConfig config;
  std::string kernel, initrd, disk;
  std::uint64_t memory_mib = 256, bound_mib = 0;
  unsigned seconds = 0;
  bool trace = false;
};

class RawTerminal {
 public:
  RawTerminal() : is_terminal_(isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (!is_terminal_) return;
    termios raw = before_;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
  ~RawTerminal() {
    if (is_terminal_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool is_terminal_;
};

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_access(const Happening& a) {
  std::fprintf(stderr, "[vcpu%u %s%u %08x", a.vcpu, a.write ? "write" : "read", a.bytes * 8, a.address);
  a.write ? std::fprintf(stderr, " <- %08x]\n", a.data) : std::fprintf(stderr, "]\n");
}

void print_stats(Instance& instance) {
  const auto stats = instance.stats();
  std::fprintf(stderr, "amphion-run: %llu KiB of memory populated",
               static_cast<unsigned long long>(stats.populated_bytes / 1024));
  for (std::size_t i = 0; i < stats.exits.size(); ++i)
    if (stats.exits[i] != 0)
      std::fprintf(stderr, "; vCPU %zu: %llu ms, %llu exits", i,
                   static_cast<unsigned long long>(stats.run_ns[i] / 1000000),
                   static_cast<unsigned long long>(stats.exits[i]));
  std::fprintf(stderr, "\n");
}

InstanceEvents make_events(const Options& options, std::atomic<bool>& over) {
  InstanceEvents events;
  events.serial = print;
  events.console = print;
  events.off = [&over] { over = true; };
  events.restarted = [](const Problem& problem) {
    std::fprintf(stderr, "amphion-run: the guest reset itself%s%s\n", problem ? ": " : "",
                 problem ? problem->c_str() : "");
  };
  events.out_of_memory = [] { std::fprintf(stderr, "amphion-run: the guest waits for memory beyond its bound\n"); };
  if (options.trace) events.access = print_access;
  return events;
}

// Feeds the guest until one of the ends. True if it ended by itself.
bool feed(Instance& instance, const Options& options, const std::atomic<bool>& over) {
  const auto start = std::chrono::steady_clock::now();
  bool input = true;
  while (!over) {
    if (options.seconds != 0 && std::chrono::steady_clock::now() - start > std::chrono::seconds(options.seconds))
      return false;
    pollfd fd{input ? STDIN_FILENO : -1, POLLIN, 0};
    if (poll(&fd, 1, 100) <= 0) continue;
    char bytes[256];
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    if (n <= 0) {
      input = false;
      if (options.seconds == 0) return false;
      continue;
    }
    const std::string_view text(bytes, static_cast<std::size_t>(n));
    if (text.find(escape) != text.npos) return false;
    instance.serial_input(text);
  }
  return true;
}

Problem run(const Options& options) {
  Problem problem;
  const auto hypervisor = amphion::instance::open_hypervisor(problem);
  if (hypervisor == nullptr) return problem;
  std::atomic<bool> over = false;
  InstanceConfig config = options.config;
  const OwnedFd kernel(open(options.kernel.c_str(), O_RDONLY | O_CLOEXEC));
  const OwnedFd initrd(options.initrd.empty() ? -1 : open(options.initrd.c_str(), O_RDONLY | O_CLOEXEC));
  if (!kernel.valid()) return "cannot open " + options.kernel;
  if (!options.initrd.empty() && !initrd.valid()) return "cannot open " + options.initrd;
  config.boot.kernel = kernel.get();
  config.boot.initrd = initrd.get();
  std::string error;
  auto disk = amphion::devices::FileDisk::open(options.disk, error);
  if (disk == nullptr) return error;
  auto partition = create_partition(*hypervisor, config, problem);
  if (problem) return problem;
  const auto instance =
      std::make_unique<Instance>(std::move(partition), std::move(disk), config, make_events(options, over));
  if ((problem = instance->boot())) return problem;
  if ((problem = instance->run())) return problem;
  const RawTerminal raw;
  feed(*instance, options, over);
  problem = instance->pause();
  print_stats(*instance);
  return problem;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  o.config.shape.vcpus = 1;
  CLI::App app{"Runs one phone instance under the hypervisor, with its serial line here. Ctrl-] ends it."};
  app.add_option("--kernel", o.kernel, "zImage")->required();
  app.add_option("--initrd", o.initrd, "initial file system");
  app.add_option("--disk", o.disk, "raw disk image")->required();
  app.add_option("--cmdline", o.config.boot.cmdline, "the kernel's command line")->default_val("console=ttyAMA0");
  app.add_option("--vcpus", o.config.shape.vcpus, "largest number of vCPUs (1)");
  app.add_option("--allowed", o.config.vcpus_allowed, "vCPUs that may run here (1)");
  app.add_option("--memory", o.memory_mib, "memory in MiB (256)");
  app.add_option("--bound", o.bound_mib, "memory that it may use here, in MiB (all)");
  app.add_option("--seconds", o.seconds, "end after so many seconds");
  app.add_flag("--trace", o.trace, "show every device access");
  CLI11_PARSE(app, argc, argv);
  o.config.shape.memory_bytes = o.memory_mib << 20;
  o.config.bound_bytes = (o.bound_mib != 0 ? o.bound_mib : o.memory_mib) << 20;
  if (const Problem problem = run(o)) {
    std::fprintf(stderr, "amphion-run: %s\n", problem->c_str());
    return 1;
  }
  return 0;
}
