// SPDX-License-Identifier: Apache-2.0
// See admissions.hpp. A file's body is the fingerprint that is let in, or empty: nobody.
#include "cloud-side/amphiond/admissions.hpp"

#include "link/records.hpp"

namespace amphion::cloud {
namespace {

using link::ErrorCode;
using link::Status;

constexpr std::string_view magic = "AmAd";
constexpr std::uint32_t format_version = 1;
constexpr std::uint64_t max_file_bytes = 1024;

}  // namespace

Status Admissions::check(const std::string& device, const std::string& fingerprint) {
  if (!link::valid_instance_name(device)) return {ErrorCode::refused, "that is not a device's name"};
  const auto sealed = files_.read(file(device), max_file_bytes);
  if (!sealed && sealed.error().code == ErrorCode::not_found) return {};
  const auto allowed = sealed ? link::unseal(magic, format_version, *sealed, file(device)) : sealed;
  if (!allowed) return {ErrorCode::refused, "the cloud cannot tell whether this phone may come: see its log"};
  if (*allowed == fingerprint) return {};
  if (allowed->empty()) return {ErrorCode::refused, "this phone has been unpaired from this cloud"};
  return {ErrorCode::refused, "this phone's certificate is not the one that its last pairing gave it"};
}

bool Admissions::knows(const std::string& device) { return files_.read(file(device), max_file_bytes).ok(); }

Status Admissions::allow(const std::string& device, const std::string& fingerprint) {
  return store(device, fingerprint);
}

Status Admissions::deny(const std::string& device) { return store(device, {}); }

Status Admissions::store(const std::string& device, const std::string& verdict) {
  if (!link::valid_instance_name(device)) return {ErrorCode::invalid, "\"" + device + "\" is not a device's name"};
  const std::lock_guard lock(mutex_);
  if (Status s = files_.make_folder(folder_); !s.ok()) return s;
  return link::write_durably(files_, file(device), link::seal(magic, format_version, verdict));
}

}  // namespace amphion::cloud
