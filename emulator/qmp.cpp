// SPDX-License-Identifier: Apache-2.0
// See qmp.hpp. Messages are JSON objects, one a line.
#include "emulator/qmp.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "emulator/unix_socket.hpp"

namespace amphion::emulator {
namespace {

constexpr int answer_limit_ms = 20'000;
constexpr std::size_t message_limit_bytes = 1u << 20;

}  // namespace

Qmp::Qmp(const std::string& socket_path)
    : socket_(connect_unix(socket_path, "no emulated phone answers at " + socket_path + "; start one with make run")) {
  try {
    (void)read_message();  // the greeting
    execute("qmp_capabilities");
  } catch (...) {
    close(socket_);
    throw;
  }
}

Qmp::~Qmp() { close(socket_); }

nlohmann::json Qmp::execute(const std::string& command, const nlohmann::json& arguments) {
  const std::string text = nlohmann::json{{"execute", command}, {"arguments", arguments}}.dump() + "\n";
  if (send(socket_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
    throw std::runtime_error("the emulated phone has gone");
  }
  while (true) {
    const nlohmann::json message = read_message();
    if (message.contains("return")) return message["return"];
    if (message.contains("error")) {
      throw std::runtime_error("QEMU refused " + command + ": " + message["error"].value("desc", "no reason given"));
    }
  }
}

nlohmann::json Qmp::read_message() {
  std::size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    pollfd waiting{.fd = socket_, .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, answer_limit_ms) <= 0) throw std::runtime_error("the emulated phone does not answer");
    std::array<char, 4096> chunk{};
    const ssize_t got = read(socket_, chunk.data(), chunk.size());
    if (got <= 0) throw std::runtime_error("the emulated phone has gone");
    buffer_.append(chunk.data(), static_cast<std::size_t>(got));
    if (buffer_.size() > message_limit_bytes) throw std::runtime_error("QEMU sent a message without an end");
  }
  auto message = nlohmann::json::parse(buffer_.substr(0, end), nullptr, false);
  buffer_.erase(0, end + 1);
  if (message.is_discarded()) throw std::runtime_error("QEMU sent what is not JSON");
  return message;
}

}  // namespace amphion::emulator
