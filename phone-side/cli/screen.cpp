// SPDX-License-Identifier: Apache-2.0
// See screen.hpp.
#include "phone-side/cli/screen.hpp"

#include <fstream>

#include "phone-side/phoned/control_picture.hpp"

namespace amphion::cli {

phoned::Picture look(Client& client) {
  auto picture = phoned::picture_of(client.ask(phoned::to_json({phoned::Operation::screen, {}})));
  if (!picture) throw ClientError("the phone's picture is not understood; is it of the same version?");
  return std::move(*picture);
}

void write_ppm(const phoned::Picture& picture, const std::string& file) {
  constexpr phoned::PixelFormat rgb{.bytes = 4, .red = {0, 8}, .green = {8, 8}, .blue = {16, 8}};
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << "P6\n" << machine::Screen::width << " " << machine::Screen::height << "\n255\n";
  for (const std::uint16_t pixel : picture) {
    const std::uint32_t colours = phoned::convert_pixel(pixel, rgb);
    for (const int shift : {0, 8, 16}) out.put(static_cast<char>(colours >> shift & 0xff));
  }
  out.close();
  if (!out) throw ClientError(file + " cannot be written");
}

}  // namespace amphion::cli
