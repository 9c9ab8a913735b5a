// SPDX-License-Identifier: Apache-2.0
// Clones without QEMU: "processes" that live in a FakeWorld, so that they outlive the amphiond under test, and its
// CloneStarter. A test reaches into a process to write its memory, fill its keyboard queue, or end it.
// Thread safety: all functions of FakeWorld and FakeClone from any thread; FakeProcess's fields under its mutex.
#pragma once

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>

#include "cloud-side/amphiond/clone_control.hpp"

namespace amphion::cloud::testing {

struct FakeProcess {
  std::mutex mutex;
  std::filesystem::path folder;
  int pid = 0;
  bool alive = true;
  bool paused = false;
  bool off = false;  // its guest has switched itself off: QEMU refuses to let it go on
  machine::InstanceState state;
  std::uint16_t used = 0;
  int deaf = 0;           // so many next questions for the used index fail
  std::size_t room = 64;  // events that the guest's queue takes
  std::vector<link::InputEvent> received;
  std::uint64_t memory = 0;  // that the guest has
  std::uint64_t least = 0;   // its balloon shrinks it no further
  std::uint64_t reports = 0;
  std::uint32_t vcpus = 0;  // answered; stays 0 when the guest has no service
  bool has_service = true;
  std::string console_in;
  std::string console_out;

  [[nodiscard]] std::size_t received_events() {
    const std::lock_guard lock(mutex);
    return received.size();
  }
  void make_room(std::size_t events) {
    const std::lock_guard lock(mutex);
    room = events;
  }
  void end() {
    const std::lock_guard lock(mutex);
    alive = false;
  }
  void write_memory(std::uint64_t offset, const std::string& bytes) const {
    std::fstream file(folder / "memory", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
  }
};

class FakeClone final : public CloneControl {
 public:
  explicit FakeClone(std::shared_ptr<FakeProcess> process) : p_(std::move(process)) {}

  bool alive() override {
    const std::lock_guard lock(p_->mutex);
    return p_->alive;
  }
  [[nodiscard]] int pid() const override { return p_->pid; }
  link::Result<machine::InstanceState> stop() override {
    const std::lock_guard lock(p_->mutex);
    if (!p_->alive) return gone();
    p_->paused = true;
    return p_->state;
  }
  link::Status resume() override {
    const std::lock_guard lock(p_->mutex);
    if (p_->off) return {link::ErrorCode::refused, "Resetting the Virtual Machine is required"};
    p_->paused = false;
    return {};
  }
  link::Result<bool> stopped() override {
    const std::lock_guard lock(p_->mutex);
    return p_->paused && !p_->off;
  }
  void kill() override { p_->end(); }
  link::Status set_memory(std::uint64_t bytes) override {
    const std::lock_guard lock(p_->mutex);
    p_->memory = std::max(bytes, p_->least);
    return {};
  }
  link::Result<std::uint64_t> memory() override {
    const std::lock_guard lock(p_->mutex);
    if (!p_->alive) return gone();
    return p_->memory;
  }
  link::Result<GuestMemory> guest_memory() override {
    const std::lock_guard lock(p_->mutex);
    return GuestMemory{p_->memory - p_->least, ++p_->reports};
  }
  link::Status set_vcpus(std::uint32_t count) override {
    const std::lock_guard lock(p_->mutex);
    if (p_->has_service) p_->vcpus = count;
    return {};
  }
  std::uint32_t vcpus_online() override {
    const std::lock_guard lock(p_->mutex);
    return p_->vcpus;
  }
  link::Result<std::uint16_t> keyboard_used() override {
    const std::lock_guard lock(p_->mutex);
    if (!p_->alive || (p_->deaf > 0 && p_->deaf-- > 0)) return gone();
    return p_->used;
  }
  link::Result<bool> inject(std::span<const link::InputEvent> frame) override {
    const std::lock_guard lock(p_->mutex);
    if (!p_->alive) return gone();
    if (p_->paused || frame.size() > p_->room) return false;
    p_->room -= frame.size();
    p_->used = static_cast<std::uint16_t>(p_->used + frame.size());
    p_->received.insert(p_->received.end(), frame.begin(), frame.end());
    return true;
  }
  link::Status console_write(std::string_view bytes) override {
    const std::lock_guard lock(p_->mutex);
    p_->console_in += bytes;
    return {};
  }
  link::Result<std::string> console_read(std::size_t limit) override {
    const std::lock_guard lock(p_->mutex);
    auto piece = p_->console_out.substr(0, limit);
    p_->console_out.erase(0, piece.size());
    return piece;
  }
  void release_console() override {}
  [[nodiscard]] std::filesystem::path console_path() const override { return p_->folder / "console.sock"; }

 private:
  static link::Error gone() { return {link::ErrorCode::closed, "the clone's process is gone"}; }
  std::shared_ptr<FakeProcess> p_;
};

class FakeWorld final : public CloneStarter {
 public:
  link::Status prepare(const machine::InstanceState&) override {
    if (!can_prepare) return {link::ErrorCode::io, "QEMU does not run here"};
    return {};
  }
  link::Result<std::unique_ptr<CloneControl>> start(const std::filesystem::path& folder,
                                                    const machine::InstanceState& state) override {
    const std::lock_guard lock(mutex_);
    if (fail_starts > 0) {
      --fail_starts;
      return link::Error{link::ErrorCode::io, "QEMU does not start"};
    }
    auto process = std::make_shared<FakeProcess>();
    process->folder = folder;
    process->pid = ++last_pid_;
    process->state = state;
    processes_[folder] = process;
    return std::unique_ptr<CloneControl>(std::make_unique<FakeClone>(process));
  }
  link::Result<std::unique_ptr<CloneControl>> adopt(const std::filesystem::path& folder) override {
    const auto process = at(folder);
    if (!process) return link::Error{link::ErrorCode::not_found, "no clone runs in " + folder.string()};
    if (mute) return link::Error{link::ErrorCode::timeout, "QEMU's monitor does not answer"};
    return std::unique_ptr<CloneControl>(std::make_unique<FakeClone>(process));
  }
  bool runs(const std::filesystem::path& folder) override { return at(folder) != nullptr; }
  void end(const std::filesystem::path& folder) override {
    if (const auto process = at(folder)) process->end();
  }
  // The live process in a folder; null: none.
  std::shared_ptr<FakeProcess> at(const std::filesystem::path& folder) {
    const std::lock_guard lock(mutex_);
    const auto found = processes_.find(folder);
    if (found == processes_.end()) return nullptr;
    const std::lock_guard process(found->second->mutex);
    return found->second->alive ? found->second : nullptr;
  }
  [[nodiscard]] int started() {
    const std::lock_guard lock(mutex_);
    return last_pid_;
  }
  std::atomic<int> fail_starts{0};
  std::atomic<bool> can_prepare{true};
  std::atomic<bool> mute{false};  // processes run and their monitors do not answer

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, std::shared_ptr<FakeProcess>> processes_;
  int last_pid_ = 0;
};

}  // namespace amphion::cloud::testing
