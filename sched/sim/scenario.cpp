// SPDX-License-Identifier: Apache-2.0
#include "sched/sim/scenario.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace amphion::sim {
namespace {

using nlohmann::json;

constexpr uint32_t most_cpus = 32, most_vcpus_in_all = 4096, most_threads = 4096, most_repeats = 1'000'000'000;

// An object of the file. It remembers what was asked for, so that finish() finds what nobody knows. The first mistake
// is kept, and everything after it reads as its default.
class Object {
 public:
  Object(const json& value, std::string path, std::string& error)
      : value_(value.is_object() ? value : empty()), path_(std::move(path)), error_(error) {
    if (!value.is_object()) complain("", "must be an object in braces");
  }

  [[nodiscard]] double number(const char* key, double least, double most, double otherwise) {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_number() || !(*found >= least && *found <= most)) {
      std::ostringstream range;
      range << "must be a number from " << least << " to " << most;
      complain(key, range.str());
      return otherwise;
    }
    return found->get<double>();
  }
  [[nodiscard]] uint32_t count(const char* key, uint32_t least, uint32_t most, uint32_t otherwise) {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_number_unsigned() || found->get<uint64_t>() < least || found->get<uint64_t>() > most) {
      complain(key, "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
      return otherwise;
    }
    return found->get<uint32_t>();
  }
  [[nodiscard]] uint64_t time(const char* key, double unit_ns, double most, uint64_t otherwise) {
    return static_cast<uint64_t>(number(key, 0, most, static_cast<double>(otherwise) / unit_ns) * unit_ns);
  }
  [[nodiscard]] bool flag(const char* key, bool otherwise) {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_boolean()) complain(key, "must be true or false");
    return found->is_boolean() ? found->get<bool>() : otherwise;
  }
  [[nodiscard]] std::string word(const char* key, const std::string& otherwise) {
    const json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_string()) complain(key, "must be a text");
    return found->is_string() ? found->get<std::string>() : otherwise;
  }
  [[nodiscard]] const json& list(const char* key) {
    static const json none = json::array();
    const json* found = find(key);
    if (found == nullptr) return none;
    if (!found->is_array()) complain(key, "must be a list in brackets");
    return found->is_array() ? *found : none;
  }
  [[nodiscard]] const json* find(const char* key) {
    known_.emplace_back(key);
    const auto found = value_.find(key);
    return found == value_.end() ? nullptr : &*found;
  }
  [[nodiscard]] std::string path(const char* key, size_t index) const {
    return path_ + (path_.empty() ? "" : ".") + key + "[" + std::to_string(index) + "]";
  }
  void complain(const std::string& key, const std::string& what) {
    if (!error_.empty()) return;
    error_ = path_ + (path_.empty() || key.empty() ? "" : ".") + key;
    error_ += (error_.empty() ? "" : ": ") + what;
  }
  void finish() {
    for (const auto& [key, value] : value_.items()) {
      if (std::ranges::find(known_, key) == known_.end()) complain(key, "nobody knows this word here; is it misspelt?");
    }
  }
  [[nodiscard]] std::string& error() { return error_; }

 private:
  static const json& empty() {
    static const json none = json::object();
    return none;
  }

  const json& value_;
  std::string path_;
  std::string& error_;
  std::vector<std::string> known_;
};

template <class Item>
uint32_t named(const std::vector<Item>& items, const std::string& name) {
  const auto found = std::ranges::find_if(items, [&](const Item& item) { return item.name == name; });
  return static_cast<uint32_t>(found - items.begin());
}

Step read_step(const json& value, const std::string& path, const Workload& workload, std::string& error) {
  Object object(value, path, error);
  Step step;
  const std::string spread = object.word("spread", "constant");
  if (spread == "exponential") {
    step.spread = Spread::exponential;
  } else if (spread == "uniform") {
    step.spread = Spread::uniform;
  } else if (spread != "constant") {
    object.complain("spread", "must be constant, exponential or uniform");
  }
  int kinds = 0;
  const auto timed = [&](const char* key, Step::Kind kind) {
    if (!value.contains(key)) return;
    ++kinds;
    step.kind = kind;
    step.mean_ns = object.number(key, 0, 1e9, 0) * us;
  };
  const auto with = [&](const char* key, Step::Kind kind, const auto& items) {
    if (!value.contains(key)) return;
    ++kinds;
    step.kind = kind;
    const std::string name = object.word(key, "");
    step.object = named(items, name);
    if (step.object == items.size()) object.complain(key, "there is no '" + name + "' in this workload");
  };
  const auto plain = [&](const char* key, Step::Kind kind) {
    if (!object.flag(key, false)) return;
    ++kinds;
    step.kind = kind;
  };
  timed("compute_us", Step::Kind::compute);
  timed("sleep_us", Step::Kind::sleep);
  with("barrier", Step::Kind::barrier, workload.barriers);
  with("push", Step::Kind::push, workload.pipes);
  with("pop", Step::Kind::pop, workload.pipes);
  plain("call", Step::Kind::call);
  plain("done", Step::Kind::done);
  if (kinds != 1) object.complain("", "a step is one of compute_us, sleep_us, barrier, push, pop, call, done");
  object.finish();
  return step;
}

