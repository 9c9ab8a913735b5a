// SPDX-License-Identifier: Apache-2.0
// Where a docking instance is put: the destination engine's image in the cloud (link/handover_destination.hpp says the
// order of calls). Staged next to the synchronised copy, renamed into place once durable; the clone's working copy is
// made before Prepared, so that a full disk shows while the phone can still go on.
// Thread safety: one thread at a time.
#pragma once

#include <functional>
#include <optional>

#include "cloud-side/store/image.hpp"
#include "link/handover_destination.hpp"
#include "machine/state.pb.h"

namespace amphion::cloud {

class ArrivingImage final : public link::DestinationImage {
 public:
  using StartFn = std::function<link::Status(const link::InstanceRecord&)>;

  using PrepareFn = std::function<link::Status(const machine::InstanceState&)>;

  // `refusal`: why the instance may not come now, if so. `start` runs the instance.
  // `prepare`, if given, finds out whether it will be possible.
  ArrivingImage(InstanceFolder folder, std::optional<std::string> refusal, StartFn start, PrepareFn prepare = {});

  link::Status admit(const link::pb::Offer& offer) override;
  [[nodiscard]] bool has_base(std::uint64_t base) override { return base != 0 && folder_.has(base); }
  link::Status begin(std::uint64_t generation, const std::vector<link::RegionSize>& regions,
                     std::uint64_t base) override;
  link::Status write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) override;
  link::Status zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) override;
  link::Status check_state(const std::string& sealed) override;
  link::Status make_durable(const std::string& sealed) override;
  void discard(std::uint64_t generation) override;
  link::Status start(const link::InstanceRecord& record) override;

 private:
  InstanceFolder folder_;
  std::optional<std::string> refusal_;
  StartFn start_;
  PrepareFn prepare_;
  std::optional<Image> image_;
  std::uint64_t generation_ = 0;
  machine::Shape shape_{};
  std::uint64_t disk_bytes_ = 0;
};

}  // namespace amphion::cloud
