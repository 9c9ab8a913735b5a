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
#include "phone-side/phoned/scheduling.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::uint32_t clone_screen_interval_ms = 150;
constexpr std::chrono::seconds time_interval{60};
constexpr std::chrono::seconds pair_timeout{20};
constexpr std::chrono::seconds unpair_timeout{8};

}  // namespace

Phone::Phone(Config config, InstanceFactory make, instance::Hypervisor& hypervisor, Logs& logs,
             std::function<void()> shutdown, std::function<void()> power_off, BoardClock& clock)
    : config_(std::move(config)),
      make_(std::move(make)),
      hypervisor_(hypervisor),
      logs_(logs),
      shutdown_(std::move(shutdown)),
      power_off_(std::move(power_off)),
      time_(link::real_files(), config_.data + "/clock", clock),
      owners_(config_.data, config_.pki),
      records_(link::real_files(), config_.data + "/records", link::pb::SIDE_PHONE),
      list_(link::real_files(), config_.data + "/instances.list"),
      cloud_(records_,
             {[this](const std::string& instance, const std::string& pixels) { clone_screen_.put(instance, pixels); },
              [this](const link::Peer& peer, std::int64_t seconds) {
                time_.at_least(peer.valid_from, "the cloud's certificate is from then");
                time_.cloud_says(seconds, peer);
              },
              [this] { left(); }},
             [this] { return present(); }),
      focus_(0),
      display_([this](std::span<std::uint16_t> picture) { return show(picture); }, [this] { ask_for_screen({}); }),
      pairing_(link::real_files(), config_.data, config_.cloud, config_.pki),
      keyboards_("/dev/input", {[this](std::span<const Frame> frames) { keys(frames); }}),
      control_({config_.control, config_.socket}, *this) {}

Phone::~Phone() { stop(); }

void Phone::start() {
  for (const char* folder : {"/records", "/instances"}) {
    if (const auto made = link::real_files().make_folder(config_.data + folder); !made.ok()) {
      throw std::runtime_error(made.error().text);
    }
  }
  start_time();
  const CloudTarget cloud = cloud_at_start();
  if (const auto ready = owners_.start(); !ready.ok()) throw std::runtime_error(ready.error().text);
  if (const auto read = list_.open(config_.instances); !read.ok()) throw std::runtime_error(read.error().text);
  sweep();
  for (const InstanceEntry& entry : list_.entries()) {
    auto slot = make_slot(entry.config);
    slot->sweep();
    slot->start();
    put_slot(entry.number, std::move(slot));
  }
  display_.start();
  keyboards_thread_ = std::thread([this] { keyboards_.run(); });
  cloud_.start(cloud);
  control_.start(owners_.identity(), &owners_.desk(),
                 [this](const std::string& name, std::string_view key) { return owners_.sign(name, key); });
}

