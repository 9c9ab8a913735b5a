// SPDX-License-Identifier: Apache-2.0
// See board.hpp.
#include "emulator/board.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <vector>

#include "emulator/saved.hpp"

namespace amphion::emulator {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr const char* start_log = "qemu.log";
constexpr const char* process_name = "amphion-phone";

std::vector<std::string> command_line(const BoardOptions& options, const Board& board, bool incoming) {
  std::vector<std::string> line{options.qemu, "-name", process_name};
  const auto add = [&](const std::vector<std::string>& words) { line.insert(line.end(), words.begin(), words.end()); };
  add(machine_words(options));
  add(backend_words(options, [&](const char* name) { return board.path(name); }));
  add({"-pidfile", board.path("pid"), "-daemonize"});
  if (incoming) add({"-incoming", "defer"});
  return line;
}

// Runs QEMU, which goes to the background by itself; its words go to a log in the state folder.
int run(const std::vector<std::string>& line, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : line) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process can be started");
  if (child == 0) {
    const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.empty() ? "it said nothing" : line;
}

// A pid file may outlive its process, and the number may have been given to another one.
bool is_qemu(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  const std::string words((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return words.find(process_name) != std::string::npos;
}

void wait_for_end(const Board& board) {
  while (board.running()) std::this_thread::sleep_for(milliseconds(20));
}

}  // namespace

Board::Board(fs::path state_folder) : folder_(fs::absolute(std::move(state_folder))) {}

std::optional<int> Board::running() const {
  std::ifstream file(path("pid"));
  int pid = 0;
  if (!(file >> pid) || pid <= 1 || !is_qemu(pid)) return std::nullopt;
  return pid;
}

void Board::require_running() const {
  if (!running())
    throw std::runtime_error("no emulated phone runs in " + folder_.string() + "; start one with make run");
}

void Board::require_stopped() const {
  if (const auto pid = running()) {
    throw std::runtime_error("an emulated phone runs in " + folder_.string() + " already (process " +
                             std::to_string(*pid) + ")");
  }
}

void Board::launch(const BoardOptions& options, bool incoming) const {
  check(options);
  fs::create_directories(folder_);
  fs::remove(path("pid"));
  BoardOptions absolute = options;
  if (!options.bundle.empty()) absolute.bundle = fs::absolute(options.bundle);
  if (!options.pki.empty()) absolute.pki = fs::absolute(options.pki);
  absolute.data = fs::absolute(options.data);
  if (options.write_log) {
    absolute.write_log = fs::absolute(*options.write_log);
    std::ofstream(*absolute.write_log, std::ios::trunc);
  }
  if (run(command_line(absolute, *this, incoming), path(start_log)) != 0) {
    throw std::runtime_error("QEMU did not start: " + first_line(path(start_log)));
  }
  nlohmann::json record{{"board", options.board},
                        {"bundle", absolute.bundle.string()},
                        {"pki", absolute.pki.string()},
                        {"data", absolute.data.string()},
                        {"cpus", options.cpus},
                        {"memory_mib", options.memory_mib},
                        {"control_port", options.control_port}};
  if (options.vnc_display) record["vnc"] = "127.0.0.1:" + std::to_string(5900 + *options.vnc_display);
  std::ofstream(path("board.json")) << record.dump(2) << "\n";
}

void Board::start(const BoardOptions& options) const {
  require_stopped();
  launch(options, false);
}

void Board::save(const fs::path& folder) const {
  require_running();
  if (boots_from_card()) throw std::runtime_error("only the development board can be saved (qemu-virt)");
  save_phone(*this, folder);
  power_off();
}

void Board::start_from(const fs::path& folder, BoardOptions options) const {
  require_stopped();
  const SavedPhone saved(folder);
  saved.apply(options);
  saved.copy_data(options.data);
  try {
    launch(options, true);
    Qmp qmp = commands();
    saved.load(qmp);
  } catch (...) {
    if (running()) power_off();
    fs::remove(options.data);
    throw;
  }
}

nlohmann::json Board::describe() const {
  std::ifstream file(path("board.json"));
  auto record = nlohmann::json::parse(file, nullptr, false);
  if (record.is_discarded()) record = nlohmann::json::object();
  const auto pid = running();
  record["running"] = pid.has_value();
  if (pid) record["pid"] = *pid;
  return record;
}

bool Board::boots_from_card() const { return describe().value("board", development_board) == card_board; }

bool Board::stop(std::chrono::seconds limit) const {
  require_running();
  const auto end = std::chrono::steady_clock::now() + limit;
  if (boots_from_card()) return stop_by_keyboard(end);
  commands().execute("system_powerdown");
  while (running()) {
    if (std::chrono::steady_clock::now() > end) {
      power_off();
      return false;
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
  return true;
}

// QEMU gives this board neither a power button, so its keyboard's power key is pressed, nor a power switch: it halts.
bool Board::stop_by_keyboard(std::chrono::steady_clock::time_point end) const {
  const std::string log = path("serial.log");
  const auto before = static_cast<std::streamoff>(std::filesystem::file_size(log));
  const auto halted = [&] {
    std::ifstream file(log, std::ios::binary);
    file.seekg(before);
    const std::string said(std::istreambuf_iterator<char>(file), {});
    return said.find("reboot: System halted") != said.npos || said.find("reboot: Power down") != said.npos;
  };
  commands().execute("send-key", {{"keys", nlohmann::json::array({{{"type", "qcode"}, {"data", "power"}}})}});
  while (running() && !halted() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(milliseconds(50));
  const bool orderly = halted();
  if (running()) power_off();
  return orderly;
}

void Board::power_off() const {
  const auto pid = running();
  if (!pid) require_running();
  kill(*pid, SIGKILL);
  wait_for_end(*this);
}

}  // namespace amphion::emulator
