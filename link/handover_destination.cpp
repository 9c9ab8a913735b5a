// SPDX-License-Identifier: Apache-2.0
// The destination engine: accept, take blocks, prepare, wait for the commit, start. See handover_destination.hpp.
#include "link/handover_destination.hpp"

#include <algorithm>
#include <cstring>

#include "link/batch.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

// Why run() ends early: nothing is left of the attempt.
struct Stop {
  Error error;
  bool tell = true;
};

Status check_offer(const pb::Offer& offer) {
  const Error bad{ErrorCode::protocol, "the offer is not a possible instance"};
  if (!valid_instance_name(offer.id().instance())) return bad;
  if (offer.id().generation() < 2 || offer.id().generation() > max_generation) return bad;
  const machine::Shape shape{offer.shape().vcpus(), offer.shape().memory_bytes()};
  if (!shape.valid() || offer.regions().empty() || offer.regions_size() > 3) return bad;
  if (!offer.base().empty() && offer.base().size() != sizeof(Hash)) return bad;
  if (offer.vcpus_allowed() > shape.vcpus || offer.bound_bytes() > shape.memory_bytes) return bad;
  for (int i = 0; i < offer.regions_size(); ++i) {
    const pb::RegionSize& size = offer.regions(i);
    const bool named =
        size.region() == pb::REGION_MEMORY || size.region() == pb::REGION_DISK0 || size.region() == pb::REGION_DISK1;
    if (!named || size.blocks() == 0 || size.blocks() > max_region_blocks) return bad;
    if (i > 0 && size.region() <= offer.regions(i - 1).region()) return bad;  // ascending, each once
  }
  if (offer.regions(0).region() != pb::REGION_MEMORY) return bad;
  if (offer.regions(0).blocks() * block_bytes != shape.memory_bytes) return bad;
  return {};
}

}  // namespace

struct HandoverDestination::Work {
  Work(HandoverDestination& engine, const pb::Offer& an_offer) : self(engine), offer(an_offer), id(an_offer.id()) {}

  HandoverDestination& self;
  const pb::Offer& offer;
  const pb::HandoverId id;
  InstanceRecord record;
  bool known = false;  // there is a record
  HashList hashes;
  BatchReader reader;
  std::uint64_t batches = 0;
  bool begun = false;
  ProgressReporter reporter{self.progress_};
  Progress& progress = reporter.now;

  void need(Status status) {
    if (!status.ok()) throw Stop{status.error()};
  }

  template <typename T>
  [[nodiscard]] T reply() const {
    T message;
    *message.mutable_id() = id;
    return message;
  }

  void load() {
    need(check_offer(offer));
    auto loaded = self.records_.load(id.instance());
    if (loaded) {
      known = true;
      record = *loaded;
      check_record();
      return;
    }
    if (loaded.error().code != ErrorCode::not_found) throw Stop{loaded.error()};
    record.instance = id.instance();
    record.shape = {offer.shape().vcpus(), offer.shape().memory_bytes()};
    record.generation = record.attempt = 0;  // nothing that was ever committed
    record.place = self.records_.other_side();
  }

  // An offer above everything known here also proves that what is prepared was not committed.
  void check_record() {
    if (record.place == self.records_.side()) {
      throw Stop{{ErrorCode::conflict,
                  id.instance() + " is already here, in generation " + std::to_string(record.generation)}};
    }
    if (id.generation() <= std::max({record.generation, record.prepared, record.attempt})) {
      throw Stop{{ErrorCode::conflict, "the offer of " + id.instance() + " is behind: generation " +
                                           std::to_string(id.generation()) + " has been used"}};
    }
    if (record.shape.vcpus != offer.shape().vcpus() || record.shape.memory_bytes != offer.shape().memory_bytes()) {
      throw Stop{{ErrorCode::conflict, id.instance() + " has another shape here"}};
    }
    if (record.prepared == 0) return;
    const std::uint64_t old = record.prepared;
    record.prepared = 0;
    need(self.records_.store(record));
    self.image_.discard(old);
  }

