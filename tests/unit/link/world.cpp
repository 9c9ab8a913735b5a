// SPDX-License-Identifier: Apache-2.0
// See world.hpp.
#include "tests/unit/link/world.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "link/pki.hpp"

namespace amphion::link::test {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Lock = std::lock_guard<std::recursive_mutex>;

constexpr machine::Shape shape{2, 64u << 20};
constexpr std::uint64_t memory_blocks = shape.memory_bytes / block_bytes;
constexpr std::uint64_t disk_blocks = 256;
constexpr std::string_view state_magic = "TSTA";
constexpr std::string_view image_magic = "TIMG";
constexpr std::uint64_t ticks_block = 5;
constexpr std::uint64_t typed_block = 100;

const Error gone{ErrorCode::closed, "this side is dead"};

std::string serialize(const BlockMap& blocks, const std::string& state) {
  std::string out = std::to_string(state.size()) + "\n" + state;
  for (const auto& [key, block] : blocks) {
    const std::uint64_t index = key.second;
    out.push_back(static_cast<char>(key.first));
    out.append(reinterpret_cast<const char*>(&index), sizeof(index));
    out.append(reinterpret_cast<const char*>(block.data()), block.size());
  }
  return seal(image_magic, 1, out);
}

bool parse(const std::string& body, BlockMap& blocks, std::string& state) {
  const std::size_t line = body.find('\n');
  if (line == std::string::npos) return false;
  const std::size_t size = std::stoul(body.substr(0, line));
  state = body.substr(line + 1, size);
  for (std::size_t at = line + 1 + size; at < body.size(); at += 1 + 8 + block_bytes) {
    std::uint64_t index = 0;
    std::memcpy(&index, body.data() + at + 1, sizeof(index));
    auto& block = blocks[{static_cast<pb::Region>(body[at]), index}];
    std::memcpy(block.data(), body.data() + at + 9, block_bytes);
  }
  return true;
}

// A message is one write; faults strike before or after it.
class FaultStream : public Stream {
 public:
  FaultStream(std::unique_ptr<Stream> inner, World& world) : inner_(std::move(inner)), world_(world) {}
  Result<std::size_t> read(std::span<std::byte> into, Deadline deadline) override {
    return inner_->read(into, deadline);
  }
  Status write(std::span<const std::byte> bytes, Deadline deadline) override {
    if (world_.point(true)) return gone;
    std::string copy(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (world_.tamper) world_.tamper(copy);
    Status status = inner_->write(std::as_bytes(std::span(copy)), deadline);
    world_.point(false);
    return status;
  }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<Stream> inner_;
  World& world_;
};

}  // namespace

void Guest::put(pb::Region region, std::uint64_t index, std::string_view text) {
  auto& block = blocks[{region, index}];
  block.fill(std::byte{0});
  std::memcpy(block.data(), text.data(), std::min(text.size(), block.size()));
  dirty[{region, index}] = true;
}

std::string Guest::get(pb::Region region, std::uint64_t index) const {
  const auto found = blocks.find({region, index});
  if (found == blocks.end()) return {};
  const char* text = reinterpret_cast<const char*>(found->second.data());
  return {text, ::strnlen(text, block_bytes)};
}

void Guest::tick() {
  ++ticks;
  put(pb::REGION_MEMORY, ticks_block, std::to_string(ticks));
  put(pb::REGION_MEMORY, 1000 + ticks % 64, "tick " + std::to_string(ticks));
  if (ticks % 4 == 0) put(pb::REGION_DISK0, ticks % 16, "log " + std::to_string(ticks));
}

void Guest::type(std::uint64_t sequence, char key) {
  EXPECT_EQ(sequence, input_sequence + 1) << "input out of order";
  input_sequence = sequence;
  typed += key;
  put(pb::REGION_MEMORY, typed_block, typed);
}

std::string Guest::state() const {
  return seal(state_magic, 1, std::to_string(ticks) + " " + std::to_string(input_sequence) + " " + typed);
}

Side::Side(World& w, Place p) : world(w), place(p), records(files, "/data", p) {}

std::vector<RegionSize> Side::regions() const {
  return {{pb::REGION_MEMORY, memory_blocks}, {pb::REGION_DISK0, disk_blocks}};
}

Status Side::start_tracking() {
  const Lock lock(world.mutex());
  if (dead) return gone;
  guest->dirty.clear();
  return {};
}

Status Side::candidates(pb::Region region, bool base_held, Bitmap& out) {
  if (base_held) return SourceImage::candidates(region, base_held, out);
  const Lock lock(world.mutex());
  if (dead) return gone;
  for (const auto& [key, block] : guest->blocks) {
    if (key.first == region) out[key.second / 32] |= 1u << (key.second % 32);
  }
  return {};
}

// The instance runs on while it is copied, and keys are typed.
Status Side::read(pb::Region region, std::uint64_t first, std::span<std::byte> out) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  for (std::size_t i = 0; i * block_bytes < out.size(); ++i) {
    const auto block = out.subspan(i * block_bytes, block_bytes);
    const auto found = guest->blocks.find({region, first + i});
    if (found == guest->blocks.end()) {
      std::fill(block.begin(), block.end(), std::byte{0});
    } else {
      std::copy(found->second.begin(), found->second.end(), block.begin());
    }
  }
  if (guest->running && guest->ticks % 16 != 0) guest->tick();
  return {};
}

