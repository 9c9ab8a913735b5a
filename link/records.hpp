// SPDX-License-Identifier: Apache-2.0
// The durable record of an instance, on either side: which generation it is in, where it lives, what is prepared.
// A record is replaced whole (files.hpp: write_durably) before anything is done that depends on it.
// Files in the folder: `<instance>.record`, `<instance>.<generation>.hashes` (the synchronised copy's hash list).
// Thread safety: Records may be shared; records of one instance belong to one thread at a time.
#pragma once

#include <optional>

#include "link/files.hpp"
#include "link/hash_list.hpp"
#include "machine/phone.hpp"

namespace amphion::link {

using Place = pb::Side;  // SIDE_PHONE or SIDE_CLOUD

// What a peer may name: far above any that comes to be, and far from overflow.
inline constexpr std::uint64_t max_generation = std::uint64_t{1} << 48;

struct InstanceRecord {
  std::string instance;             // 1..32 of a-z 0-9 - (valid_instance_name)
  machine::Shape shape{};           // largest
  std::uint64_t bound_bytes = 0;    // memory that the phone gives it
  std::uint32_t vcpus_allowed = 0;  // vCPUs that the phone lets it use
  std::uint64_t generation = 1;     // of the last committed hand-over; 1: as created
  std::uint64_t attempt = 1;        // highest generation ever offered by this side
  Place place = pb::SIDE_PHONE;     // where the instance lives in that generation
  std::uint64_t prepared = 0;       // generation prepared here and not committed; 0: none
  std::uint64_t saved = 0;  // generation of the durable image (memory and state) here that a start would use; 0: none.
                            // The phone clears it, durably, before the instance runs (use_saved)
  std::uint64_t base = 0;   // generation of the synchronised copy whose hash list is kept; 0: none
  std::uint64_t input_sequence = 0;  // of the saved or prepared state: last event that the instance has received

  friend bool operator==(const InstanceRecord& a, const InstanceRecord& b);
};

[[nodiscard]] bool valid_instance_name(std::string_view name);

class Records {
 public:
  Records(Files& files, std::string folder, Place side) : files_(files), folder_(std::move(folder)), side_(side) {}

  [[nodiscard]] Place side() const { return side_; }
  [[nodiscard]] Place other_side() const { return side_ == pb::SIDE_PHONE ? pb::SIDE_CLOUD : pb::SIDE_PHONE; }
  // All records; a damaged one is an error that names its file.
  Result<std::vector<InstanceRecord>> list();
  // Errors: not_found, damaged, version.
  Result<InstanceRecord> load(const std::string& instance);
  // Durable when it returns done. After an error either the old or the new record is there.
  Status store(const InstanceRecord& record);
  Status remove(const std::string& instance);

  Status store_hashes(const std::string& instance, std::uint64_t generation, const HashList& hashes);
  Result<HashList> load_hashes(const std::string& instance, std::uint64_t generation);
  // Removes lists of generations other than `keep`. Best effort.
  void drop_hashes(const std::string& instance, std::uint64_t keep);

  // For a Hello: what the records claim.
  Result<std::vector<pb::Claim>> claims();

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  Files& files_;
  std::string folder_;
  Place side_;
};

[[nodiscard]] pb::Claim claim_of(const InstanceRecord& record);

// Clears record.saved durably; call before a start from the saved image that must happen once only. Returns what it
// was.
Result<std::uint64_t> use_saved(Records& records, const std::string& instance);

}  // namespace amphion::link
