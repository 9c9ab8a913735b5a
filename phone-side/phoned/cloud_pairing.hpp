// SPDX-License-Identifier: Apache-2.0
// Which cloud this phone is paired with, durably: one sealed file, `<data>/pairing`, replaced whole, so that a power
// cut at any moment leaves the phone as it was or as it was to be. Without the file the image's configuration and
// certificates count (docs/pairing.md). Thread safety: one thread at a time.
//
//   none -- pair() --> paired -- leave() --> leaving -- forget() --> none
//   `leaving`: the phone has decided; the cloud is still to be told.
#pragma once

#include <string>

#include "link/files.hpp"
#include "link/pairing.hpp"

namespace amphion::phoned {

struct CloudTarget {
  std::string address;  // HOST:PORT; empty: none
  link::Identity identity;
  bool leaving = false;
};

class CloudPairing {
 public:
  // `address` and `pki`: of the configuration.
  CloudPairing(link::Files& files, const std::string& data, std::string address, std::string pki)
      : files_(files), file_(data + "/pairing"), address_(std::move(address)), pki_(std::move(pki)) {}

  // An error: the file cannot be read; the phone has no cloud then.
  link::Result<CloudTarget> load();
  // conflict: paired already. Durable when done; after an error, paired or not as load() says.
  link::Status pair(const std::string& address, const link::Identity& identity);
  link::Status leave();
  // Certificate, key and address are gone for good; also a damaged file. The image's no longer count, but stay: owners
  // know the phone by them (owners.hpp).
  link::Status forget();

 private:
  link::Result<CloudTarget> configured();
  link::Status store(const CloudTarget& target);

  link::Files& files_;
  const std::string file_;
  const std::string address_;
  const std::string pki_;
};

}  // namespace amphion::phoned
