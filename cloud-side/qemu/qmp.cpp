// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/qmp.hpp"

namespace amphion::qemu {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using link::ErrorCode;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t max_line_bytes = 4 << 20;
constexpr auto answer_within = 20s;
constexpr auto again_within = 1s;

}  // namespace

link::Status Qmp::connect(const std::filesystem::path& socket, std::chrono::milliseconds within) {
  socket_ = socket;
  buffer_.clear();
  const auto deadline = Clock::now() + within;
  if (auto status = port_.connect(socket, within); !status) return status;
  auto greeting = next_object(std::max(deadline, Clock::now() + 1s));
  if (!greeting) return greeting.error();
  if (!greeting->contains("QMP")) return {ErrorCode::protocol, socket.string() + " is not QEMU's"};
  auto negotiated = execute("qmp_capabilities");
  if (!negotiated) return negotiated.error();
  return {};
}

void Qmp::close() {
  socket_.clear();
  port_.close();
}

link::Result<json> Qmp::next_object(Clock::time_point deadline) {
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      json object = json::parse(buffer_.substr(0, end), nullptr, false);
      buffer_.erase(0, end + 1);
      if (!object.is_object())
        return link::Error{ErrorCode::protocol, "QEMU's monitor said something that is not JSON"};
      return object;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left <= 0ms || buffer_.size() > max_line_bytes) {
      port_.close();
      return link::Error{ErrorCode::timeout, "QEMU's monitor does not answer"};
    }
    auto bytes = port_.read(64 << 10, left);
    if (!bytes) return bytes.error();
    buffer_ += *bytes;
  }
}

link::Result<json> Qmp::execute(const std::string& command, json arguments) {
  if (!port_.connected() && !socket_.empty()) {
    if (auto again = connect(fs::path(socket_), again_within); !again) return again.error();
  }
  json request{{"execute", command}};
  if (!arguments.empty()) request["arguments"] = std::move(arguments);
  if (auto status = port_.write(request.dump() + "\n"); !status) return status.error();
  const auto deadline = Clock::now() + answer_within;
  for (;;) {
    auto object = next_object(deadline);
    if (!object) return object.error();
    if (object->contains("return")) return std::move((*object)["return"]);
    if (object->contains("error"))
      return link::Error{ErrorCode::refused, "QEMU: " + command + ": " + (*object)["error"].value("desc", "no text")};
  }
}

}  // namespace amphion::qemu