Status Side::take_dirty(pb::Region region, Bitmap& out) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  std::erase_if(guest->dirty, [&](const auto& entry) {
    if (entry.first.first != region) return false;
    out[entry.first.second / 32] |= 1u << (entry.first.second % 32);
    return true;
  });
  return {};
}

Result<SavedState> Side::stop() {
  const Lock lock(world.mutex());
  if (dead) return gone;
  world.type('m');  // while it runs, just before
  guest->running = false;
  const SavedState saved{guest->state(), guest->input_sequence};
  world.type('s');  // while it is stopped
  return saved;
}

void Side::resume() {
  const Lock lock(world.mutex());
  if (dead || !guest) return;
  guest->running = true;
  world.settle_input();
}

void Side::left(std::uint64_t generation) {
  const Lock lock(world.mutex());
  if (dead) return;
  kept.clear();
  kept[generation] = guest->blocks;
  if (place == pb::SIDE_CLOUD) {
    (void)write_durably(files, image_path(generation), serialize(guest->blocks, guest->state()));
  }
  guest.reset();
}

Status Side::admit(const pb::Offer&) { return dead ? Status(gone) : Status(); }

bool Side::has_base(std::uint64_t base) {
  const Lock lock(world.mutex());
  if (kept.contains(base)) return true;
  BlockMap blocks;
  std::string state;
  return place == pb::SIDE_CLOUD && load_image(base, blocks, state).ok();
}

Status Side::begin(std::uint64_t generation, const std::vector<RegionSize>&, std::uint64_t base) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  staging_generation_ = generation;
  staging_.clear();
  if (base == 0) return {};
  if (kept.contains(base)) {
    staging_ = kept[base];
    return {};
  }
  std::string state;
  return load_image(base, staging_, state);
}

Status Side::write(pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  for (std::size_t i = 0; i * block_bytes < blocks.size(); ++i) {
    const auto block = blocks.subspan(i * block_bytes, block_bytes);
    std::copy(block.begin(), block.end(), staging_[{region, first + i}].begin());
  }
  return {};
}

Status Side::zero(pb::Region region, std::uint64_t first, std::uint64_t count) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  std::erase_if(staging_, [&](const auto& entry) {
    return entry.first.first == region && entry.first.second >= first && entry.first.second - first < count;
  });
  return {};
}

Status Side::check_state(const std::string& sealed) {
  const auto opened = unseal(state_magic, 1, sealed, "the saved state");
  return opened ? Status() : Status(opened.error());
}

Status Side::make_durable(const std::string& sealed) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  return write_durably(files, image_path(staging_generation_), serialize(staging_, sealed));
}

