// SPDX-License-Identifier: Apache-2.0
// One instance of this phone, wherever it lives: its durable record, what runs of it here, the way of its keys, its
// moves, its owner's commands. Thread safety: all functions from any thread. One move (a command that changes it, or
// reconciliation) at a time; a second is refused, and slot_rules.hpp says which may begin in which state.
// Invariant: vCPUs run here only while the durable record says that the instance is here.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "link/handover.hpp"
#include "link/reconcile.hpp"
#include "link/session.hpp"
#include "phone-side/phoned/config.hpp"
#include "phone-side/phoned/console_hub.hpp"
#include "phone-side/phoned/control_server.hpp"
#include "phone-side/phoned/file_journal.hpp"
#include "phone-side/phoned/instance_list.hpp"
#include "phone-side/phoned/live_instance.hpp"
#include "phone-side/phoned/logs.hpp"
#include "phone-side/phoned/saved_image.hpp"
#include "phone-side/phoned/slot_rules.hpp"

namespace amphion::phoned {

using ProgressSink = std::function<void(const nlohmann::json&)>;  // must not throw

// What the screen shows of a slot: the instance's own picture, or lines of text.
struct View {
  std::shared_ptr<LiveInstance> live;
  std::vector<std::string> lines;
  bool docked = false;
};

// Memory of an image over a synchronised copy: pages that are not zero, and pages that are not as in the copy.
struct ArrivedPages {
  link::Bitmap present, changed;
};

struct SlotServices {
  link::Records& records;
  link::Files& files;
  InstanceList& list;  // has an entry of this instance
  Logs& logs;
  InstanceFactory make;
  std::string folder;                                       // of all instances: <data>/instances
  std::function<std::shared_ptr<link::Session>()> session;  // the cloud, or null
  std::function<void(link::Message)> post;  // to the cloud without waiting; dropped when it is not connected
  std::chrono::milliseconds off_patience = std::chrono::seconds(90);     // for a guest that is to switch itself off
  std::chrono::milliseconds off_again = std::chrono::seconds(5);         // it is asked again: one that boots does not hear
  std::chrono::milliseconds grow_patience = std::chrono::seconds(10);    // for the answer of the guest's service
  std::function<std::uint64_t(const std::string& folder)> free_bytes{};  // of the disk it is on; empty: as it is
};

class Slot {
 public:
  Slot(InstanceConfig config, SlotServices services);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  [[nodiscard]] const std::string& name() const { return config_.name; }

  // Does what the durable record asks for; an instance that its owner has stopped stays so. Never throws: a failure
  // becomes the state.
  void start();
  // A clean end: moves are given up, the instance stops.
  void stop();
  void give_up_moves();  // as far as they can be; does not wait

  void keys(std::span<const Frame> frames);
  [[nodiscard]] View view();
  [[nodiscard]] nlohmann::json summary();
  [[nodiscard]] nlohmann::json journal();

  // Block until done; progress goes to `progress`. Throw CommandError.
  [[nodiscard]] nlohmann::json dock(const ProgressSink& progress);
  [[nodiscard]] nlohmann::json undock(const ProgressSink& progress);

  // The owner's commands; block until done. Throw CommandError, and the instance is as before then, but where
  // switch_on, reset and restore say that it does not start.
  [[nodiscard]] nlohmann::json switch_on();
  // Its guest is asked by the power key, again and again, and waited for; `force`: as if its power were cut.
  [[nodiscard]] nlohmann::json switch_off(bool force, const ProgressSink& progress);
  [[nodiscard]] nlohmann::json reset();  // off and on, as if its power were cut
  // vCPUs at once as far as its guest takes them up; memory from its next start. `allow` judges the others' memory.
  [[nodiscard]] nlohmann::json set(const nlohmann::json& wishes, const InstanceList::Allow& allow);
  [[nodiscard]] nlohmann::json snapshot(const std::string& label, const ProgressSink& progress);
  // It goes on from the snapshot, here, in the generation in which it is; what it did since is gone.
  [[nodiscard]] nlohmann::json restore(const std::string& label, const ProgressSink& progress);
  [[nodiscard]] nlohmann::json delete_snapshot(const std::string& label);
  // All of it, its entry last. Its name's generation is kept: a later instance of that name does not fall behind what
  // the cloud knows. The answer's "note" says what the cloud keeps. Nobody may use this slot afterwards.
  [[nodiscard]] nlohmann::json remove(bool force);
  // Clears away what a power cut has left of snapshots. Before start().
  void sweep();
  // Files, logs and record of one that has no slot, all but its entry: it was made or removed only half. `note`: as
  // remove() answers.
  [[nodiscard]] static link::Status forget(link::Records& records, Logs& logs, const std::string& instances,
                                           const std::string& name, std::string* note = nullptr);

  // The console, hvc0 or the serial port. Throws CommandError.
  [[nodiscard]] std::shared_ptr<ConsoleView> console(bool serial);
  void console_input(bool serial, std::string_view bytes);
  void console_left();

