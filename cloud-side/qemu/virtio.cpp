// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/virtio.hpp"

#include <string>

#include "machine/validate.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::qemu {
namespace {

using machine::virtio_id_balloon;
using machine::virtio_id_block;
using machine::virtio_id_console;
using machine::virtio_id_input;
using machine::virtio_id_network;

constexpr std::uint8_t subsection = 5;
constexpr std::uint32_t max_config_bytes = 256;
constexpr std::uint32_t max_queues = 16;
constexpr std::uint32_t max_ports = 32;
// struct VirtQueueElementOld of a 64-bit QEMU: index, two counts, 2 x 1024 addresses, 2 x 1024 iovecs.
constexpr std::size_t element_bytes = 16 + 2 * 1024 * 8 + 2 * 1024 * 16;
constexpr std::uint8_t status_driver_ok = 4;
constexpr std::uint8_t status_features_ok = 8;
constexpr std::uint32_t balloon_stats_queue = 2;
constexpr int network_transmit_queue = 1;
constexpr std::uint32_t max_filtered_addresses = 64;
constexpr std::size_t filtered_tags_bytes = 4096 / 8;

[[noreturn]] void fail(const std::string& what) { throw StreamError("QEMU's virtio state is not understood: " + what); }

// Transmit queue of a console port: queues 0/1 are port 0, 2/3 control, 4/5 port 1 and so on.
std::size_t transmit_queue(std::uint32_t port) { return port == 0 ? 1 : 2 * port + 3; }

void parse_block(Reader& r, VirtioImage& image) {
  const auto start = r.position();
  Reader from = r;
  while (r.u8() != 0) r.take(element_bytes);
  const View held = from.take(r.position() - start - 1);
  image.held_requests.assign(held.begin(), held.end());
}

void parse_console(Reader& r, VirtioImage& image) {
  image.cols = r.u16();
  image.rows = r.u16();
  image.max_ports = r.u32();
  if (image.max_ports == 0 || image.max_ports > max_ports) fail("number of console ports");
  image.ports_map = r.u32();
  const std::uint32_t count = r.u32();
  if (count > image.max_ports) fail("number of active console ports");
  for (std::uint32_t i = 0; i < count; ++i) {
    VirtioImage::Port port{};
    port.id = r.u32();
    port.guest_connected = r.u8();
    port.host_connected = r.u8();
    if (r.u32() != 0) {
      const View held = r.take(4 + 8 + element_bytes);
      port.held.emplace(held.begin(), held.end());
    }
    image.ports.push_back(std::move(port));
  }
}

// hw/net/virtio-net.c, vmstate_virtio_net_device, of a device with one pair of queues and no optional feature.
void parse_network(Reader& r, VirtioImage& image) {
  auto& network = image.network;
  for (auto& byte : network.mac) byte = r.u8();
  network.tx_waiting = r.u32();
  network.merged_buffers = r.u32();
  network.status = r.u16();
  const auto start = r.position();
  Reader from = r;
  r.take(2);  // promiscuous, all groups
  const std::uint32_t addresses = r.u32();
  if (addresses > max_filtered_addresses) fail("number of filtered addresses");
  r.take(addresses * network.mac.size() + filtered_tags_bytes);
  r.u32();    // the backend has headers
  r.take(7);  // six kinds of overflow and refusal, and whether the backend has UFO
  const View filter = from.take(r.position() - start);
  network.filter.assign(filter.begin(), filter.end());
}

void parse_device(Reader& r, VirtioImage& image) {
  if (image.device_id == virtio_id_network) parse_network(r, image);
  if (image.device_id == virtio_id_block) parse_block(r, image);
  if (image.device_id == virtio_id_console) parse_console(r, image);
  if (image.device_id == virtio_id_balloon) {
    image.num_pages = r.u32();
    image.actual = r.u32();
  }
}

void parse_staged(Reader& r, VirtioImage& image) {
  if (r.u8() != subsection || r.text(r.u8()) != "virtio_mmio/state") fail("transport state is missing");
  r.u32();
  for (auto& word : image.staged_features) word = r.u32();
  for (std::size_t i = 0; i < virtio_queue_slots; ++i) {
    VirtioImage::Staged s{};
    s.num = r.u16();
    s.enabled = r.u8();
    for (auto* address : {&s.desc, &s.avail, &s.used})
      for (auto& half : *address) half = r.u32();
    image.staged.push_back(s);
  }
}

void parse_subsection(Reader& r, VirtioImage& image) {
  if (r.u8() != subsection) fail("bytes after its last known part");
  const std::string name = r.text(r.u8());
  r.u32();  // version
  if (name == "virtio/64bit_features") {
    image.features = r.u64();
  } else if (name == "virtio/virtqueues") {
    for (std::size_t i = 0; i < virtio_queue_slots; ++i) {
      const std::uint64_t avail = r.u64();
      image.rings.push_back({avail, r.u64()});
    }
  } else if (name == "virtio/ringsize") {
    auto& sizes = image.default_sizes.emplace();
    for (std::size_t i = 0; i < virtio_queue_slots; ++i) sizes.push_back(r.u32());
  } else if (name == "virtio/broken") {
    image.broken = r.u8();
  } else if (name == "virtio/extra_state") {
    parse_staged(r, image);
  } else if (name == "virtio/started") {
    image.started = r.u8();
  } else if (name == "virtio/disabled") {
    image.disabled = r.u8();
  } else {
    fail("subsection " + name);
  }
}

void put_subsection(Writer& w, const std::string& name) {
  w.u8(subsection);
  w.u8(name.size());
  w.text(name);
  w.u32(1);
}

void write_device(Writer& w, const VirtioImage& image) {
  if (image.device_id == virtio_id_network) {
    for (const auto byte : image.network.mac) w.u8(byte);
    w.u32(image.network.tx_waiting);
    w.u32(image.network.merged_buffers);
    w.u16(image.network.status);
    w.bytes(image.network.filter);
  }
  if (image.device_id == virtio_id_block) {
    w.bytes(image.held_requests);
    w.u8(0);
  }
  if (image.device_id == virtio_id_console) {
    w.u16(image.cols);
    w.u16(image.rows);
    w.u32(image.max_ports);
    w.u32(image.ports_map);
    w.u32(image.ports.size());
    for (const auto& port : image.ports) {
      w.u32(port.id);
      w.u8(port.guest_connected);
      w.u8(port.host_connected);
      w.u32(port.held ? 1 : 0);
      if (port.held) w.bytes(*port.held);
    }
  }
  if (image.device_id == virtio_id_balloon) {
    w.u32(image.num_pages);
    w.u32(image.actual);
  }
}

void write_subsections(Writer& w, const VirtioImage& image) {
  put_subsection(w, "virtio/64bit_features");
  w.u64(image.features);
  put_subsection(w, "virtio/virtqueues");
  for (const auto& ring : image.rings) {
    w.u64(ring.avail);
    w.u64(ring.used);
  }
  if (image.default_sizes) {
    put_subsection(w, "virtio/ringsize");
    for (const auto size : *image.default_sizes) w.u32(size);
  }
  if (image.broken) {
    put_subsection(w, "virtio/broken");
    w.u8(*image.broken);
  }
  put_subsection(w, "virtio/extra_state");
  put_subsection(w, "virtio_mmio/state");
  for (const auto word : image.staged_features) w.u32(word);
  for (const auto& s : image.staged) {
    w.u16(s.num);
    w.u8(s.enabled);
    for (const auto* address : {&s.desc, &s.avail, &s.used})
      for (const auto half : *address) w.u32(half);
  }
  if (image.started) {
    put_subsection(w, "virtio/started");
    w.u8(*image.started);
  }
  if (image.disabled) {
    put_subsection(w, "virtio/disabled");
    w.u8(*image.disabled);
  }
}

std::uint64_t join(const std::array<std::uint32_t, 2>& halves) { return std::uint64_t{halves[1]} << 32 | halves[0]; }
std::array<std::uint32_t, 2> split(std::uint64_t value) {
  return {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)};
}

