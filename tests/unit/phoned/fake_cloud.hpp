// SPDX-License-Identifier: Apache-2.0
// A cloud for phoned's tests: link's real sessions and engines, the instance's memory and disk in a map.
// Its "clone" receives keys at once, unless told to be deaf. Where it matters to the phone it keeps amphiond's order:
// one hand-over at a time, the next waits for the earlier one's end; keys that come between the commit and the clone's
// start wait for the clone. Thread safety: all functions from any thread, but construction and end by the test.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "link/handover_destination.hpp"
#include "link/handover_source.hpp"
#include "link/memory_files.hpp"
#include "link/session.hpp"
#include "link/tls.hpp"

namespace amphion::phoned::fakes {

class CloudImage : public link::DestinationImage, public link::SourceImage {
 public:
  link::Status admit(const link::pb::Offer& offer) override {
    const std::lock_guard lock(mutex_);
    return refuse_.empty() ? link::Status() : link::Status(link::ErrorCode::refused, refuse_ + offer.id().instance());
  }
  link::Status begin(std::uint64_t, const std::vector<link::RegionSize>& sizes, std::uint64_t base) override {
    const std::lock_guard lock(mutex_);
    if (base == 0) bytes_.clear();
    for (const auto& one : sizes) bytes_[one.region].resize(one.blocks * link::block_bytes);
    sizes_ = sizes;
    return {};
  }
  link::Status write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override {
    const std::lock_guard lock(mutex_);
    std::copy(blocks.begin(), blocks.end(), at(region, first));
    return {};
  }
  link::Status zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) override {
    const std::lock_guard lock(mutex_);
    std::fill_n(at(region, first), count * link::block_bytes, std::byte{0});
    return {};
  }
  link::Status check_state(const std::string&) override { return {}; }
  link::Status make_durable(const std::string& sealed) override {
    const std::lock_guard lock(mutex_);
    state_ = sealed;
    return {};
  }
  void discard(std::uint64_t) override {}
  link::Status start(const link::InstanceRecord& record) override {
    const std::lock_guard lock(mutex_);
    reached_ = record.input_sequence;
    present_ = runs_ = true;
    changed_.notify_all();
    return {};
  }

  std::vector<link::RegionSize> regions() const override {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }
  link::Status start_tracking() override { return {}; }
  link::Status read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) override {
    const std::lock_guard lock(mutex_);
    std::copy_n(at(region, first), out.size(), out.begin());
    return {};
  }
  link::Status take_dirty(link::pb::Region, link::Bitmap&) override { return {}; }
  link::Result<link::SavedState> stop() override {
    const std::lock_guard lock(mutex_);
    runs_ = false;
    return link::SavedState{state_, reached_};
  }
  void resume() override {
    const std::lock_guard lock(mutex_);
    runs_ = true;
  }
  void left(std::uint64_t) override {
    const std::lock_guard lock(mutex_);
    present_ = false;
    changed_.notify_all();
  }

  // What a test sees of it, and does to it.
  void refuse(const std::string& why) {
    const std::lock_guard lock(mutex_);
    refuse_ = why;
  }
  [[nodiscard]] bool runs() const {
    const std::lock_guard lock(mutex_);
    return runs_;
  }
  [[nodiscard]] std::string state() const {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  [[nodiscard]] std::size_t size(link::pb::Region region) {
    const std::lock_guard lock(mutex_);
    return bytes_[region].size();
  }
  [[nodiscard]] std::string text(link::pb::Region region, std::size_t page) {
    const std::lock_guard lock(mutex_);
    return reinterpret_cast<const char*>(&*at(region, page));
  }
  void put(link::pb::Region region, std::size_t page, const std::string& text) {
    const std::lock_guard lock(mutex_);
    std::memcpy(&*at(region, page), text.data(), text.size());
  }
  [[nodiscard]] std::vector<link::pb::InputEvent> keys() const {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

  // `lives_here`: by the record, which is stored before start() and left(). Returns what the clone has reached.
  std::uint64_t receive(const link::pb::InputEvents& events, const std::function<bool()>& lives_here) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return present_ || !lives_here(); });
    std::uint64_t number = events.first_sequence();
    for (const auto& one : events.events()) {
      if (runs_ && number == reached_ + 1) {
        keys_.push_back(one);
        reached_ = number;
      }
      ++number;
    }
    return reached_;
  }

 private:
  std::vector<std::byte>::iterator at(link::pb::Region region, std::uint64_t block) {
    return bytes_[region].begin() + static_cast<std::ptrdiff_t>(block * link::block_bytes);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<link::RegionSize> sizes_;
  std::map<link::pb::Region, std::vector<std::byte>> bytes_;
  std::string state_;
  std::string refuse_;
  std::vector<link::pb::InputEvent> keys_;
  std::uint64_t reached_ = 0;
  bool present_ = false;
  bool runs_ = false;
};

