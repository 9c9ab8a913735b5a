// SPDX-License-Identifier: Apache-2.0
#include "machine/device_tree.hpp"

extern "C" {
#include <libfdt.h>
}

#include <cstdio>
#include <initializer_list>
#include <stdexcept>

namespace amphion::machine {
namespace {

constexpr std::uint32_t phandle_gic = 1;
constexpr std::uint32_t phandle_clock = 2;
constexpr std::uint32_t irq_spi = 0;
constexpr std::uint32_t irq_ppi = 1;
constexpr std::uint32_t irq_edge = 1;
constexpr std::uint32_t irq_level = 4;
constexpr std::uint32_t uart_clock_hz = 24'000'000;
constexpr std::size_t max_cmdline_bytes = 2047;

// libfdt's sequential writer; any failure is our own bug (the buffer is too small) and throws inside this file.
class Writer {
 public:
  Writer() : buffer_(64 * 1024) {
    check(fdt_create(buffer_.data(), static_cast<int>(buffer_.size())));
    check(fdt_finish_reservemap(buffer_.data()));
  }
  void begin(const std::string& name) { check(fdt_begin_node(buffer_.data(), name.c_str())); }
  void begin(const char* name, std::uint64_t unit) {
    char text[64];
    std::snprintf(text, sizeof text, "%s@%llx", name, static_cast<unsigned long long>(unit));
    begin(text);
  }
  void end() { check(fdt_end_node(buffer_.data())); }
  void cells(const char* name, std::initializer_list<std::uint32_t> values) {
    cells(name, std::vector<std::uint32_t>(values));
  }
  void cells(const char* name, const std::vector<std::uint32_t>& values) {
    std::vector<fdt32_t> raw;
    for (auto v : values) raw.push_back(cpu_to_fdt32(v));
    bytes(name, raw.data(), raw.size() * sizeof(fdt32_t));
  }
  void flag(const char* name) { bytes(name, nullptr, 0); }
  void text(const char* name, const std::string& value) { bytes(name, value.c_str(), value.size() + 1); }
  void texts(const char* name, std::initializer_list<const char*> values) {
    std::string joined;
    for (auto v : values) joined.append(v).push_back('\0');
    bytes(name, joined.data(), joined.size());
  }
  void bytes(const char* name, const void* data, std::size_t size) {
    check(fdt_property(buffer_.data(), name, data, static_cast<int>(size)));
  }
  [[nodiscard]] std::vector<std::uint8_t> finish() {
    check(fdt_finish(buffer_.data()));
    buffer_.resize(static_cast<std::size_t>(fdt_totalsize(buffer_.data())));
    return std::move(buffer_);
  }

