// SPDX-License-Identifier: Apache-2.0
// An instance's life on this phone: start by its record, keys, picture, consoles; see slot.hpp. Moves are in moves.cpp.
#include "phone-side/phoned/slot.hpp"

#include <linux/input-event-codes.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <thread>

#include "phone-side/phoned/bitmap.hpp"
#include "phone-side/phoned/home_image.hpp"
#include "phone-side/phoned/new_disk.hpp"
#include "phone-side/phoned/slot_move.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm fields{};
  localtime_r(&now, &fields);
  char out[16];
  return std::string(out, std::strftime(out, sizeof out, "%H:%M:%S", &fields));
}

std::string_view place_text(link::Place place) { return place == link::pb::SIDE_PHONE ? "phone" : "cloud"; }

}  // namespace

Slot::Slot(InstanceConfig config, SlotServices services)
    : config_(std::move(config)),
      services_(std::move(services)),
      folder_(services_.folder + "/" + config_.name),
      log_(services_.logs.of(config_.name)),
      wanted_(config_) {}

Slot::~Slot() { stop(); }

// ---- State ----

void Slot::set_state(SlotState state, std::string note) {
  const std::lock_guard lock(mutex_);
  state_ = state;
  note_ = std::move(note);
  since_ = local_time();
  since_clock_ = link::Clock::now();
  moved_.notify_all();
}

void Slot::back_to(SlotState state) {
  const SlotState now = this->state();
  if (now != SlotState::failed && now != SlotState::off) set_state(state);
}

SlotState Slot::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

link::InstanceRecord Slot::record() const {
  const std::lock_guard lock(mutex_);
  return record_;
}

void Slot::set_record(const link::InstanceRecord& record) {
  const std::lock_guard lock(mutex_);
  record_ = record;
}

void Slot::reload_record() {
  const auto record = services_.records.load(name());
  if (record.ok()) {
    set_record(*record);
  } else {
    spdlog::error("{}: its record cannot be read: {}", name(), record.error().text);
  }
}

std::shared_ptr<LiveInstance> Slot::live() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

void Slot::fail(const std::string& why) {
  spdlog::error("{}: {}", name(), why);
  set_state(SlotState::failed, why);
}

// ---- Start and end ----

void Slot::start() {
  try {
    if (auto made = services_.files.make_folder(folder_); !made.ok()) return fail(made.error().text);
    load_record();
  } catch (const std::runtime_error& error) {
    return fail(error.what());
  }
  if (record().place == link::pb::SIDE_PHONE && stopped_by_owner()) return set_state(SlotState::stopped);
  start_by_record();
}

void Slot::start_by_record() {
  const link::InstanceRecord record = this->record();
  switch (link::start_decision(link::pb::SIDE_PHONE, record)) {
    case link::StartDecision::start_saved:
      return start_saved(record);
    case link::StartDecision::cold_boot:
      return start_cold();
    case link::StartDecision::ask:
      spdlog::info("{}: an undock was cut off; the cloud has the last word", name());
      return set_state(SlotState::asking);
    case link::StartDecision::elsewhere:
      spdlog::info("{}: lives in the cloud, generation {}", name(), record.generation);
      return set_state(SlotState::docked);
  }
}

// A record for an instance that has none; one that lives elsewhere has lost its copy in memory with the last power-off.
void Slot::load_record() {
  auto record = services_.records.load(name());
  if (!record.ok() && record.error().code != link::ErrorCode::not_found) throw std::runtime_error(record.error().text);
  link::InstanceRecord now;
  if (record.ok()) now = *record;
  const link::InstanceRecord before = now;
  if (!record.ok()) {
    now.instance = name();
    now.shape = config_.shape;
  } else if (now.shape.vcpus != config_.shape.vcpus || now.shape.memory_bytes != config_.shape.memory_bytes) {
    spdlog::warn("{}: keeps the shape it was made with; the configuration's is for new instances", name());
    const std::lock_guard lock(mutex_);
    for (InstanceConfig* one : {&config_, &wanted_}) {
      one->shape = now.shape;
      one->vcpus_allowed = std::min(one->vcpus_allowed, one->shape.vcpus);
      one->bound_bytes = std::min(one->bound_bytes, one->shape.memory_bytes);
    }
  }
  now.bound_bytes = config_.bound_bytes;
  now.vcpus_allowed = config_.vcpus_allowed;
  if (now.place == link::pb::SIDE_CLOUD) now.base = 0;
  const bool same = record.ok() && now.bound_bytes == before.bound_bytes && now.vcpus_allowed == before.vcpus_allowed &&
                    now.base == before.base;
  if (!same) {
    if (auto stored = services_.records.store(now); !stored.ok()) throw std::runtime_error(stored.error().text);
  }
  set_record(now);
  const std::lock_guard lock(keys_mutex_);
  journal_ = std::make_unique<FileJournal>(services_.files, folder_ + "/journal", now.input_sequence + 1);
  route_ = std::make_unique<KeyRoute>(
      *journal_,
      [this](std::span<const NumberedEvent> events) {
        if (const auto live = this->live()) live->keys(events);
      },
      [this](std::span<const NumberedEvent> events) { link_keys(events); });
  const bool cold = link::start_decision(link::pb::SIDE_PHONE, now) == link::StartDecision::cold_boot;
  route_->start(cold ? KeyRoute::Mode::local : KeyRoute::Mode::away, now.input_sequence);
  reached_ = now.input_sequence;
}

