// SPDX-License-Identifier: Apache-2.0
// Records as sealed protobuf messages (record.proto) in a folder. See records.hpp.
#include "link/records.hpp"

#include <algorithm>

#include "link/record.pb.h"

namespace amphion::link {
namespace {

constexpr std::string_view record_magic = "AmRc";
constexpr std::string_view hashes_magic = "AmHl";
constexpr std::uint32_t format_version = 1;
constexpr std::uint64_t max_record_bytes = 4096;
constexpr std::uint64_t max_hashes_bytes = std::uint64_t{1} << 30;
constexpr std::string_view record_suffix = ".record";

std::string encode_record(const InstanceRecord& record) {
  pb::Record out;
  out.set_instance(record.instance);
  out.set_vcpus(record.shape.vcpus);
  out.set_memory_bytes(record.shape.memory_bytes);
  out.set_bound_bytes(record.bound_bytes);
  out.set_vcpus_allowed(record.vcpus_allowed);
  out.set_generation(record.generation);
  out.set_attempt(record.attempt);
  out.set_place(record.place);
  out.set_prepared(record.prepared);
  out.set_saved(record.saved);
  out.set_base(record.base);
  out.set_input_sequence(record.input_sequence);
  return out.SerializeAsString();
}

bool decode_record(const std::string& body, InstanceRecord& record) {
  pb::Record in;
  if (!in.ParseFromString(body)) return false;
  record.instance = in.instance();
  record.shape = {in.vcpus(), in.memory_bytes()};
  record.bound_bytes = in.bound_bytes();
  record.vcpus_allowed = in.vcpus_allowed();
  record.generation = in.generation();
  record.attempt = in.attempt();
  record.place = in.place();
  record.prepared = in.prepared();
  record.saved = in.saved();
  record.base = in.base();
  record.input_sequence = in.input_sequence();
  return record.place == pb::SIDE_PHONE || record.place == pb::SIDE_CLOUD;
}

std::string hashes_name(const std::string& instance, std::uint64_t generation) {
  return instance + "." + std::to_string(generation) + ".hashes";
}

}  // namespace

bool operator==(const InstanceRecord& a, const InstanceRecord& b) { return encode_record(a) == encode_record(b); }

bool valid_instance_name(std::string_view name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  return !name.empty() && name.size() <= 32 && std::all_of(name.begin(), name.end(), allowed);
}

Result<std::vector<InstanceRecord>> Records::list() {
  auto names = files_.list(folder_);
  if (!names) {
    if (names.error().code == ErrorCode::not_found) return std::vector<InstanceRecord>();
    return names.error();
  }
  std::vector<InstanceRecord> records;
  for (const std::string& name : *names) {
    if (!name.ends_with(record_suffix)) continue;
    auto record = load(name.substr(0, name.size() - record_suffix.size()));
    if (!record) return record.error();
    records.push_back(std::move(*record));
  }
  return records;
}

Result<InstanceRecord> Records::load(const std::string& instance) {
  if (!valid_instance_name(instance)) return Error{ErrorCode::not_found, "no instance is named \"" + instance + "\""};
  const std::string file = path(instance + std::string(record_suffix));
  const auto sealed = files_.read(file, max_record_bytes);
  if (!sealed) return sealed.error();
  const auto body = unseal(record_magic, format_version, *sealed, file);
  if (!body) return body.error();
  InstanceRecord record;
  if (!decode_record(*body, record) || record.instance != instance) {
    return Error{ErrorCode::damaged, file + " is not a record of " + instance};
  }
  return record;
}

Status Records::store(const InstanceRecord& record) {
  if (!valid_instance_name(record.instance)) {
    return {ErrorCode::invalid, "\"" + record.instance + "\" is no instance name: 1 to 32 of a-z, 0-9 and -"};
  }
  return write_durably(files_, path(record.instance + std::string(record_suffix)),
                       seal(record_magic, format_version, encode_record(record)));
}

Status Records::remove(const std::string& instance) {
  if (Status s = files_.remove(path(instance + std::string(record_suffix))); !s.ok()) return s;
  drop_hashes(instance, 0);
  return files_.sync_folder(folder_);
}

Status Records::store_hashes(const std::string& instance, std::uint64_t generation, const HashList& hashes) {
  return write_durably(files_, path(hashes_name(instance, generation)),
                       seal(hashes_magic, format_version, hashes.serialize()));
}

Result<HashList> Records::load_hashes(const std::string& instance, std::uint64_t generation) {
  const std::string file = path(hashes_name(instance, generation));
  const auto sealed = files_.read(file, max_hashes_bytes);
  if (!sealed) return sealed.error();
  const auto body = unseal(hashes_magic, format_version, *sealed, file);
  if (!body) return body.error();
  return HashList::parse(*body);
}

void Records::drop_hashes(const std::string& instance, std::uint64_t keep) {
  const auto names = files_.list(folder_);
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.starts_with(instance + ".") && name.ends_with(".hashes") && name != hashes_name(instance, keep)) {
      (void)files_.remove(path(name));
    }
  }
}

Result<std::vector<pb::Claim>> Records::claims() {
  const auto records = list();
  if (!records) return records.error();
  std::vector<pb::Claim> claims;
  for (const InstanceRecord& record : *records) claims.push_back(claim_of(record));
  return claims;
}

pb::Claim claim_of(const InstanceRecord& record) {
  pb::Claim claim;
  claim.set_instance(record.instance);
  claim.set_generation(record.generation);
  claim.set_place(record.place);
  claim.set_prepared(record.prepared);
  claim.set_input_sequence(record.input_sequence);
  return claim;
}

Result<std::uint64_t> use_saved(Records& records, const std::string& instance) {
  auto record = records.load(instance);
  if (!record) return record.error();
  const std::uint64_t saved = record->saved;
  if (saved == 0) return saved;
  record->saved = 0;
  if (Status s = records.store(*record); !s.ok()) return s.error();
  return saved;
}

}  // namespace amphion::link
