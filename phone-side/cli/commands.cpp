// SPDX-License-Identifier: Apache-2.0
// Commands; see commands.hpp.
#include "phone-side/cli/commands.hpp"

#include <algorithm>
#include <chrono>
#include <iostream>

#include "phone-side/cli/console.hpp"
#include "phone-side/cli/format.hpp"
#include "phone-side/cli/instance_commands.hpp"
#include "phone-side/cli/join.hpp"
#include "phone-side/cli/perform.hpp"
#include "phone-side/cli/sched_command.hpp"
#include "phone-side/cli/screen.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;
using phoned::Operation;
using phoned::Request;

// Said already, in the table.
struct Unhealthy {};

void console(const Options& options) {
  Client client(connect(options.target));
  static_cast<void>(client.ask(phoned::to_json({Operation::console, options.instance, options.serial})));
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
  const json answer = client.ask(phoned::to_json({Operation::doctor}));
  out << (options.as_json ? answer.dump() + "\n" : format_doctor(answer)) << std::flush;
  if (answer.value("healthy", json(false)) != json(true)) throw Unhealthy();
}

void add_pairing(CLI::App& app, Options& options, std::ostream& out) {
  const auto simple = [&](Operation operation, std::string (*format)(const json&)) {
    return [&options, &out, operation, format] {
      Request request{operation};
      request.code = options.code;
      request.force = options.force;
      perform(options, request, out, format);
    };
  };
  const auto coded = [&](const char* name, const char* help, const char* where) {
    CLI::App* command = add_command(app, options, name, help, false);
    command->add_option("CODE@HOST:PORT", options.code, where)->required();
    return command;
  };
  coded("pair", "pair the phone with a cloud",
        "the one-time code that `amphiond pair` shows in the cloud, and where that is")
      ->callback(simple(Operation::pair, format_paired));
  CLI::App* unpair = add_command(app, options, "unpair",
                                 "the phone and its cloud forget each other; all instances must be home", false);
  unpair->add_flag(
      "--force", options.force,
      "also while an instance is docked (what it did in the cloud stays there) or the cloud cannot be told");
  unpair->callback(simple(Operation::unpair, format_unpaired));
  add_command(app, options, "invite", "on the phone's console: a one-time code for one more computer that commands it",
              false)
      ->callback(simple(Operation::invite, format_invitation));
  coded("join", "make this computer one that commands a phone",
        "the one-time code that `amphion invite` shows on the phone, and the phone's address")
      ->callback([&options, &out] { join_phone(options, out); });
}

void add_doctor(CLI::App& app, Options& options, std::ostream& out) {
  add_command(app, options, "doctor", "looks at what may be wrong, and says what to do; exit code 1 if something is",
              false)
      ->callback([&options, &out] { doctor(options, out); });
}

void add_commands(CLI::App& app, Options& options, std::ostream& out) {
  const auto simple = [&](Operation operation, std::string (*format)(const json&)) {
    return [&options, &out, operation, format] { perform(options, {operation, options.instance}, out, format); };
  };
  add_command(app, options, "list", "the instances: where they are, their state, which one has the focus", false)
      ->callback(simple(Operation::list, format_list));
  CLI::App* status =
      add_command(app, options, "status", "all of them, and the cloud; or all there is to know of one instance", false);
  status->add_option("NAME", options.instance, "the instance");
  status->callback([&options, &out] {
    perform(options, {Operation::status, options.instance}, out,
            options.instance.empty() ? format_status : format_instance);
  });
  add_command(app, options, "switch",
              "give screen and keyboard to an instance (on the phone: Alt+F1, Alt+F2, ... or Super+Tab)", true)
      ->callback([&options, &out] {
        perform(options, {Operation::switch_to, options.instance}, out,
                [&](const json&) { return options.instance + " has the focus"; });
      });
  CLI::App* terminal =
      add_command(app, options, "console", "this terminal becomes the instance's console; Ctrl-] leaves", true);
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
  add_command(app, options, "dock", "move an instance to the cloud, where it goes on with more", true)
      ->callback(simple(Operation::dock, format_summary));
  add_command(app, options, "undock", "bring an instance home", true)
      ->callback(simple(Operation::undock, format_summary));
  add_instance_commands(app, options, out);
  add_pairing(app, options, out);
  add_sched_command(app, options, out);
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
  const auto unknown = app.remaining();
  if (commands.empty() && !unknown.empty()) text = "there is no command or option \"" + unknown.front() + "\"";
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
