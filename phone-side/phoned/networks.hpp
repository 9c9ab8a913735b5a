// SPDX-License-Identifier: Apache-2.0
// The instances' networks on the phone: who has which Ethernet address and subnet (machine/network.hpp), and the host's
// end of each cable, a TAP. Firewall, addresses and leases are made by a script of the host's root file system
// (toolchain/rootfs/host/usr/sbin/amphion-network), which may be read as the rules themselves.
//
//   start(): what an earlier phoned left goes, the rules for all stand -> attach() for each instance that runs ...
//
// Who owns what: an instance's address is made once and kept in its folder; a Cable owns the TAP's descriptor and the
// rules that name it. Copies of the descriptor keep the TAP, but without rules nothing passes it.
// Thread safety: all functions from any thread. A Cable ends before its Networks.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "link/error.hpp"
#include "link/files.hpp"
#include "machine/network.hpp"
#include "phone-side/devices/owned_fd.hpp"
#include "phone-side/phoned/config.hpp"

namespace amphion::phoned {

class Networks {
 public:
  class Cable {
   public:
    Cable() = default;
    Cable(Networks* networks, std::string instance, machine::Mac mac, devices::OwnedFd tap)
        : networks_(networks), instance_(std::move(instance)), mac_(mac), tap_(std::move(tap)) {}
    Cable(Cable&& other) noexcept { *this = std::move(other); }
    Cable& operator=(Cable&& other) noexcept;
    ~Cable();

    [[nodiscard]] const machine::Mac& mac() const { return mac_; }
    [[nodiscard]] bool joined() const { return tap_.valid(); }  // else the link is down
    [[nodiscard]] int descriptor() const { return tap_.get(); }

   private:
    Networks* networks_ = nullptr;
    std::string instance_;
    machine::Mac mac_{2, 0, 0, 0, 0, 1};
    devices::OwnedFd tap_;
  };

  // `folder`: of all instances. `tool`: the script.
  Networks(link::Files& files, std::string folder, std::string tool);
  ~Networks();
  Networks(const Networks&) = delete;
  Networks& operator=(const Networks&) = delete;

  [[nodiscard]] link::Status start();
  // An error: it has no address, and cannot run. One that has an address and cannot be joined has its link down, and
  // the log says why.
  [[nodiscard]] link::Result<Cable> attach(const InstanceConfig& instance);

 private:
  struct Joined {
    std::string tap;
    std::vector<std::string> open_to, opened;  // instances; TAPs
  };

  [[nodiscard]] link::Result<machine::Mac> address_of(const std::string& instance);
  [[nodiscard]] link::Result<machine::Mac> read_address(const std::string& instance);
  [[nodiscard]] link::Result<devices::OwnedFd> join(const InstanceConfig& instance, const machine::Mac& mac);
  void detach(const std::string& instance);
  void leave(const std::string& instance);
  [[nodiscard]] link::Status run(const std::vector<std::string>& words);

  link::Files& files_;
  const std::string folder_, tool_;
  std::mutex mutex_;
  bool started_ = false;
  std::map<std::string, Joined> joined_;
};

}  // namespace amphion::phoned