void Phone::stop() {
  keyboards_.stop();
  if (keyboards_thread_.joinable()) keyboards_thread_.join();
  for (const auto& one : present()) one->give_up_moves();
  control_.stop();
  cloud_.stop();
  display_.stop();
  for (const auto& one : present()) one->stop();
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
  for (const auto& slot : present()) {
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
    for (const auto& slot : present()) slot->wait_idle();
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
  for (const auto& one : present()) (void)one->view();
}

// ---- Instances ----

Phone::Slots Phone::slots() const {
  const std::lock_guard lock(slots_mutex_);
  return slots_;
}

std::vector<std::shared_ptr<Slot>> Phone::present() const {
  std::vector<std::shared_ptr<Slot>> all;
  for (auto& one : slots()) {
    if (one) all.push_back(std::move(one));
  }
  return all;
}

void Phone::put_slot(std::size_t number, std::shared_ptr<Slot> slot) {
  const bool there = slot != nullptr;
  {
    const std::lock_guard lock(slots_mutex_);
    slots_[number].swap(slot);  // what was there goes without the lock
  }
  {
    const std::lock_guard lock(focus_mutex_);
    focus_.set_present(number, there);
  }
  display_.hurry();
}

std::shared_ptr<Slot> Phone::make_slot(const InstanceConfig& config) {
  return std::make_shared<Slot>(
      config, SlotServices{records_, link::real_files(), list_, logs_, make_, config_.data + "/instances",
                           [this] { return cloud_.session(); },
                           [this](link::Message message) { cloud_.post(std::move(message)); }});
}

// What was being made or removed when the power went.
void Phone::sweep() {
  for (const InstanceEntry& entry : list_.entries()) {
    if (entry.whole) continue;
    spdlog::warn("{}: was only half there, and is removed", entry.config.name);
    if (const auto gone = Slot::forget(records_, logs_, config_.data + "/instances", entry.config.name); !gone.ok()) {
      throw std::runtime_error(gone.error().text);
    }
    if (const auto gone = list_.remove(entry.config.name); !gone.ok()) throw std::runtime_error(gone.error().text);
  }
}

// ---- Keys and focus ----

void Phone::keys(std::span<const Frame> frames) {
  const auto pressed_or_released = [](const KeyEvent& event) { return event.type == EV_KEY && event.value != 2; };
  const auto power_key = [](const KeyEvent& event) {
    return event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
  };
  for (const Frame& frame : frames) {
    keys_taken_ += static_cast<std::uint64_t>(std::count_if(frame.begin(), frame.end(), pressed_or_released));
    if (std::any_of(frame.begin(), frame.end(), power_key)) power_off_();
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
    if (const auto slot = slots()[instance]) slot->keys(frames);
  }
  if (focus_.focused() == before) return;
  if (const auto slot = slots()[focus_.focused()]) spdlog::info("{} has the focus", slot->name());
  display_.hurry();
}

std::size_t Phone::focused() {
  const std::lock_guard lock(focus_mutex_);
  return focus_.focused();
}

// ---- Screen ----

std::vector<std::string> Phone::show(std::span<std::uint16_t> picture) {
  const auto there = slots()[focused()];
  if (!there) {
    ask_for_screen({});
    return {"", "", "   This phone has no instance.", "", "   amphion create NAME   makes one"};
  }
  Slot& slot = *there;
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
    checks.push_back(check_certificate("certificate", target.identity, link::wall_clock_s(),
                                       "pair again: `amphion unpair --force`, `amphion pair`"));
  checks.push_back(
      check_certificate("owners' certificate", owners_.identity(), link::wall_clock_s(), owners_.renewal()));
  checks.push_back(check_cloud(cloud));
  checks.push_back(check_network(paths));
  checks.push_back(check_data(config_.data));
  checks.push_back(check_file_systems(paths));
  const auto add = [&](std::vector<Check> more) { std::move(more.begin(), more.end(), std::back_inserter(checks)); };
  Config now = config_;
  now.instances.clear();
  for (const InstanceEntry& one : list_.entries()) now.instances.push_back(one.config);
  add(check_hypervisor(now));
  checks.push_back(check_modules(paths));
  add(check_temperature(paths));
  for (const auto& one : present()) {
    const auto entry = list_.find(one->name());
    if (entry) checks.push_back(check_instance(entry->config, one->summary(), config_.data));
  }
  return to_json(checks);
}

// ---- The hypervisor ----

std::uint64_t Phone::pool_bytes() const {
  amphion_info info{};
  if (const auto unknown = hypervisor_.info(info)) spdlog::warn("{}", *unknown);
  return std::uint64_t{info.pool_pages} * machine::page_bytes;
}

amphion_sched Phone::scheduling() {
  amphion_sched now{};
  if (const auto problem = hypervisor_.scheduling(now)) throw CommandError(*problem);
  return now;
}

json Phone::change_scheduling(const json& wishes) {
  const std::lock_guard lock(scheduling_mutex_);
  if (!wishes.empty()) {
    const auto wanted = changed_settings(scheduling(), wishes);
    if (!wanted.ok()) throw CommandError(wanted.error().text);
    if (const auto problem = hypervisor_.set_scheduling(*wanted)) throw CommandError(*problem);
    spdlog::info("the scheduler's settings were changed by the owner: {}", wishes.dump());
  }
  json answer = settings_json(scheduling());
  answer["ok"] = true;
  return answer;
}

json Phone::scheduling_statistics() {
  const amphion_sched now = scheduling();
  json answer = settings_json(now);
  answer["ok"] = true;
  answer["cpus"] = cpus_json(now);
  answer["vcpus"] =
      vcpus_json(std::string(host_instance), std::span(now.host).first(std::min(now.cpus, AMPHION_MAX_CPUS)));
  for (const auto& slot : present()) {
    const auto live = slot->view().live;
    if (!live) continue;
    for (json& one : vcpus_json(slot->name(), live->stats().vcpus)) answer["vcpus"].push_back(std::move(one));
  }
  return answer;
}

// ---- Commands ----

std::size_t Phone::index_of(const std::string& name) const {
  std::string names;
  const auto all = slots();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i]) continue;
    if (all[i]->name() == name) return i;
    names += (names.empty() ? "" : ", ") + all[i]->name();
  }
  throw CommandError("unknown instance \"" + name + "\"; " +
                     (names.empty() ? "there is none; amphion create makes one" : "there are: " + names));
}

