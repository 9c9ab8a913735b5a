// SPDX-License-Identifier: Apache-2.0
// One instance of one device, as the cloud knows it: its durable record, its images, its clone when it is docked, and
// the hand-over under way, of which there is at most one.
// Thread safety: all public functions from any thread. Hand-overs run in a thread of their own.
// Invariants: a clone runs only while the record's place is the cloud; what a record says is durable before it is acted
// upon; the record is written by the hand-over's thread while there is one, otherwise by the caller of recover() and
// reconcile().
#pragma once

#include <nlohmann/json.hpp>

#include "cloud-side/amphiond/clone_keeper.hpp"
#include "cloud-side/amphiond/shrink.hpp"
#include "link/handover_destination.hpp"
#include "link/handover_source.hpp"
#include "link/reconcile.hpp"
#include "link/session.hpp"

namespace amphion::cloud {

struct Host {  // what all instances of a device share; outlives them
  Files& files;
  link::Files& small_files;
  link::Records& records;
  CloneStarter& starter;
  ShrinkLimits shrink_limits{};
};

class Instance {
 public:
  Instance(std::string name, std::filesystem::path folder, Host host, Tell tell);
  ~Instance();  // ends the hand-over; leaves the clone running

  [[nodiscard]] const std::string& name() const { return name_; }

  // When amphiond starts: adopts, starts or ends the clone as the record says (adoption.hpp).
  void recover();
  // At the beginning of a session, with no hand-over under way. `theirs` may be null.
  void reconcile(const link::pb::Claim* theirs);
  // The phone wants to dock it. Runs the destination engine.
  void dock(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel);
  // The phone wants it back: shrinks it, then runs the source engine; answers with progress, refusal, or an offer.
  void undock(link::Session& session, const link::pb::UndockRequest& request);
  // Breaks off the hand-over as far as that is possible, and waits for its end. The session's channels are closed.
  void end_handover();

  // Events for the clone. While the instance has just been committed and its clone starts, waits for it a little.
  link::Result<link::pb::InputAck> input(const link::pb::InputEvents& events);
  // It is in the cloud by its record; its clone may still be starting.
  [[nodiscard]] bool lives_here();
  CloneKeeper& clone() { return keeper_; }
  [[nodiscard]] link::pb::InstanceStatus status();
  [[nodiscard]] nlohmann::json describe();

 private:
  [[nodiscard]] std::optional<link::InstanceRecord> record();
  bool begin_handover(const char* activity);  // false: one is under way, and did not end within some seconds
  void launch(std::function<void()> work);
  void run_dock(link::Session& session, const link::pb::Offer& offer, link::Channel& channel);
  void run_undock(link::Session& session, std::shared_ptr<link::Channel> channel,
                  const link::pb::UndockRequest& request);
  void refuse_undock(const link::pb::UndockRequest& request, const std::string& reason, std::uint64_t uses_bytes);
  struct Refusal {
    std::string reason;
    std::uint64_t uses_bytes = 0;
  };
  // Shrinks the clone; none: it fits.
  [[nodiscard]] std::optional<Refusal> shrink_clone(const link::pb::UndockRequest& request,
                                                    const link::InstanceRecord& record);
  void send_home(link::Session& session, std::shared_ptr<link::Channel> channel, const link::pb::UndockRequest& request,
                 const link::InstanceRecord& record);
  void settle(link::Session& session, const link::HandoverReport& report);
  void report_progress(const link::pb::UndockRequest& request, const char* phase, std::uint64_t uses_bytes);
  link::Status start_clone(const link::InstanceRecord& record);
  // Its clone runs, or why not: takes up the process that is there, or starts one from the durable state.
  link::Status bring_up(const link::InstanceRecord& record);
  void check_base();
  void act_on(link::Verdict verdict, const link::InstanceRecord& record);
  void set_activity(const char* activity);
  void set_cancel(std::function<void()> cancel);

  const std::string name_;
  InstanceFolder folder_;
  Host host_;
  Tell tell_;
  CloneKeeper keeper_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable idle_;
  const char* activity_ = nullptr;
  std::function<void()> cancel_;
  std::atomic<bool> cancelled_{false};
  std::thread handover_;
  bool handover_runs_ = false;
};

}  // namespace amphion::cloud
