// SPDX-License-Identifier: Apache-2.0
// A phone with one instance, all in memory, that speaks to a Device with the real session and the real engines over a
// pipe. `hook` runs at each progress of a hand-over (to cut the link there). Thread safety: tests call it from one
// thread; messages arrive by the session's.
#pragma once

#include <condition_variable>
#include <cstring>

#include "cloud-side/amphiond/device.hpp"
#include "cloud-side/amphiond/saved_state.hpp"
#include "link/memory_files.hpp"
#include "tests/unit/cloud/sample_state.hpp"

namespace amphion::cloud::testing {

inline constexpr machine::Shape test_shape{2, 64u << 20};
inline constexpr std::uint64_t test_disk_bytes = 1u << 20;

class FakePhone final : public link::Session::Handler, public link::SourceImage, public link::DestinationImage {
 public:
  explicit FakePhone(std::string name = "phone-1", std::string instance = "work")
      : name_(std::move(name)), instance_(std::move(instance)), records_(files_, "/records", link::pb::SIDE_PHONE) {
    (void)files_.make_folder("/records");
    link::InstanceRecord record;
    record.instance = instance_;
    record.shape = test_shape;
    record.bound_bytes = 32u << 20;
    record.vcpus_allowed = 1;
    (void)records_.store(record);
    memory_.resize(test_shape.memory_bytes);
    disk_.resize(test_disk_bytes);
  }
  ~FakePhone() override { disconnect(); }

  void connect(Device& device) {
    disconnect();
    auto [mine, theirs] = link::make_pipe(8u << 20);
    server_ =
        std::thread([&device, stream = std::move(theirs)]() mutable { device.serve(std::move(stream), "cloud"); });
    link::pb::Hello hello;
    hello.set_side(link::pb::SIDE_PHONE);
    hello.set_name(name_);
    const auto claims = records_.claims();
    for (const auto& claim : *claims) *hello.add_instances() = claim;
    auto opened = link::Session::open(std::move(mine), hello, *this);
    if (!opened) return;
    session_ = *opened;
    closed_ = false;
    reconcile();
    session_->start();
  }
  void disconnect() {
    if (session_) session_->close();
    if (incoming_.joinable()) incoming_.join();
    session_.reset();
    if (server_.joinable()) server_.join();
  }
  [[nodiscard]] bool connected() { return session_ && !closed_; }

  link::HandoverReport dock() {
    auto channel = session_->channel(instance_);
    if (!channel) return {link::Outcome::aborted, 0, channel.error().text, {}};
    link::SourceOptions options;
    options.vcpus_allowed = 1;
    options.bound_bytes = 32u << 20;
    link::HandoverSource engine(**channel, records_, *this, instance_, options, [this](const auto& p) { at(p.phase); });
    return engine.run();
  }
  // Empty: it came home. Otherwise why not.
  std::string undock(std::uint64_t bound_bytes = 32u << 20) {
    std::unique_lock lock(mutex_);
    answer_.reset();
    link::pb::UndockRequest request;
    request.set_instance(instance_);
    request.set_bound_bytes(bound_bytes);
    request.set_vcpus_allowed(1);
    (void)session_->send(request);
    if (!changed_.wait_for(lock, std::chrono::seconds(30), [this] { return answer_.has_value(); })) return "no answer";
    return *answer_;
  }
  void send_keys(std::uint64_t first, std::uint16_t code, int count) {
    link::pb::InputEvents events;
    events.set_instance(instance_);
    events.set_first_sequence(first);
    for (int i = 0; i < count; ++i) {
      auto& key = *events.add_events();
      key.set_type(1);
      key.set_code(static_cast<std::uint32_t>(code + i));
      key.set_value(1);
      events.add_events();
    }
    (void)session_->send(events);
  }
  [[nodiscard]] std::uint64_t acked() {
    const std::lock_guard lock(mutex_);
    return acked_;
  }
  [[nodiscard]] std::string console() {
    const std::lock_guard lock(mutex_);
    return console_;
  }
  [[nodiscard]] link::InstanceRecord record() { return *records_.load(instance_); }
  link::Session& session() { return *session_; }
  std::vector<std::byte>& memory() { return memory_; }
  link::MemoryFiles& files() { return files_; }
  std::function<void(link::Phase)> hook;
  int resumed = 0;
  int started = 0;

