// SPDX-License-Identifier: Apache-2.0
// Makes an authority and the certificates of cloud, phone and owner (EC P-256) as PEM files in a folder:
// ca.crt ca.key cloud.crt cloud.key phone.crt phone.key owner.crt owner.key. Keys have mode 0600 and are never
// overwritten. For pairing (pairing.hpp) also without files: a key that stays where it was made, and a certificate for
// somebody else's public key. Used by the program amphion-pki, by amphiond and phoned, and by tests.
// Thread safety: functions without shared state.
#pragma once

#include "link/error.hpp"
#include "link/tls.hpp"

namespace amphion::link {

struct CertificateOptions {
  Role role = Role::phone;
  std::string name;      // common name: 1..32 of a-z 0-9 - (the device's identity for a phone)
  bool expired = false;  // for tests: ended yesterday
  int days = 3650;
  std::int64_t at = 0;  // for tests: made as if it were then, seconds since 1970; 0: now
};

// conflict if the folder has one already.
Status create_authority(const std::string& folder, const std::string& name = "amphion", std::int64_t at = 0);
// Writes <stem>.crt and <stem>.key; `stem` empty: the role's name. The folder must have an authority.
Status issue_certificate(const std::string& folder, const CertificateOptions& options, std::string stem = {});

struct KeyPair {
  std::string key;         // PEM; secret
  std::string public_key;  // SubjectPublicKeyInfo, DER
};
Result<KeyPair> make_key_pair();

struct Issued {
  std::string authority;    // PEM
  std::string certificate;  // PEM
};
inline constexpr std::size_t max_public_key_bytes = 256;
// For a key that somebody else holds. invalid: it is no P-256 key.
Result<Issued> issue_for_key(const std::string& folder, const CertificateOptions& options, std::string_view public_key);

struct CertificateFacts {
  std::string name;  // common name
  std::string role;  // organizational unit
  std::int64_t from = 0, to = 0;
  std::string fingerprint;  // SHA-256 of the certificate, 64 hexadecimal digits
};
// `certificate`: a path or PEM text, as in Identity.
Result<CertificateFacts> certificate_facts(const std::string& certificate);
// That the key is the certificate's and the authority has signed it; not when it is valid.
Status check_identity(const Identity& identity);

}  // namespace amphion::link