void Side::discard(std::uint64_t generation) {
  const Lock lock(world.mutex());
  if (dead) return;
  staging_.clear();
  (void)files.remove(image_path(generation));
}

Status Side::load_image(std::uint64_t generation, BlockMap& blocks, std::string& state) {
  const auto sealed = files.read(image_path(generation), 1u << 30);
  if (!sealed) return sealed.error();
  const auto body = unseal(image_magic, 1, *sealed, "image");
  if (!body) return body.error();
  return parse(*body, blocks, state) ? Status() : Status(ErrorCode::damaged, "image");
}

Status Side::start(const InstanceRecord& record) {
  const Lock lock(world.mutex());
  if (dead) return gone;
  EXPECT_EQ(record.place, place);
  EXPECT_NE(record.saved, 0u);
  if (place == pb::SIDE_PHONE) {
    if (const auto used = use_saved(records, record.instance); !used) return used.error();
  }
  Guest fresh;
  std::string sealed;
  if (Status s = load_image(record.saved, fresh.blocks, sealed); !s.ok()) return s;
  const auto body = unseal(state_magic, 1, sealed, "state");
  if (!body) return body.error();
  const std::size_t a = body->find(' ');
  const std::size_t b = body->find(' ', a + 1);
  fresh.ticks = std::stoull(body->substr(0, a));
  fresh.input_sequence = std::stoull(body->substr(a + 1, b - a - 1));
  fresh.typed = body->substr(b + 1);
  EXPECT_EQ(fresh.input_sequence, record.input_sequence);
  fresh.running = true;
  guest = std::move(fresh);
  if (place == pb::SIDE_PHONE) {
    disk.clear();
    for (const auto& [key, block] : guest->blocks) {
      if (key.first == pb::REGION_DISK0) disk[key] = block;
    }
  }
  return {};
}

void Side::cold_boot() {
  cold_booted = true;
  guest.emplace();
  guest->blocks = disk;
  guest->input_sequence = world.journal->last();
  guest->running = true;
  world.typed.clear();
}

void Side::on_offer(Session&, const pb::Offer& offer, std::shared_ptr<Channel> channel) {
  if (engine_.joinable()) engine_.join();
  engine_ = std::thread([this, offer, channel] {
    HandoverDestination engine(*channel, records, *this, {.idle_timeout = Milliseconds(5000)});
    const HandoverReport report = engine.run(offer);
    const Lock lock(world.mutex());
    arrived = report;
  });
}

void Side::on_message(Session& session, Message message) {
  const auto* events = std::get_if<pb::InputEvents>(&message);
  if (events == nullptr) return;
  const Lock lock(world.mutex());
  if (dead || !running()) return;
  for (int i = 0; i < events->events_size(); ++i) {
    const std::uint64_t sequence = events->first_sequence() + static_cast<std::uint64_t>(i);
    if (sequence <= guest->input_sequence) continue;
    if (sequence != guest->input_sequence + 1) return;  // a gap: sent again later
    guest->type(sequence, static_cast<char>(events->events(i).code()));
  }
  pb::InputAck ack;
  ack.set_instance(instance_name);
  ack.set_reached(guest->input_sequence);
  (void)session.send(ack);
}

void Side::die() {
  dead = true;
  died = true;
  files.fail_after(0);
}

void Side::restart() {
  const Lock lock(world.mutex());
  if (!dead) return;
  const bool power = place == pb::SIDE_PHONE || !guest;
  if (power) {
    guest.reset();
    kept.clear();
    files.power_off();
  }
  files.fail_after(-1);
  dead = false;
  if (place == pb::SIDE_PHONE) {
    auto opened = Journal::open(files, "/data/work.journal");
    ASSERT_TRUE(opened) << opened.error().text;
    world.journal = std::move(*opened);
  }
  const auto record = records.load(instance_name);
  if (!record) {
    ASSERT_EQ(record.error().code, ErrorCode::not_found) << record.error().text;
    return;
  }
  switch (start_decision(place, *record)) {
    case StartDecision::start_saved:
      if (guest) {
        guest->running = true;  // the clone outlived its amphiond: adopted
      } else {
        ASSERT_TRUE(start(*record).ok());
      }
      break;
    case StartDecision::cold_boot:
      ASSERT_EQ(place, pb::SIDE_PHONE) << "the cloud has no image of what it should have";
      cold_boot();
      break;
    case StartDecision::ask:
    case StartDecision::elsewhere:
      guest.reset();
      break;
  }
}