  // ---- Session::Handler ----
  void on_offer(link::Session&, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override {
    if (incoming_.joinable()) incoming_.join();
    incoming_ = std::thread([this, offer, channel] {
      link::HandoverDestination engine(*channel, records_, *this, {}, [this](const auto& p) { at(p.phase); });
      const auto report = engine.run(offer);
      reply(report.outcome == link::Outcome::committed ? "" : report.reason);
    });
  }
  void on_message(link::Session&, link::Message message) override {
    if (const auto* refused = std::get_if<link::pb::UndockRefused>(&message)) reply(refused->reason());
    const std::lock_guard lock(mutex_);
    if (const auto* ack = std::get_if<link::pb::InputAck>(&message)) acked_ = ack->reached();
    if (const auto* data = std::get_if<link::pb::ConsoleData>(&message)) console_ += data->data();
  }
  void on_closed(link::Session&, const link::Error&) override { closed_ = true; }

  // ---- SourceImage ----
  std::vector<link::RegionSize> regions() const override {
    return {{link::pb::REGION_MEMORY, test_shape.memory_bytes / 4096},
            {link::pb::REGION_DISK0, test_disk_bytes / 4096}};
  }
  link::Status start_tracking() override { return {}; }
  link::Status read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) override {
    std::memcpy(out.data(), of(region).data() + first * 4096, out.size());
    return {};
  }
  link::Status take_dirty(link::pb::Region, link::Bitmap&) override { return {}; }
  link::Result<link::SavedState> stop() override {
    return link::SavedState{seal_state(sample_state(test_shape, test_disk_bytes)), 0};
  }
  void resume() override { ++resumed; }
  void left(std::uint64_t) override {}

  // ---- DestinationImage ----
  link::Status admit(const link::pb::Offer&) override { return {}; }
  link::Status begin(std::uint64_t, const std::vector<link::RegionSize>&, std::uint64_t base) override {
    if (base == 0) std::fill(memory_.begin(), memory_.end(), std::byte{0});
    if (base == 0) std::fill(disk_.begin(), disk_.end(), std::byte{0});
    return {};
  }
  link::Status write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override {
    std::memcpy(of(region).data() + first * 4096, blocks.data(), blocks.size());
    return {};
  }
  link::Status zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) override {
    std::memset(of(region).data() + first * 4096, 0, count * 4096);
    return {};
  }
  link::Status check_state(const std::string& sealed) override {
    const auto state = open_state(sealed);
    if (state) arrived_input = state->input_sequence();
    return state ? link::Status() : link::Status(state.error());
  }
  link::Status make_durable(const std::string&) override { return {}; }
  void discard(std::uint64_t) override {}
  link::Status start(const link::InstanceRecord&) override {
    ++started;
    return {};
  }
  std::uint64_t arrived_input = 0;

 private:
  std::vector<std::byte>& of(link::pb::Region region) { return region == link::pb::REGION_MEMORY ? memory_ : disk_; }
  void at(link::Phase phase) {
    if (hook) hook(phase);
  }
  void reply(std::string text) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(text);
    changed_.notify_all();
  }
  void reconcile() {
    for (const auto& theirs : session_->peer().instances()) {
      const auto verdict = link::reconcile(link::pb::SIDE_PHONE, claim_of(record()), &theirs);
      const auto now = link::apply(verdict, records_, instance_, theirs);
      if (verdict == link::Verdict::take && now) (void)start(*now);
    }
  }

  std::string name_;
  std::string instance_;
  link::MemoryFiles files_;
  link::Records records_;
  std::vector<std::byte> memory_;
  std::vector<std::byte> disk_;
  std::shared_ptr<link::Session> session_;
  std::thread server_;
  std::thread incoming_;
  std::atomic<bool> closed_{true};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::string> answer_;
  std::uint64_t acked_ = 0;
  std::string console_;
};

}  // namespace amphion::cloud::testing