class FakeCloud : private link::Session::Handler {
 public:
  explicit FakeCloud(const std::string& pki) {
    auto listener =
        link::TlsListener::open({"127.0.0.1", 0}, link::identity_in(pki, link::Role::cloud), {link::Role::phone});
    if (!listener.ok()) throw std::runtime_error(listener.error().text);
    listener_ = std::move(*listener);
    acceptor_ = std::thread([this] { accept(); });
  }
  ~FakeCloud() override {
    listener_->close();
    acceptor_.join();
    replace_session(nullptr);
    end_handover();
  }
  FakeCloud(const FakeCloud&) = delete;
  FakeCloud& operator=(const FakeCloud&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_->port(); }

  // The link breaks.
  void cut() {
    const std::lock_guard lock(mutex_);
    if (session_) session_->close();
  }
  [[nodiscard]] std::vector<link::pb::InputEvent> keys() const { return image.keys(); }
  void refuse_undock(const std::string& why) {
    const std::lock_guard lock(mutex_);
    refuse_undock_ = why;
  }

  CloudImage image;
  link::MemoryFiles files;
  link::Records records{files, "/records", link::pb::SIDE_CLOUD};
  std::atomic<bool> deaf{false};

 private:
  void accept() {
    for (;;) {
      auto pending = listener_->accept();
      if (!pending.ok()) return;
      auto stream = (*pending)->handshake(link::in(std::chrono::seconds(10)));
      if (!stream.ok()) continue;
      replace_session(nullptr);
      end_handover();
      link::pb::Hello hello;
      hello.set_protocol(link::protocol_version);
      hello.set_side(link::pb::SIDE_CLOUD);
      hello.set_name("cloud");
      auto claims = records.claims();
      for (auto& one : *claims) *hello.add_instances() = one;
      link::SessionOptions options;
      options.expected_name = (*stream)->peer_name();
      auto session = link::Session::open(std::move(*stream), hello, *this, options);
      if (!session.ok()) continue;
      replace_session(*session);
      (*session)->start();
    }
  }

  // The earlier one, with its reader, has ended when it returns.
  void replace_session(std::shared_ptr<link::Session> session) {
    const std::lock_guard lock(mutex_);
    session_.swap(session);
  }

  // By the session's reader; while there is none, by who replaces it.
  void end_handover() {
    if (handover_.joinable()) handover_.join();
  }

  void on_offer(link::Session&, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override {
    end_handover();
    handover_ = std::thread([this, offer, channel] {
      link::HandoverDestination engine(*channel, records, image);
      engine.run(offer);
    });
  }

  void on_message(link::Session& session, link::Message message) override {
    if (const auto* events = std::get_if<link::pb::InputEvents>(&message)) return receive(session, *events);
    if (const auto* undock = std::get_if<link::pb::UndockRequest>(&message)) return this->undock(session, *undock);
    if (std::holds_alternative<link::pb::Unpair>(message)) return (void)session.send(link::pb::Unpaired());
    if (const auto* query = std::get_if<link::pb::StatusQuery>(&message)) {
      link::pb::StatusReply reply;
      reply.set_query(query->query());
      (void)session.send(reply);
    }
  }

  void undock(link::Session& session, const link::pb::UndockRequest& request) {
    end_handover();
    auto channel = session.channel(request.instance());
    link::pb::UndockRefused refused;
    refused.set_instance(request.instance());
    {
      const std::lock_guard lock(mutex_);
      refused.set_reason(channel.ok() ? refuse_undock_ : channel.error().text);
    }
    if (!refused.reason().empty()) {
      (void)session.send(refused);
      return;
    }
    handover_ = std::thread([this, name = request.instance(), channel = *channel] {
      link::HandoverSource engine(*channel, records, image, name);
      engine.run();
    });
  }

  void receive(link::Session& session, const link::pb::InputEvents& events) {
    if (deaf) return;
    const std::uint64_t reached = image.receive(events, [&] {
      const auto record = records.load(events.instance());
      return record.ok() && record->place == link::pb::SIDE_CLOUD;
    });
    link::pb::InputAck ack;
    ack.set_instance(events.instance());
    ack.set_reached(reached);
    ack.set_durable(reached);
    (void)session.send(ack);
  }

  void on_closed(link::Session&, const link::Error&) override {}

  std::unique_ptr<link::TlsListener> listener_;
  std::thread acceptor_;
  std::thread handover_;
  std::mutex mutex_;  // guards what follows
  std::shared_ptr<link::Session> session_;
  std::string refuse_undock_;
};

}  // namespace amphion::phoned::fakes
