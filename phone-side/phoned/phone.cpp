// SPDX-License-Identifier: Apache-2.0
// What belongs to no single instance; see phone.hpp.
#include "phone-side/phoned/phone.hpp"

#include <linux/input-event-codes.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "link/own_addresses.hpp"
#include "link/pki.hpp"
#include "phone-side/phoned/control_picture.hpp"
#include "phone-side/phoned/doctor.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::uint32_t clone_screen_interval_ms = 150;
constexpr std::chrono::seconds time_interval{60};
constexpr std::chrono::seconds pair_timeout{20};
constexpr std::chrono::seconds unpair_timeout{8};

}  // namespace

Phone::Phone(Config config, InstanceFactory make, std::function<void()> shutdown, BoardClock& clock)
    : config_(std::move(config)),
      shutdown_(std::move(shutdown)),
      time_(link::real_files(), config_.data + "/clock", clock),
      owners_(config_.data, config_.pki),
      records_(link::real_files(), config_.data + "/records", link::pb::SIDE_PHONE),
      cloud_(records_,
             {[this](const std::string& instance, const std::string& pixels) { clone_screen_.put(instance, pixels); },
              [this](const link::Peer& peer, std::int64_t seconds) {
                time_.at_least(peer.valid_from, "the cloud's certificate is from then");
                time_.cloud_says(seconds, peer);
              },
              [this] { left(); }}),
      focus_(config_.instances.size()),
      display_([this](std::span<std::uint16_t> picture) { return show(picture); }, [this] { ask_for_screen({}); }),
      pairing_(link::real_files(), config_.data, config_.cloud, config_.pki),
      keyboards_("/dev/input", {[this](std::span<const Frame> frames) { keys(frames); }}),
      control_({config_.control, config_.socket}, *this) {
  for (const InstanceConfig& one : config_.instances) {
    slots_.push_back(
        std::make_unique<Slot>(one, SlotServices{records_, link::real_files(), make, config_.data + "/instances",
                                                 [this] { return cloud_.session(); },
                                                 [this](link::Message message) { cloud_.post(std::move(message)); }}));
  }
}

Phone::~Phone() { stop(); }

void Phone::start() {
  if (const auto made = link::real_files().make_folder(config_.data + "/records"); !made.ok()) {
    throw std::runtime_error(made.error().text);
  }
  start_time();
  const CloudTarget cloud = cloud_at_start();
  if (const auto ready = owners_.start(); !ready.ok()) throw std::runtime_error(ready.error().text);
  for (const auto& one : slots_) one->start();
  display_.start();
  keyboards_thread_ = std::thread([this] { keyboards_.run(); });
  std::vector<Slot*> slots;
  for (const auto& one : slots_) slots.push_back(one.get());
  cloud_.start(slots, cloud);
  control_.start(owners_.identity(), &owners_.desk(),
                 [this](const std::string& name, std::string_view key) { return owners_.sign(name, key); });
}

void Phone::stop() {
  keyboards_.stop();
  if (keyboards_thread_.joinable()) keyboards_thread_.join();
  for (const auto& one : slots_) one->give_up_moves();
  control_.stop();
  cloud_.stop();
  display_.stop();
  for (const auto& one : slots_) one->stop();
  {
    const std::lock_guard lock(watch_mutex_);
    if (!watching_) return;
    watching_ = false;
  }
  watch_news_.notify_all();
  watch_thread_.join();
  time_.stop();
}

// ---- Time ----

// Before anything is judged by a clock.
void Phone::start_time() {
  time_.start();
  watching_ = true;
  watch_thread_ = std::thread([this] { watch_time(); });
}

void Phone::watch_time() {
  std::unique_lock lock(watch_mutex_);
  while (!watch_news_.wait_for(lock, time_interval, [&] { return !watching_; })) time_.look();
}

// ---- Pairing ----

