// SPDX-License-Identifier: Apache-2.0
// Dock, undock, and what a new session with the cloud finds out; see slot.hpp.
#include <spdlog/spdlog.h>

#include "link/handover_destination.hpp"
#include "link/handover_source.hpp"
#include "phone-side/phoned/dock_image.hpp"
#include "phone-side/phoned/home_image.hpp"
#include "phone-side/phoned/slot_move.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::size_t most_resent = 2048;
constexpr char open_outcome[] = "the outcome of a hand-over is open: the next session settles it";
constexpr std::chrono::seconds silence{180};  // of the cloud, while it prepares an undock

std::uint64_t ms(std::chrono::milliseconds time) { return static_cast<std::uint64_t>(time.count()); }

json summary_of(const link::HandoverReport& report, const std::string& instance, const char* place) {
  json answer = to_json(report.progress);
  answer.erase("step");
  answer.erase("percent");
  answer["ok"] = true;
  answer["instance"] = instance;
  answer["place"] = place;
  answer["generation"] = report.generation;
  return answer;
}

// Of the first round: the later ones are short.
std::uint64_t percent(const link::Progress& now, std::uint64_t expected) {
  if (now.round > 1 || now.phase > link::Phase::copying) return 100;
  return expected == 0 ? 0 : std::min<std::uint64_t>(100, now.blocks_examined * 100 / expected);
}

// So that the engine's end is known to cancel_ in time.
template <typename Engine>
class Cancellable {
 public:
  Cancellable(std::mutex& mutex, std::function<void()>& cancel, Engine& engine) : mutex_(mutex), cancel_(cancel) {
    const std::lock_guard lock(mutex_);
    cancel_ = [&engine] { engine.cancel(); };
  }
  ~Cancellable() {
    const std::lock_guard lock(mutex_);
    cancel_ = {};
  }
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

 private:
  std::mutex& mutex_;
  std::function<void()>& cancel_;
};

std::chrono::milliseconds since(link::Clock::time_point begun) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - begun);
}

}  // namespace

json to_json(const link::Progress& progress) {
  return {{"step", link::text(progress.phase)},    {"round", progress.round},
          {"blocks_total", progress.blocks_total}, {"blocks_sent", progress.blocks_sent},
          {"zero_blocks", progress.zero_blocks},   {"raw_bytes", progress.raw_bytes},
          {"sent_bytes", progress.sent_bytes},     {"total_ms", ms(progress.total)},
          {"stopped_ms", ms(progress.stopped)}};
}

std::unique_ptr<Slot::Move> Slot::begin_move(Act act, std::optional<SlotState> during, bool force) {
  const std::lock_guard lock(mutex_);
  if (removed_) throw CommandError(name() + " is being removed");
  if (moving_) throw CommandError(name() + " is busy (" + std::string(text(state_)) + "); try again when that is done");
  if (const auto why = refusal(act, state_, name(), force)) throw CommandError(name() + " " + *why);
  auto move = std::make_unique<Move>(*this, state_, note_);
  moving_ = true;
  if (!during) return move;
  state_ = *during;
  note_.clear();
  return move;
}

void Slot::end_move() {
  const std::lock_guard lock(mutex_);
  moving_ = false;
  moved_.notify_all();
}

void Slot::wait_idle() {
  std::unique_lock lock(mutex_);
  moved_.wait(lock, [&] { return !moving_; });
}

// ---- Dock ----

