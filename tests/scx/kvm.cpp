// SPDX-License-Identifier: Apache-2.0
// Real KVM guests in the test machine, as small as they come: each vCPU counts in a loop, in real mode, in a thread
// that is named as QEMU names it, until its process group gets SIGTERM. Usage: scx-kvm GUESTS VCPUS
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr unsigned char count_forever[] = {0x40, 0xeb, 0xfd};  // inc ax; jmp to it
constexpr std::size_t page = 4096;

int checked(int value, const char* what) {
  if (value < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
  return value;
}

class Guest {
 public:
  Guest() {
    vm_ = checked(ioctl(kvm_, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    void* memory = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    std::memcpy(memory, count_forever, sizeof count_forever);
    kvm_userspace_memory_region region{0, 0, page, page, reinterpret_cast<__u64>(memory)};
    checked(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
  }
  // Runs a vCPU until `end` is set and the thread gets a signal; true if it has counted.
  bool run(int number, const std::atomic<bool>& end) const {
    const std::string name = "CPU " + std::to_string(number) + "/KVM";
    pthread_setname_np(pthread_self(), name.c_str());
    const int vcpu = checked(ioctl(vm_, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
    const auto size = static_cast<std::size_t>(checked(ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0), "the vCPU's page"));
    mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    kvm_sregs special{};
    checked(ioctl(vcpu, KVM_GET_SREGS, &special), "KVM_GET_SREGS");
    special.cs.base = special.cs.selector = 0;
    checked(ioctl(vcpu, KVM_SET_SREGS, &special), "KVM_SET_SREGS");
    kvm_regs registers{};
    registers.rip = page;
    registers.rflags = 2;
    checked(ioctl(vcpu, KVM_SET_REGS, &registers), "KVM_SET_REGS");
    while (!end) {
      if (ioctl(vcpu, KVM_RUN, 0) == 0 || (errno != EINTR && errno != EAGAIN))
        throw std::runtime_error("KVM_RUN ended");
    }
    checked(ioctl(vcpu, KVM_GET_REGS, &registers), "KVM_GET_REGS");
    return registers.rax != 0;
  }

 private:
  int kvm_ = checked(open("/dev/kvm", O_RDWR), "/dev/kvm");
  int vm_ = -1;
};

int guest(int vcpus, const sigset_t& ended) {
  const Guest made;
  std::atomic<bool> end{false};
  std::atomic<int> counted{0};
  std::atomic<int> left{vcpus};
  std::vector<std::thread> threads;
  for (int n = 0; n < vcpus; ++n) {
    threads.emplace_back([&, n] {
      counted += made.run(n, end) ? 1 : 0;
      --left;
    });
  }
  int signal = 0;
  sigwait(&ended, &signal);
  end = true;
  while (left > 0) {  // a signal that comes just before KVM_RUN does not end it
    for (auto& thread : threads) pthread_kill(thread.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (auto& thread : threads) thread.join();
  return counted == vcpus ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGUSR1, &nothing, nullptr);
  sigset_t ended;  // only the processes that have the guests take it
  sigemptyset(&ended);
  sigaddset(&ended, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &ended, nullptr) != 0 || setpgid(0, 0) != 0) return 1;
  for (int n = 0; n < std::atoi(argv[1]); ++n) {
    if (fork() != 0) continue;
    try {
      return guest(std::atoi(argv[2]), ended);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "scx-kvm: %s\n", error.what());
      std::_Exit(1);
    }
  }
  int failed = 0, status = 0;
  while (wait(&status) > 0) failed |= status;
  return failed == 0 ? 0 : 1;
}
