// SPDX-License-Identifier: Apache-2.0
// Configuration space of the phone machine's PCIe functions after reset, and which bits a guest can write.
// Read out of QEMU 11.1's gpex host bridge (1b36:0008) and pcie-root-port (1b36:000c); what is not listed reads 0 and
// is not writable. Absent functions, and the host bridge from offset 0x100 on, read all ones. Freestanding: constants
// only. Registers are little-endian 32-bit words.
#pragma once

#include <array>
#include <cstdint>

namespace amphion::machine {

struct PcieWord {
  std::uint32_t offset;
  std::uint32_t reset;
  std::uint32_t writable;
};

inline constexpr std::uint32_t pcie_bridge_config_bytes = 256;
inline constexpr std::uint32_t pcie_port_config_bytes = 4096;

inline constexpr auto pcie_host_bridge = std::to_array<PcieWord>({
    {0x000, 0x0008'1b36, 0},
    {0x004, 0x0000'0000, 0x0000'0507},  // command
    {0x008, 0x0600'0000, 0},
    {0x00c, 0x0000'0000, 0x0000'00ff},
    {0x02c, 0x1100'1af4, 0},
    {0x03c, 0x0000'0000, 0x0000'00ff},
});

// Root port n (0..3) is device n + 1; two words depend on n: see pcie_root_port_reset().
inline constexpr auto pcie_root_port = std::to_array<PcieWord>({
    {0x000, 0x000c'1b36, 0},
    {0x004, 0x0010'0000, 0x0000'0507},  // command; status: capabilities list
    {0x008, 0x0604'0000, 0},
    {0x00c, 0x0001'0000, 0x0000'00ff},  // header type 1
    {0x010, 0x0000'0000, 0xffff'f000},  // BAR 0: 4 KiB of memory (MSI-X table; nothing uses it without an MSI
                                        // controller)
    {0x018, 0x0000'0000, 0x00ff'ffff},  // primary, secondary, subordinate bus
    {0x01c, 0x0000'00f0, 0x0000'f0f0},  // I/O window: closed
    {0x020, 0x0000'fff0, 0xfff0'fff0},  // memory window: closed
    {0x024, 0x0001'fff1, 0xfff0'fff0},  // prefetchable window: closed
    {0x028, 0x0000'0000, 0xffff'ffff},  // upper halves of the prefetchable window
    {0x02c, 0x0000'0000, 0xffff'ffff},
    {0x034, 0x0000'0054, 0},
    {0x03c, 0x0000'0100, 0x005f'00ff},  // interrupt pin INTA; bridge control
    {0x040, 0x0000'000d, 0},            // subsystem
    {0x044, 0x0000'1b36, 0},
    {0x048, 0x0000'4011, 0xc000'0000},  // MSI-X
    {0x050, 0x0000'0800, 0},
    {0x054, 0x0142'4810, 0},  // PCI Express: root port with slot
    {0x058, 0x0000'8020, 0},
    {0x05c, 0x0000'0000, 0x0000'000f},  // device control
    {0x060, 0x0030'0604, 0},            // link capabilities; port number n in 31..24
    {0x064, 0x0204'0000, 0},            // link status
    {0x068, 0x0002'007b, 0},            // slot capabilities; physical slot n + 1 in 31..19
    {0x06c, 0x0000'07c0, 0x0000'07f9},  // slot control
    {0x070, 0x0000'0000, 0x0000'0007},  // root control
    {0x078, 0x0030'0020, 0},
    {0x07c, 0x0000'0000, 0x0000'8020},  // device control 2
    {0x080, 0x0000'001e, 0},
    {0x084, 0x0000'0004, 0},
    {0x100, 0x1482'0001, 0},  // advanced error reporting
    {0x108, 0x0240'0000, 0x03ff'f030},
    {0x10c, 0x0046'2030, 0x03ff'f030},
    {0x114, 0x0000'e000, 0x0000'f1c1},
    {0x118, 0x0000'02a0, 0x0000'0540},
    {0x12c, 0x0000'0000, 0x0000'0007},
    {0x148, 0x0001'000d, 0},  // access control services
    {0x14c, 0x0000'005f, 0x005f'0000},
});

[[nodiscard]] constexpr std::uint32_t pcie_root_port_reset(const PcieWord& word, std::uint32_t port) {
  if (word.offset == 0x060) return word.reset | port << 24;
  if (word.offset == 0x068) return word.reset | (port + 1) << 19;
  return word.reset;
}

}  // namespace amphion::machine
