// SPDX-License-Identifier: Apache-2.0
// The virtio network device (virtio 1.1 section 5.1) without offloads: a header of zeros and one frame a chain. Frames
// move when serve() is called, a bounded number at a time, so that a guest that sends or is sent without end leaves its
// other devices their turn; what the guest offers is only noted when it notifies. Nobody polls: notifications are
// wanted while a queue is empty, and arriving frames are waited for while the guest has room for them (has_room).
// Thread safety: none; the DeviceModel serialises. Invariant: no frame is shorter than an Ethernet header or longer
// than largest_frame_bytes, and none waits in the device: between two calls all there is stands in queues and port.
#pragma once

#include "machine/network.hpp"
#include "phone-side/devices/frame_port.hpp"
#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

class VirtioNet final : public VirtioDevice {
 public:
  struct Cable {
    machine::Mac mac;
    FramePort* port;  // null: the link is down; outlives the device
  };
  static constexpr std::size_t smallest_frame_bytes = 14;
  static constexpr std::size_t largest_frame_bytes = 1518;  // a tagged one's
  static constexpr int most_frames_at_once = 32;            // each way

  VirtioNet(Cable cable, GuestMemory& memory, Slot slot);

  // True: call it again, after the others.
  [[nodiscard]] bool serve();
  // Frames that arrive can be given to the guest. If not, its next notification may change that.
  [[nodiscard]] bool has_room();

 private:
  void fill_config(std::span<std::byte> config) const override;
  void notified(std::uint32_t queue) override;
  void activated() override;
  void device_reset() override;
  void save_device(machine::VirtioDevice& state) const override;
  void restore_device(const machine::VirtioDevice& state) override;

  void receive_frames();
  void send_frames();
  [[nodiscard]] bool all_sent();
  void send_frame(const Chain& chain);
  [[nodiscard]] bool link_up() const { return cable_.port != nullptr; }

  const Cable cable_;
  bool sending_ = false;       // the guest may have offered frames to send
  bool told_link_up_ = false;  // what the guest was told elsewhere
};

}  // namespace amphion::devices