// Of an available or a used ring. None: outside memory.
std::optional<std::uint16_t> ring_index(std::uint64_t ring, View ram) {
  const std::uint64_t at = ring + 2 - machine::ram_base;
  if (ring < machine::ram_base || at > ram.size() || ram.size() - at < 2) return std::nullopt;
  return static_cast<std::uint16_t>(ram[at] | ram[at + 1] << 8);
}

std::uint16_t used_index(std::uint64_t used_ring, View ram) {
  const auto index = ring_index(used_ring, ram);
  if (!index) fail("a used ring outside memory");
  return *index;
}

machine::VirtQueue neutral_queue(const VirtioImage& image, std::size_t n, View ram) {
  const auto& staged = image.staged[n];
  machine::VirtQueue q;
  q.set_size(staged.num);
  q.set_size_max(machine::virtio_queue_size_max);
  q.set_ready(staged.enabled != 0);
  q.set_desc(join(staged.desc));
  q.set_driver(join(staged.avail));
  q.set_device(join(staged.used));
  if (staged.enabled == 0) return q;
  q.set_last_avail(image.queues[n].last_avail);
  q.set_used(used_index(image.rings[n].used, ram));
  return q;
}

// QEMU polls the balloon's statistics only if it comes up with the driver's buffer in hand. A driver that is just
// filling it in has not given it: to take it all the same would break the device.
void take_statistics(VirtioImage& image, const machine::VirtioDevice& device, View ram) {
  const auto& q = device.queues(balloon_stats_queue);
  const auto given = static_cast<std::uint16_t>(q.used() + 1);
  if (q.ready() && (image.status & status_driver_ok) != 0 && ring_index(q.driver(), ram) == given)
    image.queues[balloon_stats_queue].last_avail = given;
}

