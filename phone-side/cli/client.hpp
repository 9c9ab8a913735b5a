// SPDX-License-Identifier: Apache-2.0
// Finds the phone and exchanges control lines with it (phone-side/phoned/control_protocol.hpp).
// Thread safety: a Client belongs to one thread; its stream may be written by another.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "phone-side/phoned/control_protocol.hpp"

namespace amphion::cli {

// `what()` is one line for the user: no phone, refused, unknown instance...
class ClientError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Target {
  std::string phone;  // HOST:PORT or unix:PATH
  std::string pki;    // folder with ca.crt, owner.crt and owner.key; not used for a unix socket
};

// What holds without options: $AMPHION_PHONE, else the phone's own socket if this is the phone, else 127.0.0.1:7447;
// $AMPHION_PKI, else amphion/pki in the user's configuration folder.
[[nodiscard]] Target default_target();

[[nodiscard]] std::unique_ptr<phoned::ByteStream> connect(const Target& target);

class Client {
 public:
  explicit Client(std::unique_ptr<phoned::ByteStream> stream)
      : stream_(std::move(stream)), lines_(*stream_, phoned::max_reply_bytes) {}

  using Progress = std::function<void(const nlohmann::json&)>;

  // The answer, "ok":true. Throws ClientError with the phone's error otherwise, or when it does not answer.
  [[nodiscard]] nlohmann::json ask(const nlohmann::json& request, const Progress& progress = {});

  [[nodiscard]] phoned::ByteStream& stream() { return *stream_; }
  [[nodiscard]] phoned::LineReader& lines() { return lines_; }

 private:
  [[nodiscard]] nlohmann::json receive();

  std::unique_ptr<phoned::ByteStream> stream_;
  phoned::LineReader lines_;
};

}  // namespace amphion::cli
