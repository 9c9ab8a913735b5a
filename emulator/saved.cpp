// SPDX-License-Identifier: Apache-2.0
// See saved.hpp.
#include "emulator/saved.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace amphion::emulator {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* record_file = "board.json";
constexpr const char* bundle_file = "bundle";
constexpr const char* machine_file = "machine";
constexpr const char* data_file = "data.img";
constexpr std::uint64_t no_limit = std::uint64_t{1} << 40;  // bytes a second

std::string shell_word(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// QEMU tells nobody when its migration has ended unless it is asked.
void wait_for_migration(Qmp& qmp) {
  while (true) {
    const json answer = qmp.execute("query-migrate");
    const std::string status = answer.value("status", "");
    if (status == "completed") return;
    if (status == "failed" || status == "cancelled") {
      throw std::runtime_error("QEMU: migration " + status + ": " + answer.value("error-desc", "no reason given"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// The image is sparse, and must stay so.
void copy_sparse(const fs::path& from, const fs::path& to) {
  std::string words[] = {"cp", "--sparse=always", "--reflink=auto", from.string(), to.string()};
  char* line[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), words[4].data(), nullptr};
  pid_t child = 0;
  int status = -1;
  if (posix_spawnp(&child, line[0], nullptr, nullptr, line, environ) == 0) waitpid(child, &status, 0);
  if (status != 0) throw std::runtime_error(from.string() + " cannot be copied to " + to.string());
}

bool same_contents(const fs::path& one, const fs::path& other) {
  std::ifstream a(one, std::ios::binary);
  std::ifstream b(other, std::ios::binary);
  using Bytes = std::istreambuf_iterator<char>;
  return fs::file_size(one) == fs::file_size(other) && std::equal(Bytes(a), Bytes(), Bytes(b), Bytes());
}

BoardOptions options_of(const json& record) {
  BoardOptions options;
  options.board = record.value("board", development_board);
  options.cpus = record.at("cpus");
  options.memory_mib = record.at("memory_mib");
  options.control_port = record.at("control_port");
  return options;
}

void write_machine(Qmp& qmp, const fs::path& file) {
  qmp.execute("migrate-set-parameters", {{"max-bandwidth", no_limit}});
  qmp.execute("migrate", {{"uri", "exec:cat >" + shell_word(file.string())}});
  wait_for_migration(qmp);
}

}  // namespace

void save_phone(const Board& board, const fs::path& folder) {
  if (fs::exists(folder)) throw std::runtime_error(folder.string() + " is there already");
  const fs::path unfinished = fs::absolute(folder.string() + ".new");
  json record = board.describe();
  Qmp qmp = board.commands();
  qmp.execute("stop");
  try {
    fs::remove_all(unfinished);
    fs::create_directories(unfinished);
    write_machine(qmp, unfinished / machine_file);
    copy_sparse(record.at("data").get<std::string>(), unfinished / data_file);
    fs::copy_file(record.at("bundle").get<std::string>(), unfinished / bundle_file);
    record["machine"] = machine_words(options_of(record));
    record["qemu"] = qmp.execute("query-version");
    std::ofstream out(unfinished / record_file);
    out << record.dump(2) << "\n";
    out.close();
    if (!out) throw std::runtime_error(unfinished.string() + " cannot be written");
    fs::rename(unfinished, folder);
  } catch (...) {
    fs::remove_all(unfinished);
    qmp.execute("cont");
    throw;
  }
}

SavedPhone::SavedPhone(fs::path folder) : folder_(fs::absolute(std::move(folder))) {
  std::ifstream file(folder_ / record_file);
  record_ = json::parse(file, nullptr, false);
  if (!record_.is_object() || !record_.contains("machine")) {
    throw std::runtime_error("there is no saved phone in " + folder_.string());
  }
}

void SavedPhone::apply(BoardOptions& options) const {
  if (!fs::is_regular_file(options.bundle)) throw std::runtime_error("there is no " + options.bundle.string());
  if (!same_contents(options.bundle, folder_ / bundle_file)) {
    throw std::runtime_error("the phone in " + folder_.string() + " was saved with another bundle; save a new one");
  }
  const BoardOptions saved = options_of(record_);
  options.cpus = saved.cpus;
  options.memory_mib = saved.memory_mib;
  options.control_port = saved.control_port;
  if (record_["machine"] != json(machine_words(options))) {
    throw std::runtime_error("the phone in " + folder_.string() +
                             " was saved from a board with other devices; save a new one");
  }
}

void SavedPhone::copy_data(const fs::path& image) const {
  if (fs::exists(image)) throw std::runtime_error(image.string() + " is there already: it may hold instances");
  copy_sparse(folder_ / data_file, image);
}

void SavedPhone::load(Qmp& qmp) const {
  if (qmp.execute("query-version") != record_["qemu"]) {
    throw std::runtime_error("the phone in " + folder_.string() + " was saved by another QEMU; save a new one");
  }
  qmp.execute("migrate-incoming", {{"uri", "exec:cat " + shell_word((folder_ / machine_file).string())}});
  wait_for_migration(qmp);
  qmp.execute("cont");
}

}  // namespace amphion::emulator
