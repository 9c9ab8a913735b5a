// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/instance.hpp"

#include <spdlog/spdlog.h>

#include "cloud-side/amphiond/adoption.hpp"
#include "cloud-side/amphiond/arriving_image.hpp"
#include "cloud-side/amphiond/leaving_image.hpp"

namespace amphion::cloud {
namespace {

using link::ErrorCode;
using link::Verdict;

double seconds(std::chrono::milliseconds time) { return static_cast<double>(time.count()) / 1000; }

void log_report(const std::string& name, const char* what, const link::HandoverReport& report) {
  const auto& p = report.progress;
  spdlog::info("{}: {} of generation {} {} after {:.2f} s (stopped {:.2f} s): {} blocks, {} bytes raw, {} bytes sent{}",
               name, what, report.generation, text(report.outcome), seconds(p.total), seconds(p.stopped), p.blocks_sent,
               p.raw_bytes, p.sent_bytes, report.reason.empty() ? "" : ": " + report.reason);
}

}  // namespace

Instance::Instance(std::string name, std::filesystem::path folder, Host host, Tell tell)
    : name_(std::move(name)),
      folder_(host.files, std::move(folder)),
      host_(host),
      tell_(std::move(tell)),
      keeper_(name_, folder_, host.starter, host.small_files, tell_) {}

Instance::~Instance() { end_handover(); }

std::optional<link::InstanceRecord> Instance::record() {
  auto loaded = host_.records.load(name_);
  if (loaded) return *loaded;
  if (loaded.error().code != ErrorCode::not_found) spdlog::error("{}", loaded.error().text);
  return std::nullopt;
}

void Instance::set_activity(const char* activity) {
  const std::lock_guard lock(mutex_);
  activity_ = activity;
}

void Instance::set_cancel(std::function<void()> cancel) {
  const std::lock_guard lock(mutex_);
  cancel_ = std::move(cancel);
  if (cancel_ && cancelled_) cancel_();
}

// ---- when amphiond starts ----

void Instance::recover() {
  const auto known = record();
  if (!known) return;
  if (const auto dropped = guarded([&] { folder_.discard_staging(); }); !dropped) {
    spdlog::warn("{}", dropped.error().text);
  }
  check_base();
  const auto what = decide({link::start_decision(link::pb::SIDE_CLOUD, *known), keeper_.runs_in_folder(),
                            folder_.has(known->saved), folder_.run_is_fresh(known->saved)});
  spdlog::info("{}: {}", name_, text(what));
  switch (what) {
    case Adoption::adopt:
    case Adoption::start:
    case Adoption::restart:
      (void)bring_up(*known);
      break;
    case Adoption::end_clone:
      keeper_.kill();
      break;
    case Adoption::lost:
      keeper_.set_note("it should be in the cloud, and there is no image of it");
      break;
    case Adoption::wait:
    case Adoption::nothing:
      break;
  }
}

// The folder of the synchronised copy may be missing: the hash list alone is no copy.
void Instance::check_base() {
  auto known = record();
  if (!known || known->base == 0 || folder_.has(known->base)) return;
  known->base = 0;
  if (const auto stored = host_.records.store(*known); !stored) spdlog::error("{}", stored.error().text);
}

link::Status Instance::start_clone(const link::InstanceRecord& record) {
  keeper_.kill();
  auto started = keeper_.start(record);
  if (!started) {
    spdlog::error("{}: the clone does not start: {}", name_, started.error().text);
    keeper_.set_note("the clone does not start: " + started.error().text);
  }
  return started;
}

link::Status Instance::bring_up(const link::InstanceRecord& record) {
  if (keeper_.runs_in_folder()) {
    auto adopted = keeper_.adopt(record);
    if (!adopted) {
      spdlog::error("{}: its clone runs on and cannot be taken up: {}", name_, adopted.error().text);
      keeper_.set_note("its clone runs on and cannot be taken up yet: " + adopted.error().text);
    }
    return adopted;
  }
  const bool fresh = folder_.run_is_fresh(record.saved);
  auto started = start_clone(record);
  if (started && !fresh) {
    keeper_.set_note(
        "its clone was gone: went on from the state in which it was docked; what was typed is typed again");
  }
  return started;
}

// ---- at the beginning of a session ----

void Instance::reconcile(const link::pb::Claim* theirs) {
  const auto known = record();
  if (!known) return;
  const auto verdict = link::reconcile(link::pb::SIDE_CLOUD, claim_of(*known), theirs);
  spdlog::info("{}: generation {}: {}", name_, known->generation, text(verdict));
  if (theirs == nullptr) return;
  const auto now = link::apply(verdict, host_.records, name_, *theirs);
  if (!now) {
    spdlog::error("{}: {}", name_, now.error().text);
    return;
  }
  if (known->prepared != 0 && now->saved != known->prepared) {
    ArrivingImage(folder_, std::nullopt, nullptr).discard(known->prepared);
  }
  act_on(verdict, *now);
  if (keeper_.present()) tell_(keeper_.acknowledge());
}

void Instance::act_on(Verdict verdict, const link::InstanceRecord& record) {
  if (verdict == Verdict::take) {
    (void)ArrivingImage(folder_, std::nullopt, [this](const auto& r) { return start_clone(r); }).start(record);
  }
  const bool agreed = verdict == Verdict::agree || verdict == Verdict::leads;
  if (agreed && record.place == link::pb::SIDE_CLOUD && !keeper_.present()) (void)bring_up(record);
  if (verdict == Verdict::lost) {  // what ran here was behind: it ends, and its files stay for whoever sorts it out
    keeper_.kill();
    keeper_.set_note(std::string(text(verdict)));
  }
  if (verdict == Verdict::follow) {
    keeper_.kill();
    if (const auto gone = guarded([&] { folder_.discard_run(); }); !gone) spdlog::warn("{}", gone.error().text);
  }
  if (verdict == Verdict::conflict) {
    keeper_.set_note("phone and cloud disagree about where it lives; neither starts it anew");
  }
}

// ---- hand-overs ----

bool Instance::begin_handover(const char* activity) {
  std::unique_lock lock(mutex_);
  if (!idle_.wait_for(lock, std::chrono::seconds(8), [this] { return !handover_runs_; })) return false;
  if (handover_.joinable()) handover_.join();  // it has said that it is done
  handover_runs_ = true;
  cancelled_ = false;
  activity_ = activity;
  return true;
}

void Instance::launch(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  handover_ = std::thread([this, work = std::move(work)]() mutable {
    work();
    work = nullptr;  // releases the channel
    const std::lock_guard done(mutex_);
    cancel_ = nullptr;
    activity_ = nullptr;
    handover_runs_ = false;
    idle_.notify_all();
  });
}

void Instance::end_handover() {
  std::thread ending;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    if (cancel_) cancel_();
    ending = std::move(handover_);
  }
  if (ending.joinable()) ending.join();
}

