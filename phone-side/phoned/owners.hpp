// SPDX-License-Identifier: Apache-2.0
// Who may command the phone over the network: owners with a certificate of the phone's own authority, made at its first
// start (`<data>/owners`, its key never leaves), or, where the image came with certificates, of theirs. A new owner
// comes in by a one-time code that the phone shows on its console (docs/pairing.md). Thread safety: start() first; the
// rest from any thread.
#pragma once

#include <string>

#include "link/pairing.hpp"

namespace amphion::phoned {

class Owners {
 public:
  static constexpr std::chrono::minutes code_life{10};

  Owners(const std::string& data, std::string pki) : folder_(data + "/owners"), pki_(std::move(pki)) {}

  // Makes the authority if it is needed and missing; whole or not at all.
  link::Status start();
  [[nodiscard]] const link::Identity& identity() const { return identity_; }
  [[nodiscard]] std::string renewal() const;  // what to do about an identity that is no good
  [[nodiscard]] link::CodeDesk& desk() { return desk_; }

  // A code for one more owner. conflict: the image brought the certificates, so their maker makes the owners'.
  link::Result<link::Code> invite();
  link::Result<link::Issued> sign(const std::string& name, std::string_view public_key);

 private:
  const std::string folder_;
  const std::string pki_;
  link::Identity identity_;
  bool own_ = false;
  link::CodeDesk desk_;
};

}  // namespace amphion::phoned
