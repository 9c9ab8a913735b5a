// SPDX-License-Identifier: Apache-2.0
// What belongs to no single instance; see phone.hpp.
#include "phone-side/phoned/phone.hpp"

#include <linux/input-event-codes.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "phone-side/phoned/control_picture.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::uint32_t clone_screen_interval_ms = 150;

}  // namespace

Phone::Phone(Config config, InstanceFactory make, std::function<void()> shutdown)
    : config_(std::move(config)),
      shutdown_(std::move(shutdown)),
      records_(link::real_files(), config_.data + "/records", link::pb::SIDE_PHONE),
      cloud_({config_.cloud, config_.pki}, records_,
             [this](const std::string& instance, const std::string& pixels) { clone_screen_.put(instance, pixels); }),
      focus_(config_.instances.size()),
      display_([this](std::span<std::uint16_t> picture) { return show(picture); }, [this] { ask_for_screen({}); }),
      keyboards_("/dev/input", {[this](std::span<const Frame> frames) { keys(frames); }}),
      control_({config_.control, config_.pki, config_.socket}, *this) {
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
  for (const auto& one : slots_) one->start();
  display_.start();
  keyboards_thread_ = std::thread([this] { keyboards_.run(); });
  std::vector<Slot*> slots;
  for (const auto& one : slots_) slots.push_back(one.get());
  cloud_.start(slots);
  control_.start();
}

void Phone::stop() {
  keyboards_.stop();
  if (keyboards_thread_.joinable()) keyboards_thread_.join();
  for (const auto& one : slots_) one->give_up_moves();
  control_.stop();
  cloud_.stop();
  display_.stop();
  for (const auto& one : slots_) one->stop();
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
      return answer;
    }
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
