// SPDX-License-Identifier: Apache-2.0
// Packing and unpacking; see control_picture.hpp.
#include "phone-side/phoned/control_picture.hpp"

#include <zstd.h>

#include "phone-side/phoned/control_protocol.hpp"

namespace amphion::phoned {
namespace {

constexpr int level = 1;  // text packs to a few KiB
constexpr std::size_t pixel_bytes = picture_pixels * sizeof(std::uint16_t);
static_assert(ZSTD_COMPRESSBOUND(pixel_bytes) / 3 * 4 + 1024 < max_reply_bytes);

}  // namespace

nlohmann::json picture_answer(const Picture& picture) {
  std::string packed(ZSTD_compressBound(pixel_bytes), '\0');
  const std::size_t bytes = ZSTD_compress(packed.data(), packed.size(), picture.data(), pixel_bytes, level);
  if (ZSTD_isError(bytes) != 0) throw std::runtime_error(ZSTD_getErrorName(bytes));
  packed.resize(bytes);
  return {{"ok", true},
          {"width", machine::Screen::width},
          {"height", machine::Screen::height},
          {"pixels", to_base64(packed)}};
}

std::optional<Picture> picture_of(const nlohmann::json& answer) {
  if (answer.value("width", nlohmann::json()) != machine::Screen::width) return std::nullopt;
  if (answer.value("height", nlohmann::json()) != machine::Screen::height) return std::nullopt;
  const auto pixels = answer.find("pixels");
  if (pixels == answer.end() || !pixels->is_string()) return std::nullopt;
  const auto packed = from_base64(pixels->get_ref<const std::string&>());
  if (!packed) return std::nullopt;
  Picture picture(picture_pixels);
  if (ZSTD_decompress(picture.data(), pixel_bytes, packed->data(), packed->size()) != pixel_bytes) return std::nullopt;
  return picture;
}

}  // namespace amphion::phoned
