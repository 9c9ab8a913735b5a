// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/outside_memory.hpp"

#include <algorithm>

#include "machine/phone.hpp"

namespace amphion::instance {
namespace {

constexpr const char* outside = "pages outside the instance's memory";

}  // namespace

Problem OutsideMemory::populated(Bitmap& pages) {
  pages.assign(static_cast<std::size_t>(bytes() / machine::page_bytes / 32), 0);
  return partition_.bitmap(AMPHION_BITMAP_POPULATED, pages);
}

Problem OutsideMemory::read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset > bytes() || out.size() > bytes() - offset) return outside;
  while (!out.empty()) {
    const auto in_page = static_cast<std::size_t>(machine::page_bytes - offset % machine::page_bytes);
    const auto piece = out.first(std::min(out.size(), in_page));
    if (!memory_.read(machine::ram_base + offset, piece)) std::fill(piece.begin(), piece.end(), std::byte{0});
    out = out.subspan(piece.size());
    offset += piece.size();
  }
  return {};
}

Problem OutsideMemory::write(std::uint64_t offset, std::span<const std::byte> in) {
  if (offset > bytes() || in.size() > bytes() - offset) return outside;
  if (memory_.write(machine::ram_base + offset, in)) return {};
  return "its memory does not fit below its bound";
}

Problem OutsideMemory::discard(std::uint64_t first_page, std::uint64_t pages) {
  const std::uint64_t all = bytes() / machine::page_bytes;
  if (pages > all || first_page > all - pages) return outside;
  if (pages == 0) return {};
  return partition_.discard(static_cast<std::uint32_t>(first_page), static_cast<std::uint32_t>(pages));
}

Problem OutsideMemory::log(bool on) {
  Bitmap have;
  if (on) {
    if (auto problem = populated(have)) return problem;
    touch(have);
  }
  return partition_.log(on);
}

Problem OutsideMemory::take_dirty(Bitmap& pages) {
  Bitmap have, more(static_cast<std::size_t>(bytes() / machine::page_bytes / 32));
  pages.assign(more.size(), 0);
  if (auto problem = partition_.bitmap(AMPHION_BITMAP_DIRTY, pages)) return problem;
  if (auto problem = populated(have)) return problem;
  for (std::size_t i = 0; i < have.size(); ++i) have[i] &= pages[i];
  touch(have);
  if (auto problem = partition_.bitmap(AMPHION_BITMAP_DIRTY, more)) return problem;
  for (std::size_t i = 0; i < pages.size(); ++i) pages[i] |= more[i];
  return {};
}

void OutsideMemory::touch(const Bitmap& pages) {
  for (std::uint32_t page = 0; page < pages.size() * 32; ++page)
    if ((pages[page / 32] >> (page % 32) & 1) != 0) (void)memory_.touch(page);
}

}  // namespace amphion::instance
