// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/clone_keeper.hpp"

#include <linux/input-event-codes.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <zstd.h>

#include <ctime>

#include "cloud-side/amphiond/saved_state.hpp"
#include "cloud-side/store/image.hpp"

namespace amphion::cloud {
namespace {

using namespace std::chrono_literals;
using link::ErrorCode;

constexpr std::uint64_t max_state_file_bytes = link::max_state_bytes;
constexpr std::size_t console_piece_bytes = 16 << 10;
constexpr std::size_t max_console_backlog_bytes = 64 << 10;
constexpr std::size_t journal_high_water = link::journal_max_events / 4 * 3;
constexpr int max_quick_restarts = 3;
constexpr auto reminder_interval = 2s;
constexpr int max_reminders = 10;  // a guest without the service never answers

std::string clock_text() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[16];
  std::strftime(text, sizeof text, "%H:%M:%S", &local);
  return text;
}

link::Result<machine::InstanceState> load_state(const InstanceFolder& folder, std::uint64_t generation) {
  try {
    const auto bytes = read_small(folder.files(), folder.generation(generation) / "state", max_state_file_bytes);
    return open_state(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  } catch (const StoreError& error) {
    return to_error(error);
  }
}

std::uint64_t resident_bytes(const std::filesystem::path& file) {
  struct stat status {};
  return stat(file.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

}  // namespace

CloneKeeper::CloneKeeper(std::string name, InstanceFolder folder, CloneStarter& starter, link::Files& journal_files,
                         Tell tell)
    : name_(std::move(name)),
      folder_(std::move(folder)),
      starter_(starter),
      journal_files_(journal_files),
      tell_(std::move(tell)) {}

CloneKeeper::~CloneKeeper() { end_thread(); }

link::Status CloneKeeper::open_journal(const link::InstanceRecord& record) {
  auto journal = link::Journal::open(journal_files_, (folder_.path() / "journal").string(), record.input_sequence + 1);
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  feed_ = std::make_unique<InputFeed>(*journal_, folder_.run() / "input");
  return journal_->trim(record.input_sequence);
}

link::Status CloneKeeper::launch() {
  const auto state = load_state(folder_, record_.saved);
  if (!state) return state.error();
  if (auto made = guarded([&] {
        folder_.make_run(record_.saved);
        folder_.use_run();
      });
      !made) {
    return made;
  }
  auto clone = starter_.start(folder_.run(), *state);
  if (!clone) return clone.error();
  if (auto begun = feed_->begin(**clone, record_.input_sequence); !begun) {
    (*clone)->kill();
    return begun;
  }
  clone_ = std::move(*clone);
  started_ = Clock::now();
  paused_ = false;
  present_ = true;
  reached_ = feed_->reached();
  want_memory_ = record_.shape.memory_bytes;
  want_vcpus_ = record_.shape.vcpus;
  spdlog::info("{}: clone runs as process {} from generation {}", name_, clone_->pid(), record_.saved);
  return {};
}

link::Status CloneKeeper::start(const link::InstanceRecord& record) {
  end_thread();
  std::unique_lock lock(mutex_);
  record_ = record;
  restarts_ = 0;
  note_.clear();
  if (auto opened = open_journal(record); !opened) return opened;
  if (auto launched = launch(); !launched) return launched;
  lock.unlock();
  (void)set_size(record.shape.memory_bytes, record.shape.vcpus);
  run_thread();
  return {};
}

link::Status CloneKeeper::adopt(const link::InstanceRecord& record) {
  end_thread();
  std::unique_lock lock(mutex_);
  auto clone = starter_.adopt(folder_.run());
  if (!clone) return clone.error();
  if (auto opened = open_journal(record); !opened) return opened;
  if (auto taken = feed_->adopt(**clone); !taken) return taken;
  const auto stopped = (*clone)->stopped();  // for an undock that amphiond did not live to finish
  if (!stopped) return stopped.error();
  if (*stopped) {
    if (auto status = (*clone)->resume(); !status) return status;
  }
  record_ = record;
  restarts_ = 0;
  note_.clear();
  clone_ = std::move(*clone);
  started_ = Clock::now();
  present_ = true;
  reached_ = feed_->reached();
  paused_ = false;
  spdlog::info("{}: adopted clone, process {}, input received up to {}", name_, clone_->pid(), feed_->reached());
  lock.unlock();
  (void)set_size(record.shape.memory_bytes, record.shape.vcpus);
  run_thread();
  return {};
}

bool CloneKeeper::runs_in_folder() {
  const std::lock_guard lock(mutex_);
  return starter_.runs(folder_.run());
}

void CloneKeeper::kill() {
  end_thread();
  const std::lock_guard lock(mutex_);
  if (clone_) {
    spdlog::info("{}: ending clone, process {}", name_, clone_->pid());
    clone_->kill();
  }
  clone_.reset();
  starter_.end(folder_.run());
  feed_.reset();
  journal_.reset();
  present_ = false;
  paused_ = false;
}

void CloneKeeper::hold(bool held) {
  const std::lock_guard lock(mutex_);
  held_ = held;
}

link::Result<link::SavedState> CloneKeeper::stop() {
  const std::lock_guard lock(mutex_);
  if (!clone_) return link::Error{ErrorCode::closed, name_ + ": the clone's process is gone"};
  paused_ = true;  // whatever comes of it: resume() follows
  auto state = clone_->stop();
  if (!state) return state.error();
  if (auto settled = feed_->settle(*clone_); !settled) return settled.error();
  reached_ = feed_->reached();
  state->set_input_sequence(feed_->reached());
  state->set_vcpus_allowed(std::min(record_.vcpus_allowed, record_.shape.vcpus));
  return link::SavedState{seal_state(*state), feed_->reached()};
}

void CloneKeeper::resume() {
  {
    const std::lock_guard lock(mutex_);
    if (!clone_) return;
    if (auto status = clone_->resume(); !status) spdlog::error("{}: {}", name_, status.error().text);
    paused_ = false;
  }
  (void)set_size(record_.shape.memory_bytes, record_.shape.vcpus);
  wake_.notify_all();
}

link::Status CloneKeeper::set_size(std::uint64_t memory_bytes, std::uint32_t vcpus) {
  if (auto status = set_vcpus(vcpus); !status) spdlog::warn("{}: {}", name_, status.error().text);
  auto status = set_memory(memory_bytes);
  if (!status) spdlog::warn("{}: {}", name_, status.error().text);
  return status;
}

link::Status CloneKeeper::set_memory(std::uint64_t bytes) {
  return with_clone<link::Status>([&](CloneControl& clone) {
    want_memory_ = bytes;
    return clone.set_memory(bytes);
  });
}

link::Status CloneKeeper::set_vcpus(std::uint32_t count) {
  return with_clone<link::Status>([&](CloneControl& clone) {
    want_vcpus_ = count;
    reminders_ = 0;
    remind_at_ = Clock::now() + reminder_interval;
    return clone.set_vcpus(count);
  });
}

link::Result<std::uint64_t> CloneKeeper::memory() {
  return with_clone<link::Result<std::uint64_t>>([](CloneControl& clone) { return clone.memory(); });
}

link::Result<CloneControl::GuestMemory> CloneKeeper::guest_memory() {
  return with_clone<link::Result<CloneControl::GuestMemory>>([](CloneControl& clone) { return clone.guest_memory(); });
}

link::Result<link::pb::InputAck> CloneKeeper::input(const link::pb::InputEvents& events) {
  std::shared_ptr<link::Journal> journal;
  {
    const std::lock_guard lock(mutex_);
    journal = journal_;
  }
  if (!journal) return link::Error{ErrorCode::not_found, name_ + " is not in the cloud"};
  if (events.first_sequence() > journal->last() + 1) return acknowledge();  // a gap: the phone sends again from there
  if (journal->size() > journal_high_water) (void)journal->trim(reached_);
  std::vector<link::InputEvent> record;
  std::size_t whole = 0;  // events of `record` up to the end of a frame
  const auto keep = [&](std::size_t count) -> link::Status {
    if (auto appended = journal->append(std::span(record).first(count)); !appended) return appended.error();
    record.erase(record.begin(), record.begin() + static_cast<std::ptrdiff_t>(count));
    whole = 0;
    return {};
  };
  std::uint64_t sequence = events.first_sequence();
  for (const auto& event : events.events()) {
    if (sequence++ <= journal->last()) continue;
    record.push_back(
        {static_cast<std::uint16_t>(event.type()), static_cast<std::uint16_t>(event.code()), event.value()});
    if (event.type() == EV_SYN && event.code() == SYN_REPORT) whole = record.size();
    if (record.size() < link::journal_max_record_events) continue;
    if (auto kept = keep(whole == 0 ? record.size() : whole); !kept.ok()) return kept.error();
  }
  if (whole > 0) {
    if (auto kept = keep(whole); !kept.ok()) return kept.error();
  }
  wake_.notify_all();
  return acknowledge();
}

link::pb::InputAck CloneKeeper::acknowledge() const {
  link::pb::InputAck ack;
  ack.set_instance(name_);
  ack.set_reached(reached_);
  ack.set_durable(reached_);  // what has not reached the guest goes home in the phone's journal, not in ours
  return ack;
}

void CloneKeeper::open_console(bool open) {
  const std::lock_guard lock(mutex_);
  console_open_ = open;
  typed_on_console_.clear();
  if (!open && clone_) clone_->release_console();
  wake_.notify_all();
}

void CloneKeeper::console_input(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  if (!console_open_ || typed_on_console_.size() + bytes.size() > max_console_backlog_bytes) return;
  typed_on_console_ += bytes;
  wake_.notify_all();
}

void CloneKeeper::watch_screen(std::chrono::milliseconds interval) {
  const std::lock_guard lock(mutex_);
  screen_ = {interval == 0ms ? 0ms : std::max(interval, std::chrono::milliseconds(40)), Clock::now(), {}};
  wake_.notify_all();
}

CloneFacts CloneKeeper::facts() {
  const std::lock_guard lock(mutex_);
  CloneFacts facts;
  if (!clone_) return facts;
  facts.present = clone_->alive();
  facts.paused = paused_;
  facts.pid = clone_->pid();
  facts.vcpus_online = clone_->vcpus_online();
  const auto memory = clone_->memory();
  facts.memory_bytes = memory ? *memory : 0;
  facts.resident_bytes = resident_bytes(folder_.run() / region_names[0]);
  facts.running = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_);
  facts.console = clone_->console_path();
  return facts;
}

std::string CloneKeeper::note() const {
  const std::lock_guard lock(mutex_);
  return note_;
}

void CloneKeeper::set_note(std::string note) {
  const std::lock_guard lock(mutex_);
  note_ = std::move(note);
}

void CloneKeeper::run_thread() {
  ending_ = false;
  thread_ = std::thread([this] { loop(); });
}

void CloneKeeper::end_thread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CloneKeeper::loop() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    std::vector<link::Message> out;
    const auto pause = turn(out);
    lock.unlock();
    for (const auto& message : out) tell_(message);
    lock.lock();
    if (!ending_) wake_.wait_for(lock, pause);
  }
}

