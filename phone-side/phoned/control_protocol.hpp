// SPDX-License-Identifier: Apache-2.0
// What `amphion` and `phoned` say to each other: one JSON object a line, each line bounded. README.md beside this file
// is the protocol's text. Used by both sides. A request names an operation; the answer is {"ok":true,...} or
// {"ok":false,"error":"one line"}, before it, for long operations, lines {"progress":{...}}. Thread safety: LineReader
// belongs to one thread; the rest are values and pure functions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>

namespace amphion::phoned {

inline constexpr std::size_t max_request_bytes = 16 * 1024;
inline constexpr std::size_t max_reply_bytes = 1024 * 1024;
inline constexpr std::size_t max_console_bytes = 4096;  // of one {"data":...} line, before base64
inline constexpr char default_port[] = "7447";
inline constexpr char default_socket[] = "/run/phoned.sock";

enum class Operation {
  list,
  status,
  switch_to,
  console,
  dock,
  undock,
  journal,
  screen,
  keys,
  create,
  start,
  stop,
  reset,
  remove,
  set,
  snapshot,
  restore,
  delete_snapshot,
  logs,
  shutdown,
  pair,
  unpair,
  invite,
  doctor,
  sched,
  sched_stats,
};

struct Request {
  Operation operation;
  std::string instance{};  // empty where the operation needs none
  bool serial = false;     // console: the serial port instead of hvc0
  std::string code{};      // pair: CODE@HOST:PORT
  bool force = false;      // unpair: whatever is lost by it; stop: at once; remove: also one that runs or is docked
  bool follow = false;     // logs: what comes, too
  std::string label{};     // of a snapshot
  nlohmann::json with =
      nlohmann::json::object();  // create, set: keys of an instance; sched: settings; what they hold is not checked yet
};

// A line of a client: checked whole. The error is for the client.
[[nodiscard]] std::variant<Request, std::string> parse_request(std::string_view line);
[[nodiscard]] nlohmann::json to_json(const Request& request);

[[nodiscard]] nlohmann::json error_reply(const std::string& error);

[[nodiscard]] std::string to_base64(std::string_view bytes);
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

// Console bytes of {"data":"<base64>"}; none where the line is anything else or too long.
[[nodiscard]] nlohmann::json console_line(std::string_view bytes);
[[nodiscard]] std::optional<std::string> console_bytes(std::string_view line);

// One line, ended by a newline; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string encode_line(const nlohmann::json& value);

// A byte stream to a peer: TLS, a unix socket, or a test's.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // At least one byte, or 0 at the end. Throws std::runtime_error with one line when the stream broke.
  [[nodiscard]] virtual std::size_t read(std::span<char> into) = 0;
  // All of it; may be called by another thread than read. Throws like read.
  virtual void write(std::string_view bytes) = 0;
  // Makes a read that is under way, and all later ones, return. From any thread.
  virtual void shut() = 0;
};

class LineTooLong : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Cuts a stream into lines.
class LineReader {
 public:
  LineReader(ByteStream& stream, std::size_t max_bytes) : stream_(stream), max_bytes_(max_bytes) {}
  // Without the newline; none at the end. Throws LineTooLong, and what the stream throws.
  [[nodiscard]] std::optional<std::string> next();

 private:
  ByteStream& stream_;
  std::size_t max_bytes_;
  std::string buffer_;
};

}  // namespace amphion::phoned
