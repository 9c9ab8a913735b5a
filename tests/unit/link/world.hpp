// SPDX-License-Identifier: Apache-2.0
// A phone and a cloud for tests: real engines, records, journal and sessions on both sides, over real TLS on the
// loopback; the instance's memory and disk are maps of blocks, files are in memory and lose what was not synced. Faults
// strike at a chosen message or file operation. Thread safety: World's functions belong to the test's thread; sides are
// called by session and engine threads under mutex(). Invariant: a dead side does nothing any more until restart().
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "link/handover_destination.hpp"
#include "link/handover_source.hpp"
#include "link/journal.hpp"
#include "link/memory_files.hpp"
#include "link/reconcile.hpp"
#include "link/session.hpp"
#include "link/tls.hpp"

namespace amphion::link::test {

inline constexpr char instance_name[] = "work";
using BlockKey = std::pair<pb::Region, std::uint64_t>;
using BlockMap = std::map<BlockKey, std::array<std::byte, block_bytes>>;

// What stands in memory is also in the state, so that a start from a mixture of two moments is noticed.
struct Guest {
  BlockMap blocks;
  std::uint64_t ticks = 0;
  std::uint64_t input_sequence = 0;
  std::string typed;
  bool running = false;
  std::map<BlockKey, bool> dirty;

  void put(pb::Region region, std::uint64_t index, std::string_view text);
  [[nodiscard]] std::string get(pb::Region region, std::uint64_t index) const;
  void tick();
  void type(std::uint64_t sequence, char key);
  [[nodiscard]] std::string state() const;  // sealed
};

enum class FaultKind { none, cut_link, kill_cloud, cloud_power, phone_power, disk_error };
enum class FaultPoint { before_message, after_message, phone_file, cloud_file };
struct Fault {
  FaultKind kind = FaultKind::none;
  FaultPoint point = FaultPoint::before_message;
  int at = 0;  // message or file operation, counted from the hand-over's begin
};

class World;

class Side final : public Session::Handler, public SourceImage, public DestinationImage {
 public:
  Side(World& world, Place place);

  // SourceImage
  [[nodiscard]] std::vector<RegionSize> regions() const override;
  Status start_tracking() override;
  Status candidates(pb::Region region, bool base_held, Bitmap& out) override;
  Status read(pb::Region region, std::uint64_t first, std::span<std::byte> out) override;
  Status take_dirty(pb::Region region, Bitmap& out) override;
  Result<SavedState> stop() override;
  void resume() override;
  void left(std::uint64_t generation) override;
  // DestinationImage
  Status admit(const pb::Offer& offer) override;
  [[nodiscard]] bool has_base(std::uint64_t base) override;
  Status begin(std::uint64_t generation, const std::vector<RegionSize>& regions, std::uint64_t base) override;
  Status write(pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override;
  Status zero(pb::Region region, std::uint64_t first, std::uint64_t count) override;
  Status check_state(const std::string& sealed) override;
  Status make_durable(const std::string& sealed) override;
  void discard(std::uint64_t generation) override;
  Status start(const InstanceRecord& record) override;
  // Session::Handler
  void on_offer(Session& session, const pb::Offer& offer, std::shared_ptr<Channel> channel) override;
  void on_message(Session& session, Message message) override;
  void on_closed(Session&, const Error&) override {}

  void die();      // from any thread
  void restart();  // after a death: from what is durable
  void join();
  [[nodiscard]] bool running() const { return guest && guest->running; }

  World& world;
  const Place place;
  MemoryFiles files;
  Records records;
  std::optional<Guest> guest;
  std::map<std::uint64_t, BlockMap> kept;  // volatile synchronised copies by generation
  BlockMap disk;                           // the phone's disk survives its power
  std::atomic<bool> dead{false};
  std::atomic<bool> died{false};
  bool cold_booted = false;
  std::optional<HandoverReport> arrived;

 private:
  [[nodiscard]] std::string image_path(std::uint64_t generation) const {
    return "/data/image." + std::to_string(generation);
  }
  Status load_image(std::uint64_t generation, BlockMap& blocks, std::string& state);
  void cold_boot();

  std::uint64_t staging_generation_ = 0;
  BlockMap staging_;
  std::thread engine_;
};

class World {
 public:
  World();
  ~World();

  void connect();     // sessions, reconciliation, input that is due
  void disconnect();  // closes and joins everything
  // On the given fault; the report is the source's.
  HandoverReport dock(Fault fault = {}) { return hand_over(phone, fault); }
  HandoverReport undock(Fault fault = {}) { return hand_over(cloud, fault); }
  void recover();  // restarts the dead, reconnects
  void type(char key);
  void settle_input();
  // Exactly one runs, nothing typed is lost, memory and state fit.
  void check(const std::string& what);

  std::recursive_mutex& mutex() { return mutex_; }
  Side& other(Side& side) { return &side == &phone ? cloud : phone; }
  Side& living() { return phone.running() ? phone : cloud; }
  void strike();            // the planned fault, now
  bool point(bool before);  // a message is about to be sent, or was: true when the fault struck
  [[nodiscard]] int messages() const { return messages_; }

  Side phone;
  Side cloud;
  std::unique_ptr<Journal> journal;
  std::string typed;                         // all that was ever typed since the last cold boot
  std::function<void(std::string&)> tamper;  // may change each frame's bytes
  SourceOptions source_options;
  ProgressFn progress;

 private:
  HandoverReport hand_over(Side& source, Fault fault);
  void reconcile_side(Side& side, const pb::Hello& theirs);

  std::recursive_mutex mutex_;
  std::mutex fault_mutex_;
  Fault fault_;
  bool struck_ = false;
  std::atomic<int> messages_{0};
  std::shared_ptr<Session> phone_session_;
  std::shared_ptr<Session> cloud_session_;
  std::vector<Stream*> streams_;
};

// Certificates made once for the whole test program, in a folder of its own: the right ones, and in "other" another
// authority's.
const std::string& pki_folder();
// A connected pair of streams: client (phone), server (cloud).
std::pair<std::unique_ptr<TlsStream>, std::unique_ptr<TlsStream>> tls_pair();

}  // namespace amphion::link::test
