// SPDX-License-Identifier: Apache-2.0
// Terminal handling; see console.hpp.
#include "phone-side/cli/console.hpp"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <thread>

namespace amphion::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char escape = 0x1d;  // Ctrl-]

// The terminal without line editing while this lives.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    cfmakeraw(&raw);
    active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  }
  ~RawTerminal() {
    if (active_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

// What both threads see.
struct Shared {
  std::atomic<bool> ended{false};
  std::atomic<Clock::rep> last_output{Clock::now().time_since_epoch().count()};
  std::string reason;  // valid once ended

  [[nodiscard]] Clock::duration quiet() const {
    return Clock::now().time_since_epoch() - Clock::duration(last_output.load());
  }
};

void receive(Client& client, Shared& shared) {
  try {
    while (const auto line = client.lines().next()) {
      if (const auto bytes = phoned::console_bytes(*line)) {
        write_all(*bytes);
        shared.last_output = Clock::now().time_since_epoch().count();
        continue;
      }
      const auto value = nlohmann::json::parse(*line, nullptr, false);
      if (value.is_object() && value.contains("error") && value["error"].is_string()) shared.reason = value["error"];
      break;
    }
  } catch (const std::runtime_error& error) {
    shared.reason = error.what();
  }
  shared.ended = true;
}

// False: left, by the escape or by the end of the input.
bool forward(phoned::ByteStream& stream, bool terminal) {
  std::array<char, 1024> buffer{};
  const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got <= 0) return false;
  std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
  const std::size_t leave = terminal ? bytes.find(escape) : std::string_view::npos;
  bytes = bytes.substr(0, leave);
  if (!bytes.empty()) stream.write(phoned::encode_line(phoned::console_line(bytes)));
  return leave == std::string_view::npos;
}

void send(Client& client, Shared& shared, bool terminal, std::chrono::milliseconds silence) {
  bool input = true;
  while (!shared.ended && (input || (!terminal && shared.quiet() < silence))) {
    pollfd in{input ? STDIN_FILENO : -1, POLLIN, 0};
    if (poll(&in, 1, 100) > 0 && !forward(client.stream(), terminal)) {
      input = false;
      shared.last_output = Clock::now().time_since_epoch().count();
    }
  }
}

}  // namespace

void run_console(Client& client, std::chrono::milliseconds silence) {
  const bool terminal = isatty(STDIN_FILENO) != 0;
  std::optional<RawTerminal> raw;
  if (terminal) {
    write_all("(Ctrl-] leaves)\r\n");
    raw.emplace();
  }
  Shared shared;
  std::thread receiver([&] { receive(client, shared); });
  std::string broken;
  try {
    send(client, shared, terminal, silence);
  } catch (const std::runtime_error& error) {
    broken = error.what();
  }
  const bool by_phone = shared.ended;
  client.stream().shut();
  receiver.join();
  raw.reset();
  if (terminal) write_all("\r\n");
  if (by_phone || !broken.empty()) {
    throw ClientError("the phone ended the console" +
                      (shared.reason.empty() ? broken.empty() ? "" : ": " + broken : ": " + shared.reason));
  }
}

}  // namespace amphion::cli
