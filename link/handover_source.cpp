// SPDX-License-Identifier: Apache-2.0
// The source engine: offer, copy in rounds, stop, send the rest, prepare, commit. See handover_source.hpp.
#include "link/handover_source.hpp"

#include <algorithm>
#include <bit>

#include "link/batch.hpp"

namespace amphion::link {
namespace {

using Milliseconds = std::chrono::milliseconds;

std::uint64_t count_bits(const Bitmap& bits) {
  std::uint64_t count = 0;
  for (const std::uint32_t word : bits) count += static_cast<std::uint64_t>(std::popcount(word));
  return count;
}

// Index of the first bit at or after `from` that is `set`; `end` if there is none.
std::uint64_t next_bit(const Bitmap& bits, std::uint64_t from, std::uint64_t end, bool set) {
  while (from < end) {
    const std::uint32_t word = (set ? bits[as_index(from / 32)] : ~bits[as_index(from / 32)]) >> (from % 32);
    if (word != 0) return std::min(end, from + static_cast<std::uint64_t>(std::countr_zero(word)));
    from = (from / 32 + 1) * 32;
  }
  return end;
}

// Why run() ends early: the instance stays here.
struct Stop {
  Error error;
  bool tell = true;  // the other side does not know yet
};

}  // namespace

Status SourceImage::candidates(pb::Region, bool, Bitmap& out) {
  std::fill(out.begin(), out.end(), ~std::uint32_t{0});
  return {};
}

// One run: all that lives from the offer to the outcome. Member functions throw Stop; run() turns it into an abort.
struct HandoverSource::Work {
  explicit Work(HandoverSource& engine) : self(engine), batch(engine.options_.zstd_level) {}

  HandoverSource& self;
  InstanceRecord record;
  std::vector<RegionSize> regions;
  HashList hashes;  // what the destination has, as far as it was told
  pb::HandoverId id;
  BatchWriter batch;
  std::uint64_t batches_sent = 0;
  std::uint64_t batches_acked = 0;
  bool base_held = false;
  bool tracking = false;
  bool stopped = false;
  SavedState state;
  ProgressReporter reporter{self.progress_};
  Progress& progress = reporter.now;

  void need(Status status) {
    if (!status.ok()) throw Stop{status.error()};
  }

  void send(const Message& message) { need(self.channel_.send(message)); }

  // The next message that is not an acknowledgement; acknowledgements are counted.
  // `any`: also returns (with a Keepalive) after each acknowledgement.
  Message receive(Deadline deadline, bool any) {
    while (true) {
      if (self.cancelled_) throw Stop{{ErrorCode::cancelled, "cancelled"}};
      const Deadline slice = std::min(deadline, in(Milliseconds(200)));
      auto message = self.channel_.receive(slice);
      if (!message && message.error().code == ErrorCode::timeout && Clock::now() < deadline) continue;
      if (!message) throw Stop{message.error()};
      if (const auto* ack = std::get_if<pb::BlocksAck>(&*message)) {
        if (!ours(ack->id())) continue;
        acknowledge(*ack);
        if (any) return pb::Keepalive();
        continue;
      }
      const pb::HandoverId* about = handover_of(*message);
      if (about != nullptr && !ours(*about)) continue;  // of an earlier attempt
      if (const auto* abort = std::get_if<pb::Abort>(&*message)) {
        throw Stop{{ErrorCode::refused, abort->reason()}, false};
      }
      return std::move(*message);
    }
  }

  [[nodiscard]] bool ours(const pb::HandoverId& about) const {
    return about.instance() == id.instance() && about.generation() == id.generation();
  }

  void acknowledge(const pb::BlocksAck& ack) {
    if (ack.batch() != batches_acked + 1 || ack.batch() > batches_sent) {
      throw Stop{{ErrorCode::protocol, "the other side acknowledged a batch that was not sent"}};
    }
    batches_acked = ack.batch();
  }

  template <typename T>
  T expect(Milliseconds timeout) {
    Message message = receive(in(timeout), false);
    if (auto* wanted = std::get_if<T>(&message)) return std::move(*wanted);
    throw Stop{{ErrorCode::protocol, "unexpected " + std::string(name_of(type_of(message))) + " from the other side"}};
  }

  void load() {
    auto loaded = self.records_.load(self.instance_);
    if (!loaded) throw Stop{loaded.error()};
    record = *loaded;
    if (record.place != self.records_.side()) {
      throw Stop{{ErrorCode::conflict, self.instance_ + " is not here"}};
    }
    if (record.prepared != 0) throw Stop{{ErrorCode::conflict, self.instance_ + " has an unfinished hand-over"}};
    regions = self.image_.regions();
    load_base();
  }

  void load_base() {
    if (record.base != 0) {
      auto kept = self.records_.load_hashes(self.instance_, record.base);
      if (kept && kept->regions() == regions) {
        hashes = std::move(*kept);
        base_held = true;
        return;
      }
    }
    hashes = HashList(regions);
  }

