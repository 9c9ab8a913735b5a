// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/pci.hpp"

#include <array>
#include <span>

#include "machine/pcie_config.hpp"
#include "machine/phone.hpp"

namespace amphion::qemu {
namespace {

constexpr char bridge_section[] = "0000:00:00.0/gpex_root";
constexpr char bridge_config[] = "parent_obj.config[0]";
constexpr char port_config[] = "parent_obj.parent_obj.parent_obj.config[1]";
constexpr char port_irq[] = "parent_obj.parent_obj.parent_obj.irq_state";

std::string port_section(std::uint32_t port) { return "0000:00:0" + std::to_string(port + 1) + ".0/pcie-root-port"; }

std::string text(View view) { return {view.begin(), view.end()}; }

std::uint32_t levels(View irq_state) {
  Reader r(irq_state);
  std::uint32_t mask = 0;
  for (std::uint32_t pin = 0; pin < 4; ++pin)
    if (r.u32() != 0) mask |= 1u << pin;
  return mask;
}

Bytes irq_state(std::uint32_t mask) {
  Writer w;
  for (std::uint32_t pin = 0; pin < 4; ++pin) w.u32(mask >> pin & 1);
  return w.take();
}

Bytes merge(View reset, const std::string& wanted, std::span<const machine::PcieWord> words) {
  Bytes out(reset.begin(), reset.end());
  for (const auto& word : words)
    for (unsigned i = 0; i < 4; ++i) {
      const auto mask = static_cast<std::uint8_t>(word.writable >> (8 * i));
      const auto value = static_cast<std::uint8_t>(wanted[word.offset + i]);
      auto& byte = out[word.offset + i];
      byte = static_cast<std::uint8_t>((byte & ~mask) | (value & mask));
    }
  return out;
}

// The machine's own words with the guest's bits: QEMU keeps link and slot status of a port in a form that it mends
// whenever the guest reads it.
std::string guest_view(View config, std::span<const machine::PcieWord> words, std::uint32_t port) {
  std::string out = text(config);
  for (const auto& word : words)
    for (unsigned i = 0; i < 4; ++i) {
      const auto mask = static_cast<std::uint8_t>(word.writable >> (8 * i));
      const auto reset = static_cast<std::uint8_t>(machine::pcie_root_port_reset(word, port) >> (8 * i));
      out[word.offset + i] = static_cast<char>((config[word.offset + i] & mask) | (reset & ~mask));
    }
  return out;
}

}  // namespace

machine::Pcie pcie_to_neutral(const Stream& stream) {
  machine::Pcie pcie;
  pcie.set_host_bridge(text(stream.section(bridge_section).view(bridge_config)));
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port) {
    const Section& s = stream.section(port_section(port));
    auto* p = pcie.add_root_ports();
    p->set_config(guest_view(s.view(port_config), machine::pcie_root_port, port));
    p->set_intx_level(levels(s.view(port_irq)));
  }
  return pcie;
}

void pcie_from_neutral(const machine::Pcie& pcie, Stream& stream) {
  Section& bridge = stream.section(bridge_section);
  bridge.put(bridge_config, merge(bridge.view(bridge_config), pcie.host_bridge(), machine::pcie_host_bridge));
  std::array<std::uint64_t, 4> lines{};
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port) {
    Section& s = stream.section(port_section(port));
    const auto& wanted = pcie.root_ports(static_cast<int>(port));
    s.put(port_config, merge(s.view(port_config), wanted.config(), machine::pcie_root_port));
    s.put(port_irq, irq_state(wanted.intx_level()));
    for (std::uint32_t pin = 0; pin < 4; ++pin) lines[(port + 1 + pin) % 4] += wanted.intx_level() >> pin & 1;
  }
  for (std::size_t line = 0; line < lines.size(); ++line)
    stream.section("PCIBUS").set("irq_count#" + std::to_string(line), lines[line]);
}

}  // namespace amphion::qemu
