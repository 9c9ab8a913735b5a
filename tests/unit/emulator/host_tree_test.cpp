// SPDX-License-Identifier: Apache-2.0
// What the host instance is told of the board: its own memory, no GIC virtualization, the hypervisor's interrupt.
#include "emulator/host_tree.hpp"

#include <gtest/gtest.h>
#include <libfdt.h>

#include <array>
#include <string_view>

namespace amphion::emulator {
namespace {

constexpr HostTreePlan plan_without_text{.memory_base = 0x48000000,
                                         .memory_bytes = 256u << 20,
                                         .initrd_base = 0x4e000000,
                                         .initrd_bytes = 0x1234,
                                         .event_spi = 200,
                                         .firmware_power = true,
                                         .bootargs = {}};

void add_reg(void* blob, int node, const std::vector<std::uint32_t>& cells) {
  for (const std::uint32_t cell : cells) fdt_appendprop_u32(blob, node, "reg", cell);
}

// As much of QEMU's tree as is edited.
std::vector<std::uint8_t> board_tree(bool with_gic = true) {
  std::vector<std::uint8_t> blob(8192);
  fdt_create_empty_tree(blob.data(), static_cast<int>(blob.size()));
  fdt_setprop_u32(blob.data(), 0, "#address-cells", 2);
  fdt_setprop_u32(blob.data(), 0, "#size-cells", 2);
  const int memory = fdt_add_subnode(blob.data(), 0, "memory@40000000");
  fdt_setprop_string(blob.data(), memory, "device_type", "memory");
  add_reg(blob.data(), memory, {0, 0x40000000, 0, 0x40000000});
  const int psci = fdt_add_subnode(blob.data(), 0, "psci");
  fdt_setprop_string(blob.data(), psci, "method", "smc");
  const int chosen = fdt_add_subnode(blob.data(), 0, "chosen");
  fdt_setprop_u32(blob.data(), chosen, "rng-seed", 1);
  if (with_gic) {
    const int gic = fdt_add_subnode(blob.data(), 0, "intc@8000000");
    fdt_setprop_string(blob.data(), gic, "compatible", "arm,cortex-a15-gic");
    add_reg(blob.data(), gic, {0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000, 0, 0x8030000, 0, 0x10000});
    fdt_setprop_u32(blob.data(), gic, "interrupts", 9);
    const int frame = fdt_add_subnode(blob.data(), gic, "v2m@8020000");
    fdt_setprop_string(blob.data(), frame, "compatible", "arm,gic-v2m-frame");
  }
  fdt_pack(blob.data());
  blob.resize(fdt_totalsize(blob.data()));
  return blob;
}

std::vector<std::uint32_t> cells(const std::vector<std::uint8_t>& tree, const char* path, const char* name) {
  int length = 0;
  const auto* data =
      static_cast<const fdt32_t*>(fdt_getprop(tree.data(), fdt_path_offset(tree.data(), path), name, &length));
  std::vector<std::uint32_t> result;
  for (int i = 0; data != nullptr && i < length / 4; ++i) result.push_back(fdt32_to_cpu(data[i]));
  return result;
}

std::string_view text(const std::vector<std::uint8_t>& tree, const char* path, const char* name) {
  const auto* data =
      static_cast<const char*>(fdt_getprop(tree.data(), fdt_path_offset(tree.data(), path), name, nullptr));
  return data == nullptr ? "" : data;
}

TEST(HostTree, NamesOnlyTheHostsMemoryAndBoot) {
  HostTreePlan plan = plan_without_text;
  plan.bootargs = "console=ttyAMA0";
  const auto tree = finish_host_tree(board_tree(), plan);
  EXPECT_LT(fdt_path_offset(tree.data(), "/memory@40000000"), 0);
  EXPECT_EQ(cells(tree, "/memory", "reg"), (std::vector<std::uint32_t>{0, 0x48000000, 0, 256u << 20}));
  EXPECT_EQ(text(tree, "/chosen", "bootargs"), "console=ttyAMA0");
  EXPECT_EQ(cells(tree, "/chosen", "linux,initrd-end"), std::vector<std::uint32_t>{0x4e001234});
  EXPECT_TRUE(cells(tree, "/chosen", "rng-seed").empty());
}

TEST(HostTree, HidesTheGicsVirtualization) {
  const auto tree = finish_host_tree(board_tree(), plan_without_text);
  EXPECT_EQ(cells(tree, "/intc@8000000", "reg").size(), 8u);
  EXPECT_TRUE(cells(tree, "/intc@8000000", "interrupts").empty());
  EXPECT_LT(fdt_path_offset(tree.data(), "/intc@8000000/v2m@8020000"), 0);
}

TEST(HostTree, TellsHowToReachTheHypervisor) {
  const auto tree = finish_host_tree(board_tree(), plan_without_text);
  EXPECT_EQ(text(tree, "/psci", "method"), "hvc");
  EXPECT_EQ(text(tree, "/amphion", "compatible"), "amphion,hypervisor");
  EXPECT_EQ(cells(tree, "/amphion", "interrupts"), (std::vector<std::uint32_t>{0, 200, 1}));
}

TEST(HostTree, LeavesTheBoardsPowerToDriversWhereTheFirmwareHasNone) {
  HostTreePlan plan = plan_without_text;
  EXPECT_EQ(text(finish_host_tree(board_tree(), plan), "/psci", "compatible"), "arm,psci-1.0");
  plan.firmware_power = false;
  const auto tree = finish_host_tree(board_tree(), plan);
  EXPECT_EQ(text(tree, "/psci", "compatible"), "arm,psci");
  EXPECT_EQ(text(tree, "/psci", "method"), "hvc");
  EXPECT_EQ(cells(tree, "/psci", "cpu_on"), std::vector<std::uint32_t>{0x84000003});
}

TEST(HostTree, RefusesWhatIsNoBoardsTree) {
  EXPECT_THROW((void)finish_host_tree({}, plan_without_text), std::runtime_error);
  auto cut = board_tree();
  cut.resize(cut.size() / 2);
  EXPECT_THROW((void)finish_host_tree(cut, plan_without_text), std::runtime_error);
  EXPECT_THROW((void)finish_host_tree(board_tree(false), plan_without_text), std::runtime_error);
}

}  // namespace
}  // namespace amphion::emulator
