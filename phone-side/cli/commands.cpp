// SPDX-License-Identifier: Apache-2.0
// Commands; see commands.hpp.
#include "phone-side/cli/commands.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>

#include "phone-side/cli/client.hpp"
#include "phone-side/cli/console.hpp"
#include "phone-side/cli/format.hpp"
#include "phone-side/cli/join.hpp"
#include "phone-side/cli/screen.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;
using phoned::Operation;

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

// Said already, in the table.
struct Unhealthy {};

json request_of(const Options& options, Operation operation) {
  return phoned::to_json({operation, options.instance, options.serial, options.code, options.force});
}

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

void show(const Options& options, Operation operation, std::ostream& out) {
  Client client(connect(options.target));
  const json answer = client.ask(request_of(options, operation));
  if (options.as_json) {
    out << answer.dump() << std::endl;
  } else if (operation == Operation::list) {
    out << format_list(answer);
  } else if (operation == Operation::status) {
    out << format_status(answer);
  } else if (operation == Operation::pair) {
    out << format_paired(answer);
  } else if (operation == Operation::unpair) {
    out << format_unpaired(answer);
  } else if (operation == Operation::invite) {
    out << format_invitation(answer);
  } else {
    out << options.instance << " has the focus" << std::endl;
  }
}

void move(const Options& options, Operation operation, std::ostream& out) {
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
    answer = client.ask(request_of(options, operation), progress);
  } catch (const ClientError&) {
    if (!options.as_json) printer.end();
    throw;
  }
  if (!options.as_json) printer.end();
  out << (options.as_json ? answer.dump() : format_summary(answer)) << std::endl;
}

void console(const Options& options) {
  Client client(connect(options.target));
  static_cast<void>(client.ask(request_of(options, Operation::console)));
  run_console(client, std::chrono::milliseconds(static_cast<int>(options.silence_s * 1000)));
}

void screen(const Options& options) {
  Client client(connect(options.target));
  write_ppm(look(client), options.file);
}

void join_phone(const Options& options, std::ostream& out) {
  const std::string phone = join(options.code, options.target.pki);
  if (options.as_json) {
    out << json{{"ok", true}, {"phone", phone}, {"pki", options.target.pki}}.dump() << std::endl;
  } else {
    out << "this computer commands the phone now; its certificate is in " << options.target.pki
        << "\n\n    amphion --phone " << phone << " list\n\nor `export AMPHION_PHONE=" << phone << "` once"
        << std::endl;
  }
}

void doctor(const Options& options, std::ostream& out) {
  Client client(connect(options.target));
  const json answer = client.ask(request_of(options, Operation::doctor));
  out << (options.as_json ? answer.dump() + "\n" : format_doctor(answer)) << std::flush;
  if (answer.value("healthy", json(false)) != json(true)) throw Unhealthy();
}

CLI::App* add(CLI::App& app, Options& options, const char* name, const char* help, bool instance) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", options.as_json, "print the answer as JSON, one object a line");
  if (instance) command->add_option("NAME", options.instance, "the instance")->required();
  return command;
}

void add_pairing(CLI::App& app, Options& options, std::ostream& out) {
  const auto simple = [&](Operation operation) {
    return [&options, &out, operation] { show(options, operation, out); };
  };
  const auto coded = [&](const char* name, const char* help, const char* where) {
    CLI::App* command = add(app, options, name, help, false);
    command->add_option("CODE@HOST:PORT", options.code, where)->required();
    return command;
  };
  coded("pair", "pair the phone with a cloud",
        "the one-time code that `amphiond pair` shows in the cloud, and where that is")
      ->callback(simple(Operation::pair));
  CLI::App* unpair =
      add(app, options, "unpair", "the phone and its cloud forget each other; all instances must be home", false);
  unpair->add_flag(
      "--force", options.force,
      "also while an instance is docked (what it did in the cloud stays there) or the cloud cannot be told");
  unpair->callback(simple(Operation::unpair));
  add(app, options, "invite", "on the phone's console: a one-time code for one more computer that commands it", false)
      ->callback(simple(Operation::invite));
  coded("join", "make this computer one that commands a phone",
        "the one-time code that `amphion invite` shows on the phone, and the phone's address")
      ->callback([&options, &out] { join_phone(options, out); });
}