  // From the cloud's session. `claim` null: the cloud has no record of it.
  void reconcile(const link::pb::Claim* claim);
  void session_began(link::Session& session);  // after reconcile: what waits is sent
  void session_ended();
  void resend_keys();  // from time to time: what the cloud has not acknowledged for a while
  void on_offer(const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel);
  void on_input_ack(const link::pb::InputAck& ack);
  void on_undock_progress(const link::pb::UndockProgress& progress);
  void on_undock_refused(const std::string& reason);
  void on_console(std::string_view bytes);
  void on_console_closed(const std::string& reason);
  void on_clone_status(const link::pb::InstanceStatus& status);

  // No move is under way; waits for the end of one.
  void wait_idle();

 private:
  friend class DockImage;
  friend class HomeImage;

  class Move;  // holds the right to move; released at its end

  [[nodiscard]] std::unique_ptr<Move> begin_move(Act act, std::optional<SlotState> during = {}, bool force = false);
  void end_move();
  void set_state(SlotState state, std::string note = {});
  void back_to(SlotState state);  // unless it has failed or switched itself off meanwhile
  [[nodiscard]] SlotState state() const;
  [[nodiscard]] link::InstanceRecord record() const;
  void set_record(const link::InstanceRecord& record);
  void reload_record();

  void load_record();
  void start_by_record();
  void start_cold();
  void start_again();  // for an owner: what is needed depends on the state
  void take_wanted();
  [[nodiscard]] std::uint64_t home_bound() const;  // what the image of one that comes home has to fit in
  void end_here(const std::string& why);
  [[nodiscard]] bool ask_off(const ProgressSink& progress);
  void mark_stopped(bool stopped);
  [[nodiscard]] std::optional<std::uint32_t> ask_cpus(LiveInstance& live, std::uint32_t vcpus);
  void on_grow(std::string_view text);
  [[nodiscard]] bool stopped_by_owner() const;
  [[nodiscard]] std::string snapshots() const { return folder_ + "/snapshots"; }
  [[nodiscard]] std::uint64_t free_bytes() const;
  void drop_snapshot(std::uint64_t number);
  [[nodiscard]] nlohmann::json details() const;
  // `pages`: of an image that has just arrived, over the copy that live_ holds.
  void start_saved(link::InstanceRecord record, const ArrivedPages* pages = nullptr);
  [[nodiscard]] link::Status load_image(const SavedImage& image);
  [[nodiscard]] link::Status change_copy(const SavedImage& image, const ArrivedPages& pages);
  void fail(const std::string& why);
  [[nodiscard]] LiveInstance::Events events();
  [[nodiscard]] std::shared_ptr<LiveInstance> live() const;
  [[nodiscard]] link::Status make_live();
  void drop_live();
  void ask_home(link::Session& session);
  [[nodiscard]] link::pb::Offer await_offer(const ProgressSink& progress, std::shared_ptr<link::Channel>& channel);
  void link_keys(std::span<const NumberedEvent> events);
  void away(std::uint64_t input_sequence);
  [[nodiscard]] std::string disk() const { return config_.has_disk() ? disk_file(folder_) : std::string(); }
  [[nodiscard]] std::vector<std::string> notice();

  InstanceConfig config_;  // as it runs; what set() changes is changed with the move and mutex_
  SlotServices services_;
  std::string folder_;
  std::shared_ptr<Log> log_;

  mutable std::mutex mutex_;  // guards what follows; never held while the instance or the link is waited for
  link::InstanceRecord record_;
  InstanceConfig wanted_;  // as its next start will have it
  SlotState state_ = SlotState::starting;
  std::string note_;
  std::string since_;  // local time of the last change of state
  link::Clock::time_point since_clock_ = link::Clock::now();
  bool ending_ = false;  // phoned ends
  std::string grow_said_;
  std::optional<std::uint32_t> cpus_said_;  // by the guest's service
  std::shared_ptr<LiveInstance> live_;
  bool base_in_memory_ = false;  // live_ is retired and holds the synchronised copy
  bool moving_ = false;
  bool removed_ = false;
  std::condition_variable moved_;  // also: a change of state, news of the guest's service
  std::function<void()> cancel_;   // of the engine that runs
  struct Homecoming {              // an undock that waits for the cloud's offer
    std::optional<link::pb::Offer> offer;
    std::shared_ptr<link::Channel> channel;
    std::optional<link::pb::UndockProgress> progress;
    std::string refused;
  };
  std::optional<Homecoming> homecoming_;
  std::condition_variable homecoming_news_;
  std::optional<link::pb::InstanceStatus> clone_;

  std::mutex keys_mutex_;  // guards the two below; mutex_ may be taken while it is held, not the other way round
  std::unique_ptr<FileJournal> journal_;
  std::unique_ptr<KeyRoute> route_;
  std::uint64_t last_progress_ = 0;  // at the last resend_keys()
  std::atomic<std::uint64_t> reached_{0};

  ConsoleHub console_{0};
  ConsoleHub serial_{32 * 1024};  // boot messages are usually asked for afterwards
};

// The figures of a hand-over as control lines have them.
[[nodiscard]] nlohmann::json to_json(const link::Progress& progress);

}  // namespace amphion::phoned
