// SPDX-License-Identifier: Apache-2.0
// Sessions with the cloud; see cloud_link.hpp.
#include "phone-side/phoned/cloud_link.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "link/pki.hpp"
#include "link/wall_clock.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds connect_timeout{15};
constexpr std::chrono::milliseconds shortest_pause{500};
constexpr std::chrono::milliseconds longest_pause{8000};
constexpr std::chrono::milliseconds answer_time{1500};
constexpr std::chrono::seconds resend_interval{1};
constexpr std::size_t max_outbox = 4096;

}  // namespace

CloudLink::CloudLink(link::Records& records, CloudEvents events, Slots slots)
    : records_(records), events_(std::move(events)), slots_(std::move(slots)) {}

CloudLink::~CloudLink() { stop(); }

void CloudLink::start(CloudTarget target) {
  target_ = std::move(target);
  runner_ = std::thread([this] { run(); });
  poster_ = std::thread([this] { post_loop(); });
}

void CloudLink::retarget(CloudTarget target, const std::string& why) {
  std::shared_ptr<link::Session> session;
  {
    const std::lock_guard lock(mutex_);
    target_ = std::move(target);
    ++target_number_;
    session = session_;
    error_.clear();
  }
  news_.notify_all();
  if (session) session->close(why);
}

bool CloudLink::await_session(link::Deadline deadline) {
  std::unique_lock lock(mutex_);
  return news_.wait_until(lock, deadline, [&] { return session_ != nullptr || stopping_; }) && session_ != nullptr;
}

void CloudLink::stop() {
  std::shared_ptr<link::Session> session;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    session = session_;
  }
  news_.notify_all();
  if (session) session->close("the phone is being switched off");
  session.reset();
  if (runner_.joinable()) runner_.join();
  if (poster_.joinable()) poster_.join();
}

void CloudLink::begin_anew(const std::string& why) {
  if (const auto session = this->session()) session->close(why);
}

std::shared_ptr<Slot> CloudLink::slot(const std::string& instance) const {
  for (auto& one : slots_()) {
    if (one->name() == instance) return one;
  }
  return nullptr;
}

std::shared_ptr<link::Session> CloudLink::session() const {
  const std::lock_guard lock(mutex_);
  return session_;
}

json CloudLink::status() const {
  const std::lock_guard lock(mutex_);
  json status{{"address", target_.address}, {"connected", session_ != nullptr}};
  if (target_.leaving) status["leaving"] = true;
  if (session_) {
    status["name"] = session_->peer().name();
    status["bytes_sent"] = session_->bytes_sent();
    status["bytes_received"] = session_->bytes_received();
  } else if (!error_.empty()) {
    status["error"] = error_;
  } else if (target_.address.empty()) {
    status["error"] = "this phone is paired with no cloud";
  }
  return status;
}

// ---- Connecting ----

// False: it ends. A new target ends the pause.
bool CloudLink::pause(std::chrono::milliseconds time, std::uint64_t target) {
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, time, [&] { return stopping_ || target_number_ != target; });
  return !stopping_;
}

// The next target to connect to and its number; none: it ends.
std::optional<std::pair<CloudTarget, std::uint64_t>> CloudLink::next_target() {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [&] { return stopping_ || !target_.address.empty(); });
  if (stopping_) return std::nullopt;
  return std::pair(target_, target_number_);
}

void CloudLink::run() {
  auto wait = shortest_pause;
  std::uint64_t before = 0;
  while (const auto next = next_target()) {
    const auto& [target, number] = *next;
    if (number != before) wait = shortest_pause;
    before = number;
    const auto began = link::Clock::now();
    const auto status = connect_once(target);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (target_number_ == number) {
        const std::string why = status.ok() ? "" : status.error().text;
        if (why != error_) spdlog::warn("cloud {}: {}", target.address, why);
        error_ = why;
      }
    }
    const bool lasted = link::Clock::now() - began > std::chrono::seconds(20);
    wait = lasted ? shortest_pause : std::min(wait * 2, longest_pause);
    if (!pause(wait, number)) return;
  }
}

link::Result<link::pb::Hello> CloudLink::hello(const CloudTarget& target) {
  const auto own = link::certificate_facts(target.identity.certificate);
  if (!own.ok()) return own.error();
  link::pb::Hello hello;
  hello.set_protocol(link::protocol_version);
  hello.set_side(link::pb::SIDE_PHONE);
  hello.set_name(own->name);
  hello.set_time_s(link::wall_clock_s());
  auto claims = records_.claims();
  if (!claims.ok()) return claims.error();
  for (auto& claim : *claims) *hello.add_instances() = std::move(claim);
  return hello;
}

// Returns when the session is over, or could not be had.
link::Status CloudLink::connect_once(const CloudTarget& target) {
  for (const auto& one : slots_()) one->wait_idle();  // what a broken session left under way
  const auto endpoint = link::parse_endpoint(target.address, 7448);
  if (!endpoint.ok()) return endpoint.error();
  auto stream = link::tls_connect(*endpoint, target.identity, link::Role::cloud, link::in(connect_timeout));
  if (!stream.ok()) return stream.error();
  const link::Peer peer = (*stream)->peer();
  events_.time(peer, 0);
  link::SessionOptions options;
  options.expected_name = peer.name;
  const auto mine = hello(target);
  if (!mine.ok()) return mine.error();
  {
    const std::lock_guard lock(mutex_);
    closed_ = unpaired_ = false;
  }
  auto session = link::Session::open(std::move(*stream), *mine, *this, options);
  if (!session.ok()) {
    // It has authenticated: who leaves and is not let in any more has been forgotten.
    if (target.leaving && session.error().code == link::ErrorCode::refused) events_.told();
    return session.error();
  }
  events_.time(peer, (*session)->peer().time_s());
  if (target.leaving) {
    say_farewell(**session);
  } else {
    serve(*session, target);
  }
  const std::lock_guard lock(mutex_);
  return {link::ErrorCode::closed, error_};
}

