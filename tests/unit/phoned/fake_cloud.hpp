// SPDX-License-Identifier: Apache-2.0
// A cloud for phoned's tests: link's real sessions and engines, the instance's memory and disk in a map.
// Its "clone" receives keys at once, unless told to be deaf.
// Thread safety: all functions from any thread, but start/stop by the test.
#pragma once

#include <condition_variable>
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
    return refuse.empty() ? link::Status() : link::Status(link::ErrorCode::refused, refuse + offer.id().instance());
  }
  link::Status begin(std::uint64_t, const std::vector<link::RegionSize>& sizes, std::uint64_t base) override {
    with_base = base != 0;
    if (base == 0) bytes.clear();
    for (const auto& one : sizes) bytes[one.region].resize(one.blocks * link::block_bytes);
    sizes_ = sizes;
    return {};
  }
  link::Status write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override {
    std::copy(blocks.begin(), blocks.end(), at(region, first));
    return {};
  }
  link::Status zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) override {
    std::fill_n(at(region, first), count * link::block_bytes, std::byte{0});
    return {};
  }
  link::Status check_state(const std::string&) override { return {}; }
  link::Status make_durable(const std::string& sealed) override {
    state = sealed;
    return {};
  }
  void discard(std::uint64_t) override {}
  link::Status start(const link::InstanceRecord& record) override {
    reached = record.input_sequence;
    runs = true;
    return {};
  }

  std::vector<link::RegionSize> regions() const override { return sizes_; }
  link::Status start_tracking() override { return {}; }
  link::Status read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) override {
    std::copy_n(at(region, first), out.size(), out.begin());
    return {};
  }
  link::Status take_dirty(link::pb::Region, link::Bitmap&) override { return {}; }
  link::Result<link::SavedState> stop() override {
    runs = false;
    return link::SavedState{state, reached};
  }
  void resume() override { runs = true; }
  void left(std::uint64_t) override {}

  std::vector<std::byte>::iterator at(link::pb::Region region, std::uint64_t block) {
    return bytes[region].begin() + static_cast<std::ptrdiff_t>(block * link::block_bytes);
  }

  std::map<link::pb::Region, std::vector<std::byte>> bytes;
  std::string state;
  std::string refuse;
  std::uint64_t reached = 0;
  bool runs = false;
  bool with_base = false;

 private:
  std::vector<link::RegionSize> sizes_;
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
    cut();
    acceptor_.join();
    const std::lock_guard lock(mutex_);
    for (auto& one : workers_) one.join();
  }
  FakeCloud(const FakeCloud&) = delete;
  FakeCloud& operator=(const FakeCloud&) = delete;

  [[nodiscard]] std::uint16_t port() const { return listener_->port(); }

  // The link breaks.
  void cut() {
    std::shared_ptr<link::Session> session;
    {
      const std::lock_guard lock(mutex_);
      session = session_;
    }
    if (session) session->close();
  }
  [[nodiscard]] bool connected() {
    const std::lock_guard lock(mutex_);
    return session_ != nullptr && !session_->closed();
  }
  [[nodiscard]] std::vector<link::pb::InputEvent> keys() {
    const std::lock_guard lock(mutex_);
    return keys_;
  }
  void refuse_undock(const std::string& why) { refuse_undock_ = why; }

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
      {
        const std::lock_guard lock(mutex_);
        session_ = *session;
      }
      (*session)->start();
    }
  }

  void on_offer(link::Session&, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override {
    const std::lock_guard lock(mutex_);
    workers_.emplace_back([this, offer, channel] {
      link::HandoverDestination engine(*channel, records, image);
      engine.run(offer);
    });
  }

  void on_message(link::Session& session, link::Message message) override {
    if (const auto* events = std::get_if<link::pb::InputEvents>(&message)) return receive(session, *events);
    if (const auto* query = std::get_if<link::pb::StatusQuery>(&message)) {
      link::pb::StatusReply reply;
      reply.set_query(query->query());
      (void)session.send(reply);
      return;
    }
    const auto* undock = std::get_if<link::pb::UndockRequest>(&message);
    if (undock == nullptr) return;
    if (!refuse_undock_.empty()) {
      link::pb::UndockRefused refused;
      refused.set_instance(undock->instance());
      refused.set_reason(refuse_undock_);
      (void)session.send(refused);
      return;
    }
    const std::lock_guard lock(mutex_);
    workers_.emplace_back([this, name = undock->instance(), session = session_] {
      auto channel = session->channel(name);
      if (!channel.ok()) return;
      link::HandoverSource engine(**channel, records, image, name);
      engine.run();
    });
  }

  void receive(link::Session& session, const link::pb::InputEvents& events) {
    const std::lock_guard lock(mutex_);
    if (deaf) return;
    std::uint64_t number = events.first_sequence();
    for (const auto& one : events.events()) {
      if (number == image.reached + 1) {
        keys_.push_back(one);
        image.reached = number;
      }
      ++number;
    }
    link::pb::InputAck ack;
    ack.set_instance(events.instance());
    ack.set_reached(image.reached);
    ack.set_durable(image.reached);
    (void)session.send(ack);
  }

  void on_closed(link::Session&, const link::Error&) override {}

  std::unique_ptr<link::TlsListener> listener_;
  std::thread acceptor_;
  std::mutex mutex_;
  std::shared_ptr<link::Session> session_;
  std::vector<std::thread> workers_;
  std::vector<link::pb::InputEvent> keys_;
  std::string refuse_undock_;
};

}  // namespace amphion::phoned::fakes
