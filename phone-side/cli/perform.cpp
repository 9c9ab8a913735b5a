// SPDX-License-Identifier: Apache-2.0
// Asking and printing; see perform.hpp.
#include "phone-side/cli/perform.hpp"

#include <unistd.h>

#include <iostream>

#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

// Progress as one line that is written over on a terminal, otherwise a line a step.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(std::ostream& out)
      : out_(out), terminal_(&out == &std::cout && isatty(STDOUT_FILENO) != 0) {}

  void show(const json& progress) {
    const std::string line = format_progress(progress);
    if (terminal_) {
      out_ << "\r\033[K" << line << std::flush;
      return;
    }
    const json step = progress.value("step", json());
    if (!last_.empty() && step != last_["step"]) out_ << format_progress(last_) << std::endl;
    last_ = progress;
    last_["step"] = step;
  }

  void end() {
    if (terminal_) out_ << "\r\033[K" << std::flush;
    if (!terminal_ && !last_.empty()) out_ << format_progress(last_) << std::endl;
  }

 private:
  std::ostream& out_;
  bool terminal_;
  json last_;
};

}  // namespace

CLI::App* add_command(CLI::App& app, Options& options, const char* name, const char* help, bool instance) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", options.as_json, "print the answer as JSON, one object a line");
  if (instance) command->add_option("NAME", options.instance, "the instance")->required();
  return command;
}

void perform(const Options& options, const phoned::Request& request, std::ostream& out,
             const std::function<std::string(const json&)>& format) {
  Client client(connect(options.target));
  ProgressPrinter printer(out);
  const auto progress = [&](const json& line) {
    if (options.as_json) {
      out << json{{"progress", line}}.dump() << std::endl;
    } else {
      printer.show(line);
    }
  };
  json answer;
  try {
    answer = client.ask(phoned::to_json(request), progress);
  } catch (const ClientError&) {
    if (!options.as_json) printer.end();
    throw;
  }
  if (!options.as_json) printer.end();
  const std::string text = options.as_json ? answer.dump() : format(answer);
  out << text << (text.ends_with('\n') ? "" : "\n") << std::flush;
}

}  // namespace amphion::cli
