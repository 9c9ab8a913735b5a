// SPDX-License-Identifier: Apache-2.0
// Which phones may come: one sealed file a device in DATA/admissions, replaced whole. A device without one is let in by
// its certificate alone (amphion-pki has made it by hand); a paired one only by the certificate that the pairing gave
// it; an unpaired one not at all, until it is paired again. Thread safety: all functions from any thread.
#pragma once

#include <mutex>
#include <string>

#include "link/files.hpp"

namespace amphion::cloud {

class Admissions {
 public:
  Admissions(link::Files& files, std::string folder) : files_(files), folder_(std::move(folder)) {}

  // refused: with what the phone is told. A file that cannot be read lets nobody in.
  link::Status check(const std::string& device, const std::string& fingerprint);
  [[nodiscard]] bool knows(const std::string& device);
  // Durable when done.
  link::Status allow(const std::string& device, const std::string& fingerprint);
  link::Status deny(const std::string& device);

 private:
  link::Status store(const std::string& device, const std::string& verdict);
  [[nodiscard]] std::string file(const std::string& device) const { return folder_ + "/" + device; }

  link::Files& files_;
  const std::string folder_;
  std::mutex mutex_;  // one change at a time
};

}  // namespace amphion::cloud
