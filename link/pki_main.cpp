// SPDX-License-Identifier: Apache-2.0
// amphion-pki: makes an authority and certificates in a folder (pki.hpp). Used by the set-up, and by hand to pair a
// phone. Exit codes: 0 done, 1 failed, 2 wrong use.
#include <CLI/CLI.hpp>
#include <iostream>
#include <map>

#include "link/pki.hpp"

namespace {

using amphion::link::CertificateOptions;
using amphion::link::Role;
using amphion::link::Status;

int report(const Status& status) {
  if (status.ok()) return 0;
  std::cerr << "amphion-pki: " << status.error().text << "\n";
  return 1;
}

Status create_all(const std::string& folder, const std::string& authority, const std::string& cloud,
                  const std::string& phone, std::int64_t at) {
  if (Status s = amphion::link::create_authority(folder, authority, at); !s.ok()) return s;
  for (const auto& [role, name] :
       {std::pair{Role::cloud, cloud}, {Role::phone, phone}, {Role::owner, std::string("owner")}}) {
    if (Status s = amphion::link::issue_certificate(folder, {.role = role, .name = name, .at = at}); !s.ok()) return s;
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Makes the certificates by which a phone, its cloud and its owner know each other."};
  app.require_subcommand(1);
  std::string folder;
  std::string authority = "amphion";
  std::string cloud = "cloud";
  std::string phone = "phone";
  CertificateOptions options;
  std::string stem;

  CLI::App* create = app.add_subcommand("create", "an authority, and one certificate each for cloud, phone and owner");
  create->add_option("folder", folder, "where to put them; made if it is not there")->required();
  create->add_option("--authority", authority, "the authority's name");
  create->add_option("--cloud", cloud, "the cloud's name");
  create->add_option("--phone", phone, "the phone's name");
  create->add_option("--at", options.at, "as if it were then, in seconds since 1970 (for tests)");

  const std::map<std::string, Role> roles{{"cloud", Role::cloud}, {"phone", Role::phone}, {"owner", Role::owner}};
  CLI::App* issue = app.add_subcommand("issue", "one more certificate of an authority");
  issue->add_option("folder", folder, "a folder with ca.crt and ca.key")->required();
  issue->add_option("--role", options.role, "cloud, phone or owner")
      ->required()
      ->transform(CLI::CheckedTransformer(roles));
  issue->add_option("--name", options.name, "who it is for")->required();
  issue->add_option("--stem", stem, "file name without .crt; default: the role");
  issue->add_option("--days", options.days, "how long it is valid");
  issue->add_flag("--expired", options.expired, "ended yesterday (for tests)");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (create->parsed()) return report(create_all(folder, authority, cloud, phone, options.at));
  return report(amphion::link::issue_certificate(folder, options, stem));
}