  // The number of this attempt is used up before anybody hears of it.
  void offer() {
    record.attempt = std::max(record.attempt, record.generation) + 1;
    need(self.records_.store(record));
    id.set_instance(self.instance_);
    id.set_generation(record.attempt);
    pb::Offer message;
    *message.mutable_id() = id;
    message.mutable_shape()->set_vcpus(record.shape.vcpus);
    message.mutable_shape()->set_memory_bytes(record.shape.memory_bytes);
    for (const RegionSize& size : regions) {
      pb::RegionSize& out = *message.add_regions();
      out.set_region(size.region);
      out.set_blocks(size.blocks);
      progress.blocks_total += size.blocks;
    }
    if (base_held) {
      const Hash digest = hashes.digest();
      message.set_base(digest.data(), digest.size());
    }
    message.set_vcpus_allowed(self.options_.vcpus_allowed);
    message.set_bound_bytes(self.options_.bound_bytes);
    reporter.enter(Phase::offering);
    send(message);
    const bool held = expect<pb::Accept>(self.options_.answer_timeout).base_held();
    if (held && !base_held) throw Stop{{ErrorCode::protocol, "the other side claims a copy that was not offered"}};
    if (!held) hashes = HashList(regions);
    base_held = held;
  }

  [[nodiscard]] Bitmap clear_bitmap(const RegionSize& size) const { return Bitmap(as_index((size.blocks + 31) / 32)); }

  void flush() {
    if (batch.empty()) return;
    const std::size_t blocks = batch.blocks();
    auto message = batch.take(id, ++batches_sent);
    if (!message) throw Stop{message.error()};
    progress.blocks_sent += blocks;
    progress.raw_bytes += blocks * block_bytes;
    progress.sent_bytes += message->ByteSizeLong();
    send(std::move(*message));
    reporter.tell();
    while (batches_sent - batches_acked >= window_batches) wait_for_ack(in(self.options_.answer_timeout));
  }

  void wait_for_ack(Deadline deadline) {
    if (const Message message = receive(deadline, true); !std::holds_alternative<pb::Keepalive>(message)) {
      throw Stop{
          {ErrorCode::protocol, "unexpected " + std::string(name_of(type_of(message))) + " from the other side"}};
    }
  }

  void add_zero(pb::Region region, std::uint64_t index) {
    hashes.set(region, index, zero_hash);
    batch.add_zeros(region, index, 1);
    ++progress.zero_blocks;
    if (batch.full()) flush();
  }

  // Calls `each(first, blocks read)` for runs of set bits, at most a batch long.
  template <typename F>
  void each_run(const RegionSize& size, const Bitmap& bits, F each) {
    std::vector<std::byte> buffer(blocks_per_batch * block_bytes);
    for (std::uint64_t first = next_bit(bits, 0, size.blocks, true); first < size.blocks;) {
      if (self.cancelled_) throw Stop{{ErrorCode::cancelled, "cancelled"}};
      const std::uint64_t limit = std::min(size.blocks, first + blocks_per_batch);
      const std::uint64_t end = next_bit(bits, first, limit, false);
      const auto run = std::span(buffer).first(as_index(end - first) * block_bytes);
      need(self.image_.read(size.region, first, run));
      each(first, run);
      first = next_bit(bits, end, size.blocks, true);
    }
  }

  // What has become zero, before anything that has contents. A block done is no longer a candidate.
  void send_zeros(const RegionSize& size, Bitmap& bits) {
    Bitmap nonzero = bits;
    for (std::uint64_t i = 0; i < size.blocks; ++i) {
      if (hashes.get(size.region, i) == zero_hash) nonzero[as_index(i / 32)] &= ~(1u << (i % 32));
    }
    each_run(size, nonzero, [&](std::uint64_t first, std::span<const std::byte> run) {
      for (std::size_t i = 0; i * block_bytes < run.size(); ++i) {
        if (!is_zero(run.subspan(i * block_bytes, block_bytes))) continue;
        add_zero(size.region, first + i);
        bits[as_index((first + i) / 32)] &= ~(1u << ((first + i) % 32));
      }
    });
    flush();
  }

  void send_changed(const RegionSize& size, const Bitmap& bits) {
    each_run(size, bits, [&](std::uint64_t first, std::span<const std::byte> run) {
      for (std::size_t i = 0; i * block_bytes < run.size(); ++i) {
        const auto block = run.subspan(i * block_bytes, block_bytes);
        const Hash hash = hash_block(block);
        if (hash == hashes.get(size.region, first + i)) continue;
        if (hash == zero_hash) {
          add_zero(size.region, first + i);
          continue;
        }
        hashes.set(size.region, first + i, hash);
        batch.add_block(size.region, first + i, hash, block);
        if (batch.full()) flush();
      }
      progress.blocks_examined += run.size() / block_bytes;
      reporter.tell();
    });
    flush();
  }

  void copy_everything() {
    progress.round = 1;
    reporter.enter(Phase::copying);
    tracking = true;
    need(self.image_.start_tracking());
    for (const RegionSize& size : regions) {
      Bitmap bits = clear_bitmap(size);
      need(self.image_.candidates(size.region, base_held, bits));
      if (base_held && size.region == pb::REGION_MEMORY) send_zeros(size, bits);
      send_changed(size, bits);
    }
  }

