// SPDX-License-Identifier: Apache-2.0
// A phone without a hypervisor: its one instance runs in a QEMU of the clones' kind, everything else is real (records,
// TLS session, both engines). With it the cloud's half of a dock is proven without the emulated board.
// Thread safety: one thread calls it; messages arrive by the session's.
#pragma once

#include <condition_variable>
#include <map>

#include "cloud-side/amphiond/arriving_image.hpp"
#include "cloud-side/amphiond/leaving_image.hpp"
#include "cloud-side/qemu/clone.hpp"
#include "link/session.hpp"
#include "link/tls.hpp"

namespace amphion::e2e {

struct QemuPhoneOptions {
  std::filesystem::path folder;
  std::filesystem::path pki;
  qemu::CloneOptions qemu;
  std::filesystem::path kernel;
  std::filesystem::path initramfs;
  std::filesystem::path disk;
  machine::Shape shape{4, 256u << 20};
  std::uint64_t bound_bytes = 96u << 20;
  std::uint32_t vcpus_allowed = 2;
};

class QemuPhone final : private link::Session::Handler {
 public:
  explicit QemuPhone(QemuPhoneOptions options);
  ~QemuPhone() override;

  void boot();  // the instance, from its disk
  void connect(std::uint16_t port);
  void disconnect();
  link::HandoverReport dock();
  // The report of its coming home, or the refusal as `reason` of an aborted one.
  link::HandoverReport undock(std::uint64_t bound_bytes);

  // Key presses and releases, journaled by number; those that the cloud does not acknowledge are sent again by
  // connect().
  void type(const std::string& text);
  [[nodiscard]] bool all_typed_arrived();
  link::pb::InstanceStatus status();

  // The console wherever the instance is.
  void console_write(const std::string& bytes);
  std::string console_read();

  qemu::Clone& instance() { return *clone_; }
  [[nodiscard]] bool here() const { return clone_ != nullptr; }

 private:
  void on_offer(link::Session& session, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) override;
  void on_message(link::Session& session, link::Message message) override;
  void on_closed(link::Session& session, const link::Error& why) override;
  cloud::LeavingImage leaving();
  void reconcile();
  link::Status start(const link::InstanceRecord& record);
  void send_keys(std::uint64_t after);
  void open_console();

  QemuPhoneOptions options_;
  cloud::PosixFiles files_;
  cloud::InstanceFolder folder_;
  link::Records records_;
  std::unique_ptr<qemu::Clone> clone_;
  std::shared_ptr<link::Session> session_;
  std::thread incoming_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::optional<link::HandoverReport> answer_;
  std::optional<link::pb::StatusReply> status_;
  std::string console_;
  std::vector<link::InputEvent> typed_;
  std::uint64_t reached_ = 0;
};

}  // namespace amphion::e2e
