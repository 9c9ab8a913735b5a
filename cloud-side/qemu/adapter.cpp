// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/adapter.hpp"

#include <limits>

#include "cloud-side/qemu/cpu.hpp"
#include "cloud-side/qemu/gic.hpp"
#include "cloud-side/qemu/lines.hpp"
#include "cloud-side/qemu/pci.hpp"
#include "cloud-side/qemu/stream.hpp"
#include "cloud-side/qemu/uart.hpp"
#include "cloud-side/qemu/virtio.hpp"
#include "machine/validate.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::qemu {
namespace {

constexpr char clock_field[] = "cpu_clock_offset";  // QEMU's virtual clock in ns, when the machine stands still

// QEMU's own rounding: the period of its counter is a whole number of nanoseconds.
std::uint64_t period_ns(std::uint32_t frequency) {
  const std::uint64_t period = 1'000'000'000u / frequency;
  return period == 0 ? 1 : period;
}

// The section's name carries the slot's address; its prefix is the transport's, its suffix the device's.
std::string slot_prefix(std::uint32_t slot) {
  constexpr char digits[] = "0123456789abcdef";
  const std::uint32_t address = machine::virtio_window(static_cast<machine::VirtioSlot>(slot)).base;
  std::string hex;
  for (int shift = 60; shift >= 0; shift -= 4) hex.push_back(digits[std::uint64_t{address} >> shift & 0xf]);
  return "virtio-mmio@" + hex + "/";
}

const machine::VirtioModel* model_of(std::uint32_t slot) {
  return machine::virtio_model(static_cast<machine::VirtioSlot>(slot));
}

std::uint32_t vcpus_of(const Stream& stream) {
  std::uint32_t count = 0;
  while (stream.find("cpu", count) != nullptr) ++count;
  return count;
}

machine::InstanceState read_state(const Stream& stream, const Surroundings& around) {
  machine::InstanceState state;
  const std::uint32_t vcpus = vcpus_of(stream);
  state.mutable_shape()->set_vcpus(vcpus);
  state.mutable_shape()->set_memory_bytes(around.ram.size());
  state.set_vcpus_allowed(vcpus);
  state.set_counter_frequency(around.counter_frequency);
  state.set_counter(stream.section("timer").get(clock_field) / period_ns(around.counter_frequency));
  for (std::uint32_t n = 0; n < vcpus; ++n) *state.add_vcpus() = vcpu_to_neutral(stream.section("cpu", n));
  *state.mutable_gic() = gic_to_neutral(stream.section("arm_gic"), vcpus);
  *state.mutable_pl011() = uart_to_neutral(stream.section("pl011"));
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) {
    const auto* model = model_of(slot);
    if (model == nullptr) continue;
    // A clone that has run since before the machine got this device.
    if (model->added_later && !stream.has_matching(slot_prefix(slot), "")) continue;
    const View field = stream.matching(slot_prefix(slot), "").view("virtio");
    *state.add_virtio() = to_neutral(parse_virtio(field, model->device_id), slot, around.ram, around.disk_sectors);
  }
  *state.mutable_pcie() = pcie_to_neutral(stream);
  return state;
}

void write_state(const machine::InstanceState& state, View ram, Stream& stream) {
  const auto vcpus = static_cast<std::uint32_t>(state.vcpus_size());
  if (vcpus_of(stream) != vcpus)
    throw StreamError("the template is for " + std::to_string(vcpus_of(stream)) + " vcpus, the instance has " +
                      std::to_string(vcpus) + "; remove the template");
  const CpuClock clock{state.counter(), period_ns(state.counter_frequency())};
  if (clock.counter > std::uint64_t{std::numeric_limits<std::int64_t>::max()} / clock.period_ns)
    throw StreamError("the instance's counter is beyond what QEMU can count");
  stream.section("timer").set(clock_field, clock.counter * clock.period_ns);
  const machine::Gic gic = settle_lines(state);
  for (std::uint32_t n = 0; n < vcpus; ++n) {
    const Presented lines = present(gic, n);
    vcpu_from_neutral(state.vcpus(static_cast<int>(n)), n, clock, lines.irq, lines.fiq, stream);
  }
  gic_from_neutral(gic, stream.section("arm_gic"));
  uart_from_neutral(state.pl011(), stream.section("pl011"));
  for (const auto& device : state.virtio()) {
    Section& section = stream.matching(slot_prefix(device.slot()), "");
    VirtioImage image = parse_virtio(section.view("virtio"), device.device_id());
    from_neutral(device, ram, image);
    stream.replace_opaque(section, "virtio", write_virtio(image));
  }
  pcie_from_neutral(state.pcie(), stream);
}

}  // namespace

Problem from_qemu(View stream, const Surroundings& surroundings, machine::InstanceState& state) try {
  machine::InstanceState read = read_state(Stream::parse(stream), surroundings);
  if (auto problem = machine::validate(read)) return problem;
  state = std::move(read);
  return {};
} catch (const std::exception& error) {
  return error.what();
}

Problem to_qemu(View template_stream, const machine::InstanceState& state, View ram, Bytes& stream) try {
  if (auto problem = machine::validate(state)) return problem;
  Stream result = Stream::parse(template_stream);
  write_state(state, ram, result);
  stream = result.bytes();
  return {};
} catch (const std::exception& error) {
  return error.what();
}

}  // namespace amphion::qemu
