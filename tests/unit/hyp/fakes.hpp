// SPDX-License-Identifier: Apache-2.0
// Physical memory and CPU maintenance on the PC: an array that stands at a physical address, and a recorder.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "hyp/address.hpp"
#include "hyp/page_pool.hpp"
#include "hyp/physical_memory.hpp"

namespace amphion::hyp {

class FakeRam {
 public:
  explicit FakeRam(std::uint32_t pages, Phys base = Phys(0x8000'0000))
      : base_(base), pages_(pages), bytes_(static_cast<std::byte*>(std::aligned_alloc(page_bytes, size()))) {
    std::memset(bytes_.get(), 0xa5, size());  // what the boot left there
  }

  [[nodiscard]] Phys base() const { return base_; }
  [[nodiscard]] std::size_t size() const { return std::size_t{pages_} * page_bytes; }
  [[nodiscard]] Memory memory() const {
    return Memory(reinterpret_cast<std::uintptr_t>(bytes_.get()) - static_cast<std::uintptr_t>(base_.value()));
  }
  [[nodiscard]] bool is_zero(Phys page) const {
    const auto* bytes = static_cast<const std::byte*>(memory().at(page));
    for (std::uint32_t i = 0; i < page_bytes; ++i) {
      if (bytes[i] != std::byte{0}) return false;
    }
    return true;
  }
  void scribble(Phys page) const { std::memset(memory().at(page), 0x5a, page_bytes); }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  Phys base_;
  std::uint32_t pages_;
  std::unique_ptr<std::byte, Free> bytes_;
};

class FakeMaintenance final : public Maintenance {
 public:
  void publish(const void*, std::uint32_t) override { ++published; }
  void invalidate_ipa(Vmid, Ipa address) override { invalidated.push_back(address); }
  void invalidate_vmid(Vmid) override { ++invalidated_all; }
  void clean_invalidate(Phys start, std::uint32_t) override { cleaned.push_back(start); }
  void invalidate_instructions() override { ++instructions; }
  void clear() { *this = FakeMaintenance(); }

  std::uint32_t published = 0;
  std::uint32_t invalidated_all = 0;
  std::uint32_t instructions = 0;
  std::vector<Ipa> invalidated;
  std::vector<Phys> cleaned;
};

}  // namespace amphion::hyp