void Instance::dock(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) {
  if (!begin_handover("arriving")) {
    link::pb::Abort abort;
    *abort.mutable_id() = offer.id();
    abort.set_reason("a hand-over of " + name_ + " is already under way");
    (void)channel->send(abort);
    return;
  }
  launch([this, &session, offer, channel = std::move(channel)] { run_dock(session, offer, *channel); });
}

void Instance::run_dock(link::Session& session, const link::pb::Offer& offer, link::Channel& channel) {
  std::optional<std::string> refused;
  if (keeper_.present()) refused = name_ + " is already in the cloud";
  ArrivingImage image(
      folder_, refused, [this](const auto& record) { return start_clone(record); },
      [this](const auto& state) { return host_.starter.prepare(state); });
  link::HandoverDestination engine(channel, host_.records, image);
  set_cancel([&engine] { engine.cancel(); });
  const auto report = engine.run(offer);
  set_cancel(nullptr);
  log_report(name_, "dock", report);
  if (keeper_.present()) tell_(keeper_.acknowledge());
  settle(session, report);
  const auto left = host_.records.load(name_);
  const bool unknown = !left && left.error().code == ErrorCode::not_found;
  if (unknown && report.outcome == link::Outcome::aborted) {
    (void)guarded([&] { host_.files.remove_all(folder_.path()); });
  }
}

