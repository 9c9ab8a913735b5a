// SPDX-License-Identifier: Apache-2.0
// See doctor.hpp.
#include "phone-side/phoned/doctor.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "link/own_addresses.hpp"
#include "link/records.hpp"
#include "machine/envelope.hpp"
#include "phone-side/instance/linux_hypervisor.hpp"
#include "phone-side/phoned/saved_image.hpp"

namespace amphion::phoned {
namespace {

using link::utc_text;
using nlohmann::json;

constexpr std::int64_t day_s = 24 * 60 * 60;
constexpr std::int64_t expires_soon_s = 30 * day_s;
constexpr std::int64_t clocks_differ_s = 120;
constexpr std::uint64_t mib = 1u << 20;
constexpr std::uint64_t little_space_mib = 256;
constexpr int hot_mdeg = 85000;

std::string text_of(const json& value, const char* key) {
  const auto found = value.find(key);
  return found != value.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  if (DIR* dir = ::opendir(folder.c_str()); dir != nullptr) {
    while (const dirent* entry = ::readdir(dir)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    ::closedir(dir);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& one : names) all += (all.empty() ? "" : ", ") + one;
  return all;
}

std::string errno_text() { return std::strerror(errno); }

// A file of its own, written, synced and removed: the error, or empty.
std::string try_write(const std::string& folder) {
  const std::string file = folder + "/.doctor";
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return errno_text();
  const bool good = ::write(fd, "x", 1) == 1 && ::fsync(fd) == 0;
  const std::string why = good ? "" : errno_text();
  ::close(fd);
  ::unlink(file.c_str());
  return why;
}

}  // namespace

Check check_clock(const json& time) {
  const auto number = [&](const char* key) { return time.value(key, json(0)).get<std::int64_t>(); };
  Check check{"clock", Health::good, utc_text(number("clock_s"))};
  if (const std::string set = text_of(time, "set"); !set.empty()) check.found += "; it was set " + set;
  if (number("clock_s") < number("floor_s") - clocks_differ_s) {
    check.health = Health::bad;
    check.found += ", but it is " + utc_text(number("floor_s")) + " or later";
    check.advice = "the clock cannot be set: does phoned run as root on the board?";
  } else if (number("floor_s") == 0) {
    check.health = Health::warning;
    check.found += "; nothing tells whether it is right";
    check.advice = "pair the phone: the cloud tells the time";
  } else if (number("cloud_ahead_s") < -clocks_differ_s) {
    check.health = Health::warning;
    check.found += ", " + std::to_string(-number("cloud_ahead_s")) + " s ahead of the cloud's";
    check.advice =
        "if it is this clock that is wrong: switch off, remove the file `clock` on the data partition, start again";
  }
  return check;
}

Check check_certificate(const std::string& name, const link::Identity& identity, std::int64_t now_s,
                        const std::string& renewal) {
  const auto facts = link::certificate_facts(identity.certificate);
  if (!facts) return {name, Health::bad, facts.error().text, renewal};
  if (const auto whole = link::check_identity(identity); !whole.ok()) {
    return {name, Health::bad, whole.error().text, renewal};
  }
  Check check{name, Health::good, facts->name + ", until " + utc_text(facts->to)};
  if (now_s > facts->to) {
    check.health = Health::bad;
    check.found = facts->name + " has expired, on " + utc_text(facts->to);
    check.advice = "is the clock right? If so, " + renewal;
  } else if (now_s < facts->from) {
    check.health = Health::warning;
    check.found = facts->name + " is valid from " + utc_text(facts->from) + " on only";
    check.advice = "the clock is late";
  } else if (facts->to - now_s < expires_soon_s) {
    check.health = Health::warning;
    check.advice = "it ends soon: " + renewal;
  }
  return check;
}

Check check_cloud(const json& cloud) {
  const std::string address = text_of(cloud, "address");
  const std::string error = text_of(cloud, "error");
  if (address.empty()) {
    return {"cloud", Health::warning, error.empty() ? "paired with none" : error,
            "`amphiond pair` in the cloud shows a code; then `amphion pair CODE@HOST:PORT` here"};
  }
  if (cloud.value("connected", false))
    return {"cloud", Health::good, address + ", connected to " + text_of(cloud, "name")};
  Check check{"cloud", Health::bad, address + ": " + (error.empty() ? "connecting" : error)};
  const auto says = [&](const char* words) { return error.find(words) != std::string::npos; };
  if (cloud.value("leaving", false)) {
    check.advice = "the phone is being unpaired and waits to tell it; `amphion unpair --force` does not wait";
  } else if (says("cannot find host")) {
    check.advice = "is the name right, and does the network have a name server (/etc/resolv.conf)?";
  } else if (says("no one answers")) {
    check.advice = "does amphiond run there, listen beyond 127.0.0.1 (--listen), and does no firewall stop the port?";
  } else if (says("unpaired") || says("last pairing")) {
    check.advice = "`amphion unpair --force` here, then pair again";
  } else if (says("expired") || says("not valid yet")) {
    check.advice = "compare the two clocks; renew the certificate that has expired";
  } else if (says("another authority")) {
    check.advice =
        "this is not the cloud that the phone was paired with, or its certificates were made anew: pair again";
  } else if (says("version") || says("protocol")) {
    check.advice = "phone and cloud are of different versions: update the older one";
  } else {
    check.advice = "see amphiond's log for the other side of it";
  }
  return check;
}

Check check_data(const std::string& data) {
  struct statvfs space {};
  if (::statvfs(data.c_str(), &space) != 0) {
    return {"data partition", Health::bad, data + ": " + errno_text(), "is the card in? See docs/boards.md"};
  }
  const std::uint64_t free_mib = std::uint64_t{space.f_bavail} * space.f_frsize / mib;
  Check check{"data partition", Health::good, std::to_string(free_mib) + " MiB free"};
  if (const std::string why = try_write(data); !why.empty()) {
    check.health = Health::bad;
    check.found = data + " cannot be written: " + why;
    check.advice = "full, or mounted read-only after an error: `e2fsck` the card's second partition on a PC";
  } else if (free_mib < little_space_mib) {
    check.health = Health::warning;
    check.advice =
        "an undock needs room for the instance's memory and changes: remove an instance, or use a larger card";
  }
  return check;
}

Check check_file_systems(const BoardPaths& paths) {
  Check check{"file systems", Health::good, "no errors"};
  for (const std::string& name : names_in(paths.ext4)) {
    const std::string errors = first_line(paths.ext4 + "/" + name + "/errors_count");
    if (errors.empty() || errors == "0") continue;
    check = {"file systems", Health::bad, name + " has recorded " + errors + " errors",
             "the card may be failing: copy it, and `e2fsck -f` it on a PC"};
  }
  return check;
}

std::vector<Check> check_hypervisor(const Config& config) {
  instance::Problem problem;
  const auto hypervisor = instance::open_hypervisor(problem);
  amphion_info info{};
  if (hypervisor && !problem) problem = hypervisor->info(info);
  if (!hypervisor || problem) {
    return {{"hypervisor", Health::bad, problem.value_or("none"),
             "the card's first partition has the hypervisor's bundle: write the card again"}};
  }
  std::uint64_t bounds_mib = 0;
  for (const InstanceConfig& one : config.instances) bounds_mib += one.bound_bytes / mib;
  const std::uint64_t pool_mib = std::uint64_t{info.pool_pages} * 4096 / mib;
  Check memory{"memory", Health::good,
               std::to_string(bounds_mib) + " of " + std::to_string(pool_mib) + " MiB are promised to instances"};
  if (bounds_mib > pool_mib) {
    memory.health = Health::bad;
    memory.advice = "lower `bound_mib` of instances in phoned.json";
  }
  return {{"hypervisor", Health::good,
           "ABI version " + std::to_string(info.abi_version) + ", " + std::to_string(info.cpus) + " CPUs"},
          memory};
}

Check check_instance(const InstanceConfig& config, const json& state, const std::string& data) {
  Check check{"instance " + config.name, Health::good, text_of(state, "state") + ", on the " + text_of(state, "place")};
  const auto bad = [&](const std::string& found, const std::string& advice) {
    return Check{check.name, Health::bad, found, advice};
  };
  const std::string note = text_of(state, "note");
  if (text_of(state, "state") == "failed") return bad(note, "amphion start " + config.name + " tries again");
  for (const std::string& file : {config.kernel, config.initrd, config.disk}) {
    if (!file.empty() && ::access(file.c_str(), R_OK) != 0) {
      return bad(file + ": " + errno_text(), "phoned.json names it: put the file there, or correct the name");
    }
  }
  link::Records records(link::real_files(), data + "/records", link::pb::SIDE_PHONE);
  const auto record = records.load(config.name);
  if (!record && record.error().code != link::ErrorCode::not_found) {
    return bad(record.error().text, "the card may be failing: copy it before anything else");
  }
  if (record && record->saved != 0) {
    const auto sealed = SavedImage(data + "/instances/" + config.name, record->saved).state();
    machine::InstanceState opened;
    if (!sealed || machine::open_envelope(*sealed, opened)) {
      return bad("its saved image of generation " + std::to_string(record->saved) + " is damaged",
                 "the card may be failing; the instance starts from its disk without it");
    }
  }
  if (!note.empty()) check = {check.name, Health::warning, check.found + ": " + note};
  return check;
}

Check check_network(const BoardPaths& paths) {
  const auto addresses = link::own_addresses();
  if (addresses.empty()) {
    return {"network", Health::bad, "no address",
            "is the cable in, and is there a DHCP server? `udhcpc -i eth0` asks again"};
  }
  std::ifstream routes(paths.routes);
  std::string line;
  bool outward = false;
  while (std::getline(routes, line)) {
    std::istringstream fields(line);
    std::string interface;
    std::string destination;
    fields >> interface >> destination;
    outward = outward || destination == "00000000";
  }
  if (outward) return {"network", Health::good, listed(addresses)};
  return {"network", Health::warning, listed(addresses) + ", no way beyond this network",
          "fine if the cloud is in it; else the DHCP server names no router"};
}

Check check_modules(const BoardPaths& paths) {
  std::ifstream wanted(paths.modules_wanted);
  std::ifstream loaded(paths.modules_loaded);
  const std::string there((std::istreambuf_iterator<char>(loaded)), std::istreambuf_iterator<char>());
  std::vector<std::string> missing;
  std::string file;
  std::size_t count = 0;
  while (std::getline(wanted, file)) {
    std::string name = file.substr(0, file.find(".ko"));
    std::replace(name.begin(), name.end(), '-', '_');
    ++count;
    if (("\n" + there).find("\n" + name + " ") == std::string::npos) missing.push_back(name);
  }
  if (missing.empty()) return {"kernel modules", Health::good, std::to_string(count) + " loaded"};
  return {"kernel modules", Health::warning, "not loaded: " + listed(missing),
          "the kernel's log (`dmesg`) says why; a device of the board may be missing"};
}

std::vector<Check> check_temperature(const BoardPaths& paths) {
  std::vector<Check> all;
  for (const std::string& name : names_in(paths.thermal)) {
    if (!name.starts_with("thermal_zone")) continue;
    std::ifstream in(paths.thermal + "/" + name + "/temp");
    int mdeg = 0;
    if (!(in >> mdeg)) continue;
    Check check{"temperature " + name.substr(12), Health::good, std::to_string(mdeg / 1000) + " degrees C"};
    if (mdeg >= hot_mdeg) {
      check.health = Health::warning;
      check.advice = "the board is hot: give it air or a heat sink";
    }
    all.push_back(std::move(check));
  }
  return all;
}

json to_json(const std::vector<Check>& checks) {
  constexpr std::array names{"good", "warning", "bad"};
  json list = json::array();
  bool healthy = true;
  for (const Check& one : checks) {
    healthy = healthy && one.health != Health::bad;
    list.push_back({{"name", one.name},
                    {"health", names[static_cast<std::size_t>(one.health)]},
                    {"found", one.found},
                    {"advice", one.advice}});
  }
  return {{"ok", true}, {"healthy", healthy}, {"checks", std::move(list)}};
}

}  // namespace amphion::phoned
