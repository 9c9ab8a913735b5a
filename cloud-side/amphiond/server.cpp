// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/server.hpp"

#include <spdlog/spdlog.h>

#include <array>
#include <stdexcept>

#include "link/frame.hpp"
#include "link/own_addresses.hpp"

namespace amphion::cloud {
namespace {

constexpr std::chrono::seconds handshake_time{10};
constexpr std::chrono::seconds farewell_time{5};
constexpr std::chrono::minutes code_life{10};
constexpr std::size_t max_connections = 256;

nlohmann::json failed(const std::string& why) { return {{"ok", false}, {"error", why}}; }

}  // namespace

Server::Server(std::filesystem::path data, Files& files, link::Files& small_files, CloneStarter& starter)
    : data_(std::move(data)),
      files_(files),
      small_files_(small_files),
      starter_(starter),
      admissions_(small_files, (data_ / "admissions").string()) {
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
  auto fresh = std::make_shared<Device>(name, data_ / "devices" / name, files_, small_files_, starter_, ShrinkLimits{},
                                        [this, name] { return forget(name); });
  files_.sync_folder(data_ / "devices");
  return devices_[name] = std::move(fresh);
}

void Server::listen(const link::Endpoint& at, const std::string& pki) {
  const auto identity = link::identity_in(pki, link::Role::cloud);
  auto opened = link::TlsListener::open(at, identity, {link::Role::phone}, [this] { return desk_.key(); });
  if (!opened) throw std::runtime_error(opened.error().text);
  auto own = link::certificate_facts(identity.certificate);
  if (!own) throw std::runtime_error(own.error().text);
  own_name_ = own->name;
  pki_ = pki;
  host_ = at.host;
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
  if ((*stream)->peer_role() == link::Role::newcomer) {
    serve_newcomer(**stream);
  } else {
    serve_phone(std::move(*stream));
  }
}

void Server::serve_phone(std::unique_ptr<link::TlsStream> stream) {
  const std::string name = stream->peer_name();
  if (const auto admitted = admissions_.check(name, stream->peer().fingerprint); !admitted.ok()) {
    spdlog::warn("{}: '{}' refused: {}", stream->peer_address(), name, admitted.error().text);
    link::pb::Error error;
    error.set_text(admitted.error().text);
    error.set_fatal(true);
    (void)link::write_frame(*stream, error, link::in(farewell_time));
    std::array<std::byte, 4096> rest;  // its Hello: ending with unread bytes would lose what it is told
    (void)stream->read(rest, link::in(farewell_time));
    return;
  }
  spdlog::info("{}: phone '{}' has connected", stream->peer_address(), name);
  try {
    device(name, true)->serve(std::move(stream), own_name_);
  } catch (const std::exception& error) {
    spdlog::error("{}: {}", name, error.what());
  }
}

// ---- Pairing ----

void Server::serve_newcomer(link::TlsStream& stream) {
  const auto sign = [this](const std::string& name, std::string_view key) -> link::Result<link::Issued> {
    auto issued = link::issue_for_key(pki_, {.role = link::Role::phone, .name = name}, key);
    if (!issued) return issued.error();
    const auto facts = link::certificate_facts(issued->certificate);
    if (!facts) return facts.error();
    if (auto kept = admissions_.allow(name, facts->fingerprint); !kept.ok()) return kept.error();
    if (const auto known = device(name, false)) known->drop("this phone is being paired anew");
    spdlog::info("{}: a certificate was made for it by a one-time code", name);
    return issued;
  };
  const auto served = link::serve_newcomer(stream, desk_, link::Role::phone, sign, link::in(handshake_time));
  if (!served.ok()) spdlog::warn("{}: not paired: {}", stream.peer_address(), served.error().text);
}

// What a phone asks for itself, or the admin.
link::Status Server::forget(const std::string& name) {
  auto done = admissions_.deny(name);
  if (done.ok()) spdlog::info("{}: unpaired", name);
  return done;
}

std::string Server::free_name() {
  const auto taken = [this](const std::string& name) { return admissions_.knows(name) || device(name, false); };
  std::string name = "phone";
  for (int n = 2; taken(name); ++n) name = "phone-" + std::to_string(n);
  return name;
}

nlohmann::json Server::pair(const nlohmann::json& request) {
  std::string name = request.value("name", std::string());
  if (name.empty()) name = free_name();
  if (!link::valid_instance_name(name)) return failed("\"" + name + "\" is no name: 1 to 32 of a-z, 0-9 and -");
  if (!small_files_.read(pki_ + "/ca.key", 64 * 1024)) {
    return failed(pki_ +
                  " has no authority's key (ca.key), so no certificate can be made here: make one with amphion-pki "
                  "where it is");
  }
  const auto code = desk_.open(name, code_life);
  if (!code) return failed(code.error().text);
  const bool local = host_ == "127.0.0.1" || host_ == "::1" || host_ == "localhost";
  const bool everywhere = host_ == "0.0.0.0" || host_ == "::";
  nlohmann::json hosts = nlohmann::json::array();
  for (const auto& one : everywhere ? link::own_addresses() : std::vector<std::string>{host_}) hosts.push_back(one);
  return {{"ok", true},     {"name", name},   {"code", code->text()}, {"minutes", code_life.count()},
          {"port", port()}, {"hosts", hosts}, {"local", local}};
}

nlohmann::json Server::unpair(const nlohmann::json& request) {
  const auto name = request.value("device", std::string());
  const auto known = device(name, false);
  if (!known && !admissions_.knows(name)) return failed("no phone is named '" + name + "'");
  if (const auto done = forget(name); !done.ok()) return failed(done.error().text);
  if (known) known->drop("this phone has been unpaired from this cloud");
  return {{"ok", true}};
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
  if (what == "pair") return pair(request);
  if (what == "unpair") return unpair(request);
  return {{"ok", false}, {"error", "unknown request '" + what + "'; known are list, console, pair and unpair"}};
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
