// SPDX-License-Identifier: Apache-2.0
// The device-model process of one instance (amphion-instance, phone-side/instance/process.cpp), as phoned starts it,
// speaks to it and ends it. It is trusted as little as a guest: what it sends is bounded and checked, it is not waited
// for without end, and it cannot hold up a sender of keys. When it ends by itself or breaks the protocol it is killed,
// whoever waits for an answer gets the reason, and so does the listener.
//
//   starting -> alive -> ended (by itself, or by breach(); on_end is told)
//                     -> ended (by the destructor; nobody is told)
//
// Thread safety: all functions from any thread, but the listener's are called by this object's thread and must neither
// block nor destroy it. The process dies with that thread (PR_SET_PDEATHSIG), which lives as long as the object.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "link/error.hpp"
#include "phone-side/devices/owned_fd.hpp"
#include "phone-side/instance/process.pb.h"
#include "phone-side/instance/wire.hpp"

namespace amphion::phoned {

class DeviceModelProcess {
 public:
  using Request = instance::pb::Request;
  using Report = instance::pb::Report;
  using Answer = instance::pb::Answer;
  struct Listener {
    std::function<bool(const Report&)> on_report;  // all but answers; false: that cannot be true, end it
    std::function<void(const std::string&)> on_end;
  };

  // `name`: for those who list processes. `files`: what it inherits beside the socket, in the order of
  // instance::inherited. `patience`: for an answer.
  DeviceModelProcess(const std::string& program, const std::string& name, const std::vector<int>& files,
                     Listener listener, std::chrono::milliseconds patience = std::chrono::minutes(2));
  ~DeviceModelProcess();
  DeviceModelProcess(const DeviceModelProcess&) = delete;
  DeviceModelProcess& operator=(const DeviceModelProcess&) = delete;

  [[nodiscard]] link::Result<Answer> ask(Request request);  // also an error: the answer's problem
  void tell(const Request& request);                        // at once
  void breach(const std::string& what);                     // what it said cannot be true: it ends

 private:
  [[nodiscard]] link::Status spawn(const std::string& program, const std::string& name, const std::vector<int>& files,
                                   int socket);
  void run();
  void exchange();
  void send_waiting();
  void receive();
  void take(const Report& report);
  void put(const Request& request);  // with mutex_
  [[nodiscard]] bool over();

  const Listener listener_;
  const std::chrono::milliseconds patience_;
  devices::OwnedFd socket_, wake_;
  int pid_ = -1;
  instance::FrameBuffer arrived_;  // the thread's own

  std::mutex mutex_;
  std::condition_variable news_;
  std::string waiting_;  // to be sent
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::optional<Answer>> asked_;
  bool started_ = false, ending_ = false;
  std::string end_;  // why it has ended, or has to
  std::thread thread_;
};

}  // namespace amphion::phoned
