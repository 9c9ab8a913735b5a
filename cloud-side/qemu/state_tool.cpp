// SPDX-License-Identifier: Apache-2.0
// amphion-qemu-state: converts between QEMU's migration stream and a sealed neutral state, and prints either. For
// debugging and for tests that drive QEMU themselves. Exit code 1 and one line on stderr if anything is refused.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "cloud-side/qemu/adapter.hpp"
#include "machine/envelope.hpp"
#include "machine/validate.hpp"

namespace {

using amphion::machine::InstanceState;
using amphion::qemu::Bytes;

[[noreturn]] void refuse(const std::string& what) {
  std::cerr << "amphion-qemu-state: " << what << '\n';
  std::exit(1);
}

Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) refuse(path + ": cannot be opened");
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::string& path, const char* data, std::size_t size) {
  std::ofstream out(path, std::ios::binary);
  out.write(data, static_cast<std::streamsize>(size));
  if (!out.flush()) refuse(path + ": cannot be written");
}

InstanceState read_state(const std::string& path) {
  InstanceState state;
  if (auto problem = amphion::machine::open_envelope(read_file(path), state)) refuse(*problem);
  return state;
}

void show(const InstanceState& s) {
  std::printf("shape %u vcpus, %llu MiB; counter %llu at %u Hz\n", s.shape().vcpus(),
              static_cast<unsigned long long>(s.shape().memory_bytes() >> 20),
              static_cast<unsigned long long>(s.counter()), s.counter_frequency());
  for (const auto& v : s.vcpus())
    std::printf("vcpu %s pc %08x cpsr %08x ttbr0 %llx cntv %u/%llx\n", v.power() ? "on " : "off", v.r(15), v.cpsr(),
                static_cast<unsigned long long>(v.cp15().ttbr0()), v.virtual_timer().ctl(),
                static_cast<unsigned long long>(v.virtual_timer().cval()));
  for (int n = 0; n < s.gic().cpus_size(); ++n)
    std::printf("gicc %d ctlr %x pmr %x apr %x\n", n, s.gic().cpus(n).gicc_ctlr(), s.gic().cpus(n).gicc_pmr(),
                s.gic().cpus(n).gicc_apr());
  for (const auto& d : s.virtio()) {
    std::printf("virtio %u id %u status %x features %llx isr %x\n", d.slot(), d.device_id(), d.status(),
                static_cast<unsigned long long>(d.driver_features()), d.interrupt_status());
    for (const auto& q : d.queues())
      std::printf("  queue %u/%u ready %d desc %llx avail %u used %u\n", q.size(), q.size_max(), q.ready(),
                  static_cast<unsigned long long>(q.desc()), q.last_avail(), q.used());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"QEMU migration streams and neutral saved states"};
  app.require_subcommand(1);
  std::string stream, ram, out, state, base;
  std::uint64_t sectors = 0;
  std::uint32_t frequency = 62'500'000;

  auto* from = app.add_subcommand("from", "stream and memory file to a sealed state");
  from->add_option("stream", stream)->required();
  from->add_option("ram", ram)->required();
  from->add_option("state", out)->required();
  from->add_option("--disk-sectors", sectors)->required();
  from->add_option("--frequency", frequency)->capture_default_str();
  auto* to = app.add_subcommand("to", "sealed state, with its memory file, into a template stream");
  to->add_option("template", base)->required();
  to->add_option("state", state)->required();
  to->add_option("ram", ram)->required();
  to->add_option("stream", out)->required();
  auto* print = app.add_subcommand("show", "print a sealed state");
  print->add_option("state", state)->required();
  CLI11_PARSE(app, argc, argv);

  if (*from) {
    InstanceState read;
    const Bytes memory = read_file(ram);
    if (auto problem = amphion::qemu::from_qemu(read_file(stream), {memory, sectors, frequency}, read))
      refuse(*problem);
    const std::string sealed = amphion::machine::seal(read);
    write_file(out, sealed.data(), sealed.size());
  } else if (*to) {
    Bytes result;
    if (auto problem = amphion::qemu::to_qemu(read_file(base), read_state(state), read_file(ram), result))
      refuse(*problem);
    write_file(out, reinterpret_cast<const char*>(result.data()), result.size());
  } else {
    show(read_state(state));
  }
  return 0;
}
