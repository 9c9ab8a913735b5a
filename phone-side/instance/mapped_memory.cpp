// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/mapped_memory.hpp"

#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstring>
#include <mutex>
#include <utility>

#include "machine/phone.hpp"

namespace amphion::instance {
namespace {

thread_local sigjmp_buf* recovery = nullptr;

void on_bus_error(int signal_number) {
  if (recovery != nullptr) siglongjmp(*recovery, 1);
  std::signal(signal_number, SIG_DFL);  // the access is tried again and ends the process, as it should
}

void install_handler() {
  struct sigaction action = {};
  action.sa_handler = on_bus_error;
  action.sa_flags = SA_NODEFER;  // left by a jump
  sigaction(SIGBUS, &action, nullptr);
}

// Runs `access`, which owns nothing. False if it met a page that cannot be populated.
template <typename Access>
bool guarded(Access access) {
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {
    recovery = nullptr;
    return false;
  }
  recovery = &here;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  access();
  std::atomic_signal_fence(std::memory_order_seq_cst);
  recovery = nullptr;
  return true;
}

}  // namespace

MappedMemory::MappedMemory(std::span<std::byte> memory)
    : memory_(memory), dirty_(memory.size() / machine::page_bytes / 32) {
  static std::once_flag once;
  std::call_once(once, install_handler);
}

bool MappedMemory::contains(std::uint64_t address, std::uint64_t bytes) const {
  return address >= machine::ram_base && address - machine::ram_base <= memory_.size() &&
         bytes <= memory_.size() - (address - machine::ram_base);
}

std::byte* MappedMemory::at(std::uint64_t address) const { return memory_.data() + (address - machine::ram_base); }

bool MappedMemory::read(std::uint64_t address, std::span<std::byte> out) {
  if (!contains(address, out.size())) return false;
  return guarded([&] { std::memcpy(out.data(), at(address), out.size()); });
}

bool MappedMemory::write(std::uint64_t address, std::span<const std::byte> in) {
  if (!contains(address, in.size())) return false;
  note_written(address, in.size());
  return guarded([&] { std::memcpy(at(address), in.data(), in.size()); });
}

std::optional<std::uint16_t> MappedMemory::load16(std::uint64_t address) {
  if (!contains(address, 2) || address % 2 != 0) return {};
  std::uint16_t value = 0;
  const auto* where = reinterpret_cast<const std::uint16_t*>(at(address));
  if (!guarded([&] { value = __atomic_load_n(where, __ATOMIC_ACQUIRE); })) return {};
  return value;
}

bool MappedMemory::store16(std::uint64_t address, std::uint16_t value) {
  if (!contains(address, 2) || address % 2 != 0) return false;
  note_written(address, 2);
  auto* where = reinterpret_cast<std::uint16_t*>(at(address));
  return guarded([&] { __atomic_store_n(where, value, __ATOMIC_RELEASE); });
}

bool MappedMemory::touch(std::uint32_t page) {
  const auto* where =
      reinterpret_cast<const volatile std::byte*>(memory_.data() + std::size_t{page} * machine::page_bytes);
  return guarded([&] { (void)*where; });
}

void MappedMemory::note_written(std::uint64_t address, std::uint64_t bytes) {
  if (bytes == 0) return;
  const auto first = static_cast<std::uint32_t>((address - machine::ram_base) / machine::page_bytes);
  const auto last = static_cast<std::uint32_t>((address - machine::ram_base + bytes - 1) / machine::page_bytes);
  for (std::uint32_t page = first; page <= last; ++page) dirty_[page / 32] |= 1u << (page % 32);
}

std::vector<std::uint32_t> MappedMemory::take_dirty() {
  return std::exchange(dirty_, std::vector<std::uint32_t>(dirty_.size()));
}

}  // namespace amphion::instance