void Side::join() {
  if (engine_.joinable()) engine_.join();
}

World::World() : phone(*this, pb::SIDE_PHONE), cloud(*this, pb::SIDE_CLOUD) {
  InstanceRecord record;
  record.instance = instance_name;
  record.shape = shape;
  record.bound_bytes = shape.memory_bytes;
  record.vcpus_allowed = 1;
  EXPECT_TRUE(phone.records.store(record).ok());
  auto opened = Journal::open(phone.files, "/data/work.journal");
  EXPECT_TRUE(opened);
  journal = std::move(*opened);
  phone.guest.emplace();
  phone.guest->running = true;
  for (std::uint64_t i = 0; i < 150; ++i)
    phone.guest->put(pb::REGION_MEMORY, 2000 + 3 * i, "page " + std::to_string(i));
  for (std::uint64_t i = 0; i < 20; ++i) phone.guest->put(pb::REGION_DISK0, 100 + i, "file " + std::to_string(i));
  for (int i = 0; i < 5; ++i) phone.guest->tick();
  for (const auto& [key, block] : phone.guest->blocks) {
    if (key.first == pb::REGION_DISK0) phone.disk[key] = block;
  }
  source_options.answer_timeout = Milliseconds(3000);
  source_options.commit_timeout = Milliseconds(300);
  source_options.stop_below_blocks = 8;
}

World::~World() { disconnect(); }

void World::connect() {
  auto [client, server] = tls_pair();
  auto client_end = std::make_unique<FaultStream>(std::move(client), *this);
  auto server_end = std::make_unique<FaultStream>(std::move(server), *this);
  {
    const std::lock_guard lock(fault_mutex_);
    streams_ = {client_end.get(), server_end.get()};
  }
  const auto hello = [](Side& side) {
    pb::Hello message;
    message.set_side(side.place);
    message.set_name(side.place == pb::SIDE_PHONE ? "phone" : "cloud");
    auto claims = side.records.claims();
    EXPECT_TRUE(claims);
    for (pb::Claim& claim : *claims) *message.add_instances() = claim;
    return message;
  };
  std::thread server_thread([&, end = std::move(server_end)]() mutable {
    auto opened = Session::open(std::move(end), hello(cloud), cloud, {.expected_name = "phone"});
    ASSERT_TRUE(opened) << opened.error().text;
    cloud_session_ = *opened;
  });
  auto opened = Session::open(std::move(client_end), hello(phone), phone, {.expected_name = "cloud"});
  server_thread.join();
  ASSERT_TRUE(opened) << opened.error().text;
  phone_session_ = *opened;
  reconcile_side(phone, phone_session_->peer());
  reconcile_side(cloud, cloud_session_->peer());
  phone_session_->start();
  cloud_session_->start();
  settle_input();
}

void World::reconcile_side(Side& side, const pb::Hello& theirs) {
  const auto record = side.records.load(instance_name);
  if (!record) return;
  const pb::Claim* claim = nullptr;
  for (const pb::Claim& each : theirs.instances()) {
    if (each.instance() == instance_name) claim = &each;
  }
  const Verdict verdict = reconcile(side.place, claim_of(*record), claim);
  EXPECT_NE(verdict, Verdict::lost);
  EXPECT_NE(verdict, Verdict::conflict);
  if (claim == nullptr) return;
  const auto applied = apply(verdict, side.records, instance_name, *claim);
  ASSERT_TRUE(applied) << applied.error().text;
  if (verdict == Verdict::take) {
    ASSERT_TRUE(side.start(*applied).ok());
  } else if (applied->place == side.place && !side.guest) {
    // start() failed on its disk, which is mended: the same image again, as the process that still runs knows it.
    InstanceRecord same = *applied;
    same.saved = same.generation;
    ASSERT_TRUE(side.start(same).ok());
  } else if (verdict == Verdict::discard_prepared || verdict == Verdict::follow) {
    if (record->prepared != 0) side.discard(record->prepared);
    if (verdict == Verdict::follow) side.guest.reset();
  }
}