CloneKeeper::Clock::duration CloneKeeper::turn(std::vector<link::Message>& out) {
  if (!clone_ || paused_) return 100ms;
  if (!clone_->alive()) {
    if (!held_) restart();
    return 100ms;
  }
  remind_of_vcpus();
  auto pause = feed_input(out);
  if (console_open_) {
    serve_console(out);
    pause = std::min<Clock::duration>(pause, 15ms);
  }
  if (screen_.interval > 0ms && Clock::now() >= screen_.due) read_screen(out);
  if (screen_.interval > 0ms) pause = std::min<Clock::duration>(pause, screen_.interval);
  return pause;
}

CloneKeeper::Clock::duration CloneKeeper::feed_input(std::vector<link::Message>& out) {
  const std::uint64_t before = feed_->reached();
  Clock::duration pause = 200ms;
  for (int frames = 0; frames < 64; ++frames) {
    const auto step = feed_->step(*clone_);
    if (!step) spdlog::warn("{}: input: {}", name_, step.error().text);
    if (step && *step == InputFeed::Step::moved) continue;
    if (!step || *step == InputFeed::Step::wait) pause = 20ms;
    break;
  }
  reached_ = feed_->reached();
  if (reached_ != before) out.emplace_back(acknowledge());
  return pause;
}