LiveInstance::Events Slot::events() {
  LiveInstance::Events events;
  events.keys_reached = [this](std::uint64_t sequence) {
    std::uint64_t before = reached_;
    while (before < sequence && !reached_.compare_exchange_weak(before, sequence)) {
    }
  };
  events.console = [this](std::string_view bytes) { console_.put(bytes); };
  events.serial = [this](std::string_view bytes) {
    serial_.put(bytes);
    log_->put(bytes);
  };
  events.grow = [this](std::string_view text) { on_grow(text); };
  events.off = [this] {
    spdlog::info("{}: has switched itself off", name());
    set_state(SlotState::off);
  };
  events.out_of_memory = [this] {
    std::uint64_t bound = 0;
    {
      const std::lock_guard lock(mutex_);
      bound = config_.bound_bytes;
    }
    spdlog::warn("{}: out of memory: it needs more than the {} MiB that this phone gives it, and waits", name(),
                 bound >> 20);
  };
  events.lost = [this](const std::string& why) {
    if (record().place == link::pb::SIDE_PHONE) fail(why);
  };
  return events;
}

link::Status Slot::make_live() {
  drop_live();
  auto made = services_.make(config_, disk(), events());
  if (!made.ok()) return made.error();
  const std::lock_guard lock(mutex_);
  live_ = std::move(*made);
  return {};
}

