// SPDX-License-Identifier: Apache-2.0
// hyp-load: process 1 of the Linux that tests/bench/hyp.py boots. The kernel's command line says what is measured
// (bench=operations,openssl,hackbench,serial,console,sleep,kernel,yield,yielding,spin,idle); results are printed as
// "value NAME NS"; then it switches the machine off.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "tests/bench/hyp/measure.hpp"

namespace {

struct Part {
  const char* name;
  void (*run)();
};
constexpr std::array parts{Part{"operations", bench::measure_operations},
                           Part{"openssl", bench::measure_openssl},
                           Part{"hackbench", bench::measure_hackbench},
                           Part{"serial", bench::measure_serial},
                           Part{"console", bench::measure_console},
                           Part{"sleep", bench::measure_sleep},
                           Part{"kernel", bench::measure_kernel},
                           Part{"yield", bench::measure_yield},
                           Part{"yielding", bench::yield_forever},
                           Part{"spin", bench::spin_forever},
                           Part{"idle", bench::idle_forever}};

std::string asked() {
  const char* words = std::getenv("bench");  // the kernel gives what it does not know to process 1
  return words == nullptr ? "" : words;
}

bool has(std::string_view list, std::string_view name) {
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    if (list.substr(at, end - at) == name) return true;
    at = end + 1;
  }
  return false;
}

}  // namespace

int main() {
  bench::require(mount("dev", "/dev", "devtmpfs", 0, nullptr) == 0, "mount /dev");
  bench::require(mount("proc", "/proc", "proc", 0, nullptr) == 0, "mount /proc");
  bench::require(mount("tmp", "/tmp", "tmpfs", 0, nullptr) == 0, "mount /tmp");
  const int console = open("/dev/console", O_RDWR);
  bench::require(console >= 0, "/dev/console");
  for (int fd = 0; fd < 3; ++fd) dup2(console, fd);
  bench::touch_memory();
  std::printf("bench begins\n");
  for (const Part& part : parts)
    if (has(asked(), part.name)) part.run();
  std::printf("bench ends\n");
  std::fflush(nullptr);
  sync();
  reboot(RB_POWER_OFF);
}