 private:
  static void check(int result) {
    if (result < 0) throw std::runtime_error(fdt_strerror(result));
  }
  std::vector<std::uint8_t> buffer_;
};

// Two address and two size cells everywhere, as in QEMU's tree.
void reg(Writer& w, std::uint64_t base, std::uint64_t size) {
  w.cells("reg", {static_cast<std::uint32_t>(base >> 32), static_cast<std::uint32_t>(base),
                  static_cast<std::uint32_t>(size >> 32), static_cast<std::uint32_t>(size)});
}

void two_cells(Writer& w) {
  w.cells("#address-cells", {2});
  w.cells("#size-cells", {2});
}

void chosen(Writer& w, const DeviceTreeInput& in) {
  w.begin("chosen");
  two_cells(w);
  w.flag("ranges");
  w.text("bootargs", in.cmdline);
  char path[32];
  std::snprintf(path, sizeof path, "/pl011@%x", pl011.base);
  w.text("stdout-path", path);
  if (in.initrd_end > in.initrd_start) {
    w.cells("linux,initrd-start", {0, in.initrd_start});
    w.cells("linux,initrd-end", {0, in.initrd_end});
  }
  if (!in.rng_seed.empty()) w.bytes("rng-seed", in.rng_seed.data(), in.rng_seed.size());
  w.begin("framebuffer", in.shape.screen_base());
  w.text("compatible", "simple-framebuffer");
  reg(w, in.shape.screen_base(), std::uint64_t{Screen::stride_bytes} * Screen::height);
  w.cells("width", {Screen::width});
  w.cells("height", {Screen::height});
  w.cells("stride", {Screen::stride_bytes});
  w.text("format", "r5g6b5");
  w.end();
  w.end();
}

void memory(Writer& w, const Shape& shape) {
  w.begin("memory", ram_base);
  w.text("device_type", "memory");
  reg(w, ram_base, shape.memory_bytes);
  w.end();
  w.begin("reserved-memory");
  two_cells(w);
  w.flag("ranges");
  w.begin("screen", shape.screen_base());
  reg(w, shape.screen_base(), screen_region_bytes);
  w.flag("no-map");
  w.end();
  w.end();
}

void cpus(Writer& w, const Shape& shape) {
  w.begin("cpus");
  w.cells("#address-cells", {1});
  w.cells("#size-cells", {0});
  for (std::uint32_t n = 0; n < shape.vcpus; ++n) {
    w.begin("cpu", n);
    w.text("device_type", "cpu");
    w.text("compatible", "arm,cortex-a7");
    w.cells("reg", {n});
    w.text("enable-method", "psci");
    w.end();
  }
  w.end();
  w.begin("psci");
  w.texts("compatible", {"arm,psci-1.0", "arm,psci-0.2", "arm,psci"});
  w.text("method", "hvc");
  w.cells("cpu_suspend", {0x8400'0001});
  w.cells("cpu_off", {0x8400'0002});
  w.cells("cpu_on", {0x8400'0003});
  w.cells("migrate", {0x8400'0005});
  w.end();
}

void timer(Writer& w, const DeviceTreeInput& in) {
  const std::uint32_t flags = ((1u << in.shape.vcpus) - 1) << 8 | irq_level;
  w.begin("timer");
  w.text("compatible", "arm,armv7-timer");
  w.flag("always-on");
  w.cells("clock-frequency", {in.counter_frequency});
  w.cells("interrupts", {irq_ppi, timer_secure_physical_irq - 16, flags, irq_ppi, timer_physical_irq - 16, flags,
                         irq_ppi, timer_virtual_irq - 16, flags, irq_ppi, timer_hypervisor_irq - 16, flags});
  w.end();
}

void gic(Writer& w) {
  w.begin("intc", gicd.base);
  w.text("compatible", "arm,cortex-a15-gic");
  two_cells(w);
  w.flag("ranges");
  w.cells("reg", {0, gicd.base, 0, gicd.size_bytes, 0, gicc.base, 0, gicc.size_bytes});
  w.flag("interrupt-controller");
  w.cells("#interrupt-cells", {3});
  w.cells("phandle", {phandle_gic});
  w.end();
}

void uart(Writer& w) {
  w.begin("apb-pclk");
  w.text("compatible", "fixed-clock");
  w.cells("#clock-cells", {0});
  w.cells("clock-frequency", {uart_clock_hz});
  w.text("clock-output-names", "clk24mhz");
  w.cells("phandle", {phandle_clock});
  w.end();
  w.begin("pl011", pl011.base);
  w.texts("compatible", {"arm,pl011", "arm,primecell"});
  reg(w, pl011.base, pl011.size_bytes);
  w.cells("interrupts", {irq_spi, pl011_irq - spi_base, irq_level});
  w.texts("clock-names", {"uartclk", "apb_pclk"});
  w.cells("clocks", {phandle_clock, phandle_clock});
  w.end();
}

void virtio_slots_nodes(Writer& w) {
  for (std::uint32_t n = 0; n < virtio_slots; ++n) {
    const auto slot = static_cast<VirtioSlot>(n);
    w.begin("virtio_mmio", virtio_window(slot).base);
    w.text("compatible", "virtio,mmio");
    reg(w, virtio_window(slot).base, virtio_window(slot).size_bytes);
    w.cells("interrupts", {irq_spi, virtio_slot_irq(slot) - spi_base, irq_edge});
    w.flag("dma-coherent");
    w.end();
  }
}

// INTx of device d, pin p goes to line (d + p) mod 4; four devices and four pins repeat under the mask.
std::vector<std::uint32_t> interrupt_map() {
  std::vector<std::uint32_t> map;
  for (std::uint32_t device = 0; device < 4; ++device)
    for (std::uint32_t pin = 0; pin < 4; ++pin) {
      const std::uint32_t line = pcie_intx_irq - spi_base + (device + pin) % 4;
      map.insert(map.end(), {device << 11, 0, 0, pin + 1, phandle_gic, 0, 0, irq_spi, line, irq_level});
    }
  return map;
}

void pcie(Writer& w) {
  constexpr std::uint32_t io_space = 0x0100'0000, memory_space = 0x0200'0000;
  w.begin("pcie", pcie_memory.base);
  w.text("compatible", "pci-host-ecam-generic");
  w.text("device_type", "pci");
  w.cells("#address-cells", {3});
  w.cells("#size-cells", {2});
  w.cells("#interrupt-cells", {1});
  reg(w, pcie_ecam.base, pcie_ecam.size_bytes);
  w.cells("bus-range", {0, pcie_ecam.size_bytes / (1u << 20) - 1});
  w.cells("linux,pci-domain", {0});
  w.flag("dma-coherent");
  w.cells("ranges", {io_space, 0, 0, 0, pcie_io.base, 0, pcie_io.size_bytes, memory_space, 0, pcie_memory.base, 0,
                     pcie_memory.base, 0, pcie_memory.size_bytes});
  w.cells("interrupt-map-mask", {0x1800, 0, 0, 7});
  w.cells("interrupt-map", interrupt_map());
  w.end();
}

bool acceptable(const DeviceTreeInput& in) {
  if (!in.shape.valid() || in.cmdline.size() > max_cmdline_bytes || in.counter_frequency == 0) return false;
  if (in.rng_seed.size() > 1024) return false;
  if (in.initrd_start == in.initrd_end) return true;
  return in.initrd_start >= ram_base && in.initrd_end > in.initrd_start && in.initrd_end <= in.shape.screen_base();
}

}  // namespace

std::vector<std::uint8_t> make_device_tree(const DeviceTreeInput& input) {
  if (!acceptable(input)) return {};
  Writer w;
  w.begin("");
  w.text("compatible", "linux,dummy-virt");
  w.text("model", "linux,dummy-virt");
  two_cells(w);
  w.cells("interrupt-parent", {phandle_gic});
  w.flag("dma-coherent");
  chosen(w, input);
  memory(w, input.shape);
  cpus(w, input.shape);
  timer(w, input);
  gic(w);
  uart(w);
  virtio_slots_nodes(w);
  pcie(w);
  w.end();
  return w.finish();
}

}  // namespace amphion::machine