  std::vector<Bitmap> take_dirty(std::uint64_t& count) {
    std::vector<Bitmap> dirty;
    count = 0;
    for (const RegionSize& size : regions) {
      dirty.push_back(clear_bitmap(size));
      need(self.image_.take_dirty(size.region, dirty.back()));
      count += count_bits(dirty.back());
    }
    return dirty;
  }

  void send_dirty(const std::vector<Bitmap>& dirty) {
    for (std::size_t r = 0; r < regions.size(); ++r) send_changed(regions[r], dirty[r]);
  }

  void wait_for_all_acks() {
    const Deadline deadline = in(self.options_.answer_timeout);
    while (batches_acked < batches_sent) wait_for_ack(deadline);
  }

  void copy_while_running() {
    copy_everything();
    std::uint64_t before = ~std::uint64_t{0};
    while (true) {
      wait_for_all_acks();  // so that little is on its way when the instance stops
      std::uint64_t count = 0;
      const auto dirty = take_dirty(count);
      ++progress.round;
      send_dirty(dirty);
      const bool shrinks = count < before - before / 4;
      before = count;
      if (count <= self.options_.stop_below_blocks || !shrinks || progress.round > self.options_.max_rounds) return;
    }
  }

  void stop_and_send_rest() {
    wait_for_all_acks();
    stopped = true;
    reporter.stopped();
    reporter.enter(Phase::stopping);
    auto saved = self.image_.stop();
    if (!saved) throw Stop{saved.error()};
    state = std::move(*saved);
    if (state.sealed.size() > max_state_bytes) throw Stop{{ErrorCode::invalid, "the saved state is too large"}};
    reporter.enter(Phase::sending_rest);
    std::uint64_t count = 0;
    send_dirty(take_dirty(count));
  }

  void prepare() {
    reporter.enter(Phase::preparing);
    pb::Prepare message;
    *message.mutable_id() = id;
    message.set_state(state.sealed);
    message.set_input_sequence(state.input_sequence);
    const Hash digest = hashes.digest_with(state.sealed);
    message.set_digest(digest.data(), digest.size());
    reporter.update_times();
    message.set_stopped_ms(static_cast<std::uint32_t>(progress.stopped.count()));
    progress.sent_bytes += message.ByteSizeLong();
    send(message);
    need(self.records_.store_hashes(self.instance_, id.generation(), hashes));
    (void)expect<pb::Prepared>(self.options_.answer_timeout);
  }

  // The commit point. True: it has left. False: the record could not be written, and it could not be made sure that the
  // old one is there.
  bool commit() {
    reporter.enter(Phase::committing);
    InstanceRecord left = record;
    left.generation = left.base = id.generation();
    left.place = self.records_.other_side();
    left.saved = 0;
    left.input_sequence = state.input_sequence;
    const Status stored = self.records_.store(left);
    if (stored.ok()) return true;
    if (self.records_.store(record).ok()) throw Stop{stored.error()};
    return false;
  }

  HandoverReport finish(Outcome outcome, std::string reason) {
    reporter.update_times();
    HandoverReport report{outcome, id.generation(), std::move(reason), progress};
    return report;
  }

  HandoverReport after_commit() {
    const Status sent = self.channel_.send(pb::Commit([&] {
      pb::Commit message;
      *message.mutable_id() = id;
      return message;
    }()));
    self.image_.left(id.generation());
    self.records_.drop_hashes(self.instance_, id.generation());
    if (!sent.ok()) return finish(Outcome::unconfirmed, sent.error().text);
    try {
      self.cancelled_ = false;
      (void)expect<pb::Committed>(self.options_.commit_timeout);
    } catch (const Stop& stop) {
      return finish(Outcome::unconfirmed, stop.error.text);
    }
    reporter.enter(Phase::done);
    return finish(Outcome::committed, {});
  }

  HandoverReport abort(const Stop& stop) {
    if (id.generation() != 0 && stop.tell) {
      pb::Abort message;
      *message.mutable_id() = id;
      message.set_reason(stop.error.text.substr(0, 1024));
      (void)self.channel_.send(message);
    }
    HandoverReport report = finish(Outcome::aborted, stop.error.text);
    if (tracking) self.image_.resume();
    if (id.generation() != 0) self.records_.drop_hashes(self.instance_, record.base);
    return report;
  }

  HandoverReport run() {
    try {
      load();
      offer();
      copy_while_running();
      stop_and_send_rest();
      prepare();
      if (!commit()) {
        return finish(Outcome::stuck, "the record of " + self.instance_ +
                                          " cannot be written: the instance stays stopped until its disk is mended");
      }
    } catch (const Stop& stop) {
      return abort(stop);
    }
    return after_commit();
  }
};

HandoverSource::HandoverSource(Channel& channel, Records& records, SourceImage& image, std::string instance,
                               SourceOptions options, ProgressFn progress)
    : channel_(channel),
      records_(records),
      image_(image),
      instance_(std::move(instance)),
      options_(options),
      progress_(std::move(progress)) {}

HandoverSource::~HandoverSource() = default;

HandoverReport HandoverSource::run() { return Work(*this).run(); }

}  // namespace amphion::link
