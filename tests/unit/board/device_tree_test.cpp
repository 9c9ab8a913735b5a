// SPDX-License-Identifier: Apache-2.0
// Every constant of the Allwinner boards against the device tree that Debian's kernel has for the board, and the host's
// tree that is made of it. What a tree does not tell (PSCI's numbers, where RAM ends) is U-Boot's and stands in the
// README.
#include <gtest/gtest.h>
#include <libfdt.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "board/boards.hpp"
#include "emulator/host_tree.hpp"

namespace amphion::board {
namespace {

using Cells = std::vector<std::uint32_t>;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t private_interrupt = 1, shared_interrupt = 0;
constexpr std::uint32_t first_private = 16, first_shared = 32;

struct Case {
  const hyp::Board* board;
  const char* tree;
  const char* compatible;
};

Bytes read_tree(const std::string& name) {
  const char* cache = std::getenv("AMPHION_CACHE");
  const char* home = std::getenv("HOME");
  const std::string base = cache != nullptr ? cache : std::string(home != nullptr ? home : "") + "/.cache/amphion";
  const std::string path = base + "/boards/dtb/" + name;
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "no " << path << ": run toolchain/boards.sh";
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Tree {
 public:
  explicit Tree(Bytes bytes) : bytes_(std::move(bytes)) { EXPECT_EQ(fdt_check_full(data(), bytes_.size()), 0); }

  [[nodiscard]] const void* data() const { return bytes_.data(); }
  [[nodiscard]] int path(const char* path) const { return fdt_path_offset(data(), path); }
  [[nodiscard]] int compatible(const char* name) const { return fdt_node_offset_by_compatible(data(), -1, name); }
  [[nodiscard]] bool has(int node, const char* name) const {
    return fdt_getprop(data(), node, name, nullptr) != nullptr;
  }
  [[nodiscard]] std::string text(int node, const char* name) const {
    const void* value = fdt_getprop(data(), node, name, nullptr);
    return value == nullptr ? "" : static_cast<const char*>(value);
  }
  [[nodiscard]] Cells cells(int node, const char* name) const {
    int bytes = 0;
    const auto* value = static_cast<const fdt32_t*>(fdt_getprop(data(), node, name, &bytes));
    Cells result;
    for (int i = 0; value != nullptr && i < bytes / 4; ++i) result.push_back(fdt32_to_cpu(value[i]));
    return result;
  }
  [[nodiscard]] std::vector<int> cpus() const {
    std::vector<int> found;
    int node = 0;
    fdt_for_each_subnode(node, data(), path("/cpus")) {
      if (text(node, "device_type") == "cpu") found.push_back(node);
    }
    return found;
  }
  // INTIDs of all interrupts that go straight to the GIC: three cells each.
  [[nodiscard]] Cells shared_interrupts() const {
    Cells found;
    for (int node = 0; node >= 0; node = fdt_next_node(data(), node, nullptr)) {
      const Cells raw = cells(node, "interrupts");
      for (std::size_t i = 0; raw.size() % 3 == 0 && i < raw.size(); i += 3) {
        if (raw[i] == shared_interrupt) found.push_back(first_shared + raw[i + 1]);
      }
    }
    return found;
  }

 private:
  Bytes bytes_;
};

class BoardTree : public testing::TestWithParam<Case> {
 protected:
  const hyp::Board& board = *GetParam().board;
  const Bytes bytes = read_tree(GetParam().tree);
  const Tree tree{bytes};
  const int gic = tree.compatible("arm,gic-400");
};

TEST_P(BoardTree, IsThisBoards) { EXPECT_EQ(tree.text(0, "compatible"), GetParam().compatible); }

TEST_P(BoardTree, HasTheCpus) {
  const auto cpus = tree.cpus();
  ASSERT_EQ(cpus.size(), board.max_cpus);
  for (std::uint32_t i = 0; i < board.max_cpus; ++i) {
    EXPECT_EQ(tree.cells(cpus[i], "reg"), Cells{i}) << "PSCI numbers CPUs from 0 on";
    EXPECT_EQ(tree.text(cpus[i], "compatible"), "arm,cortex-a7");
  }
}

TEST_P(BoardTree, HasTheGic) {
  const Cells reg = tree.cells(gic, "reg");
  ASSERT_EQ(reg.size(), 8u);
  EXPECT_EQ(reg[0], board.gic.distributor);
  EXPECT_EQ(reg[2], board.gic.cpu_interface);
  EXPECT_EQ(reg[4], board.gic.virtual_control);
  EXPECT_EQ(reg[6], board.gic.virtual_interface);
  EXPECT_EQ(board.gic.region_base, reg[0]) << "what is hidden from the host is the GIC, the whole GIC,";
  EXPECT_EQ(board.gic.region_base + board.gic.region_bytes, reg[6] + reg[7]) << "and nothing but the GIC";
}

TEST_P(BoardTree, HasTheInterrupts) {
  const Cells maintenance = tree.cells(gic, "interrupts");
  ASSERT_EQ(maintenance.size(), 3u);
  EXPECT_EQ(maintenance[0], private_interrupt);
  EXPECT_EQ(first_private + maintenance[1], board.interrupts.maintenance);

  const Cells timer = tree.cells(tree.compatible("arm,armv7-timer"), "interrupts");  // secure, not, virtual, hypervisor
  ASSERT_EQ(timer.size(), 12u);
  EXPECT_EQ(timer[6], private_interrupt);
  EXPECT_EQ(first_private + timer[7], board.interrupts.virtual_timer);
  EXPECT_EQ(timer[9], private_interrupt);
  EXPECT_EQ(first_private + timer[10], board.interrupts.hypervisor_timer);

  for (const std::uint32_t used : tree.shared_interrupts()) EXPECT_LT(used, board.interrupts.amphion_event);
}

TEST_P(BoardTree, HasTheConsole) {
  const int aliases = tree.path("/aliases");
  const int uart = tree.path(tree.text(aliases, "serial0").c_str());
  ASSERT_GE(uart, 0);
  EXPECT_EQ(tree.text(uart, "compatible"), "snps,dw-apb-uart");
  EXPECT_EQ(board.uart.kind, hyp::Board::Uart::Kind::designware);
  EXPECT_EQ(tree.cells(uart, "reg").at(0), board.uart.base);
  EXPECT_EQ(tree.cells(uart, "reg-shift"), Cells{2});
  EXPECT_EQ(tree.cells(uart, "reg-io-width"), Cells{4});
  EXPECT_EQ(tree.text(tree.path("/chosen"), "stdout-path"), "serial0:115200n8");
}

// Registers by U-Boot's drivers/watchdog/sunxi_wdt.c: offsets in the node's region, and what a reset is.
TEST_P(BoardTree, IsResetByItsWatchdog) {
  constexpr std::uint32_t restart = 0xa57 << 1 | 1, enabled = 1;
  const int old_kind = tree.compatible("allwinner,sun4i-a10-wdt"),
            new_kind = tree.compatible("allwinner,sun6i-a31-wdt");
  ASSERT_TRUE(old_kind >= 0 || new_kind >= 0);
  const std::uint32_t base = tree.cells(old_kind >= 0 ? old_kind : new_kind, "reg").at(0);
  const auto expect = [&](std::size_t i, std::uint32_t address, std::uint32_t value) {
    EXPECT_EQ(board.reset.at(i).address, address) << i;
    EXPECT_EQ(board.reset.at(i).value, value) << i;
  };
  if (old_kind >= 0) {
    constexpr std::uint32_t resets = 2;
    expect(0, base + 4, resets | enabled);
    expect(1, base, restart);
    EXPECT_EQ(board.reset[2].address, 0u);
  } else {
    constexpr std::uint32_t resets_all = 1;
    expect(0, base + 0x14, resets_all);
    expect(1, base + 0x18, enabled);
    expect(2, base + 0x10, restart);
  }
}

// Neither tree tells where RAM is (U-Boot adds that), but no device lies in it.
TEST_P(BoardTree, HasNoDeviceInRam) {
  int node = 0;
  fdt_for_each_subnode(node, tree.data(), tree.path("/soc")) {
    const Cells reg = tree.cells(node, "reg");
    EXPECT_TRUE(reg.empty() || reg[0] < board.ram_base) << fdt_get_name(tree.data(), node, nullptr);
  }
  EXPECT_LE(board.ram_base, board.load_address);
  EXPECT_LT(board.load_address, board.ram_base + board.hypervisor_bytes);
  EXPECT_LT(board.ram_base + board.hypervisor_bytes, board.bundle_limit);
}

TEST_P(BoardTree, BecomesTheHosts) {
  const Tree host(emulator::finish_host_tree(bytes, {.memory_base = 0x4800'0000,
                                                     .memory_bytes = 256u << 20,
                                                     .initrd_base = 0x4e00'0000,
                                                     .initrd_bytes = 0x1000,
                                                     .event_spi = board.interrupts.amphion_event - first_shared,
                                                     .firmware_power = board.psci_system_off != hyp::Board::no_function,
                                                     .bootargs = "console=ttyS0,115200"}));
  EXPECT_EQ(host.cells(host.path("/memory"), "reg"), (Cells{0x4800'0000, 256u << 20}));
  EXPECT_LT(host.path("/reserved-memory"), 0);
  EXPECT_EQ(host.cells(host.compatible("arm,gic-400"), "reg").size(), 4u);
  EXPECT_EQ(host.text(host.path("/psci"), "compatible"), "arm,psci");
  EXPECT_LT(host.compatible("arm,cortex-a7-pmu"), 0);
  ASSERT_EQ(host.cpus().size(), board.max_cpus);
  for (const int cpu : host.cpus()) {
    EXPECT_EQ(host.text(cpu, "enable-method"), "psci");
    EXPECT_FALSE(host.has(cpu, "operating-points"));
    EXPECT_FALSE(host.has(cpu, "operating-points-v2"));
  }
}

INSTANTIATE_TEST_SUITE_P(Boards, BoardTree,
                         testing::Values(Case{&cubieboard2, "sun7i-a20-cubieboard2.dtb", "cubietech,cubieboard2"},
                                         Case{&orangepi_pc, "sun8i-h3-orangepi-pc.dtb", "xunlong,orangepi-pc"}),
                         [](const auto& one) {
                           return one.param.board == &cubieboard2 ? "cubieboard2" : "orangepi_pc";
                         });

}  // namespace
}  // namespace amphion::board
