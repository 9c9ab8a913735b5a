// SPDX-License-Identifier: Apache-2.0
// Load for the scheduler in the test machine: processes whose threads are named like QEMU's vCPUs and compute, rest, or
// both in turn, until its process group gets SIGTERM.
// Usage: scx-load PROCESSES THREADS MIX [NAME]   MIX: hogs (all compute) or rests (half of them also sleep)
//   NAME: what follows "CPU n/" (KVM); "-": threads with ordinary names
//        scx-load occupy CPU: in real time, so that nobody else runs there, while sched_ext is enabled
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

std::atomic<bool> ended{false};

// QEMU, too, names its threads after they have begun.
void work(int number, bool rests, std::string name) {
  if (name != "-") name = "CPU " + std::to_string(number) + "/" + name;
  if (name != "-") (void)pthread_setname_np(pthread_self(), name.c_str());
  volatile unsigned long rounds = 0;
  while (!ended) {
    for (int n = 0; n < 20000; ++n) rounds = rounds + 1;
    if (rests && rounds % 400000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
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
  const int processes = std::atoi(argv[1]), threads = std::atoi(argv[2]);
  const bool rests = std::string_view(argv[3]) == "rests";
  sigset_t end;  // only the processes that have the threads take it
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &end, nullptr) != 0 || setpgid(0, 0) != 0) return 1;
  for (int process = 0; process < processes; ++process) {
    if (fork() != 0) continue;
    std::vector<std::thread> all;
    for (int n = 0; n < threads; ++n) all.emplace_back(work, n, rests && n % 2 == 1, argc > 4 ? argv[4] : "KVM");
    int signal = 0;
    sigwait(&end, &signal);
    ended = true;
    for (auto& thread : all) thread.join();
    return 0;
  }
  while (wait(nullptr) > 0) {
  }
}