void Slot::drop_live() {
  std::weak_ptr<LiveInstance> gone;
  {
    std::shared_ptr<LiveInstance> last;
    const std::lock_guard lock(mutex_);
    last.swap(live_);
    base_in_memory_ = false;
    gone = last;
  }
  // Somebody may still look at it for a moment; its memory is needed.
  for (int tries = 0; tries < 200 && !gone.expired(); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

void Slot::start_cold() {
  take_wanted();
  const auto disk = make_disk(services_.files, config_, folder_, {});
  if (!disk.ok()) return fail(disk.error().text);
  std::uint64_t reached = 0;
  {
    const std::lock_guard lock(keys_mutex_);
    reached = route_->last();  // what was typed before is not for the new start
    route_->start(KeyRoute::Mode::local, reached);
    reached_ = reached;
  }
  auto status = make_live();
  if (status.ok()) status = live()->boot(reached);
  if (!status.ok()) return fail("does not start: " + status.error().text);
  spdlog::info("{}: starts, {} MiB of {} MiB, {} of {} vCPUs", name(), config_.bound_bytes >> 20,
               config_.shape.memory_bytes >> 20, config_.vcpus_allowed, config_.shape.vcpus);
  set_state(SlotState::running);
}

// All memory from its file, into a new partition.
link::Status Slot::load_image(const SavedImage& image) {
  if (auto status = make_live(); !status.ok()) return status;
  return image.load_memory(config_.shape.memory_bytes, [live = live()](std::uint64_t offset, auto contents) {
    return live->write(offset, contents);
  });
}

// Only what differs, into the copy: the instance stands still meanwhile. What has no contents goes first, for the
// partition may have no room for both.
link::Status Slot::change_copy(const SavedImage& image, const ArrivedPages& pages) {
  const auto live = this->live();
  if (!live) return {link::ErrorCode::not_found, "it is not in memory any more"};
  link::Bitmap held(pages.present.size());
  if (auto status = live->populated(held); !status.ok()) return status;
  const std::uint64_t all = live->memory_bytes() / link::block_bytes;
  for (std::uint64_t first = 0, end = 0; first < all; first = end + 1) {
    for (end = first; end < all && bit(held, end) && !bit(pages.present, end);) ++end;
    if (end == first) continue;
    if (auto status = live->discard(first, end - first); !status.ok()) return status;
  }
  std::array<std::byte, link::block_bytes> contents;
  for (std::uint64_t page = 0; page < all; ++page) {
    if (!bit(pages.present, page) || !bit(pages.changed, page)) continue;
    if (auto status = image.load_page(page, contents); !status.ok()) return status;
    if (auto status = live->write(page * link::block_bytes, contents); !status.ok()) return status;
  }
  const std::lock_guard lock(mutex_);
  base_in_memory_ = false;
  return {};
}

// Everything that may fail comes first; then the image is used up, durably, and only then the instance runs.
void Slot::start_saved(link::InstanceRecord record, const ArrivedPages* pages) {
  const SavedImage image(folder_, record.saved);
  const auto state = image.state();
  auto status = state.ok() ? image.adopt_disk() : link::Status(state.error());
  if (status.ok()) {
    const auto changed = pages ? change_copy(image, *pages) : link::Status();
    if (!changed.ok()) spdlog::warn("{}: its copy in memory is of no use: {}", name(), changed.error().text);
    if (!pages || !changed.ok()) status = load_image(image);
  }
  if (status.ok()) status = live()->load(*state, record.input_sequence);
  if (status.ok()) {
    const auto used = link::use_saved(services_.records, name());
    if (!used.ok()) status = used.error();
  }
  if (status.ok()) status = live()->run();
  if (!status.ok()) return fail("does not go on from its saved image: " + status.error().text);
  reload_record();
  image.discard_memory();
  {
    const std::lock_guard lock(keys_mutex_);
    reached_ = record.input_sequence;
    if (route_->mode() == KeyRoute::Mode::held) {  // a snapshot
      route_->stay();
    } else {
      route_->arrive(record.input_sequence);
    }
  }
  spdlog::info("{}: goes on here, generation {}", name(), record.generation);
  set_state(SlotState::running);
}

void Slot::give_up_moves() {
  const std::lock_guard lock(mutex_);
  ending_ = true;
  moved_.notify_all();
  if (cancel_) cancel_();
  if (homecoming_) homecoming_->refused = "the phone is being switched off";
  homecoming_news_.notify_all();
}

void Slot::stop() {
  give_up_moves();
  wait_idle();
  console_.end_all("the phone is being switched off");
  serial_.end_all("the phone is being switched off");
  if (const auto live = this->live()) {
    if (const auto status = live->pause(); !status.ok()) spdlog::warn("{}: {}", name(), status.error().text);
  }
  drop_live();
}

// ---- Keys ----

void Slot::keys(std::span<const Frame> frames) {
  const std::lock_guard lock(keys_mutex_);
  if (!route_) return;
  route_->reached(reached_);
  try {
    route_->deliver(frames);
  } catch (const std::runtime_error& error) {
    spdlog::error("{}: keys are lost, the input journal does not take them: {}", name(), error.what());
  }
}

// Dropped where there is no session: session_began() sends what waits. Messages end with whole frames.
void Slot::link_keys(std::span<const NumberedEvent> events) {
  while (!events.empty()) {
    link::pb::InputEvents message;
    message.set_instance(name());
    message.set_first_sequence(events.front().sequence);
    bool whole = false;
    while (!events.empty() && !(whole && message.events_size() >= 256)) {
      const KeyEvent& from = events.front().event;
      auto& event = *message.add_events();
      event.set_type(from.type);
      event.set_code(from.code);
      event.set_value(from.value);
      whole = from.type == EV_SYN && from.code == SYN_REPORT;
      events = events.subspan(1);
    }
    services_.post(std::move(message));
  }
}

void Slot::on_input_ack(const link::pb::InputAck& ack) {
  const std::lock_guard lock(keys_mutex_);
  if (!route_) return;
  try {
    // What is durable in the cloud but not received by the clone is still needed here if the instance comes home.
    route_->acknowledged(std::min(ack.reached(), ack.durable()));
  } catch (const std::runtime_error& error) {
    spdlog::warn("{}: {}", name(), error.what());
  }
}

json Slot::journal() {
  const std::lock_guard lock(keys_mutex_);
  if (!route_) return json::object();
  route_->reached(reached_);
  return {{"last", route_->last()},
          {"reached", route_->progress()},
          {"waiting", route_->last() - std::min(route_->last(), route_->progress())}};
}

// ---- What people see ----

View Slot::view() {
  bool here = true;
  {
    const std::lock_guard lock(mutex_);
    here = record_.place == link::pb::SIDE_PHONE;
    const bool ended = state_ == SlotState::off || state_ == SlotState::stopped || state_ == SlotState::failed;
    if (here && live_ && !ended) return {live_, {}, false};
  }
  return {nullptr, notice(), !here};
}

std::vector<std::string> Slot::notice() {
  const json keys = journal();
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines{"", "", "   " + name() + ": " + std::string(text(state_)) + " since " + since_, ""};
  const auto add = [&](const std::string& line) { lines.push_back("   " + line); };
  if (record_.place == link::pb::SIDE_CLOUD) {
    add("It is in the cloud, and keys typed here go there: " + std::to_string(keys.value("last", 0ull)) +
        " captured, " + std::to_string(keys.value("waiting", 0ull)) + " on their way.");
    add("");
    add("amphion undock " + name() + "   brings it home");
    add("amphion console " + name() + "  is its console");
  } else if (state_ == SlotState::off) {
    add("It has switched itself off, and starts again with the phone.");
    add("amphion start " + name() + "   starts it now");
  } else if (state_ == SlotState::stopped) {
    add("Its owner has stopped it.");
    add("amphion start " + name() + "   starts it");
  }
  if (!note_.empty()) add(note_);
  add("Alt+F1, Alt+F2, ... show the other instances.");
  return lines;
}

json Slot::summary() {
  const auto live = this->live();
  const LiveStats stats = live ? live->stats() : LiveStats();
  const json keys = journal();
  const json more = details();
  const std::lock_guard lock(mutex_);
  const bool waits = state_ == SlotState::running && stats.waits_for_memory;
  json one{
      {"name", name()},
      {"place", place_text(record_.place)},
      {"state", text(waits ? SlotState::out_of_memory : state_)},
      {"since", since_},
      {"state_ms", std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - since_clock_).count()},
      {"generation", record_.generation},
      {"vcpus", config_.shape.vcpus},
      {"vcpus_allowed", config_.vcpus_allowed},
      {"memory_bytes", config_.shape.memory_bytes},
      {"bound_bytes", config_.bound_bytes},
      {"populated_bytes", stats.populated_bytes},
      {"run_ms", stats.run_ns / 1000000},
      {"copy_in_memory", base_in_memory_},
      {"next_bound_bytes", wanted_.bound_bytes},
      {"journal", keys}};
  one.update(more);
  if (!note_.empty()) one["note"] = note_;
  if (clone_ && record_.place == link::pb::SIDE_CLOUD) {
    one["clone"] = {{"state", clone_->state()},
                    {"vcpus_online", clone_->vcpus_online()},
                    {"memory_bytes", clone_->memory_bytes()},
                    {"resident_bytes", clone_->resident_bytes()},
                    {"running_ms", clone_->running_ms()},
                    {"note", clone_->note()}};
  }
  return one;
}

void Slot::on_clone_status(const link::pb::InstanceStatus& status) {
  const std::lock_guard lock(mutex_);
  clone_ = status;
}

// ---- Consoles ----

std::shared_ptr<ConsoleView> Slot::console(bool serial) {
  if (record().place == link::pb::SIDE_PHONE) {
    if (state() == SlotState::off || state() == SlotState::stopped)
      throw CommandError(name() + " is " + std::string(text(state())) + "; amphion start " + name() + " starts it");
    if (!live() || state() == SlotState::failed)
      throw CommandError(name() + " is not running here; amphion status says why");
    return serial ? serial_.join() : console_.join();
  }
  if (serial) throw CommandError(name() + " is docked; its serial port is reachable only while it is on the phone");
  if (!services_.session()) throw CommandError(name() + " is docked, and the cloud is not connected");
  auto view = console_.join();
  link::pb::ConsoleOpen open;
  open.set_instance(name());
  services_.post(std::move(open));
  return view;
}

void Slot::console_input(bool serial, std::string_view bytes) {
  if (record().place == link::pb::SIDE_PHONE) {
    const auto live = this->live();
    if (live && serial) live->serial_input(bytes);
    if (live && !serial) live->console_input(bytes);
    return;
  }
  link::pb::ConsoleData data;
  data.set_instance(name());
  data.set_data(std::string(bytes));
  services_.post(std::move(data));
}

void Slot::console_left() {
  if (console_.watched() || record().place == link::pb::SIDE_PHONE) return;
  link::pb::ConsoleClose close;
  close.set_instance(name());
  services_.post(std::move(close));
}

void Slot::on_console(std::string_view bytes) { console_.put(bytes); }

void Slot::on_console_closed(const std::string& reason) {
  console_.end_all(reason.empty() ? "the cloud ended the console" : reason);
}

}  // namespace amphion::phoned
