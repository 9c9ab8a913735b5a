// SPDX-License-Identifier: Apache-2.0
// Lines and requests; see control_protocol.hpp.
#include "phone-side/phoned/control_protocol.hpp"

#include <mbedtls/base64.h>

#include <algorithm>
#include <array>

#include "phone-side/phoned/config.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

struct Row {
  std::string_view name;
  Operation operation;
  bool needs_instance;
};

constexpr std::array<Row, 14> operations{{
    {"list", Operation::list, false},
    {"status", Operation::status, false},
    {"switch", Operation::switch_to, true},
    {"console", Operation::console, true},
    {"dock", Operation::dock, true},
    {"undock", Operation::undock, true},
    {"journal", Operation::journal, true},
    {"screen", Operation::screen, false},
    {"keys", Operation::keys, false},
    {"shutdown", Operation::shutdown, false},
    {"pair", Operation::pair, false},
    {"unpair", Operation::unpair, false},
    {"invite", Operation::invite, false},
    {"doctor", Operation::doctor, false},
}};

std::string operation_names() {
  std::string names;
  for (const Row& row : operations) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

// Bytes as a view of the type that Mbed TLS wants.
const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::variant<Request, std::string> parse_request(std::string_view line) {
  const json value = json::parse(line, nullptr, false);
  if (!value.is_object()) return std::string("a request is one JSON object a line");
  const auto op = value.find("op");
  if (op == value.end() || !op->is_string())
    return std::string("the request has no \"op\"; there are: ") + operation_names();
  const auto name = op->get<std::string>();
  const auto row = std::find_if(operations.begin(), operations.end(), [&](const Row& one) { return one.name == name; });
  if (row == operations.end()) return "unknown operation; there are: " + operation_names();
  Request request{row->operation, {}, value.value("serial", json(false)) == json(true)};
  request.force = value.value("force", json(false)) == json(true);
  if (row->operation == Operation::pair) {
    const auto code = value.find("code");
    if (code == value.end() || !code->is_string()) return std::string("\"pair\" needs a \"code\": CODE@HOST:PORT");
    request.code = code->get<std::string>();
  }
  if (!row->needs_instance) return request;
  const auto instance = value.find("instance");
  if (instance == value.end() || !instance->is_string()) return "\"" + name + "\" needs an \"instance\"";
  request.instance = instance->get<std::string>();
  if (request.instance.size() > 64) return std::string("the instance's name is too long");
  return request;
}

json to_json(const Request& request) {
  const auto row = std::find_if(operations.begin(), operations.end(),
                                [&](const Row& one) { return one.operation == request.operation; });
  json value{{"op", row->name}};
  if (row->needs_instance) value["instance"] = request.instance;
  if (request.serial) value["serial"] = true;
  if (request.force) value["force"] = true;
  if (request.operation == Operation::pair) value["code"] = request.code;
  return value;
}

json error_reply(const std::string& error) { return {{"ok", false}, {"error", error}}; }

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  std::size_t written = 0;
  mbedtls_base64_encode(reinterpret_cast<unsigned char*>(text.data()), text.size(), &written, bytes_of(bytes),
                        bytes.size());
  text.resize(written);
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes(text.size() + 1, '\0');
  std::size_t written = 0;
  const int result = mbedtls_base64_decode(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), &written,
                                           bytes_of(text), text.size());
  if (result != 0) return std::nullopt;
  bytes.resize(written);
  return bytes;
}

json console_line(std::string_view bytes) { return {{"data", to_base64(bytes)}}; }

std::optional<std::string> console_bytes(std::string_view line) {
  const json value = json::parse(line, nullptr, false);
  if (!value.is_object() || !value.contains("data") || !value["data"].is_string()) return std::nullopt;
  auto bytes = from_base64(value["data"].get_ref<const std::string&>());
  if (!bytes || bytes->size() > max_console_bytes) return std::nullopt;
  return bytes;
}

std::string encode_line(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

std::optional<std::string> LineReader::next() {
  std::array<char, 4096> chunk{};
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched);
    const std::size_t length = end == std::string::npos ? buffer_.size() : end;
    if (length > max_bytes_) throw LineTooLong("a line is longer than " + std::to_string(max_bytes_) + " bytes");
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    searched = buffer_.size();
    const std::size_t got = stream_.read(chunk);
    if (got == 0) return std::nullopt;
    buffer_.append(chunk.data(), got);
  }
}

}  // namespace amphion::phoned