json Slot::dock(const ProgressSink& progress) {
  const auto session = services_.session();
  const auto move = begin_move(Act::dock, SlotState::docking);
  const auto give_up = [&](const std::string& why) {
    back_to(SlotState::running);
    throw CommandError(name() + " was not docked: " + why);
  };
  if (!session) give_up("the cloud is not connected; amphion status says why");
  auto channel = session->channel(name());
  if (!channel.ok()) give_up(channel.error().text);
  spdlog::info("{}: docks", name());
  DockImage image(*this, live());
  link::SourceOptions options;
  options.vcpus_allowed = config_.vcpus_allowed;
  options.bound_bytes = config_.bound_bytes;
  link::HandoverSource engine(**channel, services_.records, image, name(), options, [&](const link::Progress& now) {
    json line = to_json(now);
    line["percent"] = percent(now, image.expected_blocks());
    progress(line);
  });
  link::HandoverReport report;
  {
    const Cancellable cancellable(mutex_, cancel_, engine);
    report = engine.run();
  }
  reload_record();
  spdlog::info("{}: dock {}: {} blocks and {} bytes sent in {} ms, stopped for {} ms{}{}", name(),
               link::text(report.outcome), report.progress.blocks_sent, report.progress.sent_bytes,
               report.progress.total.count(), report.progress.stopped.count(), report.reason.empty() ? "" : ": ",
               report.reason);
  if (report.outcome == link::Outcome::stuck) {
    fail(report.reason);
    throw CommandError(name() + " is stopped: " + report.reason);
  }
  if (report.outcome != link::Outcome::committed && report.outcome != link::Outcome::unconfirmed) {
    if (state() == SlotState::failed)
      throw CommandError(name() + " was not docked and does not go on: " + report.reason);
    give_up(report.reason);
  }
  const bool sure = report.outcome == link::Outcome::committed;
  set_state(SlotState::docked,
            sure ? "" : "The link broke before the cloud had confirmed; it will when it is connected again.");
  console_.end_all(name() + " has docked; open its console again");
  {
    const std::lock_guard lock(keys_mutex_);
    link_keys(route_->waiting());
  }
  json answer = summary_of(report, name(), "cloud");
  if (!sure) session->close(open_outcome);
  if (!sure) answer["note"] = "the link broke before the cloud had confirmed; it will when it is connected again";
  return answer;
}

// ---- Undock ----

json Slot::undock(const ProgressSink& progress) {
  const auto session = services_.session();
  const auto move = begin_move(Act::undock, SlotState::undocking);
  const auto give_up = [&](const std::string& why) {
    set_state(SlotState::docked);
    throw CommandError(name() + " was not undocked: " + why);
  };
  if (!session) give_up("the cloud is not connected; amphion status says why");
  spdlog::info("{}: undocks", name());
  const auto begun = link::Clock::now();
  std::shared_ptr<link::Channel> channel;
  link::pb::Offer offer;
  try {
    ask_home(*session);
    offer = await_offer(progress, channel);
  } catch (const CommandError& error) {
    spdlog::info("{}: undock refused: {}", name(), error.what());
    set_state(SlotState::docked);
    throw;
  }
  const auto shrinking = since(begun);
  HomeImage image(*this);
  link::HandoverDestination engine(*channel, services_.records, image, {}, [&](link::Progress now) {
    now.total += shrinking;
    progress(to_json(now));
  });
  link::HandoverReport report;
  {
    const Cancellable cancellable(mutex_, cancel_, engine);
    report = engine.run(offer);
  }
  report.progress.total += shrinking;
  reload_record();
  spdlog::info("{}: undock {}: {} ms{}{}", name(), link::text(report.outcome), report.progress.total.count(),
               report.reason.empty() ? "" : ": ", report.reason);
  if (report.outcome == link::Outcome::prepared) {
    set_state(SlotState::asking,
              "The link broke at the last moment; the cloud says where it is when it is connected again.");
    session->close(open_outcome);
    throw CommandError(
        name() + ": the link broke at the last moment; it comes home, or stays, when the cloud is connected again");
  }
  if (report.outcome == link::Outcome::stuck) {
    fail(report.reason);
    throw CommandError(name() + " is stopped: " + report.reason);
  }
  if (report.outcome != link::Outcome::committed) give_up(report.reason);
  if (state() == SlotState::failed) throw CommandError(name() + " came home and does not start: " + report.reason);
  console_.end_all(name() + " has come home; open its console again");
  return summary_of(report, name(), "phone");
}

void Slot::ask_home(link::Session& session) {
  {
    const std::lock_guard lock(mutex_);
    homecoming_.emplace();
  }
  link::pb::UndockRequest request;
  request.set_instance(name());
  request.set_bound_bytes(home_bound());
  request.set_vcpus_allowed(config_.vcpus_allowed);
  if (const auto sent = session.send(request); !sent.ok()) {
    const std::lock_guard lock(mutex_);
    homecoming_.reset();
    throw CommandError(name() + " was not undocked: " + sent.error().text);
  }
}

