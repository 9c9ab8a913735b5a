// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/outside.hpp"

#include <string>

#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/process.hpp"

namespace amphion::qemu {
namespace {

namespace fs = std::filesystem;

constexpr char outside_pid_file[] = "passt.pid";

}  // namespace

fs::path passt_beside(const fs::path& qemu) { return qemu.parent_path() / "passt"; }

link::Status check_outside(const fs::path& passt) {
  const auto version = run_and_read(passt, {"--version"});
  return version ? link::Status() : link::Status(version.error());
}

link::Status start_outside(const fs::path& passt, const fs::path& folder, const machine::Mac& mac) {
  const auto subnet = machine::subnet_of(mac);
  const std::string name_server = machine::text_of(subnet.dns());
  return run_daemon(passt, {"--quiet",
                            "--one-off",
                            "--socket",
                            (folder / network_socket).string(),
                            "--pid",
                            (folder / outside_pid_file).string(),
                            "--ipv4-only",
                            "--address",
                            machine::text_of(subnet.guest()) + "/" + std::to_string(machine::Subnet::prefix_bits),
                            "--gateway",
                            machine::text_of(subnet.gateway()),
                            "--mac-addr",
                            machine::text_of(subnet.gateway_mac()),
                            "--dns",
                            name_server,
                            "--dns-forward",
                            name_server,
                            "--search",
                            "none",
                            "--mtu",
                            std::to_string(machine::network_mtu),
                            "--map-host-loopback",
                            "none",
                            "--map-guest-addr",
                            "none",
                            "--tcp-ports",
                            "none",
                            "--udp-ports",
                            "none"});
}

void end_outside(const fs::path& folder) { kill_and_wait(read_pid_file(folder / outside_pid_file), folder); }

}  // namespace amphion::qemu
