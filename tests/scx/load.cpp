// SPDX-License-Identifier: Apache-2.0
// Load for the scheduler in the test machine: processes whose threads are named like QEMU's vCPUs and compute, rest, or
// both in turn, until its process group gets SIGTERM. Says at last for how many ms
// the thread that ran least and the one that ran most have run.
// Usage: scx-load PROCESSES THREADS MIX [NAME]   MIX: hogs (all compute) or rests (half of them also sleep)
//   NAME: what follows "CPU n/" (KVM); "-": threads with ordinary names
//        scx-load occupy CPU: in real time, so that nobody else runs there, while sched_ext is enabled
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> ended{false};

long ran_ms() {
  timespec time{};
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1'000'000;
}

// QEMU, too, names its threads after they have begun.
void work(int number, bool rests, std::string name, long& ran) {
  if (name != "-") name = "CPU " + std::to_string(number) + "/" + name;
  if (name != "-") (void)pthread_setname_np(pthread_self(), name.c_str());
  volatile unsigned long rounds = 0;
  while (!ended) {
    for (int n = 0; n < 20000; ++n) rounds = rounds + 1;
    if (rests && rounds % 400000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  ran = ran_ms();
}

// Not a moment longer: sched_ext ends by way of RCU, whose thread may be among those that wait for this CPU.
bool enabled() {
  std::ifstream file("/sys/kernel/sched_ext/state");
  std::string state;
  return std::getline(file, state) && state == "enabled";
}

int occupy(int cpu) {
  cpu_set_t there;
  CPU_ZERO(&there);
  CPU_SET(static_cast<std::size_t>(cpu), &there);
  const sched_param first{.sched_priority = 1};
  if (sched_setaffinity(0, sizeof there, &there) != 0 || sched_setscheduler(0, SCHED_FIFO, &first) != 0) return 1;
  while (enabled()) {
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "occupy") return occupy(std::atoi(argv[2]));
  if (argc < 4) return 2;
  const int processes = std::atoi(argv[1]), threads = std::atoi(argv[2]), count = processes * threads;
  const bool rests = std::string_view(argv[3]) == "rests";
  sigset_t end;  // only the processes that have the threads take it
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &end, nullptr) != 0 || setpgid(0, 0) != 0) return 1;
  void* const shared = mmap(nullptr, static_cast<std::size_t>(count) * sizeof(long), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  auto* const ran = static_cast<long*>(shared);
  for (int process = 0; process < processes; ++process) {
    if (fork() != 0) continue;
    std::vector<std::thread> all;
    for (int n = 0; n < threads; ++n) {
      all.emplace_back(work, n, rests && n % 2 == 1, argc > 4 ? argv[4] : "KVM", std::ref(ran[process * threads + n]));
    }
    int signal = 0;
    sigwait(&end, &signal);
    ended = true;
    for (auto& thread : all) thread.join();
    return 0;
  }
  while (wait(nullptr) > 0) {
  }
  const auto [least, most] = std::minmax_element(ran, ran + count);
  std::printf("%ld %ld\n", *least, *most);
}
