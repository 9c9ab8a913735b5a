// SPDX-License-Identifier: Apache-2.0
// Bounded big-endian reading and writing, as QEMU's migration stream needs it.
// A read beyond the end throws StreamError; it does not leave cloud-side/qemu: public functions turn it into a text.
// Thread safety: none needed, values.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace amphion::qemu {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

class StreamError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Reader {
 public:
  explicit Reader(View bytes) : bytes_(bytes) {}

  [[nodiscard]] std::size_t position() const { return position_; }
  [[nodiscard]] std::size_t remaining() const { return bytes_.size() - position_; }
  [[nodiscard]] std::uint8_t peek(std::size_t ahead = 0) const {
    if (ahead >= remaining()) throw StreamError("QEMU's stream ends too early");
    return bytes_[position_ + ahead];
  }
  View take(std::size_t size) {
    if (size > remaining()) throw StreamError("QEMU's stream ends too early");
    const View part = bytes_.subspan(position_, size);
    position_ += size;
    return part;
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : take(size)) value = value << 8 | byte;
    return value;
  }
  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  std::string text(std::size_t size) {
    const View part = take(size);
    return {part.begin(), part.end()};
  }

 private:
  View bytes_;
  std::size_t position_ = 0;
};

class Writer {
 public:
  void number(std::uint64_t value, std::size_t size) {
    for (std::size_t i = size; i-- > 0;) out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
  void u8(std::uint64_t value) { number(value, 1); }
  void u16(std::uint64_t value) { number(value, 2); }
  void u32(std::uint64_t value) { number(value, 4); }
  void u64(std::uint64_t value) { number(value, 8); }
  void bytes(View view) { out_.insert(out_.end(), view.begin(), view.end()); }
  void text(const std::string& value) { out_.insert(out_.end(), value.begin(), value.end()); }
  [[nodiscard]] Bytes take() { return std::move(out_); }

 private:
  Bytes out_;
};

}  // namespace amphion::qemu
