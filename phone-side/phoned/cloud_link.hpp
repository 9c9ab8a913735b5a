// SPDX-License-Identifier: Apache-2.0
// The phone's connection to the cloud that it is paired with: connects with growing pauses, reconciles every instance
// first, then serves the session until it breaks. A pairing that is being left has one more session, that says so.
// Thread safety: start/stop by the owner; the rest from any thread. Callbacks come from this object's own threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "link/session.hpp"
#include "link/tls.hpp"
#include "phone-side/phoned/cloud_pairing.hpp"
#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

struct CloudEvents {
  // Pixels of a clone's screen.
  std::function<void(const std::string& instance, const std::string& zstd_pixels)> screen;
  // A cloud that has authenticated, and what its clock says (0: nothing).
  std::function<void(const link::Peer& peer, std::int64_t time_s)> time;
  // The cloud knows that the phone leaves.
  std::function<void()> told;
};

class CloudLink : private link::Session::Handler {
 public:
  using Slots = std::function<std::vector<std::shared_ptr<Slot>>()>;
  // `records` outlive this. `slots`: the instances that there are.
  CloudLink(link::Records& records, CloudEvents events, Slots slots);
  ~CloudLink() override;

  void start(CloudTarget target);
  void stop();
  // Another cloud, or none: `why` ends the present session. Returns at once.
  void retarget(CloudTarget target, const std::string& why);
  // Both sides say anew what they have: a record has changed by command.
  void begin_anew(const std::string& why);
  // Whether it is connected, or becomes so by then.
  [[nodiscard]] bool await_session(link::Deadline deadline);

  [[nodiscard]] std::shared_ptr<link::Session> session() const;
  // Sent by a thread of its own, in order. Dropped when not connected; a cloud that takes nothing for long loses the
  // session.
  void post(link::Message message);
  [[nodiscard]] nlohmann::json status() const;
  // Asks the cloud about its clones and waits a little for the answer; the slots have it then.
  void refresh();

 private:
  void run();
  void post_loop();
  void resend_keys();
  [[nodiscard]] link::Status connect_once(const CloudTarget& target);
  void say_farewell(link::Session& session);
  [[nodiscard]] link::Result<link::pb::Hello> hello(const CloudTarget& target);
  void serve(const std::shared_ptr<link::Session>& session, const CloudTarget& target);
  [[nodiscard]] std::shared_ptr<Slot> slot(const std::string& instance) const;
  [[nodiscard]] bool pause(std::chrono::milliseconds time, std::uint64_t target);
  [[nodiscard]] std::optional<std::pair<CloudTarget, std::uint64_t>> next_target();

  void on_offer(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override;
  void on_message(link::Session& session, link::Message message) override;
  void on_closed(link::Session& session, const link::Error& why) override;

  link::Records& records_;
  const CloudEvents events_;
  const Slots slots_;
  std::thread runner_;
  std::thread poster_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable news_;
  CloudTarget target_;
  std::uint64_t target_number_ = 0;  // of target_; grows with each
  bool unpaired_ = false;            // the session at hand: the cloud has confirmed it
  std::shared_ptr<link::Session> session_;
  std::deque<link::Message> outbox_;
  std::string error_;
  bool closed_ = false;  // the session at hand
  bool stopping_ = false;
  std::uint64_t query_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace amphion::phoned