ThreadGroup read_threads(const json& value, const std::string& path, const Workload& workload, std::string& error) {
  Object object(value, path, error);
  ThreadGroup group;
  group.name = object.word("name", "threads");
  group.count = object.count("count", 1, most_threads, 1);
  group.each = object.count("each", 1, most_repeats, 0);
  group.together = object.count("together", 1, most_repeats, 0);
  if (group.each != 0 && group.together != 0) object.complain("together", "stands beside 'each': say one of them");
  group.bound = object.flag("bound", false);
  group.locks = object.flag("locks", true);
  const json& steps = object.list("steps");
  for (size_t i = 0; i < steps.size(); ++i) {
    group.steps.push_back(read_step(steps[i], object.path("steps", i), workload, error));
  }
  const bool passes = std::ranges::any_of(group.steps, [](const Step& step) {
    return step.kind == Step::Kind::pop || step.kind == Step::Kind::barrier ||
           ((step.kind == Step::Kind::compute || step.kind == Step::Kind::sleep) && step.mean_ns >= 1);
  });
  if (!passes) object.complain("steps", "take no time at all: add compute_us, sleep_us, a barrier or pop");
  object.finish();
  return group;
}

Workload read_workload(const json& value, const std::string& path, std::string& error) {
  Object object(value, path, error);
  Workload workload;
  (void)object.find("comment");
  const json& locks = object.list("locks");
  double share = 0;
  for (size_t i = 0; i < locks.size(); ++i) {
    Object lock(locks[i], object.path("locks", i), error);
    workload.locks.push_back({lock.word("name", "lock"), lock.number("share", 0, 0.9, 0),
                              lock.number("holding_us", 0.001, 1e6, 1) * us, lock.count("number", 1, 65536, 1)});
    share += workload.locks.back().share;
    lock.finish();
  }
  if (share > 0.95) object.complain("locks", "are held for more than 0.95 of the time together");
  const std::string order = object.word("lock_order", "ticket");
  if (order != "ticket" && order != "any") object.complain("lock_order", "must be ticket or any");
  workload.ticket = order == "ticket";
  const json& barriers = object.list("barriers");
  for (size_t i = 0; i < barriers.size(); ++i) {
    Object barrier(barriers[i], object.path("barriers", i), error);
    const bool spins = barrier.flag("spin", false);
    const uint64_t spin_ns = barrier.time("spin_us", us, 1e9, 0);
    workload.barriers.push_back(
        {barrier.word("name", "barrier"), barrier.count("parties", 1, most_threads, 1), spins ? forever : spin_ns});
    barrier.finish();
  }
  const json& pipes = object.list("pipes");
  for (size_t i = 0; i < pipes.size(); ++i) {
    Object pipe(pipes[i], object.path("pipes", i), error);
    workload.pipes.push_back({pipe.word("name", "pipe"), pipe.count("capacity", 1, 1u << 20, 1)});
    pipe.finish();
  }
  const json& threads = object.list("threads");
  for (size_t i = 0; i < threads.size(); ++i) {
    workload.threads.push_back(read_threads(threads[i], object.path("threads", i), workload, error));
  }
  if (threads.empty()) object.complain("threads", "there are none");
  uint32_t all = 0;
  for (const ThreadGroup& group : workload.threads) all += group.count;
  if (all > most_threads) object.complain("threads", "are more than " + std::to_string(most_threads));
  object.finish();
  return workload;
}

std::variant<json, std::string> parse_json(const std::string& text, const std::filesystem::path& file) {
  try {  // the library's way to say where
    return json::parse(text, nullptr, true, true);
  } catch (const json::exception& failed) {
    return file.string() + ": is not JSON: " + failed.what();
  }
}

bool read_file(const std::filesystem::path& file, std::string& text) {
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file)) return false;
  text.assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

Workload find_workload(Object& object, const std::string& path, const std::filesystem::path& folder) {
  const json* value = object.find("workload");
  if (value == nullptr) {
    object.complain("workload", "is missing: an object, or the name of a file beside this one");
    return {};
  }
  if (!value->is_string()) return read_workload(*value, path + ".workload", object.error());
  const std::filesystem::path file = folder / value->get<std::string>();
  std::string text;
  if (!read_file(file, text)) {
    object.complain("workload", "cannot read " + file.string());
    return {};
  }
  auto parsed = parse_json(text, file);
  if (const auto* failed = std::get_if<std::string>(&parsed)) {
    object.complain("workload", *failed);
    return {};
  }
  return read_workload(std::get<json>(parsed), file.filename().string(), object.error());
}

