// SPDX-License-Identifier: Apache-2.0
// See machine.hpp.
#include "emulator/machine.hpp"

#include <stdexcept>

namespace amphion::emulator {
namespace {

using Words = std::vector<std::string>;

constexpr int phoned_port = 7447;

Words virt_words(const BoardOptions& options) {
  return {"-M",
          "virt,gic-version=2,virtualization=on,highmem=off",
          "-cpu",
          "cortex-a7",
          "-smp",
          std::to_string(options.cpus),
          "-m",
          std::to_string(options.memory_mib),
          "-nodefaults",
          "-global",
          "virtio-mmio.force-legacy=false",
          "-serial",
          "chardev:serial",
          "-device",
          "virtio-blk-device,drive=data,bus=virtio-mmio-bus.0",
          "-device",
          "virtio-net-device,netdev=net,bus=virtio-mmio-bus.2",
          "-device",
          "virtio-keyboard-device,id=keyboard,bus=virtio-mmio-bus.4",
          "-device",
          "virtio-gpu-device,id=screen,xres=640,yres=480,bus=virtio-mmio-bus.5",
          "-device",
          "virtio-rng-device,bus=virtio-mmio-bus.6"};
}

// The frequency is that of the board's oscillator, which QEMU's machine does not set.
Words card_words() {
  return {"-M",      "orangepi-pc",    "-cpu",    "cortex-a7,cntfrq=24000000", "-smp", "4", "-m", "1024", "-nodefaults",
          "-serial", "chardev:serial", "-device", "usb-kbd,id=keyboard"};
}

Words disk_words(const BoardOptions& options) {
  const std::string file = options.data.string();
  if (options.board == card_board) return {"-drive", "if=sd,format=raw,file=" + file};
  if (!options.write_log) return {"-blockdev", "driver=raw,node-name=data,file.driver=file,file.filename=" + file};
  return {"-blockdev",
          "driver=blklogwrites,node-name=data,log-super-update-interval=1000000000,log.driver=file,log.filename=" +
              options.write_log->string() + ",file.driver=raw,file.file.driver=file,file.file.filename=" + file};
}

Words network_words(const BoardOptions& options) {
  const std::string forward =
      ",hostfwd=tcp:127.0.0.1:" + std::to_string(options.control_port) + "-:" + std::to_string(phoned_port);
  if (options.board == card_board) return {"-nic", "user" + forward};
  return {"-netdev", "user,id=net" + forward};
}

Words screen_words(const BoardOptions& options) {
  if (options.vnc_display) return {"-vnc", "127.0.0.1:" + std::to_string(*options.vnc_display)};
  return {"-display", "none"};
}

void require(bool good, const std::string& otherwise) {
  if (!good) throw std::runtime_error(otherwise);
}

void require_file(const std::filesystem::path& file) {
  require(std::filesystem::is_regular_file(file), "there is no " + file.string());
}

}  // namespace

void check(const BoardOptions& options) {
  require_file(options.data);
  if (options.board == development_board) return require_file(options.bundle);
  require(options.board == card_board,
          "no emulator has the board " + options.board + "; there are: " + development_board + ", " + card_board);
  require(options.bundle.empty(), "orangepi-pc boots from its card (--data); leave --bundle out");
  require(options.cpus == 4 && options.memory_mib == 1024,
          "orangepi-pc has 4 CPUs and 1024 MiB; leave the options out");
  require(!options.vnc_display, "QEMU shows no screen of orangepi-pc: amphion-emulator screen and front ask phoned");
  require(!options.write_log, "the writes of orangepi-pc's card cannot be listed");
  require_file(options.pki / "owner.crt");
}

std::vector<std::string> machine_words(const BoardOptions& options) {
  return options.board == card_board ? card_words() : virt_words(options);
}

std::vector<std::string> backend_words(const BoardOptions& options,
                                       const std::function<std::string(const char*)>& in_folder) {
  const auto socket = [&](const char* name) { return "unix:" + in_folder(name) + ",server=on,wait=off"; };
  Words line;
  const auto add = [&](const Words& words) { line.insert(line.end(), words.begin(), words.end()); };
  if (!options.bundle.empty()) add({"-kernel", options.bundle.string()});
  add({"-chardev",
       "socket,id=serial,path=" + in_folder("serial.sock") + ",server=on,wait=off,logfile=" + in_folder("serial.log")});
  add(disk_words(options));
  add(network_words(options));
  add(screen_words(options));
  add({"-qmp", socket("qmp.sock"), "-qmp", socket("front.sock")});
  return line;
}

}  // namespace amphion::emulator
