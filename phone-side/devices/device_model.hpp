// SPDX-License-Identifier: Apache-2.0
// The devices of one phone instance behind one address decoder: virtio slots, PCIe (machine/phone.hpp). Its PL011 is
// the hypervisor's. Pure C++: the world is reached through GuestMemory, RegisterPage, Disk and the callbacks of
// Outlets. Thread safety: none; its owner (phone-side/instance) serialises all calls. Callbacks run inside a call and
// must neither block nor call back. Invariant: nothing that a guest does harms anything but its own instance.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>

#include "machine/phone.hpp"
#include "machine/state.pb.h"
#include "phone-side/devices/disk.hpp"
#include "phone-side/devices/guest_memory.hpp"
#include "phone-side/devices/pcie.hpp"
#include "phone-side/devices/register_page.hpp"
#include "phone-side/devices/virtio_balloon.hpp"
#include "phone-side/devices/virtio_blk.hpp"
#include "phone-side/devices/virtio_console.hpp"
#include "phone-side/devices/virtio_entropy.hpp"
#include "phone-side/devices/virtio_input.hpp"
#include "phone-side/devices/virtio_net.hpp"

namespace amphion::devices {

struct Outlets {
  VirtioConsole::Sink port;        // what the guest sends on its console ports
  VirtioEntropy::Source entropy;   // random bytes
  VirtioBalloon::Discard discard;  // pages that the balloon took
  VirtioNet::Cable network;
};

class DeviceModel {
 public:
  // All must outlive the model.
  DeviceModel(GuestMemory& memory, RegisterPage& page, Disk& disk0, Outlets outlets);

  // A guest's access to the device window; bytes 1, 2 or 4. What is nowhere reads all ones and swallows writes. The
  // slots of the register page are written only.
  [[nodiscard]] std::uint32_t read(std::uint32_t address, std::uint32_t bytes);
  void write(std::uint32_t address, std::uint32_t bytes, std::uint32_t value);
  // The guest notified queues of a slot; a bit each.
  void ring(std::uint32_t slot, std::uint32_t queues);

  [[nodiscard]] VirtioNet& network() { return network_; }
  [[nodiscard]] VirtioConsole& console() { return console_; }
  [[nodiscard]] VirtioInput& keyboard() { return keyboard_; }
  [[nodiscard]] VirtioBalloon& balloon() { return balloon_; }

  void reset();

  // The fields virtio, pcie and input_sequence. restore() takes a state that machine::validate() accepted and
  // whose disk has this disk's size.
  void save(machine::InstanceState& state) const;
  void restore(const machine::InstanceState& state);

 private:
  // The window has room for more slots than the machine uses.
  [[nodiscard]] VirtioDevice* device(std::uint32_t slot) const { return slot < slots_.size() ? slots_[slot] : nullptr; }

  VirtioBlk disk0_;
  VirtioNet network_;
  VirtioConsole console_;
  VirtioInput keyboard_;
  VirtioEntropy entropy_;
  VirtioBalloon balloon_;
  RegisterPage& page_;
  Pcie pcie_;
  const std::array<VirtioDevice*, machine::virtio_slots> slots_{&disk0_,    nullptr, &network_, &console_,
                                                                &keyboard_, nullptr, &entropy_, &balloon_};
};

}  // namespace amphion::devices
