// SPDX-License-Identifier: Apache-2.0
// Where an instance that comes home is put: into the data folder first (memory is lost with power), then into the
// hypervisor. Thread safety: the engine's thread.
#pragma once

#include <memory>
#include <optional>

#include "link/handover_destination.hpp"
#include "phone-side/phoned/saved_image.hpp"
#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

class HomeImage : public link::DestinationImage {
 public:
  explicit HomeImage(Slot& slot) : slot_(slot) {}

  link::Status admit(const link::pb::Offer& offer) override;
  [[nodiscard]] bool has_base(std::uint64_t base) override;
  link::Status begin(std::uint64_t generation, const std::vector<link::RegionSize>& regions,
                     std::uint64_t base) override;
  link::Status write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override;
  link::Status zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) override;
  link::Status check_state(const std::string& sealed) override;
  link::Status make_durable(const std::string& sealed) override;
  void discard(std::uint64_t generation) override;
  link::Status start(const link::InstanceRecord& record) override;

 private:
  [[nodiscard]] link::Status copy_base_memory();
  [[nodiscard]] link::Status within_bound() const;

  Slot& slot_;
  std::optional<SavedImage> image_;
  ArrivedPages pages_;
  bool with_base_ = false;
};

}  // namespace amphion::phoned