link::pb::Offer Slot::await_offer(const ProgressSink& progress, std::shared_ptr<link::Channel>& channel) {
  std::unique_lock lock(mutex_);
  const auto begun = link::Clock::now();
  for (;;) {
    const auto news = [&] { return homecoming_->offer || homecoming_->progress || !homecoming_->refused.empty(); };
    if (!homecoming_news_.wait_for(lock, silence, news))
      homecoming_->refused = "the cloud does not answer; it goes on there";
    if (!homecoming_->refused.empty()) {
      const std::string why = homecoming_->refused;
      homecoming_.reset();
      throw CommandError(name() + " was not undocked: " + why);
    }
    if (homecoming_->offer) {
      const link::pb::Offer offer = *homecoming_->offer;
      channel = homecoming_->channel;
      homecoming_.reset();
      return offer;
    }
    const link::pb::UndockProgress now = *std::exchange(homecoming_->progress, std::nullopt);
    lock.unlock();
    progress({{"step", now.phase()},
              {"uses_bytes", now.uses_bytes()},
              {"bound_bytes", now.bound_bytes()},
              {"total_ms", ms(since(begun))}});
    lock.lock();
  }
}

void Slot::on_offer(const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) {
  {
    const std::lock_guard lock(mutex_);
    if (homecoming_ && !homecoming_->offer) {
      homecoming_->offer = offer;
      homecoming_->channel = std::move(channel);
      homecoming_news_.notify_all();
      return;
    }
  }
  link::pb::Abort abort;
  *abort.mutable_id() = offer.id();
  abort.set_reason("nobody on the phone has asked " + name() + " to come home");
  if (const auto sent = channel->send(abort); !sent.ok()) spdlog::debug("{}: {}", name(), sent.error().text);
}

void Slot::on_undock_progress(const link::pb::UndockProgress& progress) {
  const std::lock_guard lock(mutex_);
  if (!homecoming_) return;
  homecoming_->progress = progress;
  homecoming_news_.notify_all();
}

void Slot::on_undock_refused(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!homecoming_) return;
  homecoming_->refused = reason.empty() ? "the cloud refuses" : reason;
  homecoming_news_.notify_all();
}

// ---- Sessions ----

void Slot::session_ended() {
  on_undock_refused("the link to the cloud broke");
  const std::lock_guard lock(mutex_);
  clone_.reset();
  if (record_.place == link::pb::SIDE_CLOUD) console_.end_all("the link to the cloud broke");
}

void Slot::session_began(link::Session&) {
  const std::lock_guard lock(keys_mutex_);
  if (route_ && route_->mode() == KeyRoute::Mode::away) link_keys(route_->waiting());
}

// The cloud drops what it has, so sending twice does no harm.
void Slot::resend_keys() {
  const std::lock_guard lock(keys_mutex_);
  if (!route_ || route_->mode() != KeyRoute::Mode::away || route_->progress() == route_->last()) return;
  const bool stuck = route_->progress() == last_progress_;
  last_progress_ = route_->progress();
  if (!stuck) return;
  const auto waiting = route_->waiting();
  link_keys(std::span(waiting).first(std::min(waiting.size(), most_resent)));
}

void Slot::away(std::uint64_t input_sequence) {
  const std::lock_guard lock(keys_mutex_);
  if (route_ && route_->mode() != KeyRoute::Mode::away) route_->start(KeyRoute::Mode::away, input_sequence);
}

void Slot::reconcile(const link::pb::Claim* claim) {
  {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [&] { return !moving_; });
    if (removed_) return;
    moving_ = true;
  }
  const Move move(*this);
  const link::InstanceRecord before = record();
  if (before.instance.empty()) return;  // no record: it failed to start
  const link::Verdict verdict = link::reconcile(link::pb::SIDE_PHONE, link::claim_of(before), claim);
  if (verdict != link::Verdict::agree) spdlog::info("{}: {}", name(), link::text(verdict));
  if (verdict == link::Verdict::lost || verdict == link::Verdict::conflict) {
    const std::lock_guard lock(mutex_);
    note_ = std::string(link::text(verdict)) + "; nothing was started or stopped";
    spdlog::error("{}: {}", name(), note_);
    return;
  }
  if (claim == nullptr) return;
  const auto now = link::apply(verdict, services_.records, name(), *claim);
  if (!now.ok()) return fail(now.error().text);
  set_record(*now);
  HomeImage image(*this);
  if (before.prepared != 0 && now->saved != before.prepared) image.discard(before.prepared);
  if (verdict == link::Verdict::follow) drop_live();
  const bool here = now->place == link::pb::SIDE_PHONE;
  if (here && now->saved != 0 && !stopped_by_owner()) {  // taken now, or by an earlier session that could not start it
    if (const auto started = image.start(*now); !started.ok()) spdlog::error("{}: {}", name(), started.error().text);
  }
  if (!here && (before.prepared != 0 || verdict == link::Verdict::follow)) {
    away(now->input_sequence);
    set_state(SlotState::docked);
  }
}

}  // namespace amphion::phoned
