// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/device.hpp"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "link/wall_clock.hpp"

namespace amphion::cloud {
namespace {

constexpr std::size_t max_instances = 64;

}  // namespace

Device::Device(std::string name, const std::filesystem::path& folder, Files& files, link::Files& small_files,
               CloneStarter& starter, ShrinkLimits shrink_limits, std::function<link::Status()> forget)
    : name_(std::move(name)),
      folder_(folder),
      files_(files),
      small_files_(small_files),
      starter_(starter),
      shrink_limits_(shrink_limits),
      forget_(std::move(forget)),
      records_(small_files, (folder / "records").string(), link::pb::SIDE_CLOUD) {
  files_.make_folder(folder_ / "records");
  files_.make_folder(folder_ / "instances");
  files_.sync_folder(folder_);
  const auto known = records_.list();
  if (!known) throw std::runtime_error(known.error().text);
  for (const auto& record : *known) make(record.instance)->recover();
  for (const auto& left_over : files_.list(folder_ / "instances")) {
    if (!instances_.contains(left_over)) files_.remove_all(folder_ / "instances" / left_over);
  }
}

Device::~Device() {
  close({});
  instances_.clear();  // their threads may still tell us something
}

std::shared_ptr<Instance> Device::make(const std::string& instance) {
  const std::lock_guard lock(mutex_);
  auto& place = instances_[instance];
  if (!place) {
    const Host host{files_, small_files_, records_, starter_, shrink_limits_};
    place = std::make_shared<Instance>(instance, folder_ / "instances" / instance, host,
                                       [this](const link::Message& message) { tell(message); });
  }
  return place;
}

std::shared_ptr<Instance> Device::find(const std::string& instance) {
  const std::lock_guard lock(mutex_);
  const auto found = instances_.find(instance);
  return found == instances_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Instance>> Device::instances() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Instance>> all;
  for (const auto& [name, instance] : instances_) all.push_back(instance);
  return all;
}

bool Device::connected() {
  const std::lock_guard lock(mutex_);
  return session_ && !closed_;
}

void Device::tell(const link::Message& message) {
  std::shared_ptr<link::Session> session;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    session = session_;
  }
  if (session) (void)session->send(message);
}

// ---- a session's life ----

void Device::serve(std::unique_ptr<link::Stream> stream, const std::string& own_name) {
  {
    const std::lock_guard lock(mutex_);
    ++entering_;
    if (session_) session_->close("another session of " + name_ + " has begun");
  }
  const std::lock_guard entry(entry_mutex_);
  {
    const std::lock_guard lock(mutex_);
    --entering_;
    if (ended_) return;
  }
  link::pb::Hello mine;
  mine.set_protocol(link::protocol_version);
  mine.set_side(link::pb::SIDE_CLOUD);
  mine.set_name(own_name);
  mine.set_time_s(link::wall_clock_s());
  const auto claims = records_.claims();
  if (!claims) {
    spdlog::error("{}: {}", name_, claims.error().text);
    return;
  }
  for (const auto& claim : *claims) *mine.add_instances() = claim;
  link::SessionOptions options;
  options.expected_name = name_;
  auto opened = link::Session::open(std::move(stream), mine, *this, options);
  if (!opened) {
    spdlog::warn("{}: no session: {}", name_, opened.error().text);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    session_ = *opened;
    closed_ = false;
    if (entering_ > 0 || ended_) session_->close("another session of " + name_ + " has begun");
  }
  spdlog::info("{}: session begins", name_);
  reconcile(**opened);
  (*opened)->start();
  wait_closed();
  end_handovers();
  std::shared_ptr<link::Session> last;
  {
    const std::lock_guard lock(mutex_);
    last = std::move(session_);
    closed_ = true;
  }
}

void Device::reconcile(const link::Session& session) {
  for (const auto& instance : instances()) {
    const link::pb::Claim* theirs = nullptr;
    for (const auto& claim : session.peer().instances()) {
      if (claim.instance() == instance->name()) theirs = &claim;
    }
    instance->reconcile(theirs);
  }
}

void Device::wait_closed() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closed_; });
}

