// SPDX-License-Identifier: Apache-2.0
// See session.hpp.
#include "link/session.hpp"

#include <array>
#include <condition_variable>
#include <deque>
#include <set>

#include "link/records.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;
constexpr Milliseconds write_timeout{20000};
constexpr Milliseconds farewell_timeout{1000};
constexpr int silent_keepalives = 4;

std::size_t frame_bytes(const Message& message) {
  return frame_header_bytes + std::visit([](const auto& body) { return body.ByteSizeLong(); }, message);
}

pb::Error farewell(const std::string& why) {
  pb::Error error;
  error.set_text(why.substr(0, 1024));
  error.set_fatal(true);
  return error;
}

Error check_hello(const pb::Hello& mine, const pb::Hello& theirs, const SessionOptions& options) {
  if (theirs.protocol() != protocol_version) {
    return {ErrorCode::version, "the other side speaks protocol version " + std::to_string(theirs.protocol()) +
                                    ", this program " + std::to_string(protocol_version) +
                                    ": bring both to one release"};
  }
  const bool known_side = theirs.side() == pb::SIDE_PHONE || theirs.side() == pb::SIDE_CLOUD;
  if (!known_side || theirs.side() == mine.side())
    return {ErrorCode::protocol, "the other side is not the counterpart"};
  if (!options.expected_name.empty() && theirs.name() != options.expected_name) {
    return {ErrorCode::refused, "the other side's name does not match its certificate (" + options.expected_name + ")"};
  }
  std::set<std::string> names;
  for (const pb::Claim& claim : theirs.instances()) {
    const bool place = claim.place() == pb::SIDE_PHONE || claim.place() == pb::SIDE_CLOUD;
    const bool counted = claim.generation() <= max_generation && claim.prepared() <= max_generation;
    if (!place || !counted || !valid_instance_name(claim.instance()) || !names.insert(claim.instance()).second) {
      return {ErrorCode::protocol, "the other side claims an impossible instance"};
    }
  }
  return {ErrorCode::protocol, {}};
}

bool is_last_word(const Message& message) {
  return std::holds_alternative<pb::Abort>(message) || std::holds_alternative<pb::Committed>(message);
}

}  // namespace

// One instance's hand-over messages. Thread safety: see channel.hpp; push() by the session's reader.
class Session::SessionChannel : public Channel {
 public:
  explicit SessionChannel(std::weak_ptr<Session> session) : session_(std::move(session)) {}

  Status send(const Message& message) override {
    const auto session = session_.lock();
    if (!session) return {ErrorCode::closed, "the connection has ended"};
    {
      const std::lock_guard lock(mutex_);
      if (why_) return *why_;
    }
    if (is_last_word(message)) over_ = true;
    const Status status = session->send(message);
    if (status.ok() || status.error().code != ErrorCode::closed) return status;
    // The other side may have said why before it went; the session's reader knows.
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, farewell_timeout, [&] { return why_.has_value(); });
    return why_ ? Status(*why_) : status;
  }

  Result<Message> receive(Deadline deadline) override {
    std::unique_lock lock(mutex_);
    arrived_.wait_until(lock, deadline, [&] { return why_ || !queue_.empty(); });
    if (!queue_.empty()) {
      Message message = std::move(queue_.front());
      queue_.pop_front();
      return message;
    }
    if (why_) return *why_;
    return Error{ErrorCode::timeout, "the other side does not answer"};
  }

  void close() override { end({ErrorCode::cancelled, "cancelled"}); }

  bool push(Message message) {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= channel_queue_messages) return false;
    if (is_last_word(message)) over_ = true;
    queue_.push_back(std::move(message));
    arrived_.notify_all();
    return true;
  }

  // Nothing follows on it, though its engine may not have ended yet: the other side may offer the next one at once.
  [[nodiscard]] bool over() const { return over_; }

  void end(Error why) {
    const std::lock_guard lock(mutex_);
    if (!why_) why_ = std::move(why);
    arrived_.notify_all();
  }

 private:
  std::weak_ptr<Session> session_;
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Message> queue_;
  std::optional<Error> why_;
};

Session::Session(std::unique_ptr<Stream> stream, Handler& handler, SessionOptions options)
    : stream_(std::move(stream)), handler_(handler), options_(std::move(options)) {}

Session::~Session() {
  close();
  if (!reader_.joinable()) return;
  if (reader_.get_id() == std::this_thread::get_id()) {
    reader_.detach();  // from on_closed, the last thing that it does
  } else {
    reader_.join();
  }
}

Result<std::shared_ptr<Session>> Session::open(std::unique_ptr<Stream> stream, const pb::Hello& mine, Handler& handler,
                                               SessionOptions options) {
  std::shared_ptr<Session> session(new Session(std::move(stream), handler, std::move(options)));
  pb::Hello hello = mine;
  hello.set_protocol(protocol_version);
  if (Status s = session->send(hello); !s.ok()) return s.error();
  auto answer = read_frame(*session->stream_, in(session->options_.hello_timeout), session->options_.hello_timeout);
  if (!answer) {
    if (answer.error().code == ErrorCode::version) session->close(answer.error().text);
    return answer.error();
  }
  if (const auto* error = std::get_if<pb::Error>(&*answer)) return Error{ErrorCode::refused, error->text()};
  const auto* theirs = std::get_if<pb::Hello>(&*answer);
  if (theirs == nullptr) return Error{ErrorCode::protocol, "the other side does not begin with Hello"};
  const Error bad = check_hello(mine, *theirs, session->options_);
  if (!bad.text.empty()) {
    session->close(bad.text);
    return bad;
  }
  session->peer_ = *theirs;
  return session;
}

