// SPDX-License-Identifier: Apache-2.0
// Keeps the clone of one docked instance alive and served: starts, adopts and restarts its process, feeds its input,
// carries its console and screen, asks it to grow and shrink. Instance (instance.hpp) decides when.
// Thread safety: all public functions from any thread; one thread of its own while there is a clone.
// Invariants: `tell` is never called under the lock. Destroying the keeper leaves the clone's process running.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "cloud-side/amphiond/clone_control.hpp"
#include "cloud-side/amphiond/input_feed.hpp"
#include "cloud-side/store/instance_folder.hpp"
#include "link/handover_source.hpp"
#include "link/records.hpp"

namespace amphion::cloud {

using Tell = std::function<void(const link::Message&)>;

struct CloneFacts {
  bool present = false;  // there is a clone's process
  bool paused = false;
  int pid = 0;
  std::uint32_t vcpus_online = 0;
  std::uint64_t memory_bytes = 0;    // that the guest has
  std::uint64_t resident_bytes = 0;  // of its RAM file
  std::chrono::milliseconds running{0};
  std::filesystem::path console;
};

class CloneKeeper {
 public:
  CloneKeeper(std::string name, InstanceFolder folder, CloneStarter& starter, link::Files& journal_files, Tell tell);
  ~CloneKeeper();
  CloneKeeper(const CloneKeeper&) = delete;
  CloneKeeper& operator=(const CloneKeeper&) = delete;

  // Starts the instance from its durable image (record.saved).
  link::Status start(const link::InstanceRecord& record);
  // Takes up the clone that runs in the folder. not_found: there is none; other errors: it runs on, and may be taken up
  // later.
  link::Status adopt(const link::InstanceRecord& record);
  // A clone's process runs in the folder, taken up or not.
  [[nodiscard]] bool runs_in_folder();
  // Ends the clone, or one that an earlier amphiond left in the folder. Done as well when there is none.
  void kill();

  // While a hand-over reads the clone's files they must stay this clone's: one that dies is not started again.
  void hold(bool held);
  // For the hand-over: stops the clone and gives its state; resume() undoes it.
  link::Result<link::SavedState> stop();
  void resume();

  link::Status set_size(std::uint64_t memory_bytes, std::uint32_t vcpus);
  link::Status set_memory(std::uint64_t bytes);
  link::Status set_vcpus(std::uint32_t count);
  link::Result<std::uint64_t> memory();
  link::Result<CloneControl::GuestMemory> guest_memory();

  // Journals events and has them fed to the clone; gives the answer for the phone.
  link::Result<link::pb::InputAck> input(const link::pb::InputEvents& events);
  [[nodiscard]] link::pb::InputAck acknowledge() const;
  void open_console(bool open);
  void console_input(const std::string& bytes);
  void watch_screen(std::chrono::milliseconds interval);  // 0: stop

  [[nodiscard]] CloneFacts facts();
  [[nodiscard]] std::string note() const;
  void set_note(std::string note);
  [[nodiscard]] bool present() const { return present_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Screen {
    std::chrono::milliseconds interval{0};
    Clock::time_point due{};
    link::Hash shown{};
  };

  // Asks the clone under the lock; `closed` where there is none.
  template <typename Answer, typename Ask>
  Answer with_clone(const Ask& ask) {
    const std::lock_guard lock(mutex_);
    if (!clone_) return link::Error{link::ErrorCode::closed, name_ + ": the clone's process is gone"};
    return ask(*clone_);
  }
  link::Status open_journal(const link::InstanceRecord& record);
  link::Status launch();  // under the lock
  void run_thread();
  void end_thread();
  void loop();
  Clock::duration turn(std::vector<link::Message>& out);  // one round under the lock; how long to wait
  Clock::duration feed_input(std::vector<link::Message>& out);
  void restart();
  void remind_of_vcpus();
  void serve_console(std::vector<link::Message>& out);
  void read_screen(std::vector<link::Message>& out);

  const std::string name_;
  InstanceFolder folder_;
  CloneStarter& starter_;
  link::Files& journal_files_;
  Tell tell_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::shared_ptr<link::Journal> journal_;
  std::unique_ptr<InputFeed> feed_;
  std::unique_ptr<CloneControl> clone_;
  link::InstanceRecord record_;
  std::uint64_t want_memory_ = 0;
  std::uint32_t want_vcpus_ = 0;
  int reminders_ = 0;  // how often it was asked for want_vcpus_ without an answer
  Clock::time_point remind_at_{};
  bool paused_ = false;
  bool held_ = false;
  bool ending_ = false;
  bool console_open_ = false;
  std::string typed_on_console_;  // not yet given to the clone, which may still be starting
  Screen screen_;
  int restarts_ = 0;
  Clock::time_point started_{};
  std::string note_;
  std::thread thread_;
  std::atomic<bool> present_{false};
  std::atomic<std::uint64_t> reached_{0};
};

}  // namespace amphion::cloud
