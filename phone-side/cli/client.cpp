// SPDX-License-Identifier: Apache-2.0
// Connecting and asking; see client.hpp.
#include "phone-side/cli/client.hpp"

#include <unistd.h>

#include <cstdlib>
#include <system_error>

#include "link/tls.hpp"
#include "phone-side/phoned/control_streams.hpp"

namespace amphion::cli {
namespace {

using nlohmann::json;

constexpr std::string_view unix_prefix = "unix:";
constexpr std::chrono::seconds connect_timeout{10};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

std::string default_pki() {
  const std::string given = environment("AMPHION_PKI");
  if (!given.empty()) return given;
  const std::string folder = environment("XDG_CONFIG_HOME");
  return (folder.empty() ? environment("HOME") + "/.config" : folder) + "/amphion/pki";
}

std::string nobody_at(const std::string& phone) { return "no phone answers at " + phone + "; start one with make run"; }

std::unique_ptr<phoned::ByteStream> connect_tls(const Target& target) {
  const auto endpoint = link::parse_endpoint(target.phone, 7447);
  if (!endpoint.ok()) throw ClientError("--phone " + target.phone + ": " + endpoint.error().text);
  const link::Identity identity = link::identity_in(target.pki, link::Role::owner);
  if (access(identity.certificate.c_str(), R_OK) != 0) {
    throw ClientError(
        "no owner certificate in " + target.pki +
        "; name its folder with --pki or AMPHION_PKI, or get one: `amphion invite` on the phone's console, then "
        "`amphion join` here");
  }
  auto stream = link::tls_connect(*endpoint, identity, link::Role::phone, link::in(connect_timeout));
  if (stream.ok()) return std::make_unique<phoned::LinkByteStream>(std::move(*stream));
  using enum link::ErrorCode;
  const auto code = stream.error().code;
  if (code == closed || code == timeout || code == not_found) throw ClientError(nobody_at(target.phone));
  if (code == io && access(identity.key.c_str(), R_OK) == 0) throw ClientError(nobody_at(target.phone));
  throw ClientError(target.phone + ": " + stream.error().text);
}

}  // namespace

Target default_target() {
  Target target{environment("AMPHION_PHONE"), default_pki()};
  if (!target.phone.empty()) return target;
  const bool on_the_phone = access(phoned::default_socket, R_OK | W_OK) == 0;
  target.phone = on_the_phone ? std::string(unix_prefix) + phoned::default_socket
                              : std::string("127.0.0.1:") + phoned::default_port;
  return target;
}

std::unique_ptr<phoned::ByteStream> connect(const Target& target) {
  if (!target.phone.starts_with(unix_prefix)) return connect_tls(target);
  try {
    return phoned::connect_unix(target.phone.substr(unix_prefix.size()));
  } catch (const std::system_error&) {
    throw ClientError("no phone answers at " + target.phone + "; is phoned running?");
  }
}

json Client::receive() {
  try {
    const auto line = lines_.next();
    if (!line) throw ClientError("the phone ended the connection before it answered; is it still running?");
    json value = json::parse(*line, nullptr, false);
    if (!value.is_object()) throw ClientError("the phone's answer is not understood; is it of the same version?");
    return value;
  } catch (const ClientError&) {
    throw;
  } catch (const std::runtime_error& error) {
    throw ClientError(std::string("the connection to the phone broke: ") + error.what());
  }
}

json Client::ask(const json& request, const Progress& progress) {
  try {
    stream_->write(phoned::encode_line(request));
  } catch (const std::runtime_error& error) {
    throw ClientError(std::string("the connection to the phone broke: ") + error.what());
  }
  for (;;) {
    json answer = receive();
    if (answer.contains("progress")) {
      if (progress) progress(answer["progress"]);
      continue;
    }
    if (answer.value("ok", json(false)) == json(true)) return answer;
    const json error = answer.value("error", json());
    throw ClientError(error.is_string() ? error.get<std::string>() : "the phone refused without a reason");
  }
}

}  // namespace amphion::cli
