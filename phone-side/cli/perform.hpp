// SPDX-License-Identifier: Apache-2.0
// What the commands of `amphion` share: their options, and a request with its progress and its answer.
// Thread safety: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <iosfwd>
#include <string>

#include "phone-side/cli/client.hpp"

namespace amphion::cli {

struct Options {
  Target target = default_target();
  std::string instance;
  std::string file;
  bool as_json = false;
  bool serial = false;
  std::string code;
  bool force = false;
  double silence_s = 2;
};

// A command with --json, and NAME if it is about one instance.
CLI::App* add_command(CLI::App& app, Options& options, const char* name, const char* help, bool instance);

// Asks the phone; prints its progress and the answer, as JSON or as `format` says it. Throws ClientError.
void perform(const Options& options, const phoned::Request& request, std::ostream& out,
             const std::function<std::string(const nlohmann::json&)>& format);

}  // namespace amphion::cli