// Frames that the phone had not sent yet, or that QEMU's own end left, are sent when the guest goes on; and QEMU asks
// for notifications again only when it looks at the queue.
void carry_network(VirtioImage& image, const machine::VirtioDevice& device) {
  auto& network = image.network;
  network.mac = machine::mac_of(device.network()).value_or(network.mac);
  network.status = device.network().link_up() ? machine::virtio_net_s_link_up : 0;
  const bool goes_on = (image.status & status_driver_ok) != 0 && device.queues(network_transmit_queue).ready();
  network.tx_waiting = goes_on ? 1 : 0;
}

// Gives back the buffers that QEMU has taken and not returned: they are the last ones that it took.
void give_back(const VirtioImage& image, machine::VirtioDevice& device) {
  if (!image.held_requests.empty())
    fail("a disk request that failed waits to be repeated; repair the disk and try again");
  for (const auto& port : image.ports) {
    if (!port.held) continue;
    const std::size_t n = transmit_queue(port.id);
    if (n >= image.queues.size()) fail("a buffer of a port without a queue");
    auto* q = device.mutable_queues(static_cast<int>(n));
    q->set_last_avail((q->last_avail() - 1) & 0xffff);
  }
  if (image.device_id == virtio_id_balloon) {
    auto* q = device.mutable_queues(balloon_stats_queue);
    q->set_last_avail(q->used());
  }
  for (const auto& q : device.queues())
    if (q.ready() && q.last_avail() != q.used())
      fail("device " + std::to_string(image.device_id) + " has " +
           std::to_string((q.last_avail() - q.used()) & 0xffff) + " requests under way");
}

void neutral_device(const VirtioImage& image, machine::VirtioDevice& device, std::uint64_t disk_sectors) {
  switch (image.device_id) {
    case virtio_id_block:
      device.mutable_blk()->set_capacity_sectors(disk_sectors);
      device.mutable_blk()->set_writeback(true);
      return;
    case virtio_id_network:
      device.mutable_network()->set_mac(image.network.mac.data(), image.network.mac.size());
      device.mutable_network()->set_link_up((image.network.status & machine::virtio_net_s_link_up) != 0);
      return;
    case virtio_id_console:
      for (const auto& port : image.ports) {
        auto* p = device.mutable_console()->add_ports();
        p->set_id(port.id);
        p->set_guest_connected(port.guest_connected != 0);
        p->set_host_connected(port.host_connected != 0);
      }
      return;
    case virtio_id_balloon:
      device.mutable_balloon()->set_num_pages(image.num_pages);
      device.mutable_balloon()->set_actual(image.actual);
      return;
    case virtio_id_input:
      device.mutable_input()->set_select(image.config.at(0));
      device.mutable_input()->set_subsel(image.config.at(1));
      return;
    default:
      return;
  }
}

void set_config(VirtioImage& image, const machine::VirtioDevice& device) {
  if (device.has_blk()) {
    const auto config = machine::virtio_blk_config(device.blk().capacity_sectors());
    image.config.assign(config.begin(), config.end());
  }
  if (device.has_network()) {
    const auto config = machine::virtio_network_config(image.network.mac, device.network().link_up());
    image.config.assign(config.begin(), config.end());
  }
  if (device.has_input()) {
    image.config.at(0) = static_cast<std::uint8_t>(device.input().select());
    image.config.at(1) = static_cast<std::uint8_t>(device.input().subsel());
  }
}

}  // namespace