void add_doctor(CLI::App& app, Options& options, std::ostream& out) {
  add(app, options, "doctor", "looks at what may be wrong, and says what to do; exit code 1 if something is", false)
      ->callback([&options, &out] { doctor(options, out); });
}

void add_commands(CLI::App& app, Options& options, std::ostream& out) {
  const auto simple = [&](Operation operation) {
    return [&options, &out, operation] { show(options, operation, out); };
  };
  const auto moving = [&](Operation operation) {
    return [&options, &out, operation] { move(options, operation, out); };
  };
  add(app, options, "list", "the instances: where they are, their state, which one has the focus", false)
      ->callback(simple(Operation::list));
  add(app, options, "status", "the same with memory, generations, the input journal and the cloud", false)
      ->callback(simple(Operation::status));
  add(app, options, "switch",
      "give screen and keyboard to an instance (on the phone: Alt+F1, Alt+F2, ... or Super+Tab)", true)
      ->callback(simple(Operation::switch_to));
  CLI::App* terminal =
      add(app, options, "console", "this terminal becomes the instance's console; Ctrl-] leaves", true);
  terminal->add_flag("--serial", options.serial,
                     "its serial port (boot messages) instead of hvc0; only while it is on the phone");
  terminal
      ->add_option("--silence", options.silence_s,
                   "input not from a terminal: leave after so many seconds without output")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  terminal->callback([&options] { console(options); });
  CLI::App* picture = app.add_subcommand("screen", "write what the phone's screen shows as a picture (PPM)");
  picture->add_option("FILE", options.file, "the picture")->required();
  picture->callback([&options] { screen(options); });
  add(app, options, "dock", "move an instance to the cloud, where it goes on with more", true)
      ->callback(moving(Operation::dock));
  add(app, options, "undock", "bring an instance home", true)->callback(moving(Operation::undock));
  add_pairing(app, options, out);
  add_doctor(app, options, out);
}

// With --json an answer like any other, on `out`; else one line on `err`.
int report(bool as_json, const std::string& text, int code, std::ostream& out, std::ostream& err) {
  if (as_json) {
    out << phoned::error_reply(text).dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  } else {
    err << "amphion: " << text << std::endl;
  }
  return code;
}

// CLI11's text as one line, and where to read more.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  const auto commands = app.get_subcommands();
  return text + "; see amphion " + (commands.empty() ? "" : commands.front()->get_name() + " ") + "--help";
}

}  // namespace

int run(std::vector<std::string> arguments, std::ostream& out, std::ostream& err) {
  Options options;
  CLI::App app("Controls an Amphion phone: its instances, where they run and who has the keys.", "amphion");
  app.footer("Exit codes: 0 done, 1 failed, 2 wrong usage.");
  app.require_subcommand(1);
  app.add_option("--phone", options.target.phone,
                 "HOST:PORT of the phone, or unix:PATH on the phone itself [$AMPHION_PHONE]")
      ->capture_default_str();
  app.add_option("--pki", options.target.pki, "folder with ca.crt, owner.crt, owner.key [$AMPHION_PKI]")
      ->capture_default_str();
  app.fallthrough();
  const bool as_json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  try {
    add_commands(app, options, out);
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants a vector
    app.parse(arguments);
    return exit_done;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return report(as_json, usage_error(app, error), exit_usage, out, err);
    app.exit(error, out, err);  // help
    return exit_done;
  } catch (const Unhealthy&) {
    return exit_failed;
  } catch (const std::exception& error) {
    return report(as_json, error.what(), exit_failed, out, err);
  }
}

}  // namespace amphion::cli