void CloneKeeper::restart() {
  const std::string when = clock_text();
  spdlog::error("{}: the clone's process is gone", name_);
  clone_->kill();
  clone_.reset();
  present_ = false;
  restarts_ = Clock::now() - started_ < 10s ? restarts_ + 1 : 1;
  note_ = "the clone's process ended at " + when + ": ";
  if (restarts_ > max_quick_restarts) {
    note_ += "it ended each time it was started again; see the cloud's log";
    return;
  }
  const auto launched = launch();
  if (!launched) {
    note_ += launched.error().text;
    spdlog::error("{}: {}", name_, launched.error().text);
    return;
  }
  note_ += "went on from the state in which it was docked; what it did since is lost, what was typed is typed again";
  (void)clone_->set_memory(want_memory_);
  reminders_ = 0;
  (void)clone_->set_vcpus(want_vcpus_);
}

// What is written to the grow port just as the guest learns that somebody holds its other end may be lost.
void CloneKeeper::remind_of_vcpus() {
  if (reminders_ >= max_reminders || Clock::now() < remind_at_ || clone_->vcpus_online() == want_vcpus_) return;
  ++reminders_;
  remind_at_ = Clock::now() + reminder_interval;
  (void)clone_->set_vcpus(want_vcpus_);
}

void CloneKeeper::serve_console(std::vector<link::Message>& out) {
  if (!typed_on_console_.empty()) (void)clone_->console_write(std::exchange(typed_on_console_, {}));
  auto bytes = clone_->console_read(console_piece_bytes);
  if (!bytes || bytes->empty()) return;
  link::pb::ConsoleData data;
  data.set_instance(name_);
  data.set_data(*bytes);
  out.emplace_back(std::move(data));
}

void CloneKeeper::read_screen(std::vector<link::Message>& out) {
  using machine::Screen;
  screen_.due = Clock::now() + screen_.interval;
  std::string pixels(std::size_t{Screen::stride_bytes} * Screen::height, '\0');
  const auto read = guarded([&] {
    const auto file = folder_.files().open(folder_.run() / region_names[0], Files::Mode::read);
    file->read(record_.shape.screen_base() - machine::ram_base, std::as_writable_bytes(std::span(pixels)));
  });
  if (!read) return;
  const auto hash = link::sha256(std::as_bytes(std::span(pixels)));
  if (hash == screen_.shown) return;
  screen_.shown = hash;
  std::string packed(ZSTD_compressBound(pixels.size()), '\0');
  const auto size = ZSTD_compress(packed.data(), packed.size(), pixels.data(), pixels.size(), 1);
  if (ZSTD_isError(size) != 0) return;
  packed.resize(size);
  link::pb::ScreenData data;
  data.set_instance(name_);
  data.set_pixels(std::move(packed));
  out.emplace_back(std::move(data));
}

}  // namespace amphion::cloud