VirtioImage parse_virtio(View field, std::uint32_t device_id) {
  Reader r(field);
  VirtioImage image;
  image.device_id = device_id;
  image.host_features_sel = r.u32();
  image.guest_features_sel = r.u32();
  image.guest_page_shift = r.u32();
  image.status = r.u8();
  image.isr = r.u8();
  image.queue_sel = r.u16();
  image.features_low = r.u32();
  const std::uint32_t config_bytes = r.u32();
  if (config_bytes > max_config_bytes) fail("size of configuration space");
  const View config = r.take(config_bytes);
  image.config.assign(config.begin(), config.end());
  const std::uint32_t queues = r.u32();
  if (queues > max_queues) fail("number of queues");
  for (std::uint32_t i = 0; i < queues; ++i) {
    VirtioImage::Queue q{};
    q.num = r.u32();
    q.align = r.u32();
    q.desc = r.u64();
    q.last_avail = r.u16();
    image.queues.push_back(q);
  }
  parse_device(r, image);
  while (r.remaining() > 0) parse_subsection(r, image);
  if (image.rings.size() != virtio_queue_slots || image.staged.size() != virtio_queue_slots) fail("queue arrays");
  return image;
}

Bytes write_virtio(const VirtioImage& image) {
  Writer w;
  w.u32(image.host_features_sel);
  w.u32(image.guest_features_sel);
  w.u32(image.guest_page_shift);
  w.u8(image.status);
  w.u8(image.isr);
  w.u16(image.queue_sel);
  w.u32(image.features_low);
  w.u32(image.config.size());
  w.bytes(image.config);
  w.u32(image.queues.size());
  for (const auto& q : image.queues) {
    w.u32(q.num);
    w.u32(q.align);
    w.u64(q.desc);
    w.u16(q.last_avail);
  }
  write_device(w, image);
  write_subsections(w, image);
  return w.take();
}

machine::VirtioDevice to_neutral(const VirtioImage& image, std::uint32_t slot, View ram, std::uint64_t disk_sectors) {
  if (image.broken.value_or(0) != 0 || image.disabled.value_or(0) != 0)
    fail("device in slot " + std::to_string(slot) + " was broken by its driver");
  machine::VirtioDevice device;
  device.set_slot(slot);
  device.set_device_id(image.device_id);
  device.set_status(image.status);
  device.set_driver_features(join(image.staged_features));
  device.set_device_features_sel(image.host_features_sel);
  device.set_driver_features_sel(image.guest_features_sel);
  device.set_queue_sel(image.queue_sel);
  device.set_interrupt_status(image.isr);
  for (std::size_t n = 0; n < image.queues.size(); ++n) *device.add_queues() = neutral_queue(image, n, ram);
  neutral_device(image, device, disk_sectors);
  give_back(image, device);
  return device;
}

void from_neutral(const machine::VirtioDevice& device, View ram, VirtioImage& image) {
  image.host_features_sel = device.device_features_sel();
  image.guest_features_sel = device.driver_features_sel();
  image.status = static_cast<std::uint8_t>(device.status());
  image.isr = static_cast<std::uint8_t>(device.interrupt_status());
  image.queue_sel = static_cast<std::uint16_t>(device.queue_sel());
  image.staged_features = split(device.driver_features());
  image.features = (image.status & status_features_ok) != 0 ? device.driver_features() : 0;
  image.features_low = static_cast<std::uint32_t>(image.features);
  if (static_cast<std::size_t>(device.queues_size()) != image.queues.size()) fail("number of queues");
  for (std::size_t n = 0; n < image.queues.size(); ++n) {
    const auto& q = device.queues(static_cast<int>(n));
    image.staged[n] = {static_cast<std::uint16_t>(q.size()), static_cast<std::uint8_t>(q.ready() ? 1 : 0),
                       split(q.desc()), split(q.driver()), split(q.device())};
    if (q.size() != 0) image.queues[n].num = q.size();
    image.queues[n].desc = q.ready() ? q.desc() : 0;
    image.queues[n].last_avail = static_cast<std::uint16_t>(q.last_avail());
    image.rings[n] = q.ready() ? VirtioImage::Rings{q.driver(), q.device()} : VirtioImage::Rings{0, 0};
  }
  if (device.has_network()) carry_network(image, device);
  set_config(image, device);
  for (auto& port : image.ports)
    for (const auto& p : device.console().ports())
      if (p.id() == port.id) {
        port.guest_connected = p.guest_connected() ? 1 : 0;
        port.host_connected = p.host_connected() ? 1 : 0;
      }
  if (device.has_balloon()) {
    image.num_pages = device.balloon().num_pages();
    image.actual = device.balloon().actual();
    take_statistics(image, device, ram);
  }
  image.started.reset();
  if ((image.status & status_driver_ok) != 0) image.started = 1;
}

}  // namespace amphion::qemu
