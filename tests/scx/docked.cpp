// SPDX-License-Identifier: Apache-2.0
// A data folder of amphiond with instances of one phone that live in the cloud, so that amphiond runs their clones when
// it starts. Each has all its vCPUs on, needs no kernel, and sleeps for a while, so that in emulation the next clone is
// not slowed down while it starts; then all its vCPUs count.
//
// Usage: scx-docked FOLDER INSTANCES VCPUS
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "cloud-side/amphiond/saved_state.hpp"
#include "link/records.hpp"
#include "machine/cold_start.hpp"

namespace {

using namespace amphion;
namespace fs = std::filesystem;

constexpr std::uint64_t disk_bytes = 1 << 20;
constexpr std::uint32_t frequency = 62'500'000;
constexpr std::uint32_t code_offset = 0x10000;
constexpr std::uint64_t sleep_s = 18;  // of the clone's own time
constexpr std::uint32_t virtual_timer_irq = 27;
constexpr std::uint32_t sleep_then_count[] = {
    0xe320f003,  // 0: wfi
    0xee1e1f33,  //    mrc CNTV_CTL, r1
    0xe3110004,  //    tst r1, #ISTATUS
    0x0afffffb,  //    beq 0
    0xe2800001,  // 1: add r0, r0, #1
    0xeafffffd,  //    b 1
};
constexpr std::uint64_t generation = 2;

void file(const fs::path& path, std::uint64_t bytes) {
  std::ofstream(path, std::ios::binary);
  fs::resize_file(path, bytes);
}

void instance(const fs::path& device, const std::string& name, const machine::Shape& shape) {
  const fs::path image = device / "instances" / name / ("g" + std::to_string(generation));
  fs::create_directories(image);
  file(image / "memory", shape.memory_bytes);
  file(image / "disk0", disk_bytes);
  std::fstream memory(image / "memory", std::ios::binary | std::ios::in | std::ios::out);
  memory.seekp(code_offset);
  memory.write(reinterpret_cast<const char*>(sleep_then_count), sizeof sleep_then_count);
  auto state = machine::cold_state(shape, frequency, disk_bytes / 512);
  for (auto& vcpu : *state.mutable_vcpus()) {
    vcpu.set_power(machine::Vcpu::POWER_ON);
    vcpu.set_r(15, machine::ram_base + code_offset);
    vcpu.mutable_virtual_timer()->set_ctl(1);
    vcpu.mutable_virtual_timer()->set_cval(state.counter() + sleep_s * frequency);
  }
  state.mutable_gic()->set_gicd_ctlr(1);
  for (auto& cpu :
       *state.mutable_gic()->mutable_cpus()) {  // a wfi ends when an interrupt reaches its CPU, masked or not
    cpu.set_gicc_ctlr(1);
    cpu.set_gicc_pmr(0xf0);
    cpu.mutable_private_lines(virtual_timer_irq)->set_enabled(true);
  }
  for (auto& virtio : *state.mutable_virtio()) {
    if (virtio.has_network()) virtio.mutable_network()->set_link_up(false);
  }
  std::ofstream(image / "state", std::ios::binary) << cloud::seal_state(state);
  link::InstanceRecord record;
  record.instance = name;
  record.shape = shape;
  record.bound_bytes = shape.memory_bytes;
  record.vcpus_allowed = shape.vcpus;
  record.generation = record.attempt = record.saved = generation;
  record.place = link::pb::SIDE_CLOUD;
  link::Records records(link::real_files(), (device / "records").string(), link::pb::SIDE_CLOUD);
  if (const auto stored = records.store(record); !stored) throw std::runtime_error(stored.error().text);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    const fs::path device = fs::path(argv[1]) / "devices" / "phone";
    fs::create_directories(device / "records");
    const machine::Shape shape{static_cast<std::uint32_t>(std::atoi(argv[3])), machine::min_memory_bytes};
    for (int n = 1; n <= std::atoi(argv[2]); ++n) instance(device, "work-" + std::to_string(n), shape);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "scx-docked: " << error.what() << '\n';
    return 1;
  }
}
