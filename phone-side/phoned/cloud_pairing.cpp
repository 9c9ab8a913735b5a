// SPDX-License-Identifier: Apache-2.0
// See cloud_pairing.hpp.
#include "phone-side/phoned/cloud_pairing.hpp"

#include "link/record.pb.h"

namespace amphion::phoned {
namespace {

using link::Error;
using link::ErrorCode;
using link::Result;
using link::Status;

constexpr std::string_view magic = "AmPr";
constexpr std::uint32_t format_version = 1;
constexpr std::uint64_t max_file_bytes = 64 * 1024;

}  // namespace

Result<CloudTarget> CloudPairing::load() {
  const auto sealed = files_.read(file_, max_file_bytes);
  if (!sealed && sealed.error().code == ErrorCode::not_found) return configured();
  if (!sealed) return sealed.error();
  const auto body = link::unseal(magic, format_version, *sealed, file_);
  const Error damaged{ErrorCode::damaged, file_ + " is damaged: run `amphion unpair --force`, then pair again"};
  if (!body) return body.error().code == ErrorCode::version ? body.error() : damaged;
  link::pb::Pairing record;
  if (!record.ParseFromString(*body)) return damaged;
  CloudTarget target;
  target.address = record.address();
  target.leaving = record.leaving();
  target.identity.authority = record.authority();
  target.identity.certificate = record.certificate();
  target.identity.key = record.key();
  target.identity.clock_may_be_late = true;
  return target;
}

// The image's. An address without a certificate waits for a pairing.
Result<CloudTarget> CloudPairing::configured() {
  CloudTarget target;
  target.identity = link::identity_in(pki_, link::Role::phone);
  target.identity.clock_may_be_late = true;
  if (files_.read(target.identity.certificate, max_file_bytes)) target.address = address_;
  return target;
}

Status CloudPairing::store(const CloudTarget& target) {
  link::pb::Pairing record;
  record.set_address(target.address);
  record.set_leaving(target.leaving);
  record.set_authority(target.identity.authority);
  record.set_certificate(target.identity.certificate);
  record.set_key(target.identity.key);
  return link::write_durably(files_, file_, link::seal(magic, format_version, record.SerializeAsString()));
}

Status CloudPairing::pair(const std::string& address, const link::Identity& identity) {
  const auto now = load();
  if (!now) return now.error();
  if (!now->address.empty()) {
    return {ErrorCode::conflict, "this phone is paired with the cloud at " + now->address + ": `amphion unpair` first"};
  }
  return store({address, identity});
}

Status CloudPairing::leave() {
  auto target = load();
  if (!target) return target.error();
  for (std::string* file : {&target->identity.authority, &target->identity.certificate, &target->identity.key}) {
    if (link::is_pem(*file)) continue;
    auto text = files_.read(*file, max_file_bytes);  // the image's
    if (!text) return text.error();
    *file = std::move(*text);
  }
  target->leaving = true;
  return store(*target);
}

Status CloudPairing::forget() { return store({}); }

}  // namespace amphion::phoned