  void accept() {
    std::vector<RegionSize> regions;
    for (const pb::RegionSize& size : offer.regions()) {
      regions.push_back({size.region(), size.blocks()});
      progress.blocks_total += size.blocks();
    }
    need(self.image_.admit(offer));
    const bool held = find_base(regions);
    if (!held) hashes = HashList(regions);
    begun = true;
    need(self.image_.begin(id.generation(), regions, held ? record.base : 0));
    auto message = reply<pb::Accept>();
    message.set_base_held(held);
    need(self.channel_.send(message));
  }

  bool find_base(const std::vector<RegionSize>& regions) {
    if (offer.base().empty() || record.base == 0 || !self.image_.has_base(record.base)) return false;
    auto kept = self.records_.load_hashes(id.instance(), record.base);
    if (!kept || kept->regions() != regions) return false;
    const Hash digest = kept->digest();
    if (std::memcmp(digest.data(), offer.base().data(), digest.size()) != 0) return false;
    hashes = std::move(*kept);
    return true;
  }

  Message receive() {
    const Deadline deadline = in(self.options_.idle_timeout);
    while (true) {
      if (self.cancelled_) throw Stop{{ErrorCode::cancelled, "cancelled"}};
      auto message = self.channel_.receive(std::min(deadline, in(Milliseconds(200))));
      if (!message && message.error().code == ErrorCode::timeout && Clock::now() < deadline) continue;
      if (!message) throw Stop{message.error()};
      const pb::HandoverId* about = handover_of(*message);
      if (about == nullptr || about->instance() != id.instance() || about->generation() != id.generation()) continue;
      if (const auto* abort = std::get_if<pb::Abort>(&*message)) {
        throw Stop{{ErrorCode::refused, abort->reason()}, false};
      }
      return std::move(*message);
    }
  }

  [[noreturn]] void unexpected(const Message& message) {
    throw Stop{{ErrorCode::protocol, "unexpected " + std::string(name_of(type_of(message))) + " from the other side"}};
  }

  pb::Prepare take_blocks() {
    reporter.enter(Phase::copying);
    while (true) {
      Message message = receive();
      if (auto* prepare = std::get_if<pb::Prepare>(&message)) {
        progress.sent_bytes += prepare->ByteSizeLong();
        reporter.stopped(Milliseconds(prepare->stopped_ms()));
        return std::move(*prepare);
      }
      const auto* blocks = std::get_if<pb::Blocks>(&message);
      if (blocks == nullptr) unexpected(message);
      take_batch(*blocks);
    }
  }

  void take_batch(const pb::Blocks& message) {
    if (message.batch() != batches + 1) throw Stop{{ErrorCode::protocol, "a batch of blocks is missing"}};
    need(reader.open(message, hashes));
    for (const pb::ZeroRange& range : message.zeros()) {
      need(self.image_.zero(range.region(), range.first(), range.count()));
      for (std::uint64_t i = 0; i < range.count(); ++i) hashes.set(range.region(), range.first() + i, zero_hash);
      progress.zero_blocks += range.count();
    }
    write_runs(message);
    ++batches;
    progress.sent_bytes += message.ByteSizeLong();
    progress.blocks_sent += static_cast<std::uint64_t>(message.blocks_size());
    progress.raw_bytes += reader.contents().size();
    auto ack = reply<pb::BlocksAck>();
    ack.set_batch(batches);
    need(self.channel_.send(ack));
    reporter.tell();
  }

  // Neighbouring blocks in one write.
  void write_runs(const pb::Blocks& message) {
    for (int first = 0; first < message.blocks_size();) {
      int end = first;
      while (end < message.blocks_size() && message.blocks(end).region() == message.blocks(first).region() &&
             message.blocks(end).index() == message.blocks(first).index() + static_cast<std::uint64_t>(end - first)) {
        Hash hash;
        std::memcpy(hash.data(), message.blocks(end).hash().data(), hash.size());
        hashes.set(message.blocks(end).region(), message.blocks(end).index(), hash);
        ++end;
      }
      const auto run = reader.contents().subspan(static_cast<std::size_t>(first) * block_bytes,
                                                 static_cast<std::size_t>(end - first) * block_bytes);
      need(self.image_.write(message.blocks(first).region(), message.blocks(first).index(), run));
      first = end;
    }
  }