void World::disconnect() {
  if (phone_session_) phone_session_->close();
  if (cloud_session_) cloud_session_->close();
  phone_session_.reset();  // no reader, no new engine
  cloud_session_.reset();
  phone.join();
  cloud.join();
  const std::lock_guard lock(fault_mutex_);
  streams_.clear();
}

void World::strike() {
  {
    const std::lock_guard lock(fault_mutex_);
    if (struck_) return;
    struck_ = true;
  }
  switch (fault_.kind) {
    case FaultKind::kill_cloud:
    case FaultKind::cloud_power:
      cloud.die();
      break;
    case FaultKind::phone_power:
      phone.die();
      break;
    default:
      break;
  }
  const std::lock_guard lock(fault_mutex_);
  if (fault_.kind == FaultKind::disk_error) return;
  for (Stream* stream : streams_) stream->close();
}

bool World::point(bool before) {
  const int number = before ? messages_.fetch_add(1) : messages_.load() - 1;
  const FaultPoint wanted = before ? FaultPoint::before_message : FaultPoint::after_message;
  if (fault_.kind == FaultKind::none || fault_.point != wanted || fault_.at != number) return false;
  strike();
  return true;
}

HandoverReport World::hand_over(Side& source, Fault fault) {
  fault_ = fault;
  struck_ = false;
  messages_ = 0;
  {
    const Lock lock(mutex_);
    phone.arrived.reset();
    cloud.arrived.reset();
  }
  Side* victim = fault.point == FaultPoint::phone_file   ? &phone
                 : fault.point == FaultPoint::cloud_file ? &cloud
                                                         : nullptr;
  if (victim != nullptr && fault.kind != FaultKind::none) {
    victim->files.on_failure([this, victim] {
      if (fault_.kind != FaultKind::disk_error) victim->dead = victim->died = true;
    });
    victim->files.fail_after(fault.at);
  }
  auto session = &source == &phone ? phone_session_ : cloud_session_;
  auto channel = session->channel(instance_name);
  EXPECT_TRUE(channel) << channel.error().text;
  HandoverReport report;
  {
    // A side that died at a file operation is cut off as well.
    std::atomic<bool> done{false};
    std::thread watch([&] {
      while (!done) {
        if (victim != nullptr && victim->dead) strike();
        std::this_thread::sleep_for(Milliseconds(1));
      }
    });
    HandoverSource engine(**channel, source.records, source, instance_name, source_options, progress);
    report = engine.run();
    if (report.outcome == Outcome::committed && !source.dead) other(source).join();
    done = true;
    watch.join();
  }
  channel = Error{ErrorCode::closed, {}};
  const bool power_of_cloud = fault.kind == FaultKind::cloud_power;
  if (report.outcome != Outcome::committed || struck_ || phone.dead || cloud.dead) disconnect();
  fault_ = {};
  if (power_of_cloud && cloud.dead) cloud.guest.reset();
  phone.files.fail_after(phone.dead ? 0 : -1);
  cloud.files.fail_after(cloud.dead ? 0 : -1);
  phone.files.on_failure(nullptr);
  cloud.files.on_failure(nullptr);
  if (report.outcome == Outcome::stuck && !source.dead) {
    // The disk is mended: what the record says now, holds.
    const auto record = source.records.load(instance_name);
    EXPECT_TRUE(record);
    if (record->place == source.place) {
      source.resume();
    } else {
      source.left(report.generation);
    }
  }
  return report;
}

void World::recover() {
  disconnect();
  phone.restart();
  cloud.restart();
  connect();
}

