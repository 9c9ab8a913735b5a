// SPDX-License-Identifier: Apache-2.0
// The phone's connection to the cloud: connects with growing pauses, reconciles every instance first, then serves the
// session until it breaks. Thread safety: start/stop by the owner; the rest from any thread. Callbacks come from this
// object's own threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "link/session.hpp"
#include "link/tls.hpp"
#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

struct CloudOptions {
  std::string address;  // HOST:PORT; empty: never connects
  std::string pki;
};

class CloudLink : private link::Session::Handler {
 public:
  // `slots` and `records` outlive this. `screen`: pixels of a clone's screen.
  using ScreenSink = std::function<void(const std::string& instance, const std::string& zstd_pixels)>;
  CloudLink(CloudOptions options, link::Records& records, ScreenSink screen);
  ~CloudLink() override;

  void start(const std::vector<Slot*>& slots);
  void stop();

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
  [[nodiscard]] link::Status connect_once();
  [[nodiscard]] link::Result<link::pb::Hello> hello();
  void serve(const std::shared_ptr<link::Session>& session);
  [[nodiscard]] Slot* slot(const std::string& instance) const;
  [[nodiscard]] bool pause(std::chrono::milliseconds time);

  void on_offer(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override;
  void on_message(link::Session& session, link::Message message) override;
  void on_closed(link::Session& session, const link::Error& why) override;

  CloudOptions options_;
  link::Records& records_;
  ScreenSink screen_;
  std::map<std::string, Slot*> slots_;
  std::thread runner_;
  std::thread poster_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable news_;
  std::shared_ptr<link::Session> session_;
  std::deque<link::Message> outbox_;
  std::string error_;
  bool closed_ = false;  // the session at hand
  bool stopping_ = false;
  std::uint64_t query_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace amphion::phoned
