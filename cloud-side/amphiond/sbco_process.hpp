// SPDX-License-Identifier: Apache-2.0
// amphion-scx as a child process: SBCO schedules this machine while it lives. It ends with amphiond, however that ends.
// Thread safety: start() and the destructor by one thread, which must outlive the object; `ended` is called by a thread
// of its own, and never after the destructor has begun to return.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "link/error.hpp"

namespace amphion::cloud {

class SbcoProcess {
 public:
  // Returns when SBCO is in force. refused: it is not, and why. `ended(why)`: it was, and has ended by itself.
  static link::Result<std::unique_ptr<SbcoProcess>> start(const std::filesystem::path& program,
                                                          std::function<void(const std::string& why)> ended);
  ~SbcoProcess();  // the kernel's own scheduler goes on
  SbcoProcess(const SbcoProcess&) = delete;
  SbcoProcess& operator=(const SbcoProcess&) = delete;

 private:
  SbcoProcess(pid_t process, int output, std::function<void(const std::string&)> ended);
  void watch(std::string said);

  const pid_t process_;
  const int output_;
  const std::function<void(const std::string&)> ended_;
  std::atomic<bool> unwanted_{false};
  std::thread watcher_;
};

}  // namespace amphion::cloud