CloudTarget Phone::cloud_at_start() {
  auto target = pairing_.load();
  if (!target.ok()) {
    pairing_trouble_ = target.error().text;
    spdlog::error("pairing: {}", pairing_trouble_);
    return {};
  }
  if (const auto own = link::certificate_facts(target->identity.certificate); own.ok()) {
    time_.at_least(own->from, "this phone's certificate is from then");
  }
  return std::move(*target);
}

json Phone::pair(const std::string& invitation) {
  const auto parsed = link::parse_invitation(invitation, 7448);
  if (!parsed.ok()) throw CommandError(parsed.error().text);
  const std::lock_guard lock(pairing_mutex_);
  if (const auto now = pairing_.load(); !now.ok()) {
    throw CommandError(now.error().text);
  } else if (!now->address.empty()) {
    throw CommandError("this phone is paired with the cloud at " + now->address + "; `amphion unpair` first");
  }
  const auto deadline = link::in(pair_timeout);
  auto stream = link::tls_connect_by_code(parsed->at, parsed->code.key(), deadline);
  if (!stream.ok()) throw CommandError(stream.error().text);
  auto granted = link::ask_for_certificate(**stream, parsed->code, link::Role::phone, deadline);
  if (!granted.ok()) throw CommandError("not paired: " + granted.error().text);
  (*stream)->close();
  const auto own = link::certificate_facts(granted->identity.certificate);
  link::Peer cloud;
  if (own.ok()) cloud.valid_from = own->from, cloud.valid_to = own->to;
  time_.cloud_says(granted->time_s, cloud);
  const std::string address = invitation.substr(invitation.find('@') + 1);
  if (const auto kept = pairing_.pair(address, granted->identity); !kept.ok()) {
    throw CommandError("not paired: " + kept.error().text);
  }
  spdlog::info("paired with the cloud at {} as {}", address, granted->name);
  cloud_.retarget(*pairing_.load(), {});
  return {{"ok", true},
          {"cloud", address},
          {"name", granted->name},
          {"connected", cloud_.await_session(link::in(pair_timeout))}};
}

// Names of the instances that are not at home, as a text; empty: all are.
std::string Phone::away() const {
  std::string names;
  for (const auto& slot : slots_) {
    if (slot->summary()["place"] != "phone") names += (names.empty() ? "" : ", ") + slot->name();
  }
  return names;
}

json Phone::unpair(bool force) {
  const auto lost = [this](const std::string& names) {
    return CommandError(names +
                        " is not at home: `amphion undock` first. With --force the phone forgets its cloud all the "
                        "same, and what was done there since the docking stays there");
  };
  std::unique_lock lock(pairing_mutex_);
  auto now = pairing_.load();
  if (now.ok() && now->address.empty()) throw CommandError("this phone is paired with no cloud");
  if (!now.ok() && !force) throw CommandError(now.error().text);
  if (const std::string names = away(); !names.empty() && !force) throw lost(names);
  const std::string address = now.ok() ? now->address : "";
  if (now.ok()) {
    cloud_.retarget({}, "the phone is being unpaired");
    for (const auto& slot : slots_) slot->wait_idle();
    const auto stay = [&](CommandError why) {
      cloud_.retarget(*now, {});
      throw why;
    };
    if (const std::string names = away(); !names.empty() && !force) stay(lost(names));  // a move was under way
    if (const auto leaving = pairing_.leave(); !leaving.ok()) {
      stay(CommandError("still paired: " + leaving.error().text));
    }
    cloud_.retarget(*pairing_.load(), {});
    const auto gone = [&] {
      const auto target = pairing_.load();
      return target.ok() && target->address.empty();
    };
    const bool told = left_news_.wait_until(lock, link::in(unpair_timeout), gone);
    if (told || !force) return {{"ok", true}, {"cloud", address}, {"told", told}, {"forgotten", told}};
  }
  if (const auto done = pairing_.forget(); !done.ok()) throw CommandError(done.error().text);
  pairing_trouble_.clear();
  cloud_.retarget({}, {});
  spdlog::warn("unpaired from {}, which was not told", address);
  return {{"ok", true}, {"cloud", address}, {"told", false}, {"forgotten", true}};
}

