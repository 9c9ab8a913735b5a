// SPDX-License-Identifier: Apache-2.0
// See board.hpp.
#include "emulator/board.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "emulator/saved.hpp"

namespace amphion::emulator {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::uint16_t phoned_port = 7447;
constexpr const char* keyboard_path = "/machine/peripheral/keyboard";
constexpr const char* start_log = "qemu.log";
constexpr const char* process_name = "amphion-phone";

// Backends: where the machine's disk, network, console, screen and commands lead to on this PC.
std::vector<std::string> command_line(const BoardOptions& options, const Board& board, bool incoming) {
  const auto socket = [&](const char* name) { return "unix:" + board.path(name) + ",server=on,wait=off"; };
  std::vector<std::string> line{options.qemu};
  const auto add = [&](const std::vector<std::string>& words) { line.insert(line.end(), words.begin(), words.end()); };
  add({"-name", process_name});
  add(machine_words(options));
  add({"-kernel", options.bundle.string()});
  add({"-chardev", "socket,id=serial,path=" + board.path("serial.sock") +
                       ",server=on,wait=off,logfile=" + board.path("serial.log")});
  if (options.write_log) {
    add({"-blockdev",
         "driver=blklogwrites,node-name=data,log-super-update-interval=1000000000,log.driver=file,"
         "log.filename=" +
             options.write_log->string() +
             ",file.driver=raw,file.file.driver=file,file.file.filename=" + options.data.string()});
  } else {
    add({"-blockdev", "driver=raw,node-name=data,file.driver=file,file.filename=" + options.data.string()});
  }
  add({"-netdev", "user,id=net,hostfwd=tcp:127.0.0.1:" + std::to_string(options.control_port) +
                      "-:" + std::to_string(phoned_port)});
  add({"-qmp", socket("qmp.sock"), "-qmp", socket("front.sock"), "-pidfile", board.path("pid"), "-daemonize"});
  if (options.vnc_display) {
    add({"-vnc", "127.0.0.1:" + std::to_string(*options.vnc_display)});
  } else {
    add({"-display", "none"});
  }
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

void send_key(Qmp& qmp, const std::string& name, bool down) {
  const nlohmann::json key{{"type", "qcode"}, {"data", name}};
  const nlohmann::json event{{"type", "key"}, {"data", {{"down", down}, {"key", key}}}};
  qmp.execute("input-send-event", {{"events", nlohmann::json::array({event})}});
}

// Buffers that the phone's keyboard driver has left for events. QEMU without this query answers with an error.
std::uint16_t free_key_buffers(Qmp& qmp) {
  const auto element = qmp.execute("x-query-virtio-queue-element", {{"path", keyboard_path}, {"queue", 0}});
  const auto offered = element.at("avail").at("idx").get<std::uint16_t>();
  const auto filled = element.at("used").at("idx").get<std::uint16_t>();
  return static_cast<std::uint16_t>(offered - filled);
}

void wait_for_key_buffers(Qmp& qmp) {
  constexpr std::uint16_t enough = 32;  // of 64; one press of three keys takes 12
  constexpr int tries = 500;
  for (int i = 0; i < tries; ++i) {
    try {
      if (free_key_buffers(qmp) >= enough) return;
    } catch (const std::exception&) {
      // Its driver is not there yet: wait, as for a full queue.
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  throw std::runtime_error("the phone takes no keys: its keyboard queue stays full, or it has not started yet");
}

}  // namespace

std::vector<std::string> machine_words(const BoardOptions& options) {
  return {"-M",
          "virt,gic-version=2,virtualization=on,highmem=off",
          "-cpu",
          "cortex-a7",
          "-smp",
          std::to_string(options.cpus),
          "-m",
          std::to_string(options.memory_mib),
          "-nodefaults",
          "-global",
          "virtio-mmio.force-legacy=false",
          "-serial",
          "chardev:serial",
          "-device",
          "virtio-blk-device,drive=data,bus=virtio-mmio-bus.0",
          "-device",
          "virtio-net-device,netdev=net,bus=virtio-mmio-bus.2",
          "-device",
          "virtio-keyboard-device,id=keyboard,bus=virtio-mmio-bus.4",
          "-device",
          "virtio-gpu-device,id=screen,xres=640,yres=480,bus=virtio-mmio-bus.5",
          "-device",
          "virtio-rng-device,bus=virtio-mmio-bus.6"};
}

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
  for (const auto& file : {options.bundle, options.data}) {
    if (!fs::is_regular_file(file)) throw std::runtime_error("there is no " + file.string());
  }
  fs::create_directories(folder_);
  fs::remove(path("pid"));
  BoardOptions absolute = options;
  absolute.bundle = fs::absolute(options.bundle);
  absolute.data = fs::absolute(options.data);
  if (options.write_log) {
    absolute.write_log = fs::absolute(*options.write_log);
    std::ofstream(*absolute.write_log, std::ios::trunc);
  }
  if (run(command_line(absolute, *this, incoming), path(start_log)) != 0) {
    throw std::runtime_error("QEMU did not start: " + first_line(path(start_log)));
  }
  nlohmann::json record{{"bundle", absolute.bundle.string()},
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

bool Board::stop(std::chrono::seconds limit) const {
  require_running();
  commands().execute("system_powerdown");
  const auto end = std::chrono::steady_clock::now() + limit;
  while (running()) {
    if (std::chrono::steady_clock::now() > end) {
      power_off();
      return false;
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
  return true;
}

void Board::power_off() const {
  const auto pid = running();
  if (!pid) require_running();
  kill(*pid, SIGKILL);
  wait_for_end(*this);
}

void press(Qmp& qmp, const Combination& keys) {
  wait_for_key_buffers(qmp);
  std::vector<std::string> held;
  const auto release = [&] {
    for (; !held.empty(); held.pop_back()) send_key(qmp, held.back(), false);
  };
  try {
    for (const std::string& key : keys) {
      send_key(qmp, key, true);
      held.push_back(key);
    }
  } catch (const std::exception&) {
    release();  // a name that QEMU does not know leaves no key down
    throw;
  }
  release();
}

void type_text(Qmp& qmp, const std::string& text, milliseconds gap) {
  std::vector<Combination> presses;
  for (const char character : text) {
    const auto keys = combination_of(character);
    if (!keys) throw std::runtime_error("only ASCII can be typed on the emulated keyboard");
    presses.push_back(*keys);
  }
  for (const Combination& keys : presses) {
    press(qmp, keys);
    std::this_thread::sleep_for(gap);
  }
}

void save_picture(Qmp& qmp, const std::string& file, const std::string& format) {
  qmp.execute("screendump", {{"filename", fs::absolute(file).string()}, {"format", format}});
}

Picture take_picture(Qmp& qmp, const std::string& scratch) {
  save_picture(qmp, scratch, "ppm");
  return read_ppm(scratch);
}

}  // namespace amphion::emulator
