// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/server.hpp"

#include <spdlog/spdlog.h>

#include <stdexcept>

#include "cloud-side/amphiond/certificate_name.hpp"

namespace amphion::cloud {
namespace {

constexpr std::chrono::seconds handshake_time{10};
constexpr std::size_t max_connections = 256;

}  // namespace

Server::Server(std::filesystem::path data, Files& files, link::Files& small_files, CloneStarter& starter)
    : data_(std::move(data)), files_(files), small_files_(small_files), starter_(starter) {
  files_.make_folder(data_ / "devices");
  for (const auto& name : files_.list(data_ / "devices")) {
    if (!link::valid_instance_name(name)) continue;
    try {
      (void)device(name, true);
    } catch (const std::exception& error) {  // its phone is told the same when it connects; the others go on
      spdlog::error("{}: {}", name, error.what());
    }
  }
}

Server::~Server() { (void)stop(); }

std::shared_ptr<Device> Server::device(const std::string& name, bool make) {
  const std::lock_guard lock(mutex_);
  if (stopping_) throw std::runtime_error("the cloud server stops");
  const auto found = devices_.find(name);
  if (found != devices_.end() || !make) return found == devices_.end() ? nullptr : found->second;
  auto fresh = std::make_shared<Device>(name, data_ / "devices" / name, files_, small_files_, starter_);
  files_.sync_folder(data_ / "devices");
  return devices_[name] = std::move(fresh);
}

void Server::listen(const link::Endpoint& at, const link::Identity& identity) {
  auto opened = link::TlsListener::open(at, identity, {link::Role::phone});
  if (!opened) throw std::runtime_error(opened.error().text);
  auto name = certificate_name(identity.certificate);
  if (!name) throw std::runtime_error(name.error().text);
  own_name_ = *name;
  listener_ = std::move(*opened);
  acceptor_ = std::thread([this] { accept_loop(); });
}

void Server::accept_loop() {
  while (true) {
    auto pending = listener_->accept();
    if (!pending && pending.error().code == link::ErrorCode::closed) return;
    if (!pending) {
      spdlog::warn("a connection was not accepted: {}", pending.error().text);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    reap(false);
    const std::lock_guard lock(mutex_);
    if (connections_.size() >= max_connections) continue;
    auto& connection = connections_.emplace_back();
    connection.thread = std::thread([this, &connection, pending = std::shared_ptr(std::move(*pending))] {
      greet(*pending);
      connection.done = true;
    });
  }
}

void Server::greet(link::TlsListener::Pending& pending) {
  auto stream = pending.handshake(link::in(handshake_time));
  if (!stream) {
    spdlog::warn("{}: refused: {}", pending.peer_address(), stream.error().text);
    return;
  }
  const std::string name = (*stream)->peer_name();
  if (!link::valid_instance_name(name)) {
    spdlog::warn("{}: refused: '{}' is not a device's name", pending.peer_address(), name);
    return;
  }
  spdlog::info("{}: phone '{}' has connected", pending.peer_address(), name);
  try {
    device(name, true)->serve(std::move(*stream), own_name_);
  } catch (const std::exception& error) {
    spdlog::error("{}: {}", name, error.what());
  }
}

void Server::reap(bool all) {
  std::list<Connection> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = connections_.begin(); at != connections_.end();) {
      const auto next = std::next(at);
      if (all || at->done) ended.splice(ended.end(), connections_, at);
      at = next;
    }
  }
  for (auto& connection : ended) connection.thread.join();
}

std::size_t Server::stop() {
  if (listener_) listener_->close();
  if (acceptor_.joinable()) acceptor_.join();
  std::map<std::string, std::shared_ptr<Device>> devices;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;  // who is still in his handshake must not find the device missing and make a second one
    devices.swap(devices_);
  }
  std::size_t running = 0;
  for (const auto& [name, device] : devices) {
    device->close("the cloud server stops");
    for (const auto& instance : device->instances()) running += instance->clone().present() ? 1 : 0;
  }
  reap(true);
  return running;
}

nlohmann::json Server::admin(const nlohmann::json& request) {
  const auto what = request.value("do", std::string());
  if (what == "list") return list();
  if (what == "console") return console(request);
  return {{"ok", false}, {"error", "unknown request '" + what + "'; known are list and console"}};
}

nlohmann::json Server::list() {
  nlohmann::json devices = nlohmann::json::array();
  std::map<std::string, std::shared_ptr<Device>> all;
  {
    const std::lock_guard lock(mutex_);
    all = devices_;
  }
  for (const auto& [name, device] : all) {
    nlohmann::json instances = nlohmann::json::array();
    for (const auto& instance : device->instances()) instances.push_back(instance->describe());
    devices.push_back({{"device", name}, {"connected", device->connected()}, {"instances", instances}});
  }
  return {{"ok", true}, {"port", port()}, {"devices", devices}};
}

nlohmann::json Server::console(const nlohmann::json& request) {
  const auto name = request.value("device", std::string());
  const auto instance = request.value("instance", std::string());
  const auto known = device(name, false);
  const auto found = known ? known->find(instance) : nullptr;
  if (!found) return {{"ok", false}, {"error", "no instance '" + instance + "' of a device '" + name + "'"}};
  const auto facts = found->clone().facts();
  if (!facts.present) return {{"ok", false}, {"error", instance + " does not run in the cloud"}};
  return {{"ok", true}, {"path", facts.console.string()}};
}

}  // namespace amphion::cloud