// The cloud has been told; called by its thread.
void Phone::left() {
  const std::lock_guard lock(pairing_mutex_);
  const auto target = pairing_.load();
  if (!target.ok() || !target->leaving) return;
  if (const auto done = pairing_.forget(); !done.ok()) {
    spdlog::error("unpair: {}", done.error().text);
    return;
  }
  spdlog::info("unpaired from the cloud at {}", target->address);
  cloud_.retarget({}, {});
  left_news_.notify_all();
}

json Phone::invite() {
  const auto code = owners_.invite();
  if (!code.ok()) throw CommandError(code.error().text);
  json addresses = json::array();
  for (const std::string& one : link::own_addresses()) addresses.push_back(one);
  return {{"ok", true},
          {"code", code->text()},
          {"minutes", Owners::code_life.count()},
          {"addresses", std::move(addresses)},
          {"port", control_.port()}};
}

void Phone::answer() {
  (void)focused();
  for (const auto& one : slots_) (void)one->view();
}

// ---- Keys and focus ----

void Phone::keys(std::span<const Frame> frames) {
  const auto pressed_or_released = [](const KeyEvent& event) { return event.type == EV_KEY && event.value != 2; };
  for (const Frame& frame : frames) {
    keys_taken_ += static_cast<std::uint64_t>(std::count_if(frame.begin(), frame.end(), pressed_or_released));
  }
  const std::lock_guard lock(focus_mutex_);
  const std::size_t before = focus_.focused();
  std::vector<Delivery> deliveries;
  for (const Frame& frame : frames) {
    for (Delivery& one : frame.empty() ? focus_.release_all() : focus_.frame(frame))
      deliveries.push_back(std::move(one));
  }
  deliver(std::move(deliveries), before);
}

// What is for the same instance goes together.
void Phone::deliver(std::vector<Delivery> deliveries, std::size_t before) {
  for (std::size_t i = 0; i < deliveries.size();) {
    const std::size_t instance = deliveries[i].instance;
    std::vector<Frame> frames;
    for (; i < deliveries.size() && deliveries[i].instance == instance; ++i)
      frames.push_back(std::move(deliveries[i].frame));
    slots_[instance]->keys(frames);
  }
  if (focus_.focused() == before) return;
  spdlog::info("{} has the focus", slots_[focus_.focused()]->name());
  display_.hurry();
}

std::size_t Phone::focused() {
  const std::lock_guard lock(focus_mutex_);
  return focus_.focused();
}

// ---- Screen ----

std::vector<std::string> Phone::show(std::span<std::uint16_t> picture) {
  Slot& slot = *slots_[focused()];
  View view = slot.view();
  if (view.live) {
    ask_for_screen({});
    if (view.live->screen(picture)) return {};
    return slot.view().lines;  // it was lost just now
  }
  ask_for_screen(view.docked ? slot.name() : std::string());
  if (const auto sent = clone_screen_.of(slot.name())) {
    std::copy(sent->begin(), sent->end(), picture.begin());
    return {};
  }
  return view.lines;
}

// The clone's screen is sent only while somebody looks at it.
void Phone::ask_for_screen(const std::string& instance) {
  const auto session = cloud_.session();
  if (instance == screen_asked_ && session == screen_session_) return;
  clone_screen_.clear();
  link::pb::ScreenOpen request;
  if (!screen_asked_.empty() && session && session == screen_session_) {
    request.set_instance(screen_asked_);
    cloud_.post(request);
  }
  screen_asked_ = instance;
  screen_session_ = session;
  if (instance.empty() || !session) return;
  request.set_instance(instance);
  request.set_interval_ms(clone_screen_interval_ms);
  cloud_.post(request);
}

// ---- Doctor ----

