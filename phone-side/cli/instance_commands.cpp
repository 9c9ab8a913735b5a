// SPDX-License-Identifier: Apache-2.0
// See instance_commands.hpp.
#include "phone-side/cli/instance_commands.hpp"

#include <unistd.h>

#include <charconv>
#include <iostream>
#include <memory>

#include "phone-side/cli/format.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;
using phoned::Operation;
using phoned::Request;

// What these commands have beside Options.
struct Words {
  std::string memory, memory_max, disk, kernel, initrd, disk_image, cmdline, label, restore, remove;
  unsigned cpus = 0, cpus_max = 0;
  bool force = false, yes = false, list = false, follow = false;
};

constexpr char size_help[] = "as 256M or 1G";

const CLI::Validator is_size(
    [](std::string& text) {
      return size_in_mib(text) ? std::string() : "\"" + text + "\" is no size; write it " + size_help;
    },
    "SIZE");

// What cannot be undone is asked for.
void confirm(const Words& words, const std::string& command, const std::string& loss) {
  if (words.yes) return;
  if (isatty(STDIN_FILENO) == 0)
    throw CLI::ValidationError(command + ": " + loss + "; say --yes where nobody can be asked");
  std::cerr << loss << ". Go on? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "yes") throw ClientError("nothing was done");
}

void put_size(json& with, const char* key, const std::string& text) {
  if (!text.empty()) with[key] = *size_in_mib(text);
}
void put_text(json& with, const char* key, const std::string& text) {
  if (!text.empty()) with[key] = text;
}

json wishes(const Words& words) {
  json with = json::object();
  put_size(with, "bound_mib", words.memory);
  put_size(with, "memory_mib", words.memory_max);
  put_size(with, "disk_mib", words.disk);
  if (words.cpus != 0) with["vcpus_allowed"] = words.cpus;
  if (words.cpus_max != 0) with["vcpus"] = words.cpus_max;
  put_text(with, "kernel", words.kernel);
  put_text(with, "initrd", words.initrd);
  put_text(with, "disk", words.disk_image);
  put_text(with, "cmdline", words.cmdline);
  return with;
}

void add_create(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  CLI::App* command = add_command(
      app, options, "create", "make an instance from the phone's template; it is stopped until it is started", true);
  command->add_option("--memory", words.memory, "memory that it gets on this phone, as 256M or 1G")->check(is_size);
  command->add_option("--memory-max", words.memory_max, "memory that it may get in the cloud; never changes")
      ->check(is_size);
  command->add_option("--cpus", words.cpus, "vCPUs that it gets on this phone")->check(CLI::Range(1, 4));
  command->add_option("--cpus-max", words.cpus_max, "vCPUs that it may get in the cloud; never changes")
      ->check(CLI::Range(1, 4));
  command
      ->add_option("--disk", words.disk,
                   "size of its disk, at least its image's (the file system in it grows only if its guest does that)")
      ->check(is_size);
  command->add_option("--disk-image", words.disk_image, "FILE on the phone that its disk is copied from");
  command->add_option("--kernel", words.kernel, "FILE on the phone: its kernel (zImage)");
  command->add_option("--initrd", words.initrd, "FILE on the phone: its initial file system");
  command->add_option("--cmdline", words.cmdline, "its kernel's command line; {name} becomes its name");
  command->callback([&] {
    Request request{Operation::create, options.instance};
    request.with = wishes(words);
    perform(options, request, out, format_created);
  });
}

void add_power(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  add_command(app, options, "start", "start an instance that is stopped, off or failed", true)->callback([&] {
    perform(options, {Operation::start, options.instance}, out,
            [](const json& answer) { return text(answer, "instance") + " is " + text(answer, "state"); });
  });
  CLI::App* stop = add_command(
      app, options, "stop", "have an instance switch itself off (power key); it stays off until it is started", true);
  stop->add_flag("--force", words.force, "at once, as if its power were cut");
  stop->callback([&] {
    Request request{Operation::stop, options.instance};
    request.force = words.force;
    perform(options, request, out, [](const json& answer) {
      return text(answer, "instance") + " is stopped, and stays so until amphion start " + text(answer, "instance");
    });
  });
  CLI::App* reset = add_command(
      app, options, "reset", "start an instance anew, as if its power were cut: it loses what it has not saved", true);
  reset->add_flag("--yes", words.yes, "do not ask");
  reset->callback([&] {
    confirm(words, "reset", options.instance + " loses what it has not saved");
    perform(options, {Operation::reset, options.instance}, out,
            [](const json& answer) { return text(answer, "instance") + " starts anew"; });
  });
}

void add_remove(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  CLI::App* command =
      add_command(app, options, "remove", "delete an instance with its disk and its snapshots, for good", true);
  command->add_flag("--force", words.force, "also one that runs, or that is docked (its clone ends)");
  command->add_flag("--yes", words.yes, "do not ask");
  command->callback([&] {
    confirm(words, "remove", options.instance + ", its disk and its snapshots are deleted for good");
    Request request{Operation::remove, options.instance};
    request.force = words.force;
    perform(options, request, out, [](const json& answer) {
      const std::string note = text(answer, "note");
      return text(answer, "instance") + " is removed" + (note == "-" ? "" : "; " + note);
    });
  });
}