void Instance::undock(link::Session& session, const link::pb::UndockRequest& request) {
  if (!begin_handover("shrinking")) {
    return refuse_undock(request, "a hand-over of " + name_ + " is already under way", 0);
  }
  auto channel = session.channel(name_);
  if (!channel) {
    {
      const std::lock_guard lock(mutex_);
      handover_runs_ = false;
      activity_ = nullptr;
    }
    return refuse_undock(request, channel.error().text, 0);
  }
  launch([this, &session, request, channel = std::move(*channel)]() mutable {
    run_undock(session, std::move(channel), request);
  });
}

void Instance::refuse_undock(const link::pb::UndockRequest& request, const std::string& reason,
                             std::uint64_t uses_bytes) {
  spdlog::info("{}: undocking is refused: {}", name_, reason);
  link::pb::UndockRefused refused;
  refused.set_instance(name_);
  refused.set_reason(reason);
  refused.set_uses_bytes(uses_bytes);
  refused.set_bound_bytes(request.bound_bytes());
  tell_(refused);
}

void Instance::run_undock(link::Session& session, std::shared_ptr<link::Channel> channel,
                          const link::pb::UndockRequest& request) {
  check_base();
  const auto known = record();
  if (!known || known->place != link::pb::SIDE_CLOUD) return refuse_undock(request, name_ + " is not in the cloud", 0);
  if (!keeper_.present()) (void)bring_up(*known);  // it could not be kept running; perhaps now it can
  if (!keeper_.present()) return refuse_undock(request, name_ + " does not run in the cloud: " + keeper_.note(), 0);
  if (request.bound_bytes() == 0 || request.vcpus_allowed() == 0) {
    return refuse_undock(request, "the phone did not say what it gives " + name_, 0);
  }
  if (const auto refused = shrink_clone(request, *known)) {
    (void)keeper_.set_size(known->shape.memory_bytes, known->shape.vcpus);
    return refuse_undock(request, refused->reason, refused->uses_bytes);
  }
  keeper_.hold(true);
  send_home(session, std::move(channel), request, *known);
  keeper_.hold(false);
}

std::optional<Instance::Refusal> Instance::shrink_clone(const link::pb::UndockRequest& request,
                                                        const link::InstanceRecord& record) {
  const ShrinkTarget target{std::min(request.bound_bytes(), record.shape.memory_bytes),
                            std::min(request.vcpus_allowed(), record.shape.vcpus)};
  const ShrinkPort port{
      [&](std::uint64_t bytes) { return keeper_.set_memory(bytes); },
      [&](std::uint32_t count) { return keeper_.set_vcpus(count); },
      [&] { return keeper_.memory(); },
      [&] { return keeper_.guest_memory(); },
      [&] { return keeper_.facts().vcpus_online; },
      [&](std::uint64_t has) { report_progress(request, "shrinking", has); },
      [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); },
      [&] { return cancelled_.load(); },
  };
  const auto shrunk = shrink(port, target, host_.shrink_limits);
  if (!shrunk) return Refusal{shrunk.error().text, 0};
  std::uint64_t touched = 0;
  const auto counted = guarded([&] {
    Image live(host_.files, folder_.run(), Files::Mode::read);
    touched = live.count_nonzero(link::pb::REGION_MEMORY) * link::block_bytes;
  });
  if (!counted) return Refusal{counted.error().text, 0};
  spdlog::info("{}: shrunk to {} MiB, {} MiB are not zero", name_, shrunk->has_bytes >> 20, touched >> 20);
  if (touched <= request.bound_bytes() && !shrunk->needs_bytes) return std::nullopt;
  const std::uint64_t found = shrunk->needs_bytes.value_or(std::min(shrunk->has_bytes, touched));
  const std::uint64_t uses = std::max(found, request.bound_bytes() + 1);
  return Refusal{refusal(name_, uses, request.bound_bytes()), uses};
}

