// SPDX-License-Identifier: Apache-2.0
// See host_tree.hpp. Edits are made with libfdt on a copy that has room to grow.
#include "emulator/host_tree.hpp"

#include <libfdt.h>

#include <array>
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
  [[nodiscard]] int find_compatible(const char* compatible) const {
    return fdt_node_offset_by_compatible(blob_.data(), -1, compatible);
  }
  [[nodiscard]] int child_of_root(const char* prefix) const {
    int node = 0;
    fdt_for_each_subnode(node, blob_.data(), 0) {
      if (std::string_view(fdt_get_name(blob_.data(), node, nullptr)).starts_with(prefix)) return node;
    }
    throw std::runtime_error(std::string("the board's device tree has no node ") + prefix);
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
  const int gic = tree.find_compatible("arm,cortex-a15-gic");
  if (gic < 0) throw std::runtime_error("the board's device tree has no GICv2");
  constexpr int two_regions_bytes = 2 * 4 * 4;  // distributor and CPU interface, two cells each for address and size
  tree.shorten(gic, "reg", two_regions_bytes);
  tree.remove_property(gic, "interrupts");
  tree.remove_node(tree.find_compatible("arm,gic-v2m-frame"));
  const int pcie = tree.find_compatible("pci-host-ecam-generic");
  if (pcie >= 0) tree.remove_property(pcie, "msi-map");
  tree.remove_node(tree.find_compatible("qemu,fw-cfg-mmio"));
  tree.remove_node(tree.find_compatible("arm,cortex-a15-pmu"));
  tree.remove_node(tree.find_compatible("arm,armv7-pmu"));
}

void describe_memory_and_boot(Tree& tree, const HostTreePlan& plan) {
  tree.remove_node(tree.child_of_root("memory@"));
  const int memory = tree.add_node("memory");
  tree.set_text(memory, "device_type", "memory");
  tree.set_cells(memory, "reg", std::array<std::uint32_t, 4>{0, plan.memory_base, 0, plan.memory_bytes});

  const int chosen = tree.find("/chosen");
  tree.remove_property(chosen, "rng-seed");
  tree.remove_property(chosen, "kaslr-seed");
  tree.set_text(chosen, "bootargs", plan.bootargs);
  if (plan.initrd_bytes == 0) return;
  tree.set_cells(chosen, "linux,initrd-start", std::array<std::uint32_t, 1>{plan.initrd_base});
  tree.set_cells(chosen, "linux,initrd-end", std::array<std::uint32_t, 1>{plan.initrd_base + plan.initrd_bytes});
}

}  // namespace

std::vector<std::uint8_t> finish_host_tree(const std::vector<std::uint8_t>& board_tree, const HostTreePlan& plan) {
  Tree tree(board_tree);
  hide_what_the_hypervisor_keeps(tree);
  describe_memory_and_boot(tree, plan);
  tree.set_text(tree.find("/psci"), "method", "hvc");
  const int amphion = tree.add_node("amphion");
  tree.set_text(amphion, "compatible", "amphion,hypervisor");
  tree.set_cells(amphion, "interrupts",
                 std::array<std::uint32_t, 3>{interrupt_spi, plan.event_spi, interrupt_edge_rising});
  return tree.packed();
}

}  // namespace amphion::emulator