void World::type(char key) {
  const Lock lock(mutex_);
  if (phone.dead) return;
  const InputEvent event{1, static_cast<std::uint16_t>(key), 1};
  const auto sequence = journal->append({&event, 1});
  if (!sequence) return;  // not captured: the phone has died, or its disk has
  typed += key;
  settle_input();
}

void World::settle_input() {
  const Lock lock(mutex_);
  if (phone.dead) return;
  if (phone.running()) {
    const pb::InputEvents due = journal->after(phone.guest->input_sequence);
    for (int i = 0; i < due.events_size(); ++i) {
      phone.guest->type(due.first_sequence() + static_cast<std::uint64_t>(i), static_cast<char>(due.events(i).code()));
    }
    return;
  }
  if (!phone_session_) return;
  pb::InputEvents due = journal->after(0);
  due.set_instance(instance_name);
  if (due.events_size() > 0) (void)phone_session_->send(due);
}

void World::check(const std::string& what) {
  type('c');
  const Deadline deadline = in(Milliseconds(2000));
  while (Clock::now() < deadline) {
    {
      const Lock lock(mutex_);
      if ((phone.running() || cloud.running()) && living().guest->input_sequence == journal->last()) break;
    }
    std::this_thread::sleep_for(Milliseconds(1));
  }
  const Lock lock(mutex_);
  EXPECT_EQ(phone.running() + cloud.running(), 1)
      << what << ": phone " << phone.running() << " cloud " << cloud.running();
  if (!phone.running() && !cloud.running()) return;
  Guest& guest = *living().guest;
  EXPECT_EQ(guest.typed, typed) << what;
  EXPECT_EQ(guest.get(pb::REGION_MEMORY, typed_block), typed) << what;
  if (guest.ticks > 0) {
    EXPECT_EQ(guest.get(pb::REGION_MEMORY, ticks_block), std::to_string(guest.ticks)) << what;
  }
  for (std::uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(guest.get(pb::REGION_DISK0, 100 + i), "file " + std::to_string(i)) << what;
  }
  for (std::uint64_t i = 0; i < 150 && !phone.cold_booted; ++i) {
    EXPECT_EQ(guest.get(pb::REGION_MEMORY, 2000 + 3 * i), "page " + std::to_string(i)) << what;
  }
}

const std::string& pki_folder() {
  struct Folder {
    std::string path;
    Folder() {
      char name[] = "/tmp/amphion-link-test-XXXXXX";
      path = ::mkdtemp(name);
      for (const std::string& each : {path, path + "/other"}) {
        EXPECT_TRUE(create_authority(each).ok());
        for (const Role role : {Role::cloud, Role::phone, Role::owner}) {
          const std::string stem(text(role));
          EXPECT_TRUE(issue_certificate(each, {.role = role, .name = stem}).ok());
          EXPECT_TRUE(issue_certificate(each, {.role = role, .name = stem, .expired = true}, stem + "-expired").ok());
        }
      }
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }
  };
  static const Folder folder;
  return folder.path;
}

std::pair<std::unique_ptr<TlsStream>, std::unique_ptr<TlsStream>> tls_pair() {
  static const auto listener = [] {
    auto opened = TlsListener::open({"127.0.0.1", 0}, identity_in(pki_folder(), Role::cloud), {Role::phone});
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }();
  std::unique_ptr<TlsStream> server;
  std::thread accepting([&] {
    auto pending = listener->accept();
    ASSERT_TRUE(pending);
    auto stream = (*pending)->handshake(in(Milliseconds(5000)));
    ASSERT_TRUE(stream) << stream.error().text;
    server = std::move(*stream);
  });
  auto client = tls_connect({"127.0.0.1", listener->port()}, identity_in(pki_folder(), Role::phone), Role::cloud,
                            in(Milliseconds(5000)));
  EXPECT_TRUE(client) << client.error().text;
  accepting.join();
  return {std::move(*client), std::move(server)};
}

}  // namespace amphion::link::test
