// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_blk.hpp"

#include <algorithm>

namespace amphion::devices {
namespace {

constexpr std::uint32_t type_in = 0, type_out = 1, type_flush = 4, type_get_id = 8;
constexpr std::uint8_t status_ok = 0, status_ioerr = 1, status_unsupported = 2;
constexpr std::uint64_t header_bytes = 16, id_bytes = 20, sector_bytes = machine::virtio_blk_sector_bytes;
constexpr std::uint64_t largest_request_bytes = 16u << 20;  // one request holds up its device's other work

}  // namespace

VirtioBlk::VirtioBlk(Disk& disk, GuestMemory& memory, Slot slot)
    : VirtioDevice(machine::virtio_blk, memory, slot), disk_(disk) {}

void VirtioBlk::fill_config(std::span<std::byte> config) const {
  const auto bytes = machine::virtio_blk_config(disk_.size_bytes() / sector_bytes);
  std::copy_n(std::as_bytes(std::span(bytes)).begin(), config.size(), config.begin());
}

void VirtioBlk::notified(std::uint32_t) {
  Chain chain;
  bool any = false;
  for (std::uint32_t left = queue(0).offered(); left > 0 && take(0, chain); --left) {
    const std::uint64_t room = chain.writable_bytes();
    if (chain.readable_bytes() < header_bytes || room == 0) return broken();
    const Outcome outcome = serve(chain);
    const auto status = static_cast<std::byte>(outcome.status);
    if (!copy_to(memory(), chain, room - 1, std::span(&status, 1))) return broken();
    give(0, chain, static_cast<std::uint32_t>(outcome.written));
    any = true;
  }
  if (any) interrupt_used(0);
}

VirtioBlk::Outcome VirtioBlk::serve(const Chain& chain) {
  std::array<std::byte, header_bytes> header;
  if (!copy_from(memory(), chain, 0, header)) return {status_ioerr, 1};
  const auto sector = load_le<std::uint64_t>(header, 8);
  switch (load_le<std::uint32_t>(header, 0)) {
    case type_in:
      return read_sectors(chain, sector);
    case type_out:
      return write_sectors(chain, sector);
    case type_flush:
      return {disk_.flush() ? status_ok : status_ioerr, 1};
    case type_get_id:
      return identify(chain);
    default:
      return {status_unsupported, 1};
  }
}

bool VirtioBlk::fits(std::uint64_t sector, std::uint64_t bytes) const {
  const std::uint64_t sectors = disk_.size_bytes() / sector_bytes;
  return bytes % sector_bytes == 0 && bytes <= largest_request_bytes && sector <= sectors &&
         bytes / sector_bytes <= sectors - sector;
}

VirtioBlk::Outcome VirtioBlk::read_sectors(const Chain& chain, std::uint64_t sector) {
  const std::uint64_t bytes = chain.writable_bytes() - 1;
  if (!fits(sector, bytes)) return {status_ioerr, 1};
  for (std::uint64_t done = 0; done < bytes;) {
    const auto piece = at_most(std::span<std::byte>(buffer_), bytes - done);
    if (!disk_.read(sector * sector_bytes + done, piece)) return {status_ioerr, 1};
    if (!copy_to(memory(), chain, done, piece)) return {status_ioerr, 1};
    done += piece.size();
  }
  return {status_ok, bytes + 1};
}

VirtioBlk::Outcome VirtioBlk::write_sectors(const Chain& chain, std::uint64_t sector) {
  const std::uint64_t bytes = chain.readable_bytes() - header_bytes;
  if (!fits(sector, bytes)) return {status_ioerr, 1};
  for (std::uint64_t done = 0; done < bytes;) {
    const auto piece = at_most(std::span<std::byte>(buffer_), bytes - done);
    if (!copy_from(memory(), chain, header_bytes + done, piece)) return {status_ioerr, 1};
    if (!disk_.write(sector * sector_bytes + done, piece)) return {status_ioerr, 1};
    done += piece.size();
  }
  return {status_ok, 1};
}

// Our disks have no serial number.
VirtioBlk::Outcome VirtioBlk::identify(const Chain& chain) {
  const std::array<std::byte, id_bytes> id{};
  const std::uint64_t bytes = std::min(id_bytes, chain.writable_bytes() - 1);
  if (!copy_to(memory(), chain, 0, at_most(std::span<const std::byte>(id), bytes))) return {status_ioerr, 1};
  return {status_ok, bytes + 1};
}

void VirtioBlk::save_device(machine::VirtioDevice& state) const {
  state.mutable_blk()->set_capacity_sectors(disk_.size_bytes() / sector_bytes);
  state.mutable_blk()->set_writeback(true);
}

}  // namespace amphion::devices
