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

enum class Instance { none, may, must };

struct Row {
  std::string_view name;
  Operation operation;
  Instance instance;
  std::array<std::string_view, 2> keys{};  // beside op and instance
};

constexpr std::array<Row, 26> operations{{
    {"list", Operation::list, Instance::none},
    {"status", Operation::status, Instance::may},
    {"switch", Operation::switch_to, Instance::must},
    {"console", Operation::console, Instance::must, {"serial"}},
    {"dock", Operation::dock, Instance::must},
    {"undock", Operation::undock, Instance::must},
    {"journal", Operation::journal, Instance::must},
    {"screen", Operation::screen, Instance::none},
    {"keys", Operation::keys, Instance::none},
    {"create", Operation::create, Instance::must, {"with"}},
    {"start", Operation::start, Instance::must},
    {"stop", Operation::stop, Instance::must, {"force"}},
    {"reset", Operation::reset, Instance::must},
    {"remove", Operation::remove, Instance::must, {"force"}},
    {"set", Operation::set, Instance::must, {"with"}},
    {"snapshot", Operation::snapshot, Instance::must, {"label"}},
    {"restore", Operation::restore, Instance::must, {"label"}},
    {"delete-snapshot", Operation::delete_snapshot, Instance::must, {"label"}},
    {"logs", Operation::logs, Instance::may, {"follow"}},
    {"shutdown", Operation::shutdown, Instance::none},
    {"pair", Operation::pair, Instance::none, {"code"}},
    {"unpair", Operation::unpair, Instance::none, {"force"}},
    {"invite", Operation::invite, Instance::none},
    {"doctor", Operation::doctor, Instance::none},
    {"sched", Operation::sched, Instance::none, {"with"}},
    {"sched-stats", Operation::sched_stats, Instance::none},
}};

std::string operation_names() {
  std::string names;
  for (const Row& row : operations) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

constexpr std::size_t max_name_bytes = 64;

// The keys beside op and instance; the error is for the client.
std::optional<std::string> take_key(const std::string& key, const json& value, Request& request) {
  if (key == "label") {
    if (!value.is_string() || value.get_ref<const std::string&>().size() > max_name_bytes)
      return "\"label\" must be a short text";
    request.label = value.get<std::string>();
    return std::nullopt;
  }
  if (key == "code") {
    if (!value.is_string()) return "\"pair\" needs a \"code\": CODE@HOST:PORT";
    request.code = value.get<std::string>();
    return std::nullopt;
  }
  if (key == "with") {
    if (!value.is_object()) return "\"with\" must be an object { ... }";
    request.with = value;
    return std::nullopt;
  }
  if (!value.is_boolean()) return "\"" + key + "\" must be true or false";
  (key == "serial" ? request.serial : key == "force" ? request.force : request.follow) = value.get<bool>();
  return std::nullopt;
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
  Request request{row->operation};
  for (const auto& [key, unused] : value.items()) {
    if (key == "op" || (key == "instance" && row->instance != Instance::none)) continue;
    if (std::find(row->keys.begin(), row->keys.end(), key) == row->keys.end() || key.empty())
      return "\"" + name + "\" knows no \"" + key.substr(0, max_name_bytes) + "\"";
    if (auto wrong = take_key(key, value[key], request)) return *wrong;
  }
  if (row->operation == Operation::pair && request.code.empty())
    return std::string("\"pair\" needs a \"code\": CODE@HOST:PORT");
  const auto instance = value.find("instance");
  if (row->instance == Instance::none || (instance == value.end() && row->instance == Instance::may)) return request;
  if (instance == value.end() || !instance->is_string()) return "\"" + name + "\" needs an \"instance\"";
  request.instance = instance->get<std::string>();
  if (request.instance.size() > max_name_bytes) return std::string("the instance's name is too long");
  return request;
}

json to_json(const Request& request) {
  const auto row = std::find_if(operations.begin(), operations.end(),
                                [&](const Row& one) { return one.operation == request.operation; });
  json value{{"op", row->name}};
  if (row->instance == Instance::must || !request.instance.empty()) value["instance"] = request.instance;
  if (request.serial) value["serial"] = true;
  if (request.force) value["force"] = true;
  if (!request.code.empty()) value["code"] = request.code;
  if (request.follow) value["follow"] = true;
  if (!request.label.empty()) value["label"] = request.label;
  if (!request.with.empty()) value["with"] = request.with;
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