std::shared_ptr<Slot> Phone::slot(const std::string& name) const {
  auto found = slots()[index_of(name)];
  if (!found) throw CommandError("unknown instance \"" + name + "\"; it has just been removed");
  return found;
}

json Phone::list(const std::string& only) {
  const auto all = slots();
  if (!only.empty()) (void)index_of(only);
  const auto docked = [](const auto& slot) { return slot && slot->view().docked; };
  if (std::any_of(all.begin(), all.end(), docked)) cloud_.refresh();
  const std::size_t focus = focused();
  json instances = json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i] || (!only.empty() && all[i]->name() != only)) continue;
    json one = all[i]->summary();
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
      json answer = list(request.instance);
      answer["pool_bytes"] = pool_bytes();
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
      return slot(request.instance)->dock(progress);
    case Operation::undock:
      return slot(request.instance)->undock(progress);
    case Operation::journal: {
      json answer = slot(request.instance)->journal();
      answer["ok"] = true;
      answer["instance"] = request.instance;
      return answer;
    }
    case Operation::create:
      return create(request, progress);
    case Operation::start:
      return slot(request.instance)->switch_on();
    case Operation::stop:
      return slot(request.instance)->switch_off(request.force, progress);
    case Operation::reset:
      return slot(request.instance)->reset();
    case Operation::remove:
      return remove(request);
    case Operation::set: {
      const auto bound = request.with.find("bound_mib");
      const bool given = bound != request.with.end() && bound->is_number_unsigned();
      const std::uint64_t mib = given ? std::min<std::uint64_t>(bound->get<std::uint64_t>(), 1u << 20) : 0;
      return slot(request.instance)->set(request.with, fits(request.instance, mib << 20));
    }
    case Operation::snapshot:
      return slot(request.instance)->snapshot(request.label, progress);
    case Operation::restore:
      return slot(request.instance)->restore(request.label, progress);
    case Operation::delete_snapshot:
      return slot(request.instance)->delete_snapshot(request.label);
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
    case Operation::sched:
      return change_scheduling(request.with);
    case Operation::sched_stats:
      return scheduling_statistics();
    case Operation::console:
    case Operation::logs:
      break;
  }
  throw CommandError("this operation cannot be had here");
}

std::shared_ptr<ConsoleView> Phone::open_console(const Request& request) {
  return slot(request.instance)->console(request.serial);
}

std::shared_ptr<ConsoleView> Phone::open_logs(const Request& request) {
  if (request.instance.empty()) return logs_.phoned().view(request.follow);
  (void)index_of(request.instance);
  return logs_.of(request.instance)->view(request.follow);
}

void Phone::console_input(const Request& request, std::string_view bytes) {
  slot(request.instance)->console_input(request.serial, bytes);
}

void Phone::console_left(const Request& request) { slot(request.instance)->console_left(); }

}  // namespace amphion::phoned
