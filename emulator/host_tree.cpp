// SPDX-License-Identifier: Apache-2.0
// See host_tree.hpp. Edits are made with libfdt on a copy that has room to grow.
#include "emulator/host_tree.hpp"

#include <libfdt.h>

#include <array>
#include <cstring>
#include <stdexcept>

namespace amphion::emulator {
namespace {

constexpr int room_for_edits_bytes = 16384;
constexpr std::uint32_t interrupt_spi = 0;
constexpr std::uint32_t interrupt_edge_rising = 1;

class Tree {
 public:
  explicit Tree(const std::vector<std::uint8_t>& board_tree) {
    if (board_tree.size() < sizeof(fdt_header) || fdt_check_full(board_tree.data(), board_tree.size()) != 0) {
      throw std::runtime_error("the board's device tree is damaged: dump it again");
    }
    blob_.resize(board_tree.size() + room_for_edits_bytes);
    require(fdt_open_into(board_tree.data(), blob_.data(), static_cast<int>(blob_.size())), "open");
  }

  [[nodiscard]] int find(const char* path) const {
    const int node = fdt_path_offset(blob_.data(), path);
    if (node < 0) throw std::runtime_error(std::string("the board's device tree has no ") + path);
    return node;
  }
  [[nodiscard]] int find_if_there(const char* path) const { return fdt_path_offset(blob_.data(), path); }
  [[nodiscard]] int find_compatible(const char* compatible) const {
    return fdt_node_offset_by_compatible(blob_.data(), -1, compatible);
  }
  [[nodiscard]] int find_device_type(const char* type, int after = -1) const {
    return fdt_node_offset_by_prop_value(blob_.data(), after, "device_type", type,
                                         static_cast<int>(std::strlen(type) + 1));
  }
  // Bytes of one region (address and size) in the node's "reg".
  [[nodiscard]] int region_bytes(int node) const {
    const int parent = fdt_parent_offset(blob_.data(), node);
    return 4 * (fdt_address_cells(blob_.data(), parent) + fdt_size_cells(blob_.data(), parent));
  }

  void remove_node(int node) {
    if (node >= 0) require(fdt_del_node(blob_.data(), node), "remove a node");
  }
  void remove_property(int node, const char* name) {
    const int result = fdt_delprop(blob_.data(), node, name);
    if (result != -FDT_ERR_NOTFOUND) require(result, name);
  }
  void set_text(int node, const char* name, const std::string& value) {
    require(fdt_setprop(blob_.data(), node, name, value.c_str(), static_cast<int>(value.size() + 1)), name);
  }
  template <std::size_t N>
  void set_cells(int node, const char* name, const std::array<std::uint32_t, N>& cells) {
    std::array<fdt32_t, N> big{};
    for (std::size_t i = 0; i < N; ++i) big[i] = cpu_to_fdt32(cells[i]);
    require(fdt_setprop(blob_.data(), node, name, big.data(), static_cast<int>(sizeof(big))), name);
  }
  // "reg" of a child of the root.
  void set_region(int node, std::uint32_t base, std::uint32_t bytes) {
    if (region_bytes(node) == 8) return set_cells(node, "reg", std::array<std::uint32_t, 2>{base, bytes});
    set_cells(node, "reg", std::array<std::uint32_t, 4>{0, base, 0, bytes});
  }
  // Keeps the first `bytes` of a property.
  void shorten(int node, const char* name, int bytes) {
    int length = 0;
    const auto* data = static_cast<const std::uint8_t*>(fdt_getprop(blob_.data(), node, name, &length));
    if (data == nullptr || length < bytes) throw std::runtime_error(std::string("unexpected property ") + name);
    const std::vector<std::uint8_t> kept(data, data + bytes);
    require(fdt_setprop(blob_.data(), node, name, kept.data(), bytes), name);
  }
  [[nodiscard]] int add_node(const char* name) {
    const int node = fdt_add_subnode(blob_.data(), 0, name);
    require(node < 0 ? node : 0, name);
    return node;
  }

  [[nodiscard]] std::vector<std::uint8_t> packed() {
    require(fdt_pack(blob_.data()), "pack");
    blob_.resize(fdt_totalsize(blob_.data()));
    return blob_;
  }

