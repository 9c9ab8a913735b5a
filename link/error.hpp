// SPDX-License-Identifier: Apache-2.0
// Errors as values, for all of link/: `Status` (done or an Error) and `Result<T>` (a T or an Error).
// An Error's text is one line that the user reads: what was wrong, where, what to do.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace amphion::link {

enum class ErrorCode {
  closed,     // the other side ended the connection, in order or not
  timeout,    // nothing within the deadline
  refused,    // the other side (or its certificate) was refused, or it refused ours
  protocol,   // bytes or messages that are not what they must be
  damaged,    // a digest does not match
  version,    // a format or protocol version that this program does not know
  no_space,   // disk or memory is full
  io,         // a file or socket operation failed
  not_found,  // no such file, record, instance
  conflict,   // generations or places forbid it
  cancelled,  // this side was asked to stop
  invalid,    // an argument is outside its bounds
};

struct Error {
  ErrorCode code;
  std::string text;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose
  Status(ErrorCode code, std::string text) : error_(Error{code, std::move(text)}) {}

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : value_(std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return value_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const { return std::get<1>(value_); }
  T& operator*() { return std::get<0>(value_); }
  const T& operator*() const { return std::get<0>(value_); }
  T* operator->() { return &std::get<0>(value_); }
  const T* operator->() const { return &std::get<0>(value_); }

 private:
  std::variant<T, Error> value_;
};

}  // namespace amphion::link
