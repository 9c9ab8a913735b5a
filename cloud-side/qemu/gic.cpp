// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/gic.hpp"

#include <string>

#include "machine/phone.hpp"

namespace amphion::qemu {
namespace {

using machine::GicCpu;
using machine::GicLine;
using machine::spi_base;

constexpr unsigned gic_cpus = 8;  // QEMU's arrays have room for eight
constexpr std::uint8_t all_cpus = 0xff;
constexpr unsigned sgis = 16;
constexpr std::uint32_t idle_priority = 0x100;
constexpr std::uint32_t none_pending = 1023;
constexpr std::uint32_t enable_group0 = 1, enable_group1 = 2, group0_as_fiq = 8;

std::string at(const char* field, unsigned n) { return std::string(field) + "#" + std::to_string(n); }
std::string line_field(unsigned intid, const char* field) { return "irq_state#" + std::to_string(intid) + "." + field; }
// [n][cpu] arrays
std::string per_cpu(const char* field, unsigned n, unsigned cpu) { return at(field, n * gic_cpus + cpu); }

std::string priority_field(unsigned intid, unsigned cpu) {
  return intid < spi_base ? per_cpu("priority1", intid, cpu) : at("priority2", intid - spi_base);
}

GicLine read_line(const Section& s, unsigned intid, unsigned cpu) {
  const std::uint64_t mask = intid < spi_base ? 1u << cpu : all_cpus;
  const auto bit = [&](const char* field) { return (s.get(line_field(intid, field)) & mask) != 0; };
  GicLine line;
  line.set_enabled(bit("enabled"));
  line.set_pending(bit("pending"));
  line.set_active(bit("active"));
  line.set_level(bit("level"));
  line.set_edge(s.get(line_field(intid, "edge_trigger")) != 0);
  line.set_group(bit("group") ? 1 : 0);
  line.set_priority(static_cast<std::uint32_t>(s.get(priority_field(intid, cpu))));
  line.set_targets(intid < spi_base ? 1u << cpu : static_cast<std::uint32_t>(s.get(at("irq_target", intid))));
  return line;
}

// Of a shared line the pending and active bits stand for the CPUs that it targets.
void write_line(Section& s, unsigned intid, unsigned cpu, const GicLine& line) {
  const bool shared = intid >= spi_base;
  const std::uint64_t mask = shared ? all_cpus : 1u << cpu;
  const auto put = [&](const char* field, bool value, std::uint64_t set_mask) {
    const std::string name = line_field(intid, field);
    s.set(name, (s.get(name) & ~mask) | (value ? set_mask : 0));
  };
  const std::uint64_t targets = shared && line.targets() != 0 ? line.targets() : mask;
  put("enabled", line.enabled(), mask);
  put("pending", line.pending(), targets);
  put("active", line.active(), targets);
  put("level", line.level(), mask);
  put("group", line.group() != 0, mask);
  s.set(line_field(intid, "edge_trigger"), line.edge() ? 1 : 0);
  s.set(priority_field(intid, cpu), line.priority());
  if (shared) s.set(at("irq_target", intid), line.targets());
}

// QEMU keeps 128 group priorities (apr for group 0, nsapr for group 1), the neutral form 32 for both.
std::uint32_t read_apr(const Section& s, unsigned cpu) {
  std::uint32_t apr = 0;
  for (unsigned word = 0; word < 4; ++word)
    for (unsigned bit = 0; bit < 32; ++bit)
      if (((s.get(per_cpu("apr", word, cpu)) | s.get(per_cpu("nsapr", word, cpu))) >> bit & 1) != 0)
        apr |= 1u << (word * 32 + bit) / 4;
  return apr;
}

const GicLine& line_of(const machine::Gic& gic, unsigned cpu, unsigned intid) {
  return intid < spi_base ? gic.cpus(static_cast<int>(cpu)).private_lines(static_cast<int>(intid))
                          : gic.spis(static_cast<int>(intid - spi_base));
}

bool active_in_group1(const machine::Gic& gic, unsigned cpu, unsigned group_priority) {
  for (unsigned intid = 0; intid < machine::irq_lines; ++intid) {
    const GicLine& line = line_of(gic, cpu, intid);
    if (line.active() && line.group() == 1 && line.priority() >> 3 == group_priority) return true;
  }
  return false;
}

void write_apr(Section& s, unsigned cpu, const machine::Gic& gic) {
  for (unsigned word = 0; word < 4; ++word) {
    std::uint64_t group0 = 0, group1 = 0;
    for (unsigned n = word * 8; n < word * 8 + 8; ++n) {
      if ((gic.cpus(static_cast<int>(cpu)).gicc_apr() >> n & 1) == 0) continue;
      const std::uint64_t bit = 1u << (n * 4 - word * 32);
      (active_in_group1(gic, cpu, n) ? group1 : group0) |= bit;
    }
    s.set(per_cpu("apr", word, cpu), group0);
    s.set(per_cpu("nsapr", word, cpu), group1);
  }
}

bool pending(const machine::Gic& gic, unsigned cpu, unsigned intid) {
  const GicLine& line = line_of(gic, cpu, intid);
  if (intid < sgis) return gic.cpus(static_cast<int>(cpu)).sgi_sources(static_cast<int>(intid)) != 0;
  return line.pending() || (!line.edge() && line.level());
}

GicCpu read_cpu(const Section& s, unsigned cpu) {
  GicCpu out;
  for (unsigned intid = 0; intid < spi_base; ++intid) *out.add_private_lines() = read_line(s, intid, cpu);
  for (unsigned sgi = 0; sgi < sgis; ++sgi)
    out.add_sgi_sources(static_cast<std::uint32_t>(s.get(per_cpu("sgi_pending", sgi, cpu))));
  out.set_gicc_ctlr(static_cast<std::uint32_t>(s.get(at("cpu_ctlr", cpu))));
  out.set_gicc_pmr(static_cast<std::uint32_t>(s.get(at("priority_mask", cpu))));
  out.set_gicc_bpr(static_cast<std::uint32_t>(s.get(at("bpr", cpu))));
  out.set_gicc_abpr(static_cast<std::uint32_t>(s.get(at("abpr", cpu))));
  out.set_gicc_apr(read_apr(s, cpu));
  return out;
}

void write_cpu(Section& s, unsigned cpu, const machine::Gic& gic) {
  const GicCpu& in = gic.cpus(static_cast<int>(cpu));
  for (unsigned intid = 0; intid < spi_base; ++intid) write_line(s, intid, cpu, line_of(gic, cpu, intid));
  for (unsigned sgi = 0; sgi < sgis; ++sgi) {
    const std::uint32_t sources = in.sgi_sources(static_cast<int>(sgi));
    s.set(per_cpu("sgi_pending", sgi, cpu), sources);
    const std::string field = line_field(sgi, "pending");
    s.set(field, (s.get(field) & ~(1ull << cpu)) | (sources != 0 ? 1ull << cpu : 0));
  }
  s.set(at("cpu_ctlr", cpu), in.gicc_ctlr());
  s.set(at("priority_mask", cpu), in.gicc_pmr());
  s.set(at("bpr", cpu), in.gicc_bpr());
  s.set(at("abpr", cpu), in.gicc_abpr());
  write_apr(s, cpu, gic);
  const Presented presented = present(gic, cpu);
  s.set(at("running_priority", cpu), presented.running_priority);
  s.set(at("current_pending", cpu), presented.highest_pending);
}

}  // namespace

machine::Gic gic_to_neutral(const Section& s, std::uint32_t vcpus) {
  machine::Gic gic;
  gic.set_gicd_ctlr(static_cast<std::uint32_t>(s.get("ctlr")));
  for (unsigned cpu = 0; cpu < vcpus; ++cpu) *gic.add_cpus() = read_cpu(s, cpu);
  for (unsigned intid = spi_base; intid < machine::irq_lines; ++intid) *gic.add_spis() = read_line(s, intid, 0);
  return gic;
}

void gic_from_neutral(const machine::Gic& gic, Section& s) {
  s.set("ctlr", gic.gicd_ctlr());
  for (unsigned cpu = 0; cpu < static_cast<unsigned>(gic.cpus_size()); ++cpu) write_cpu(s, cpu, gic);
  for (unsigned intid = spi_base; intid < machine::irq_lines; ++intid)
    write_line(s, intid, 0, gic.spis(static_cast<int>(intid - spi_base)));
}

Presented present(const machine::Gic& gic, std::uint32_t cpu) {
  Presented out;
  const GicCpu& interface = gic.cpus(static_cast<int>(cpu));
  for (unsigned n = 0; n < 32 && out.running_priority == idle_priority; ++n)
    if ((interface.gicc_apr() >> n & 1) != 0) out.running_priority = n << 3;
  std::uint32_t best = none_pending;
  std::uint32_t best_priority = idle_priority;
  for (unsigned intid = 0; intid < machine::irq_lines; ++intid) {
    const GicLine& line = line_of(gic, cpu, intid);
    const bool mine = intid < spi_base || (line.targets() >> cpu & 1) != 0;
    const std::uint32_t group_bit = line.group() != 0 ? enable_group1 : enable_group0;
    if (!mine || !line.enabled() || line.active() || (gic.gicd_ctlr() & group_bit) == 0) continue;
    if (!pending(gic, cpu, intid) || line.priority() >= best_priority) continue;
    best = intid;
    best_priority = line.priority();
  }
  if (best == none_pending || best_priority >= interface.gicc_pmr()) return out;
  const bool group1 = line_of(gic, cpu, best).group() != 0;
  if ((interface.gicc_ctlr() & (group1 ? enable_group1 : enable_group0)) == 0) return out;
  out.highest_pending = best;
  if (best_priority >= out.running_priority) return out;
  out.fiq = !group1 && (interface.gicc_ctlr() & group0_as_fiq) != 0;
  out.irq = !out.fiq;
  return out;
}

}  // namespace amphion::qemu