 private:
  static void require(int result, const char* what) {
    if (result != 0) throw std::runtime_error(std::string("device tree: ") + what + ": " + fdt_strerror(result));
  }
  std::vector<std::uint8_t> blob_;
};

void hide_what_the_hypervisor_keeps(Tree& tree) {
  int gic = tree.find_compatible("arm,cortex-a15-gic");
  if (gic < 0) gic = tree.find_compatible("arm,gic-400");
  if (gic < 0) throw std::runtime_error("the board's device tree has no GICv2");
  tree.shorten(gic, "reg", 2 * tree.region_bytes(gic));  // distributor and CPU interface
  tree.remove_property(gic, "interrupts");
  tree.remove_node(tree.find_compatible("arm,gic-v2m-frame"));
  const int pcie = tree.find_compatible("pci-host-ecam-generic");
  if (pcie >= 0) tree.remove_property(pcie, "msi-map");
  tree.remove_node(tree.find_compatible("qemu,fw-cfg-mmio"));
  for (const char* counters : {"arm,cortex-a15-pmu", "arm,cortex-a7-pmu", "arm,armv7-pmu"}) {
    tree.remove_node(tree.find_compatible(counters));
  }
}

// What a board's tree reserves it reserves for a Linux that has all of the memory.
void describe_memory(Tree& tree, const HostTreePlan& plan) {
  tree.remove_node(tree.find_if_there("/reserved-memory"));
  for (int node = tree.find_device_type("memory"); node >= 0; node = tree.find_device_type("memory")) {
    tree.remove_node(node);
  }
  const int memory = tree.add_node("memory");
  tree.set_text(memory, "device_type", "memory");
  tree.set_region(memory, plan.memory_base, plan.memory_bytes);
}

void describe_boot(Tree& tree, const HostTreePlan& plan) {
  const int chosen = tree.find("/chosen");
  tree.remove_property(chosen, "rng-seed");
  tree.remove_property(chosen, "kaslr-seed");
  tree.set_text(chosen, "bootargs", plan.bootargs);
  if (plan.initrd_bytes == 0) return;
  tree.set_cells(chosen, "linux,initrd-start", std::array<std::uint32_t, 1>{plan.initrd_base});
  tree.set_cells(chosen, "linux,initrd-end", std::array<std::uint32_t, 1>{plan.initrd_base + plan.initrd_bytes});
}

void describe_cpus(Tree& tree) {
  for (int cpu = tree.find_device_type("cpu"); cpu >= 0; cpu = tree.find_device_type("cpu", cpu)) {
    tree.remove_property(cpu, "operating-points");
    tree.remove_property(cpu, "operating-points-v2");
    tree.set_text(cpu, "enable-method", "psci");
  }
}

// Linux takes PSCI 0.2 and later as the board's power switch; 0.1, whose functions are named here, has CPUs only.
void describe_psci(Tree& tree, bool firmware_power) {
  constexpr std::uint32_t cpu_suspend = 0x8400'0001, cpu_off = 0x8400'0002, cpu_on = 0x8400'0003;
  tree.remove_node(tree.find_if_there("/psci"));
  const int psci = tree.add_node("psci");
  tree.set_text(psci, "compatible", firmware_power ? "arm,psci-1.0" : "arm,psci");
  tree.set_text(psci, "method", "hvc");
  if (firmware_power) return;
  tree.set_cells(psci, "cpu_suspend", std::array{cpu_suspend});
  tree.set_cells(psci, "cpu_off", std::array{cpu_off});
  tree.set_cells(psci, "cpu_on", std::array{cpu_on});
}

}  // namespace

std::vector<std::uint8_t> finish_host_tree(const std::vector<std::uint8_t>& board_tree, const HostTreePlan& plan) {
  Tree tree(board_tree);
  hide_what_the_hypervisor_keeps(tree);
  describe_memory(tree, plan);
  describe_boot(tree, plan);
  describe_cpus(tree);
  describe_psci(tree, plan.firmware_power);
  const int amphion = tree.add_node("amphion");
  tree.set_text(amphion, "compatible", "amphion,hypervisor");
  tree.set_cells(amphion, "interrupts",
                 std::array<std::uint32_t, 3>{interrupt_spi, plan.event_spi, interrupt_edge_rising});
  return tree.packed();
}

}  // namespace amphion::emulator
