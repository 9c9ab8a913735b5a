// SPDX-License-Identifier: Apache-2.0
// See owners.hpp.
#include "phone-side/phoned/owners.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "link/files.hpp"

namespace amphion::phoned {

using link::ErrorCode;
using link::Status;

Status Owners::start() {
  identity_ = link::identity_in(pki_, link::Role::phone);
  own_ = ::access(identity_.certificate.c_str(), R_OK) != 0;
  if (own_) identity_ = link::identity_in(folder_, link::Role::phone);
  identity_.clock_may_be_late = true;
  if (!own_ || ::access(folder_.c_str(), R_OK) == 0) return {};
  const std::string draft = folder_ + ".new";
  for (const char* name : {"/ca.key", "/ca.crt", "/phone.key", "/phone.crt"}) ::unlink((draft + name).c_str());
  if (Status s = link::create_authority(draft, "phone"); !s.ok()) return s;
  if (Status s = link::issue_certificate(draft, {.role = link::Role::phone, .name = "phone"}); !s.ok()) return s;
  if (Status s = link::real_files().sync_folder(draft); !s.ok()) return s;
  if (Status s = link::real_files().rename(draft, folder_); !s.ok()) return s;
  return link::real_files().sync_folder(folder_.substr(0, folder_.rfind('/')));
}

std::string Owners::renewal() const {
  if (own_) return "on the phone's console: remove " + folder_ + ", switch off and on, then `amphion invite`";
  return "they came with the image: put new ones, by `amphion-pki issue`, into " + pki_ + " and switch off and on";
}

link::Result<link::Code> Owners::invite() {
  if (!own_) {
    return link::Error{ErrorCode::conflict,
                       "this phone's certificates came with its image: the owner's is where they were made, and "
                       "`amphion-pki issue` makes more"};
  }
  return desk_.open("owner", code_life);
}

link::Result<link::Issued> Owners::sign(const std::string& name, std::string_view public_key) {
  return link::issue_for_key(folder_, {.role = link::Role::owner, .name = name}, public_key);
}

}  // namespace amphion::phoned