void Session::start() {
  const std::lock_guard lock(mutex_);
  reader_ = std::thread([this] { read_loop(); });
}

Status Session::send(const Message& message) {
  if (closed_) return {ErrorCode::closed, "the connection has ended"};
  const Status status = write_frame(*stream_, message, in(write_timeout));
  if (status.ok()) {
    bytes_sent_ += frame_bytes(message);
    last_sent_ = Clock::now().time_since_epoch().count();
  } else if (status.error().code != ErrorCode::invalid && status.error().code != ErrorCode::closed) {
    stream_->close();  // a frame may be half sent; the reader tells the handler
  }
  return status;
}

std::shared_ptr<Session::SessionChannel> Session::make_channel(const std::string& instance) {
  const std::lock_guard lock(mutex_);
  if (closed_) return nullptr;
  std::erase_if(channels_, [](const auto& one) { return one.second.expired(); });
  std::weak_ptr<SessionChannel>& slot = channels_[instance];
  if (const auto earlier = slot.lock(); earlier && !earlier->over()) return nullptr;
  auto channel = std::make_shared<SessionChannel>(weak_from_this());
  slot = channel;
  return channel;
}

Result<std::shared_ptr<Channel>> Session::channel(const std::string& instance) {
  if (closed_) return Error{ErrorCode::closed, "the connection has ended"};
  auto channel = make_channel(instance);
  if (!channel) return Error{ErrorCode::conflict, "a hand-over of " + instance + " is under way"};
  return std::shared_ptr<Channel>(std::move(channel));
}

void Session::close(const std::string& why) {
  if (closed_.exchange(true)) return;
  if (!why.empty()) (void)write_frame(*stream_, farewell(why), in(farewell_timeout));
  stream_->close();
}

// Says why, and takes what still comes until the other side has gone: ending with unread bytes would lose the farewell.
void Session::part(const std::string& why) {
  if (!write_frame(*stream_, farewell(why), in(farewell_timeout)).ok()) return;
  std::array<std::byte, 4096> rest;
  for (const Deadline deadline = in(farewell_timeout); Clock::now() < deadline;) {
    const auto got = stream_->read(rest, deadline);
    if (!got || *got == 0) return;
  }
}

void Session::read_loop() {
  { const std::lock_guard until_started(mutex_); }  // the thread may release the session, so reader_ must be set
  Error why = serve();
  if (why.code == ErrorCode::protocol || why.code == ErrorCode::version) part(why.text);
  close();
  std::map<std::string, std::weak_ptr<SessionChannel>> channels;
  {
    const std::lock_guard lock(mutex_);
    channels.swap(channels_);
  }
  for (auto& [instance, slot] : channels) {
    if (const auto channel = slot.lock()) channel->end(why);
  }
  handler_.on_closed(*this, why);  // may release the last reference: nothing after this
}

Error Session::serve() {
  auto last_received = Clock::now();
  while (!closed_) {
    auto message = read_frame(*stream_, in(options_.keepalive), options_.keepalive * silent_keepalives);
    const auto now = Clock::now();
    const bool idle = now.time_since_epoch().count() - last_sent_ >= Clock::duration(options_.keepalive).count();
    if (idle) {
      if (Status s = send(pb::Keepalive()); !s.ok()) return s.error();
    }
    if (!message) {
      if (message.error().code != ErrorCode::timeout) return message.error();
      if (now - last_received < options_.keepalive * silent_keepalives) continue;
      return {ErrorCode::timeout, "the other side has been silent for too long"};
    }
    last_received = now;
    bytes_received_ += frame_bytes(*message);
    if (Status s = dispatch(std::move(*message)); !s.ok()) return s.error();
  }
  return {ErrorCode::cancelled, "closed by this side"};
}

Status Session::dispatch(Message message) {
  if (std::holds_alternative<pb::Keepalive>(message)) return {};
  if (std::holds_alternative<pb::Hello>(message)) return {ErrorCode::protocol, "a second Hello"};
  if (const auto* error = std::get_if<pb::Error>(&message); error != nullptr && error->fatal()) {
    return {ErrorCode::refused, error->text()};
  }
  const pb::HandoverId* about = handover_of(message);
  if (about == nullptr) {
    handler_.on_message(*this, std::move(message));
    return {};
  }
  if (const auto* offer = std::get_if<pb::Offer>(&message)) {
    if (!valid_instance_name(about->instance())) return {ErrorCode::protocol, "an offer of an impossible instance"};
    if (auto channel = make_channel(about->instance())) {
      handler_.on_offer(*this, *offer, std::move(channel));
      return {};
    }
    pb::Abort abort;
    *abort.mutable_id() = *about;
    abort.set_reason("a hand-over of " + about->instance() + " is under way");
    return send(abort);
  }
  std::shared_ptr<SessionChannel> channel;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = channels_.find(about->instance()); found != channels_.end()) channel = found->second.lock();
  }
  if (channel) {
    return channel->push(std::move(message)) ? Status()
                                             : Status(ErrorCode::protocol, "the other side sends faster than agreed");
  }
  // Nobody waits for it any more. A commit must not get lost: the next session reconciles.
  if (std::holds_alternative<pb::Commit>(message)) return {ErrorCode::protocol, "a commit that nobody waits for"};
  return {};
}

}  // namespace amphion::link