void Instance::send_home(link::Session& session, std::shared_ptr<link::Channel> channel,
                         const link::pb::UndockRequest& request, const link::InstanceRecord& record) {
  set_activity("leaving");
  std::optional<LeavingImage> image;
  const auto opened = guarded([&] {
    const auto base = record.base != 0 && folder_.has(record.base) ? std::optional(record.base) : std::nullopt;
    image.emplace(
        folder_,
        LeavingClone{[this] { return keeper_.stop(); }, [this] { keeper_.resume(); }, [this] { keeper_.kill(); }},
        base);
  });
  if (!opened) return refuse_undock(request, opened.error().text, 0);
  link::SourceOptions options;
  options.bound_bytes = request.bound_bytes();
  options.vcpus_allowed = request.vcpus_allowed();
  link::HandoverSource engine(*channel, host_.records, *image, name_, options);
  set_cancel([&engine] { engine.cancel(); });
  const auto report = engine.run();
  set_cancel(nullptr);
  channel.reset();  // so that the phone may offer it again at once
  log_report(name_, "undock", report);
  image->keep_copy();
  if (!lives_here()) {
    keeper_.open_console(false);
    keeper_.watch_screen(std::chrono::milliseconds(0));
  }
  if (report.outcome == link::Outcome::stuck) keeper_.set_note(report.reason);
  check_base();
  settle(session, report);
}

// What is open between both sides is settled at the beginning of the next session.
void Instance::settle(link::Session& session, const link::HandoverReport& report) {
  if (report.outcome != link::Outcome::prepared && report.outcome != link::Outcome::unconfirmed) return;
  session.close("the outcome of a hand-over is open: the next session settles it");
}

void Instance::report_progress(const link::pb::UndockRequest& request, const char* phase, std::uint64_t uses_bytes) {
  link::pb::UndockProgress progress;
  progress.set_instance(name_);
  progress.set_phase(phase);
  progress.set_uses_bytes(uses_bytes);
  progress.set_bound_bytes(request.bound_bytes());
  tell_(progress);
}

// ---- input ----

link::Result<link::pb::InputAck> Instance::input(const link::pb::InputEvents& events) {
  for (int tries = 0; tries < 200 && !keeper_.present(); ++tries) {
    {
      const std::lock_guard lock(mutex_);
      if (!handover_runs_) break;
    }
    if (!lives_here()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return keeper_.input(events);
}

// ---- what it is like ----

bool Instance::lives_here() {
  const auto known = record();
  return known && known->place == link::pb::SIDE_CLOUD;
}

link::pb::InstanceStatus Instance::status() {
  link::pb::InstanceStatus status;
  status.set_instance(name_);
  const auto known = record();
  const auto facts = keeper_.facts();
  {
    const std::lock_guard lock(mutex_);
    const bool here = known && known->place == link::pb::SIDE_CLOUD;
    const char* resting = !here ? "on the phone" : facts.present ? "running" : "stopped";
    status.set_state(activity_ != nullptr ? activity_ : resting);
  }
  if (known) status.set_generation(known->generation);
  status.set_vcpus_online(facts.vcpus_online);
  status.set_memory_bytes(facts.memory_bytes);
  status.set_resident_bytes(facts.resident_bytes);
  status.set_input_sequence(keeper_.acknowledge().reached());
  status.set_running_ms(static_cast<std::uint64_t>(facts.running.count()));
  status.set_note(keeper_.note());
  return status;
}

nlohmann::json Instance::describe() {
  const auto known = record();
  const auto facts = keeper_.facts();
  const auto said = status();
  nlohmann::json out{{"instance", name_},
                     {"state", said.state()},
                     {"vcpus_online", facts.vcpus_online},
                     {"memory_bytes", facts.memory_bytes},
                     {"resident_bytes", facts.resident_bytes},
                     {"running_ms", facts.running.count()},
                     {"pid", facts.pid},
                     {"console", facts.console.string()},
                     {"input_reached", said.input_sequence()},
                     {"note", said.note()}};
  if (known) {
    out["place"] = known->place == link::pb::SIDE_CLOUD ? "cloud" : "phone";
    out["generation"] = known->generation;
    out["prepared"] = known->prepared;
  }
  return out;
}

}  // namespace amphion::cloud
