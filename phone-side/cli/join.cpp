// SPDX-License-Identifier: Apache-2.0
// See join.hpp.
#include "phone-side/cli/join.hpp"

#include <unistd.h>

#include "link/files.hpp"
#include "link/pairing.hpp"
#include "phone-side/cli/client.hpp"

namespace amphion::cli {
namespace {

constexpr std::chrono::seconds patience{20};
constexpr std::uint16_t phones_port = 7447;

void check(const link::Status& status) {
  if (!status.ok()) throw ClientError(status.error().text);
}

}  // namespace

std::string join(const std::string& invitation, const std::string& folder) {
  const auto parsed = link::parse_invitation(invitation, phones_port);
  if (!parsed) throw ClientError(parsed.error().text);
  const link::Identity files = link::identity_in(folder, link::Role::owner);
  if (::access(files.certificate.c_str(), F_OK) == 0) {
    throw ClientError(files.certificate +
                      " is an owner's certificate already: name another folder with --pki, or remove it");
  }
  const auto deadline = link::in(patience);
  auto stream = link::tls_connect_by_code(parsed->at, parsed->code.key(), deadline);
  if (!stream) throw ClientError(stream.error().text);
  const auto granted = link::ask_for_certificate(**stream, parsed->code, link::Role::owner, deadline);
  if (!granted) throw ClientError("not joined: " + granted.error().text);
  auto& disk = link::real_files();
  check(disk.make_folder(folder));
  check(link::write_durably(disk, files.key, granted->identity.key));
  check(link::write_durably(disk, files.authority, granted->identity.authority));
  check(link::write_durably(disk, files.certificate, granted->identity.certificate));
  return parsed->at.host + ":" + std::to_string(parsed->at.port);
}

}  // namespace amphion::cli