void CloudLink::say_farewell(link::Session& session) {
  session.start();
  (void)session.send(link::pb::Unpair());
  {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, connect_timeout, [&] { return closed_ || unpaired_ || stopping_; });
    if (!unpaired_) {
      lock.unlock();
      session.close();
      return;
    }
  }
  session.close();
  events_.told();
}

void CloudLink::serve(const std::shared_ptr<link::Session>& session, const CloudTarget& target) {
  for (const auto& one : slots_()) {
    const link::pb::Claim* claim = nullptr;
    for (const auto& theirs : session->peer().instances()) {
      if (theirs.instance() == one->name()) claim = &theirs;
    }
    one->reconcile(claim);
  }
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || target_.address != target.address || target_.leaving) return;
    error_.clear();
    outbox_.clear();
    session_ = session;
  }
  spdlog::info("cloud {}: connected to {}", target.address, session->peer().name());
  session->start();
  for (const auto& one : slots_()) one->session_began(*session);
  {
    std::unique_lock lock(mutex_);
    news_.wait(lock, [&] { return closed_; });
    session_.reset();
    outbox_.clear();
  }
  news_.notify_all();
  for (const auto& one : slots_()) one->session_ended();
}

// ---- Sending ----

void CloudLink::post(link::Message message) {
  std::shared_ptr<link::Session> overrun;
  {
    const std::lock_guard lock(mutex_);
    if (!session_ || closed_) return;
    if (outbox_.size() < max_outbox) {
      outbox_.push_back(std::move(message));
    } else {
      overrun = session_;
    }
  }
  news_.notify_all();
  if (overrun) overrun->close("too much waits to be sent");
}

void CloudLink::post_loop() {
  auto resend_at = link::in(resend_interval);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    news_.wait_until(lock, resend_at, [&] { return stopping_ || !outbox_.empty(); });
    if (stopping_) return;
    const auto session = session_;
    std::optional<link::Message> message;
    if (!outbox_.empty()) {
      message = std::move(outbox_.front());
      outbox_.pop_front();
    }
    lock.unlock();
    if (session && message) {
      if (const auto sent = session->send(*message); !sent.ok()) spdlog::debug("cloud: {}", sent.error().text);
    }
    if (link::Clock::now() >= resend_at) {  // also when there is always something to send
      if (session) resend_keys();
      resend_at = link::in(resend_interval);
    }
    lock.lock();
  }
}

void CloudLink::resend_keys() {
  for (const auto& one : slots_()) one->resend_keys();
}

void CloudLink::refresh() {
  link::pb::StatusQuery query;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!session_) return;
    number = ++query_;
  }
  query.set_query(number);
  post(query);
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, answer_time, [&] { return stopping_ || !session_ || answered_ >= number; });
}

// ---- What arrives ----

void CloudLink::on_offer(link::Session&, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) {
  if (const auto one = slot(offer.id().instance())) {
    one->on_offer(offer, std::move(channel));
    return;
  }
  link::pb::Abort abort;
  *abort.mutable_id() = offer.id();
  abort.set_reason("this phone has no such instance");
  if (const auto sent = channel->send(abort); !sent.ok()) spdlog::debug("cloud: {}", sent.error().text);
}

void CloudLink::on_message(link::Session&, link::Message message) {
  using namespace link;
  if (const auto* reply = std::get_if<pb::StatusReply>(&message)) {
    for (const auto& status : reply->instances()) {
      if (const auto one = slot(status.instance())) one->on_clone_status(status);
    }
    const std::lock_guard lock(mutex_);
    answered_ = std::max(answered_, reply->query());
    news_.notify_all();
  } else if (const auto* ack = std::get_if<pb::InputAck>(&message)) {
    if (const auto one = slot(ack->instance())) one->on_input_ack(*ack);
  } else if (const auto* progress = std::get_if<pb::UndockProgress>(&message)) {
    if (const auto one = slot(progress->instance())) one->on_undock_progress(*progress);
  } else if (const auto* refused = std::get_if<pb::UndockRefused>(&message)) {
    if (const auto one = slot(refused->instance())) one->on_undock_refused(refused->reason());
  } else if (const auto* data = std::get_if<pb::ConsoleData>(&message)) {
    if (const auto one = slot(data->instance())) one->on_console(data->data());
  } else if (const auto* close = std::get_if<pb::ConsoleClose>(&message)) {
    if (const auto one = slot(close->instance())) one->on_console_closed(close->reason());
  } else if (const auto* screen = std::get_if<pb::ScreenData>(&message)) {
    events_.screen(screen->instance(), screen->pixels());
  } else if (std::holds_alternative<pb::Unpaired>(message)) {
    const std::lock_guard lock(mutex_);
    unpaired_ = true;
    news_.notify_all();
  } else if (const auto* error = std::get_if<pb::Error>(&message)) {
    spdlog::warn("cloud: {}{}{}", error->instance(), error->instance().empty() ? "" : ": ", error->text());
  }
}

void CloudLink::on_closed(link::Session&, const link::Error& why) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    error_ = why.text;
    if (!stopping_) spdlog::warn("cloud {}: the connection ended: {}", target_.address, why.text);
  }
  news_.notify_all();
}

}  // namespace amphion::phoned
