// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/loader.hpp"

#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "machine/device_tree.hpp"

namespace amphion::instance {
namespace {

constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::uint32_t svc_masked = 0x1d3;  // SVC mode, aborts, interrupts and fast interrupts masked
constexpr std::uint32_t no_machine_number = ~0u;

// Copies a file to `offset` of memory; it must end below `limit`. Its size in `bytes`.
Problem load_file(int file, const std::string& what, std::uint32_t offset, std::uint64_t limit, MappedMemory& memory,
                  std::uint64_t& bytes) {
  std::vector<std::byte> piece(piece_bytes);
  for (bytes = 0;;) {
    const ssize_t done = pread(file, piece.data(), piece_bytes, static_cast<off_t>(bytes));
    if (done < 0) return what + " cannot be read: " + std::strerror(errno);
    if (done == 0) break;
    const auto n = static_cast<std::size_t>(done);
    if (offset + bytes + n > limit) return what + " does not fit into the instance's memory; give it more";
    if (!memory.write(machine::ram_base + offset + bytes, std::span(piece).first(n)))
      return what + " does not fit below the instance's memory bound; raise the bound";
    bytes += n;
  }
  if (bytes == 0) return what + " is empty";
  return {};
}

std::vector<std::uint8_t> random_seed() {
  std::vector<std::uint8_t> seed(64);
  if (getrandom(seed.data(), seed.size(), 0) != static_cast<ssize_t>(seed.size())) seed.clear();
  return seed;
}

}  // namespace

Problem load(const BootFiles& files, const machine::Shape& shape, std::uint32_t counter_frequency,
             MappedMemory& memory) {
  const std::uint64_t limit = shape.memory_bytes - machine::screen_region_bytes;
  std::uint64_t kernel_bytes = 0, initrd_bytes = 0;
  if (auto problem = load_file(files.kernel, "the kernel", machine::kernel_offset, machine::device_tree_offset, memory,
                               kernel_bytes))
    return problem;
  if (files.initrd >= 0)
    if (auto problem =
            load_file(files.initrd, "the initial file system", machine::initrd_offset, limit, memory, initrd_bytes))
      return problem;

  machine::DeviceTreeInput input{
      .shape = shape, .counter_frequency = counter_frequency, .cmdline = files.cmdline, .rng_seed = random_seed()};
  if (initrd_bytes != 0) {
    input.initrd_start = machine::ram_base + machine::initrd_offset;
    input.initrd_end = static_cast<std::uint32_t>(input.initrd_start + initrd_bytes);
  }
  const auto tree = machine::make_device_tree(input);
  if (tree.empty()) return "no device tree can be made for this instance; check its shape and command line";
  if (tree.size() > machine::initrd_offset - machine::device_tree_offset ||
      !memory.write(machine::ram_base + machine::device_tree_offset, std::as_bytes(std::span(tree))))
    return "the device tree does not fit below the instance's memory bound; raise the bound";
  return {};
}

amphion_vcpu entry_state(const amphion_vcpu& reset) {
  amphion_vcpu entry = reset;
  entry.power = 1;
  entry.cpsr = svc_masked;
  entry.r[0] = 0;
  entry.r[1] = no_machine_number;
  entry.r[2] = machine::ram_base + machine::device_tree_offset;
  entry.pc = machine::ram_base + machine::kernel_offset;
  return entry;
}

}  // namespace amphion::instance
