// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/command_line.hpp"

#include <sys/un.h>

#include "machine/virtio_features.hpp"

namespace amphion::qemu {
namespace {

using machine::VirtioSlot;

// Every optional feature of virtio's own that QEMU would offer besides VERSION_1.
constexpr char no_options[] = ",indirect_desc=off,event_idx=off,queue_reset=off,any_layout=off,notify_on_empty=off";

std::string number(std::uint64_t n) { return std::to_string(n); }

// QEMU's option lists take a comma inside a value doubled.
std::string escaped(const std::filesystem::path& path) {
  std::string out;
  for (const char c : path.string()) out.append(c == ',' ? 2 : 1, c);
  return out;
}

std::string bus(VirtioSlot slot) { return ",bus=virtio-mmio-bus." + number(static_cast<std::uint32_t>(slot)); }

std::string socket(const Machine& m, const char* id, const char* name) {
  return std::string("socket,id=") + id + ",path=" + escaped(m.folder / name) + ",server=on,wait=off";
}

std::string disk_device() {
  return "virtio-blk-device,id=disk0,drive=disk0" + bus(VirtioSlot::disk0) +
         ",queue-size=" + number(machine::virtio_queue_size_max) +
         ",num-queues=1,config-wce=off,write-cache=on,discard=off,write-zeroes=off,cyls=1,heads=1,secs=1"
         ",logical_block_size=512,physical_block_size=512,werror=report,rerror=report" +
         no_options;
}

std::string network_device(const Machine& m) {
  return "virtio-net-device,id=network,mac=" + machine::text_of(m.mac) + (m.network ? ",netdev=outside" : "") +
         bus(VirtioSlot::network) +
         ",csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off"
         ",guest_uso6=off,guest_tunnel=off,guest_tunnel_csum=off,guest_announce=off,host_tso4=off,host_tso6=off"
         ",host_ecn=off,host_ufo=off,host_uso=off,host_tunnel=off,host_tunnel_csum=off,mrg_rxbuf=off,status=on"
         ",ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,mq=off" +
         no_options;
}

}  // namespace

bool folder_too_long(const std::filesystem::path& folder) {
  return (folder / console_socket).string().size() >= sizeof(sockaddr_un::sun_path);
}

std::vector<std::string> machine_arguments(const Machine& m) {
  const std::string memory = number(m.shape.memory_bytes);
  std::vector<std::string> a{
      "-nodefaults",
      "-name",
      "debug-threads=on",  // a host's scheduler knows vCPUs by their threads' names (sched/scx)
      "-no-user-config",
      "-display",
      "none",
      "-S",
      "-sandbox",
      "on,obsolete=deny,resourcecontrol=deny",  // the other groups it needs itself, to become a daemon
      "-action",
      "reboot=shutdown,shutdown=pause",
      "-daemonize",
      "-pidfile",
      (m.folder / pid_file).string(),
      "-D",
      (m.folder / log_file).string(),
      "-machine",
      "virt-10.1,gic-version=2,highmem=off,memory-backend=ram",
      "-cpu",
      "cortex-a7,cntfrq=" + number(m.counter_frequency),
      "-accel",
      "tcg,thread=multi",
      "-smp",
      number(m.shape.vcpus),
      "-m",
      number(m.shape.memory_bytes >> 20) + "M",
      "-object",
      "memory-backend-file,id=ram,share=on,size=" + memory + ",mem-path=" + escaped(m.memory),
      "-qmp",
      "unix:" + escaped(m.folder / qmp_socket) + ",server=on,wait=off",
      "-chardev",
      "ringbuf,id=serial,size=65536",  // not a file: a guest would fill the disk
      "-serial",
      "chardev:serial",
      "-global",
      "virtio-mmio.force-legacy=false",
      "-global",
      "virtio-mmio.x-override-queue-size=" + number(machine::virtio_queue_size_max),
      "-blockdev",
      "driver=raw,node-name=disk0,file.driver=file,discard=ignore,file.filename=" + escaped(m.disk),
      "-device",
      disk_device(),
      "-device",
      "virtio-serial-device,id=console,max_ports=" + number(machine::virtio_console_ports) + bus(VirtioSlot::console) +
          no_options,
      "-chardev",
      socket(m, "hvc0", console_socket),
      "-device",
      "virtconsole,bus=console.0,chardev=hvc0,nr=" + number(machine::console_port),
      "-chardev",
      socket(m, "grow", grow_socket),
      "-device",
      std::string("virtserialport,bus=console.0,chardev=grow,name=") + machine::grow_port_name +
          ",nr=" + number(machine::grow_port),
      "-device",
      "virtio-keyboard-device,id=keyboard" + bus(VirtioSlot::keyboard) + no_options,
      "-object",
      "rng-builtin,id=random",
      "-device",
      "virtio-rng-device,id=entropy,rng=random" + bus(VirtioSlot::entropy) + no_options,
      "-device",
      "virtio-balloon-device,id=balloon,page-poison=off,free-page-reporting=on" + bus(VirtioSlot::balloon) + no_options,
  };
  if (m.network)
    a.insert(a.end(), {"-netdev",
                       "stream,id=outside,server=off,addr.type=unix,addr.path=" + escaped(m.folder / network_socket)});
  a.insert(a.end(), {"-device", network_device(m)});
  for (std::uint32_t n = 0; n < machine::pcie_root_ports; ++n)
    a.insert(a.end(), {"-device", "pcie-root-port,bus=pcie.0,id=port" + number(n) + ",addr=0" + number(n + 1) +
                                      ".0,chassis=" + number(n + 1) + ",slot=" + number(n + 1) + ",port=" + number(n)});
  return a;
}

}  // namespace amphion::qemu
