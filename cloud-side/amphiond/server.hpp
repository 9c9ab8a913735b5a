// SPDX-License-Identifier: Apache-2.0
// The cloud server: accepts phones by mutual TLS, finds the device that the certificate names, and lets it be served.
// Only that device's instances are ever within a session's reach. New phones come by a one-time code
// (link/pairing.hpp). Thread safety: made, run and stopped by main(); a thread for accepting and one for each
// connection.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <thread>

#include "cloud-side/amphiond/admissions.hpp"
#include "cloud-side/amphiond/device.hpp"
#include "link/pairing.hpp"

namespace amphion::cloud {

class Server {
 public:
  // Opens every device's folder under `data` and recovers its instances. Throws std::runtime_error.
  Server(std::filesystem::path data, Files& files, link::Files& small_files, CloneStarter& starter);
  ~Server();  // stop()

  // Begins to accept phones. Throws std::runtime_error: certificates, address.
  // `pki`: a folder as amphion-pki makes it; with the authority's key, phones can be paired.
  void listen(const link::Endpoint& at, const std::string& pki);
  [[nodiscard]] std::uint16_t port() const { return listener_ ? listener_->port() : std::uint16_t{0}; }
  // Ends all sessions; clones go on. Returns how many still run.
  std::size_t stop();

  // The admin socket's requests. Thread safe.
  [[nodiscard]] nlohmann::json admin(const nlohmann::json& request);

 private:
  struct Connection {
    std::thread thread;
    std::atomic<bool> done{false};
  };
  void accept_loop();
  void greet(link::TlsListener::Pending& pending);
  void serve_phone(std::unique_ptr<link::TlsStream> stream);
  void serve_newcomer(link::TlsStream& stream);
  link::Status forget(const std::string& name);
  void reap(bool all);
  std::shared_ptr<Device> device(const std::string& name, bool make);
  [[nodiscard]] nlohmann::json list();
  [[nodiscard]] nlohmann::json console(const nlohmann::json& request);
  [[nodiscard]] nlohmann::json pair(const nlohmann::json& request);
  [[nodiscard]] nlohmann::json unpair(const nlohmann::json& request);
  [[nodiscard]] std::string free_name();

  const std::filesystem::path data_;
  Files& files_;
  link::Files& small_files_;
  CloneStarter& starter_;
  Admissions admissions_;
  link::CodeDesk desk_;
  std::string own_name_, pki_, host_;  // set before the acceptor runs
  std::unique_ptr<link::TlsListener> listener_;
  std::thread acceptor_;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, std::shared_ptr<Device>> devices_;
  bool stopping_ = false;
  std::list<Connection> connections_;
};

}  // namespace amphion::cloud
