// SPDX-License-Identifier: Apache-2.0
// One phone as the cloud knows it: its records, its instances, and its session, of which there is at most one. A new
// session replaces the old one, whose hand-overs have ended before the new one reconciles. DATA/devices/<name>/records
// and DATA/devices/<name>/instances/<instance>. Thread safety: all public functions from any thread. Lock order:
// entry_mutex_, then mutex_; neither is held while anything is sent.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "cloud-side/amphiond/instance.hpp"

namespace amphion::cloud {

class Device final : public link::Session::Handler {
 public:
  // Reads the records and recovers every instance. Throws std::runtime_error when a record is damaged.
  // `forget`: makes durable that this phone, which asks for it, is let in no more.
  Device(std::string name, const std::filesystem::path& folder, Files& files, link::Files& small_files,
         CloneStarter& starter, ShrinkLimits shrink_limits = {}, std::function<link::Status()> forget = {});
  ~Device() override;

  [[nodiscard]] const std::string& name() const { return name_; }

  // Serves a phone that has authenticated as this device, until its connection ends or another replaces it.
  // `own_name`: of the cloud's certificate.
  void serve(std::unique_ptr<link::Stream> stream, const std::string& own_name);
  // Ends the session that there is.
  void drop(const std::string& why);
  // Ends the session and waits for its end; there is no other.
  void close(const std::string& why);

  [[nodiscard]] std::shared_ptr<Instance> find(const std::string& instance);
  [[nodiscard]] std::vector<std::shared_ptr<Instance>> instances();
  [[nodiscard]] bool connected();

  void on_offer(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override;
  void on_message(link::Session& session, link::Message message) override;
  void on_closed(link::Session& session, const link::Error& why) override;

 private:
  void tell(const link::Message& message);
  std::shared_ptr<Instance> make(const std::string& instance);
  void reconcile(const link::Session& session);
  void wait_closed();
  void end_handovers();

  void on(link::Session& session, const link::pb::UndockRequest& request);
  void on(link::Session& session, const link::pb::InputEvents& events);
  void on(link::Session& session, const link::pb::StatusQuery& query);
  void on(link::Session& session, const link::pb::ConsoleOpen& open);
  void on(link::Session& session, const link::pb::ConsoleClose& close);
  void on(link::Session& session, const link::pb::ConsoleData& data);
  void on(link::Session& session, const link::pb::ScreenOpen& open);
  void on(link::Session& session, const link::pb::Error& error);
  void on(link::Session& session, const link::pb::Unpair& unpair);
  template <typename Other>
  void on(link::Session& session, const Other& unexpected);

  const std::string name_;
  const std::filesystem::path folder_;
  Files& files_;
  link::Files& small_files_;
  CloneStarter& starter_;
  const ShrinkLimits shrink_limits_;
  const std::function<link::Status()> forget_;
  link::Records records_;

  std::mutex entry_mutex_;  // one connection at a time is served
  std::mutex mutex_;        // guards what follows
  std::condition_variable changed_;
  std::map<std::string, std::shared_ptr<Instance>> instances_;
  std::shared_ptr<link::Session> session_;
  int entering_ = 0;  // connections that wait for the present one to end
  bool closed_ = true;
  bool ended_ = false;  // close() was called: no further sessions
};

}  // namespace amphion::cloud
