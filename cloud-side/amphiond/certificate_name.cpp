// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/certificate_name.hpp"

#include <mbedtls/oid.h>
#include <mbedtls/x509_crt.h>

#include <string_view>

namespace amphion::cloud {

link::Result<std::string> certificate_name(const std::string& file) {
  constexpr std::string_view common_name = MBEDTLS_OID_AT_CN;
  mbedtls_x509_crt certificate;
  mbedtls_x509_crt_init(&certificate);
  std::string name;
  if (mbedtls_x509_crt_parse_file(&certificate, file.c_str()) == 0) {
    for (const mbedtls_x509_name* part = &certificate.subject; part != nullptr; part = part->next) {
      const std::string_view oid(reinterpret_cast<const char*>(part->oid.p), part->oid.len);
      if (oid == common_name) name.assign(part->val.p, part->val.p + part->val.len);
    }
  }
  mbedtls_x509_crt_free(&certificate);
  if (name.empty()) return link::Error{link::ErrorCode::damaged, file + " is not a certificate with a name"};
  return name;
}

}  // namespace amphion::cloud