void add_set(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  CLI::App* command = add_command(app, options, "set", "change what an instance gets on this phone", true);
  command->add_option("--memory", words.memory, "its memory, as 256M or 1G; counts from its next start")
      ->check(is_size);
  command
      ->add_option("--cpus", words.cpus,
                   "its vCPUs; at once if its guest runs the grow service, otherwise from its next start")
      ->check(CLI::Range(1, 4));
  command->callback([&] {
    Request request{Operation::set, options.instance};
    request.with = wishes(words);
    if (request.with.empty()) throw CLI::RequiredError("--memory or --cpus");
    perform(options, request, out, format_set);
  });
}

void snapshot(const Options& options, const Words& words, std::ostream& out) {
  if (words.list) return perform(options, {Operation::status, options.instance}, out, format_snapshots);
  Request request{Operation::snapshot, options.instance};
  request.label = words.label;
  if (!words.restore.empty()) {
    confirm(words, "snapshot --restore",
            "what " + options.instance + " has done since snapshot " + words.restore + " is lost");
    request.operation = Operation::restore;
    request.label = words.restore;
    return perform(options, request, out, [](const json& answer) {
      return text(answer, "instance") + " goes on from snapshot " + text(answer, "label");
    });
  }
  if (!words.remove.empty()) {
    request.operation = Operation::delete_snapshot;
    request.label = words.remove;
    return perform(options, request, out, [](const json& answer) {
      return "snapshot " + text(answer, "label") + " of " + text(answer, "instance") + " is deleted";
    });
  }
  perform(options, request, out, format_snapshot);
}

void add_snapshot(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  CLI::App* command = add_command(
      app, options, "snapshot",
      "keep an instance's memory and disk as they are now; or list, go back to, or delete what was kept", true);
  auto* label = command->add_option("LABEL", words.label, "name of the new snapshot (default: a number)");
  auto* list = command->add_flag("--list", words.list, "the snapshots that there are");
  auto* restore = command->add_option("--restore", words.restore, "go on from this snapshot, here and now");
  auto* remove = command->add_option("--delete", words.remove, "delete this snapshot");
  command->add_flag("--yes", words.yes, "do not ask before --restore");
  list->excludes(label)->excludes(restore)->excludes(remove);
  restore->excludes(label)->excludes(remove);
  remove->excludes(label);
  command->callback([&] { snapshot(options, words, out); });
}

// Lines as they come, whole with --json.
void logs(const Options& options, const Words& words, std::ostream& out) {
  Client client(connect(options.target));
  Request request{Operation::logs, options.instance};
  request.follow = words.follow;
  static_cast<void>(client.ask(phoned::to_json(request)));
  std::string begun;
  while (const auto line = client.lines().next()) {
    const auto bytes = phoned::console_bytes(*line);
    if (!bytes) {
      const json value = json::parse(*line, nullptr, false);
      throw ClientError("the phone ended the log" + (value.is_object() ? ": " + text(value, "error") : std::string()));
    }
    if (!options.as_json) {
      out << *bytes << std::flush;
      continue;
    }
    begun += *bytes;
    for (std::size_t end; (end = begun.find('\n')) != std::string::npos; begun.erase(0, end + 1)) {
      out << json{{"line", begun.substr(0, end)}}.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
    }
  }
  if (options.as_json && !begun.empty())
    out << json{{"line", begun}}.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
}

void add_logs(CLI::App& app, Options& options, Words& words, std::ostream& out) {
  CLI::App* command = add_command(
      app, options, "logs",
      "what an instance's serial port, and phoned of it, have said lately; without NAME what phoned has said", false);
  command->add_option("NAME", options.instance, "the instance");
  command->add_flag("--follow,-f", words.follow, "go on with what comes, until Ctrl-C");
  command->callback([&] { logs(options, words, out); });
}

}  // namespace

std::optional<std::uint64_t> size_in_mib(const std::string& text) {
  constexpr std::uint64_t most_mib = 1u << 24;
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error != std::errc() || value == 0 || value > most_mib) return std::nullopt;
  if (unit == "G" || unit == "GiB") return value * 1024;
  if (unit.empty() || unit == "M" || unit == "MiB") return value;
  return std::nullopt;
}

void add_instance_commands(CLI::App& app, Options& options, std::ostream& out) {
  const auto words = std::make_shared<Words>();
  app.final_callback([words] {});  // lives as long as the app
  add_create(app, options, *words, out);
  add_power(app, options, *words, out);
  add_remove(app, options, *words, out);
  add_set(app, options, *words, out);
  add_snapshot(app, options, *words, out);
  add_logs(app, options, *words, out);
}

}  // namespace amphion::cli
