// SPDX-License-Identifier: Apache-2.0
// Makes an authority and the certificates of cloud, phone and owner (EC P-256) as PEM files in a folder:
// ca.crt ca.key cloud.crt cloud.key phone.crt phone.key owner.crt owner.key. Keys have mode 0600 and are never
// overwritten. Used by the program amphion-pki, and by tests. Thread safety: functions without shared state.
#pragma once

#include "link/error.hpp"
#include "link/tls.hpp"

namespace amphion::link {

struct CertificateOptions {
  Role role = Role::phone;
  std::string name;      // common name: 1..32 of a-z 0-9 - (the device's identity for a phone)
  bool expired = false;  // for tests: ended yesterday
  int days = 3650;
};

// conflict if the folder has one already.
Status create_authority(const std::string& folder, const std::string& name = "amphion");
// Writes <stem>.crt and <stem>.key; `stem` empty: the role's name. The folder must have an authority.
Status issue_certificate(const std::string& folder, const CertificateOptions& options, std::string stem = {});

}  // namespace amphion::link
