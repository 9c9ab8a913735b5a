// SPDX-License-Identifier: Apache-2.0
// One instance of this phone, wherever it lives: its durable record, what runs of it here, the way of its keys, its
// moves. Thread safety: all functions from any thread. One move (dock, undock, reconciliation) at a time; a second is
// refused. Invariant: vCPUs run here only while the durable record says that the instance is here.
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
#include "phone-side/phoned/live_instance.hpp"
#include "phone-side/phoned/saved_image.hpp"

namespace amphion::phoned {

using ProgressSink = std::function<void(const nlohmann::json&)>;  // must not throw

enum class SlotState {
  starting,
  running,
  off,            // switched itself off
  out_of_memory,  // waits for memory beyond its bound
  docking,
  docked,
  undocking,
  asking,  // came home but for the last word, which the cloud has
  failed,  // `note` says why
};
[[nodiscard]] std::string_view text(SlotState state);

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
  InstanceFactory make;
  std::string folder;                                       // of all instances: <data>/instances
  std::function<std::shared_ptr<link::Session>()> session;  // the cloud, or null
  std::function<void(link::Message)> post;  // to the cloud without waiting; dropped when it is not connected
};

class Slot {
 public:
  Slot(InstanceConfig config, SlotServices services);
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  [[nodiscard]] const std::string& name() const { return config_.name; }

  // Does what the durable record asks for. Never throws: a failure becomes the state.
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

  [[nodiscard]] std::unique_ptr<Move> begin_move(SlotState state);
  void end_move();
  void set_state(SlotState state, std::string note = {});
  void back_to(SlotState state);  // unless it has failed meanwhile
  [[nodiscard]] SlotState state() const;
  [[nodiscard]] link::InstanceRecord record() const;
  void set_record(const link::InstanceRecord& record);
  void reload_record();

  void load_record();
  void make_disk();
  void start_cold();
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
  [[nodiscard]] std::string disk() const { return config_.disk.empty() ? std::string() : disk_file(folder_); }
  [[nodiscard]] std::vector<std::string> notice();

  InstanceConfig config_;
  SlotServices services_;
  std::string folder_;

  mutable std::mutex mutex_;  // guards what follows; never held while the instance or the link is waited for
  link::InstanceRecord record_;
  SlotState state_ = SlotState::starting;
  std::string note_;
  std::string since_;  // local time of the last change of state
  std::shared_ptr<LiveInstance> live_;
  bool base_in_memory_ = false;  // live_ is retired and holds the synchronised copy
  bool moving_ = false;
  std::condition_variable moved_;
  std::function<void()> cancel_;  // of the engine that runs
  struct Homecoming {             // an undock that waits for the cloud's offer
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
