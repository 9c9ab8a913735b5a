// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/lines.hpp"

#include "machine/phone.hpp"

namespace amphion::qemu {
namespace {

constexpr std::uint32_t timer_enable = 1, timer_masked = 2;

void settle(machine::GicLine& line, bool level) {
  if (level && !line.level() && line.edge()) line.set_pending(true);
  line.set_level(level);
}

bool asserted(const machine::Timer& timer, std::uint64_t counter) {
  return (timer.ctl() & (timer_enable | timer_masked)) == timer_enable && counter >= timer.cval();
}

machine::GicLine& shared(machine::Gic& gic, std::uint32_t intid) {
  return *gic.mutable_spis(static_cast<int>(intid - machine::spi_base));
}

}  // namespace

machine::Gic settle_lines(const machine::InstanceState& state) {
  machine::Gic gic = state.gic();
  for (int n = 0; n < gic.cpus_size(); ++n) {
    auto& lines = *gic.mutable_cpus(n)->mutable_private_lines();
    settle(lines[machine::timer_virtual_irq], asserted(state.vcpus(n).virtual_timer(), state.counter()));
    settle(lines[machine::timer_physical_irq], asserted(state.vcpus(n).physical_timer(), state.counter()));
  }
  settle(shared(gic, machine::pl011_irq), (state.pl011().ris() & state.pl011().imsc()) != 0);
  for (const auto& device : state.virtio())
    settle(shared(gic, machine::virtio_slot_irq(static_cast<machine::VirtioSlot>(device.slot()))),
           device.interrupt_status() != 0);
  std::uint32_t intx = 0;
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    for (std::uint32_t pin = 0; pin < 4; ++pin)
      if ((state.pcie().root_ports(static_cast<int>(port)).intx_level() >> pin & 1) != 0)
        intx |= 1u << (port + 1 + pin) % 4;
  for (std::uint32_t line = 0; line < 4; ++line)
    settle(shared(gic, machine::pcie_intx_irq + line), (intx >> line & 1) != 0);
  return gic;
}

}  // namespace amphion::qemu