json Phone::doctor() {
  const BoardPaths paths;
  std::vector<Check> checks{check_clock(time_.status())};
  CloudTarget target;
  json cloud = cloud_.status();
  {
    const std::lock_guard lock(pairing_mutex_);
    const auto loaded = pairing_.load();
    if (loaded.ok()) target = *loaded;
    if (!loaded.ok()) cloud["error"] = loaded.error().text;
  }
  if (!target.address.empty())
    checks.push_back(check_certificate("certificate", target.identity, link::wall_clock_s()));
  checks.push_back(check_certificate("owners' certificate", owners_.identity(), link::wall_clock_s()));
  checks.push_back(check_cloud(cloud));
  checks.push_back(check_network(paths));
  checks.push_back(check_data(config_.data));
  checks.push_back(check_file_systems(paths));
  const auto add = [&](std::vector<Check> more) { std::move(more.begin(), more.end(), std::back_inserter(checks)); };
  add(check_hypervisor(config_));
  checks.push_back(check_modules(paths));
  add(check_temperature(paths));
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    checks.push_back(check_instance(config_.instances[i], slots_[i]->summary(), config_.data));
  }
  return to_json(checks);
}

// ---- Commands ----

std::size_t Phone::index_of(const std::string& name) const {
  std::string names;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i]->name() == name) return i;
    names += (i == 0 ? "" : ", ") + slots_[i]->name();
  }
  throw CommandError("unknown instance \"" + name + "\"; there are: " + names);
}

json Phone::list() {
  const auto docked = [](const auto& slot) { return slot->view().docked; };
  if (std::any_of(slots_.begin(), slots_.end(), docked)) cloud_.refresh();
  const std::size_t focus = focused();
  json instances = json::array();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    json one = slots_[i]->summary();
    one["focused"] = i == focus;
    instances.push_back(std::move(one));
  }
  return {{"ok", true}, {"instances", std::move(instances)}};
}

json Phone::execute(const Request& request, const Progress& progress) {
  switch (request.operation) {
    case Operation::list:
      return list();
    case Operation::status: {
      json answer = list();
      answer["cloud"] = cloud_.status();
      answer["time"] = time_.status();
      if (const std::lock_guard lock(pairing_mutex_); !pairing_trouble_.empty()) {
        answer["cloud"]["error"] = pairing_trouble_;
      }
      return answer;
    }
    case Operation::pair:
      return pair(request.code);
    case Operation::unpair:
      return unpair(request.force);
    case Operation::invite:
      return invite();
    case Operation::switch_to: {
      const std::size_t index = index_of(request.instance);
      const std::lock_guard lock(focus_mutex_);
      const std::size_t before = focus_.focused();
      deliver(focus_.switch_to(index), before);
      return {{"ok", true}, {"instance", request.instance}};
    }
    case Operation::dock:
      return slot(request.instance).dock(progress);
    case Operation::undock:
      return slot(request.instance).undock(progress);
    case Operation::journal: {
      json answer = slot(request.instance).journal();
      answer["ok"] = true;
      answer["instance"] = request.instance;
      return answer;
    }
    case Operation::screen: {
      const auto picture = display_.look();
      if (!picture) throw CommandError("phoned is ending");
      return picture_answer(*picture);
    }
    case Operation::keys:
      return {{"ok", true}, {"keys", keys_taken_.load()}};
    case Operation::shutdown:
      shutdown_();
      return {{"ok", true}};
    case Operation::doctor:
      return doctor();
    case Operation::console:
      break;
  }
  throw CommandError("this operation cannot be had here");
}

std::shared_ptr<ConsoleView> Phone::open_console(const Request& request) {
  return slot(request.instance).console(request.serial);
}

void Phone::console_input(const Request& request, std::string_view bytes) {
  slot(request.instance).console_input(request.serial, bytes);
}

void Phone::console_left(const Request& request) { slot(request.instance).console_left(); }

}  // namespace amphion::phoned