void Device::end_handovers() {
  for (const auto& instance : instances()) {
    instance->end_handover();
    instance->clone().open_console(false);
    instance->clone().watch_screen(std::chrono::milliseconds(0));
  }
}

void Device::drop(const std::string& why) {
  std::shared_ptr<link::Session> session;
  {
    const std::lock_guard lock(mutex_);
    session = session_;
  }
  if (session) session->close(why);
}

void Device::close(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    if (session_) session_->close(why);
  }
  const std::lock_guard entry(entry_mutex_);  // the session has ended when it is free
}

// ---- what the phone says ----

void Device::on_offer(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) {
  const auto& instance = offer.id().instance();
  if (!link::valid_instance_name(instance)) {
    link::pb::Abort abort;
    *abort.mutable_id() = offer.id();
    abort.set_reason("an instance's name is 1 to 32 of a-z, 0-9 and -");
    (void)channel->send(abort);
    return;
  }
  if (!find(instance) && instances().size() >= max_instances) {
    link::pb::Abort abort;
    *abort.mutable_id() = offer.id();
    abort.set_reason("the cloud keeps " + std::to_string(max_instances) + " instances of a phone, and has them");
    (void)channel->send(abort);
    return;
  }
  make(instance)->dock(session, offer, std::move(channel));
}

void Device::on_message(link::Session& session, link::Message message) {
  std::visit([&](const auto& one) { on(session, one); }, message);
}

void Device::on_closed(link::Session&, const link::Error& why) {
  spdlog::info("{}: session ends: {}", name_, why.text);
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

void Device::on(link::Session& session, const link::pb::UndockRequest& request) {
  if (const auto instance = find(request.instance())) return instance->undock(session, request);
  link::pb::UndockRefused refused;
  refused.set_instance(request.instance());
  refused.set_reason("the cloud has no instance '" + request.instance() + "' of this phone");
  (void)session.send(refused);
}

void Device::on(link::Session& session, const link::pb::InputEvents& events) {
  const auto instance = find(events.instance());
  const auto ack = instance ? instance->input(events)
                            : link::Error{link::ErrorCode::not_found, events.instance() + " is not in the cloud"};
  if (ack) {
    (void)session.send(*ack);
    return;
  }
  link::pb::Error error;
  error.set_instance(events.instance());
  error.set_text(ack.error().text);
  (void)session.send(error);
}

void Device::on(link::Session& session, const link::pb::StatusQuery& query) {
  link::pb::StatusReply reply;
  reply.set_query(query.query());
  for (const auto& instance : instances()) {
    if (query.instance().empty() || query.instance() == instance->name()) *reply.add_instances() = instance->status();
  }
  (void)session.send(reply);
}

void Device::on(link::Session& session, const link::pb::ConsoleOpen& open) {
  const auto instance = find(open.instance());
  if (instance && instance->lives_here()) return instance->clone().open_console(true);
  link::pb::ConsoleClose refused;
  refused.set_instance(open.instance());
  refused.set_reason(open.instance() + " is not in the cloud");
  (void)session.send(refused);
}

void Device::on(link::Session&, const link::pb::ConsoleClose& close) {
  if (const auto instance = find(close.instance())) instance->clone().open_console(false);
}

void Device::on(link::Session&, const link::pb::ConsoleData& data) {
  if (const auto instance = find(data.instance())) instance->clone().console_input(data.data());
}

void Device::on(link::Session&, const link::pb::ScreenOpen& open) {
  if (const auto instance = find(open.instance())) {
    instance->clone().watch_screen(std::chrono::milliseconds(open.interval_ms()));
  }
}

void Device::on(link::Session&, const link::pb::Error& error) {
  spdlog::warn("{}: the phone says: {} {}", name_, error.instance(), error.text());
}

void Device::on(link::Session& session, const link::pb::Unpair&) {
  const auto done = forget_ ? forget_() : link::Status(link::ErrorCode::refused, "phones are not unpaired here");
  if (done.ok()) {
    (void)session.send(link::pb::Unpaired());
  } else {
    session.close(done.error().text);
  }
}

template <typename Other>
void Device::on(link::Session& session, const Other&) {
  session.close("a message that a phone does not send to the cloud");
}

}  // namespace amphion::cloud