  void prepare(const pb::Prepare& message) {
    reporter.enter(Phase::preparing);
    if (message.state().size() > max_state_bytes) throw Stop{{ErrorCode::protocol, "the saved state is too large"}};
    const Hash digest = hashes.digest_with(message.state());
    if (message.digest().size() != digest.size() ||
        std::memcmp(digest.data(), message.digest().data(), digest.size()) != 0) {
      throw Stop{{ErrorCode::damaged, "what arrived is not what was sent: the digest over the whole does not match"}};
    }
    need(self.image_.check_state(message.state()));
    need(self.image_.make_durable(message.state()));
    need(self.records_.store_hashes(id.instance(), id.generation(), hashes));
    InstanceRecord ready = record;
    ready.prepared = id.generation();
    ready.bound_bytes = offer.bound_bytes() != 0 ? offer.bound_bytes() : record.bound_bytes;
    ready.vcpus_allowed = offer.vcpus_allowed() != 0 ? offer.vcpus_allowed() : record.vcpus_allowed;
    ready.input_sequence = message.input_sequence();
    if (Status s = self.records_.store(ready); !s.ok()) {
      undo_prepared();
      throw Stop{s.error()};
    }
    record = ready;
  }

  // Best effort: a record left with `prepared` is discarded at the next reconciliation, since nobody has seen Prepared.
  void undo_prepared() {
    if (known) {
      (void)self.records_.store(record);
    } else {
      (void)self.records_.remove(id.instance());
    }
  }

  HandoverReport finish(Outcome outcome, std::string reason) {
    reporter.update_times();
    return {outcome, id.generation(), std::move(reason), progress};
  }

  // Prepared is sent: only the source's word or its record decides from here on.
  HandoverReport after_prepared() {
    if (Status s = self.channel_.send(reply<pb::Prepared>()); !s.ok()) return finish(Outcome::prepared, s.error().text);
    reporter.enter(Phase::committing);
    try {
      self.cancelled_ = false;
      const Message message = receive();
      if (!std::holds_alternative<pb::Commit>(message)) unexpected(message);
    } catch (const Stop& stop) {
      if (!stop.tell) return drop_prepared(stop);  // the source said Abort, which it does only before its commit
      return finish(Outcome::prepared, stop.error.text);
    }
    return take();
  }

  HandoverReport drop_prepared(const Stop& stop) {
    InstanceRecord dropped = record;
    dropped.prepared = 0;
    if (!self.records_.store(dropped).ok()) return finish(Outcome::prepared, stop.error.text);
    self.image_.discard(id.generation());
    self.records_.drop_hashes(id.instance(), record.base);
    return finish(Outcome::aborted, stop.error.text);
  }

  HandoverReport take() {
    InstanceRecord here = record;
    here.place = self.records_.side();
    here.generation = here.saved = here.base = id.generation();
    here.attempt = std::max(here.attempt, id.generation());
    here.prepared = 0;
    if (Status s = self.records_.store(here); !s.ok()) return finish(Outcome::prepared, s.error().text);
    (void)self.channel_.send(reply<pb::Committed>());
    self.records_.drop_hashes(id.instance(), here.base);
    const Status running = self.image_.start(here);
    reporter.enter(Phase::done);
    return finish(Outcome::committed, running.ok() ? std::string() : running.error().text);
  }

  HandoverReport abort(const Stop& stop) {
    if (stop.tell) {
      auto message = reply<pb::Abort>();
      message.set_reason(stop.error.text.substr(0, 1024));
      (void)self.channel_.send(message);
    }
    if (begun) self.image_.discard(id.generation());
    if (begun) self.records_.drop_hashes(id.instance(), record.base);
    return finish(Outcome::aborted, stop.error.text);
  }

  HandoverReport run() {
    try {
      load();
      accept();
      prepare(take_blocks());
    } catch (const Stop& stop) {
      return abort(stop);
    }
    return after_prepared();
  }
};

HandoverDestination::HandoverDestination(Channel& channel, Records& records, DestinationImage& image,
                                         DestinationOptions options, ProgressFn progress)
    : channel_(channel), records_(records), image_(image), options_(options), progress_(std::move(progress)) {}

HandoverDestination::~HandoverDestination() = default;

HandoverReport HandoverDestination::run(const pb::Offer& offer) { return Work(*this, offer).run(); }

}  // namespace amphion::link
