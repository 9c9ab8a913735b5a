// SPDX-License-Identifier: Apache-2.0
// hyp-tree: writes the device tree of a phone instance, so that the bare machine boots from the same one, and says
// where the phone's loader puts kernel, tree and initial file system. Usage: hyp-tree MEMORY_MIB INITRD_BYTES CMDLINE
// OUT
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "machine/device_tree.hpp"

int main(int argc, char** argv) {
  using namespace amphion::machine;
  constexpr std::uint32_t counter_frequency = 62'500'000;  // QEMU's
  if (argc != 5) return 2;
  DeviceTreeInput input{.shape = {1, std::strtoull(argv[1], nullptr, 10) << 20},
                        .counter_frequency = counter_frequency,
                        .cmdline = argv[3],
                        .initrd_start = ram_base + initrd_offset};
  input.initrd_end = static_cast<std::uint32_t>(input.initrd_start + std::strtoull(argv[2], nullptr, 10));
  input.rng_seed.assign(64, 0x5a);
  const auto tree = make_device_tree(input);
  std::ofstream file(argv[4], std::ios::binary);
  file.write(reinterpret_cast<const char*>(tree.data()), static_cast<std::streamsize>(tree.size()));
  std::printf("%u %u %u\n", ram_base + kernel_offset, ram_base + device_tree_offset, ram_base + initrd_offset);
  return tree.empty() || !file ? 1 : 0;
}