void read_instances(Object& scenario, bool tasks, Scenario& out, const std::filesystem::path& folder) {
  const char* key = tasks ? "host_tasks" : "instances";
  const json& list = scenario.list(key);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = scenario.path(key, i);
    Object object(list[i], path, scenario.error());
    InstanceSpec spec;
    spec.name = object.word("name", tasks ? "task" : "instance");
    spec.vcpus = tasks ? 1 : object.count("vcpus", 1, 64, 1);
    spec.measured = !tasks && object.flag("measured", false);
    const uint32_t count = object.count("count", 1, 256, 1);
    spec.workload = find_workload(object, path, folder);
    object.finish();
    for (uint32_t n = 0; n < count; ++n) {
      out.instances.push_back(spec);
      if (count > 1) out.instances.back().name += "-" + std::to_string(n + 1);
    }
  }
}

void check(Object& object, const Scenario& scenario) {
  uint32_t vcpus = 0;
  bool measured = false, ends = true;
  for (const InstanceSpec& spec : scenario.instances) {
    vcpus += spec.vcpus;
    measured = measured || spec.measured;
    if (spec.measured) ends = ends && std::ranges::all_of(spec.workload.threads, &ThreadGroup::ends);
  }
  if (scenario.instances.empty()) object.complain("instances", "there are none");
  if (vcpus > most_vcpus_in_all) object.complain("instances", "have more than 4096 vCPUs in all");
  if (scenario.duration_ns == 0 && !measured) {
    object.complain("duration_s", "is missing, and no instance is measured: when does it end?");
  }
  if (scenario.duration_ns == 0 && !ends) {
    object.complain("duration_s", "is missing, and a measured instance works for ever: say how long");
  }
  if (scenario.count_from_ns != 0 && scenario.count_from_ns >= scenario.duration_ns) {
    object.complain("count_from_s", "must be less than duration_s");
  }
}

}  // namespace

bool ThreadGroup::ends() const {
  return each != 0 || together != 0 ||
         std::ranges::any_of(steps, [](const Step& step) { return step.kind == Step::Kind::pop; });
}

std::variant<Scenario, std::string> parse(const std::string& text, const std::filesystem::path& file) {
  auto parsed = parse_json(text, file);
  if (auto* failed = std::get_if<std::string>(&parsed)) return *failed;
  std::string error;
  Object object(std::get<json>(parsed), "", error);
  Scenario out;
  (void)object.find("comment");
  out.cpus = object.count("cpus", 1, most_cpus, 1);
  out.latency_ns = object.time("latency_ms", ms, 1000, out.latency_ns);
  out.granularity_ns = object.time("granularity_ms", ms, 1000, out.granularity_ns);
  out.alpha = object.number("alpha", 0, 1, out.alpha);
  out.hand_over = object.flag("hand_over", out.hand_over);
  out.switch_ns = object.time("switch_us", us, 1000, 0);
  out.warm_up_ns = object.time("warm_up_us", us, 1000, 0);
  out.ipi_ns = object.time("ipi_us", us, 1000, 0);
  out.guest_slice_ns = object.time("guest_slice_ms", ms, 1000, out.guest_slice_ns);
  out.duration_ns = object.time("duration_s", second, 1e6, 0);
  out.count_from_ns = object.time("count_from_s", second, 1e6, 0);
  out.limit_ns = object.time("limit_s", second, 1e6, out.limit_ns);
  out.sample_ns = object.time("sample_ms", ms, 1e6, out.sample_ns);
  const json& windows = object.list("windows_s");
  for (const json& window : windows) {
    if (window.is_number() && window >= 0.001 && window <= 1e6) {
      out.windows_s.push_back(window);
    } else {
      object.complain("windows_s", "must be numbers from 0.001 to 1e6");
    }
  }
  read_instances(object, false, out, file.parent_path());
  read_instances(object, true, out, file.parent_path());
  if (out.latency_ns < 1000) object.complain("latency_ms", "must be at least 0.001");
  if (out.granularity_ns < 1000) object.complain("granularity_ms", "must be at least 0.001");
  if (out.guest_slice_ns < 1000) object.complain("guest_slice_ms", "must be at least 0.001");
  if (out.sample_ns < 1000) object.complain("sample_ms", "must be at least 0.001");
  for (const double window : out.windows_s) {
    if (window * second < static_cast<double>(out.sample_ns))
      object.complain("windows_s", "must be at least sample_ms");
  }
  check(object, out);
  object.finish();
  if (!error.empty()) return file.string() + ": " + error;
  return out;
}

std::variant<Scenario, std::string> load(const std::filesystem::path& file) {
  std::string text;
  if (!read_file(file, text))
    return file.string() + ": cannot be read: name a scenario file, as sched/sim/scenarios has";
  return parse(text, file);
}

}  // namespace amphion::sim
