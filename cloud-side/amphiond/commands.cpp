// SPDX-License-Identifier: Apache-2.0
// See commands.hpp.
#include "cloud-side/amphiond/commands.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <ostream>
#include <stdexcept>

namespace amphion::cloud {
namespace {

using nlohmann::json;

constexpr std::size_t max_answer_bytes = 1 << 20;

class Connection {
 public:
  explicit Connection(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::runtime_error(path + " is too long for a socket");
    path.copy(address.sun_path, path.size());
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
    ::close(fd_);
    throw std::runtime_error("no amphiond answers at " + path +
                             ": start it first, or name its data folder with --data");
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { ::close(fd_); }

  [[nodiscard]] json ask(const json& request) {
    const std::string line = request.dump() + "\n";
    if (::send(fd_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) broken();
    std::string answer;
    std::array<char, 4096> chunk{};
    while (answer.find('\n') == std::string::npos) {
      const ssize_t got = ::read(fd_, chunk.data(), chunk.size());
      if (got <= 0 || answer.size() > max_answer_bytes) broken();
      answer.append(chunk.data(), static_cast<std::size_t>(got));
    }
    json value = json::parse(answer, nullptr, false);
    if (!value.is_object()) broken();
    if (value.value("ok", false)) return value;
    throw std::runtime_error(value.value("error", "amphiond refused without a reason"));
  }

 private:
  [[noreturn]] static void broken() { throw std::runtime_error("amphiond ended the connection before it answered"); }
  int fd_;
};

void show_code(const json& answer, std::ostream& out) {
  const std::string code = answer.at("code");
  const std::string port = std::to_string(answer.at("port").get<int>());
  out << "One-time code for the phone \"" << answer.at("name").get<std::string>() << "\", for "
      << answer.at("minutes").get<int>() << " minutes:\n\n    " << code << "\n\nOn the phone:\n\n";
  for (const json& host : answer.at("hosts"))
    out << "    amphion pair " << code << "@" << host.get<std::string>() << ":" << port << "\n";
  if (answer.at("hosts").empty()) out << "    amphion pair " << code << "@HOST:" << port << "\n";
  if (answer.at("local").get<bool>()) {
    out << "\namphiond listens on this machine only, which the phone of `make run` knows as 10.0.2.2; phones elsewhere "
           "need "
           "--listen 0.0.0.0:"
        << port << "\n";
  }
}

std::string scheduling(const json& scheduler) {
  const std::string policy = scheduler.value("policy", ""), note = scheduler.value("note", "");
  const std::string what = policy == "sbco"       ? "scheduled by SBCO (sched_ext)"
                           : policy == "affinity" ? "kept apart by processor affinity"
                                                  : "left to the kernel's scheduler";
  return what + (note.empty() ? "" : "; " + note);
}

void show_status(const json& answer, std::ostream& out) {
  out << "clones' vCPUs are " << scheduling(answer.value("scheduler", json::object())) << "\n";
  for (const json& device : answer.at("devices")) {
    out << device.at("device").get<std::string>()
        << (device.at("connected").get<bool>() ? ": connected" : ": not connected") << "\n";
    for (const json& instance : device.at("instances")) {
      const int process = instance.value("pid", 0);
      out << "  " << instance.at("instance").get<std::string>() << ": "
          << (instance.value("place", "cloud") == "cloud" ? "in the cloud" : "on the phone")
          << (process == 0 ? "" : ", its clone is process " + std::to_string(process));
      if (const std::string note = instance.value("note", ""); !note.empty()) out << "; " << note;
      out << "\n";
    }
  }
}

}  // namespace

int run_command(const Options& options, std::ostream& out, std::ostream& err) {
  try {
    Connection amphiond((options.data / "admin.sock").string());
    if (options.command == Command::pair) {
      show_code(amphiond.ask({{"do", "pair"}, {"name", options.device}}), out);
    } else if (options.command == Command::status) {
      show_status(amphiond.ask({{"do", "list"}}), out);
    } else {
      (void)amphiond.ask({{"do", "unpair"}, {"device", options.device}});
      out << options.device << " is unpaired: its certificate is refused from now on. What it has docked here stays in "
          << (options.data / "devices" / options.device).string() << "\n";
    }
    return 0;
  } catch (const std::exception& error) {
    err << "amphiond: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace amphion::cloud
