// SPDX-License-Identifier: Apache-2.0
// Test doubles: an instance without a hypervisor, streams in memory, a data folder that goes away.
// Thread safety: FakeInstance as LiveInstance says.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/input-event-codes.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/phoned/live_instance.hpp"
#include "phone-side/phoned/picture.hpp"
#include "phone-side/phoned/time_floor.hpp"

namespace amphion::phoned::fakes {

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "phoned-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// This machine's clock, which no test sets.
class StillClock final : public BoardClock {
 public:
  std::int64_t now_s() override { return board_clock().now_s(); }
  std::int64_t passed_s() override { return board_clock().passed_s(); }
  link::Status set(std::int64_t) override { return {link::ErrorCode::io, "not in a test"}; }
};

// Its memory is its own; its "guest" receives keys at once, unless `deaf`, and obeys the power key, unless `stubborn`.
class FakeInstance : public LiveInstance {
 public:
  FakeInstance(const InstanceConfig& config, std::string disk, Events events)
      : memory_(config.shape.memory_bytes), disk_(std::move(disk)), events_(std::move(events)) {}

  link::Status boot(std::uint64_t input_sequence) override {
    booted = true;
    received_last = input_sequence;
    return run();
  }
  link::Status load(const std::string& sealed, std::uint64_t input_sequence) override {
    loaded = sealed;
    received_last = input_sequence;
    return {};
  }
  link::Status run() override {
    running = true;
    return {};
  }
  link::Status pause() override {
    running = false;
    return {};
  }
  link::Result<link::SavedState> save() override { return link::SavedState{state, received_last}; }
  void retire() override { retired = true; }
  bool lost() override { return lost_; }
  std::uint64_t memory_bytes() const override { return memory_.size(); }
  link::Status read(std::uint64_t offset, std::span<std::byte> out) override {
    if (lost_) return {link::ErrorCode::io, "lost"};
    std::memcpy(out.data(), &memory_[offset], out.size());
    return {};
  }
  link::Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    std::memcpy(&memory_[offset], in.data(), in.size());
    return {};
  }
  link::Status populated(link::Bitmap& out) override {
    for (std::size_t page = 0; page < memory_.size() / 4096; ++page) {
      if (!link::is_zero(std::span(memory_).subspan(page * 4096, 4096))) out[page / 32] |= 1u << (page % 32);
    }
    return {};
  }
  link::Status discard(std::uint64_t first, std::uint64_t pages) override {
    std::memset(&memory_[first * 4096], 0, pages * 4096);
    return {};
  }
  link::Status track(bool on) override {
    tracking = on;
    return {};
  }
  link::Status take_dirty(link::pb::Region, link::Bitmap&) override { return {}; }
  void keys(std::span<const NumberedEvent> events) override {
    const std::lock_guard lock(mutex_);
    received.insert(received.end(), events.begin(), events.end());
    if (deaf) return;
    received_last = events.back().sequence;
    events_.keys_reached(received_last);
    for (const NumberedEvent& one : events) {
      if (stubborn || one.event.code != KEY_POWER || one.event.value != 1) continue;
      if (presses_unheard > 0) {
        --presses_unheard;
        continue;
      }
      running = false;
      events_.off();
    }
  }
  void console_input(std::string_view bytes) override { events_.console(bytes); }  // an echo
  void serial_input(std::string_view bytes) override { events_.serial(bytes); }
  link::Status grow(std::string_view line) override {
    grown += line;
    if (grow_answer.empty()) return {link::ErrorCode::io, "no service listens"};
    for (const char c : grow_answer) events_.grow(std::string_view(&c, 1));
    return {};
  }
  link::Status allow(std::uint32_t vcpus) override {
    allowed.push_back(vcpus);
    return {};
  }
  LiveStats stats() override {
    return {memory_.size() / 2, memory_.size(), 1, false, {{1'000'000, 500'000, 4, 3, 2, 1}, {}}};
  }
  bool screen(std::span<std::uint16_t>) override { return !lost_; }

  void write(std::size_t page, const std::string& text) {
    std::memcpy(&memory_[page * 4096], text.data(), text.size());
  }
  [[nodiscard]] std::string text(std::size_t page) const {
    return reinterpret_cast<const char*>(&memory_[page * 4096]);
  }
  // As when its device model dies.
  void lose() {
    lost_ = true;
    events_.lost("its device model has ended");
  }
  [[nodiscard]] const std::string& disk() const { return disk_; }
  [[nodiscard]] const Events& events() const { return events_; }

  bool booted = false;
  bool running = false;
  bool tracking = false;
  bool deaf = false;
  bool retired = false;
  bool stubborn = false;
  int presses_unheard = 0;  // of the power key: it still boots
  std::string grown, grow_answer;
  std::vector<std::uint32_t> allowed;
  std::string loaded;
  std::string state = "state";
  std::uint64_t received_last = 0;
  std::vector<NumberedEvent> received;

 private:
  std::mutex mutex_;
  std::vector<std::byte> memory_;
  std::string disk_;
  Events events_;
  std::atomic<bool> lost_{false};
};

// Makes FakeInstances and keeps the last one of each name.
class FakeHypervisor : public instance::Hypervisor {
 public:
  instance::Problem info(amphion_info& out) override {
    out = {};
    out.pool_pages = pool_pages;
    return {};
  }
  instance::Problem scheduling(amphion_sched& out) override { return out = sched, instance::Problem{}; }
  instance::Problem set_scheduling(const amphion_sched& wanted) override {
    for (auto field : {&amphion_sched::policy, &amphion_sched::threshold, &amphion_sched::latency_us,
                       &amphion_sched::granularity_us, &amphion_sched::hand_over}) {
      sched.*field = wanted.*field;
    }
    ++changes;
    return {};
  }
  std::unique_ptr<instance::Partition> create(const instance::PartitionConfig&, instance::Problem& problem) override {
    problem = "instances are made by factory()";
    return nullptr;
  }
  [[nodiscard]] InstanceFactory factory() {
    return [this](const InstanceConfig& config, const std::string& disk,
                  LiveInstance::Events events) -> link::Result<std::shared_ptr<LiveInstance>> {
      if (!refuse.empty()) return link::Error{link::ErrorCode::no_space, refuse};
      auto made = std::make_shared<FakeInstance>(config, disk, std::move(events));
      last = made;
      last_config = config;
      ++count;
      return std::shared_ptr<LiveInstance>(made.get(), [made](LiveInstance*) {});  // whose end phoned can wait for
    };
  }
  std::shared_ptr<FakeInstance> last;
  InstanceConfig last_config;
  int count = 0;
  std::string refuse;
  std::uint32_t pool_pages = (128u << 20) / 4096;
  int changes = 0;  // of the scheduler's settings
  amphion_sched sched{.policy = AMPHION_SCHED_SBCO,
                      .threshold = 683,
                      .latency_us = 6000,
                      .granularity_us = 3000,
                      .hand_over = 1,
                      .cpus = 2,
                      .pad = 0,
                      .cpu = {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {11, 12, 13, 14, 15, 16, 17, 18, 19}, {}, {}},
                      .host = {{20, 0, 0, 0, 0, 0}, {21, 22, 23, 24, 25, 26}, {31, 0, 0, 0, 0, 0}, {}}};
};

inline InstanceConfig small_instance(const std::string& name, const std::string& disk = {}) {
  InstanceConfig config;
  config.name = name;
  config.shape = {2, 64ull << 20};
  config.vcpus_allowed = 1;
  config.bound_bytes = 48ull << 20;
  config.kernel = "/kernel";
  config.disk = disk;
  return config;
}

// Free a moment ago.
inline std::string free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return std::to_string(ntohs(address.sin_port));
}

inline Frame tap(std::uint16_t code) { return {{1, code, 1}, {0, 0, 0}}; }

}  // namespace amphion::phoned::fakes
