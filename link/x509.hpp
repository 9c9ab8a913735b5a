// SPDX-License-Identifier: Apache-2.0
// What tls.cpp and pki.cpp read from Mbed TLS's certificates. Thread safety: functions without shared state.
#pragma once

#include <mbedtls/md.h>
#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>

#include <array>
#include <string>
#include <string_view>

#include "link/wall_clock.hpp"

namespace amphion::link {

inline const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

inline std::int64_t seconds_of(const mbedtls_x509_time& time) {
  return seconds_of(time.year, time.mon, time.day, time.hour, time.min, time.sec);
}

// SHA-256 in hexadecimal digits.
inline std::string fingerprint_of(const mbedtls_x509_crt& certificate) {
  std::array<unsigned char, 32> digest{};
  mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), certificate.raw.p, certificate.raw.len, digest.data());
  std::string text;
  for (const unsigned char byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

// Of the subject; empty where there is none.
inline std::string value_of(const mbedtls_x509_name& subject, std::string_view oid) {
  const mbedtls_asn1_named_data* found =
      mbedtls_asn1_find_named_data(const_cast<mbedtls_x509_name*>(&subject), oid.data(), oid.size());
  if (found == nullptr || found->val.p == nullptr) return {};
  return {reinterpret_cast<const char*>(found->val.p), found->val.len};
}
inline std::string common_name(const mbedtls_x509_crt& certificate) {
  return value_of(certificate.subject, MBEDTLS_OID_AT_CN);
}
inline std::string unit_name(const mbedtls_x509_crt& certificate) {
  return value_of(certificate.subject, MBEDTLS_OID_AT_ORG_UNIT);
}

}  // namespace amphion::link
