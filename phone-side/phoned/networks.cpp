// SPDX-License-Identifier: Apache-2.0
#include "phone-side/phoned/networks.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <system_error>

extern char** environ;

namespace amphion::phoned {
namespace {

using devices::OwnedFd;
using link::ErrorCode;
using link::Status;
using machine::Mac;

constexpr char address_file[] = "/mac";
constexpr std::size_t most_said_bytes = 4096;
constexpr std::uint8_t last_subnet = 254;

std::string error_text(int error) { return std::generic_category().message(error); }

// The host instance's own, as its lease says.
std::string name_server() {
  std::ifstream in("/etc/resolv.conf");
  std::string word, address;
  while (in >> word)
    if (word == "nameserver" && in >> address && address.find(':') == std::string::npos) return address;
  return {};
}

link::Result<OwnedFd> make_tap(const std::string& name) {
  OwnedFd tap(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.valid()) return link::Error{ErrorCode::io, "/dev/net/tun: " + error_text(errno)};
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), sizeof request.ifr_name - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0)
    return link::Error{ErrorCode::io, "no TAP " + name + ": " + error_text(errno)};
  return tap;
}

bool names(const std::vector<std::string>& list, const std::string& one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

// A child has this process's blocked and ignored signals; what it starts shall heed its own.
class Spawn {
 public:
  explicit Spawn(int output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, 2);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;

  [[nodiscard]] int start(pid_t& pid, std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    return posix_spawn(&pid, arguments[0], &actions_, &attributes_, arguments.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::optional<Mac> parse_mac(const std::string& text) {
  Mac mac{};
  std::array<unsigned, 6> part{};
  if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x", &part[0], &part[1], &part[2], &part[3], &part[4],
                  &part[5]) != 6)
    return {};
  std::copy(part.begin(), part.end(), mac.begin());
  return machine::valid_mac(mac) ? std::optional(mac) : std::nullopt;
}

}  // namespace

Networks::Cable& Networks::Cable::operator=(Cable&& other) noexcept {
  std::swap(networks_, other.networks_);
  std::swap(instance_, other.instance_);
  std::swap(mac_, other.mac_);
  std::swap(tap_, other.tap_);
  return *this;
}

Networks::Cable::~Cable() {
  if (networks_ != nullptr && joined()) networks_->detach(instance_);
}

Networks::Networks(link::Files& files, std::string folder, std::string tool)
    : files_(files), folder_(std::move(folder)), tool_(std::move(tool)) {}

Networks::~Networks() {
  if (started_) (void)run({"stop"});
}

Status Networks::start() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> words{"start"};
  if (const std::string server = name_server(); !server.empty()) words.push_back(server);
  auto status = run(words);
  started_ = status.ok();
  return status;
}

link::Result<Networks::Cable> Networks::attach(const InstanceConfig& instance) {
  const std::lock_guard lock(mutex_);
  const auto mac = address_of(instance.name);
  if (!mac.ok()) return mac.error();
  if (instance.network == NetworkKind::none) return Cable(this, instance.name, *mac, OwnedFd());
  auto tap = join(instance, *mac);
  if (tap.ok()) return Cable(this, instance.name, *mac, std::move(*tap));
  spdlog::error("{}: is without a network: {}", instance.name, tap.error().text);
  return Cable(this, instance.name, *mac, OwnedFd());
}

// The TAP is down until its rules stand.
link::Result<OwnedFd> Networks::join(const InstanceConfig& instance, const Mac& mac) {
  if (!started_) return link::Error{ErrorCode::io, "the firewall is not there"};
  const std::string number = std::to_string(machine::subnet_of(mac).number), name = "amphion" + number;
  auto tap = make_tap(name);
  if (!tap.ok()) return tap.error();
  const char* kind = instance.network == NetworkKind::bridged ? "bridged" : "nat";
  auto status = run({"attach", name, machine::text_of(mac), number, kind});
  Joined here{name, instance.open_to, {}};
  for (auto& [other, there] : joined_) {
    if (!status.ok() || !names(here.open_to, other) || !names(there.open_to, instance.name)) continue;
    status = run({"open", name, there.tap});
    here.opened.push_back(there.tap);
    there.opened.push_back(name);
  }
  joined_[instance.name] = std::move(here);
  if (status.ok()) return tap;
  leave(instance.name);
  return status.error();
}

void Networks::detach(const std::string& instance) {
  const std::lock_guard lock(mutex_);
  leave(instance);
}

void Networks::leave(const std::string& instance) {
  const auto found = joined_.find(instance);
  if (found == joined_.end()) return;
  std::vector<std::string> words{"detach", found->second.tap};
  words.insert(words.end(), found->second.opened.begin(), found->second.opened.end());
  if (const auto status = run(words); !status.ok())
    spdlog::error("{}: its network is not taken down: {}", instance, status.error().text);
  for (auto& [other, there] : joined_) std::erase(there.opened, found->second.tap);
  joined_.erase(found);
}

// ---- Addresses ----

link::Result<Mac> Networks::read_address(const std::string& instance) {
  const auto text = files_.read(folder_ + "/" + instance + address_file, 64);
  if (!text.ok()) return text.error();
  if (const auto mac = parse_mac(*text)) return *mac;
  return link::Error{ErrorCode::damaged,
                     folder_ + "/" + instance + address_file +
                         ": is no Ethernet address of an instance; remove it, and it gets a new one"};
}

// The lowest subnet that no other instance of this phone has.
link::Result<Mac> Networks::address_of(const std::string& instance) {
  auto known = read_address(instance);
  if (known.ok() || known.error().code != ErrorCode::not_found) return known;
  const auto others = files_.list(folder_);
  if (!others.ok()) return others.error();
  std::set<std::uint8_t> taken;
  for (const std::string& other : *others)
    if (const auto mac = read_address(other); mac.ok()) taken.insert(machine::subnet_of(*mac).number);
  std::uint8_t number = 1;
  while (taken.contains(number)) ++number;
  if (number > last_subnet) return link::Error{ErrorCode::no_space, "there are no addresses left; remove an instance"};
  Mac mac{};
  if (getrandom(mac.data(), mac.size(), 0) != static_cast<ssize_t>(mac.size()))
    return link::Error{ErrorCode::io, "no random numbers: " + error_text(errno)};
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfc) | 2);
  mac[5] = number;
  if (auto kept = link::write_durably(files_, folder_ + "/" + instance + address_file, machine::text_of(mac) + "\n");
      !kept.ok())
    return kept.error();
  return mac;
}

// ---- The script ----

Status Networks::run(const std::vector<std::string>& words) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {ErrorCode::io, "pipe: " + error_text(errno)};
  const OwnedFd output(ends[0]);
  pid_t pid = 0;
  int failed = 0;
  {
    const OwnedFd input(ends[1]);
    std::vector<std::string> command{tool_};
    command.insert(command.end(), words.begin(), words.end());
    failed = Spawn(input.get()).start(pid, std::move(command));
  }
  if (failed != 0) return {ErrorCode::io, tool_ + ": " + error_text(failed)};
  std::string said;
  std::array<char, 512> piece;
  for (ssize_t n = 0; (n = read(output.get(), piece.data(), piece.size())) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0 && said.size() < most_said_bytes) said.append(piece.data(), static_cast<std::size_t>(n));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return {ErrorCode::io, tool_ + " " + words.front() + ": " + first_line(said)};
}

}  // namespace amphion::phoned
