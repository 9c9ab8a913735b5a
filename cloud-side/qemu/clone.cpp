// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/clone.hpp"

#include <linux/input-event-codes.h>

#include <algorithm>
#include <fstream>

#include "cloud-side/qemu/adapter.hpp"
#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/keys.hpp"
#include "cloud-side/qemu/outside.hpp"
#include "cloud-side/qemu/process.hpp"
#include "cloud-side/qemu/templates.hpp"
#include "machine/validate.hpp"

namespace amphion::qemu {
namespace {

using namespace std::chrono_literals;
using link::ErrorCode;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr char memory_file[] = "memory";
constexpr char disk_file[] = "disk0";
constexpr char incoming_file[] = "incoming";
constexpr char outgoing_file[] = "outgoing";
constexpr char record_file[] = "clone.json";
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint64_t least_memory_bytes = 16u << 20;
constexpr std::size_t max_grow_line_bytes = 64;
constexpr auto connect_within = 10s;

link::Result<std::uint64_t> disk_sectors(const fs::path& folder) {
  std::error_code error;
  const auto bytes = fs::file_size(folder / disk_file, error);
  if (error || bytes == 0 || bytes % sector_bytes != 0)
    return link::Error{ErrorCode::damaged, (folder / disk_file).string() + " is missing or not whole sectors long"};
  return bytes / sector_bytes;
}

std::uint64_t sectors_of(const machine::InstanceState& state) {
  for (const auto& device : state.virtio())
    if (device.has_blk()) return device.blk().capacity_sectors();
  return 0;
}

// The stream that QEMU shall load, or why it cannot be made of this state.
link::Result<Bytes> incoming_stream(const CloneOptions& options, const machine::InstanceState& state, View ram) {
  if (auto problem = machine::validate(state)) return link::Error{ErrorCode::invalid, *problem};
  const auto base =
      template_stream(options.qemu, options.templates, machine::shape_of(state), state.counter_frequency());
  if (!base) return base.error();
  Bytes stream;
  if (auto problem = to_qemu(*base, state, ram, stream)) return link::Error{ErrorCode::invalid, *problem};
  return stream;
}

const machine::VirtioDevice* network_of(const machine::InstanceState& state) {
  for (const auto& device : state.virtio())
    if (device.has_network()) return &device;
  return nullptr;
}

link::Status check_folder(const fs::path& folder, const machine::InstanceState& state) {
  if (folder_too_long(folder))
    return {ErrorCode::invalid, folder.string() + ": too long a path for sockets; choose a shorter data folder"};
  const auto sectors = disk_sectors(folder);
  if (!sectors) return sectors.error();
  if (*sectors == sectors_of(state)) return {};
  return {ErrorCode::damaged, (folder / disk_file).string() + " has " + std::to_string(*sectors) +
                                  " sectors, the saved state " + std::to_string(sectors_of(state))};
}

link::Status write_record(const fs::path& folder, const machine::Shape& shape, std::uint32_t frequency) {
  std::ofstream out(folder / record_file);
  out << json{{"vcpus", shape.vcpus}, {"memory_bytes", shape.memory_bytes}, {"counter_frequency", frequency}} << '\n';
  out.close();
  if (!out) return {ErrorCode::no_space, (folder / record_file).string() + " cannot be written"};
  return {};
}

// Runs before the guest: what an earlier clone left in this folder must not be taken for this one's.
void remove_leftovers(const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : {qmp_socket, console_socket, grow_socket, network_socket, pid_file, outgoing_file})
    fs::remove(folder / name, ignored);
}

json key_event(const link::InputEvent& event, std::uint32_t number) {
  return {{"type", "key"}, {"data", {{"down", event.value != 0}, {"key", {{"type", "number"}, {"data", number}}}}}};
}

// The frame as QMP's events; empty if there is a key that QEMU cannot express.
json qmp_events(std::span<const link::InputEvent> frame) {
  json events = json::array();
  for (const auto& event : frame.first(frame.size() - 1)) {
    const auto number = qnum(event.code);
    if (event.type != EV_KEY || event.value < 0 || event.value > 1 || !number) return json::array();
    events.push_back(key_event(event, *number));
  }
  return events;
}

struct EventQueue {
  bool ready;
  std::uint64_t avail;
  std::uint16_t used;
  std::uint32_t size;
};

link::Result<EventQueue> query_event_queue(Qmp& qmp) {
  auto answer = qmp.execute("x-query-virtio-queue-status", {{"path", keyboard_path}, {"queue", 0}});
  if (!answer) return answer.error();
  return EventQueue{answer->value("vring-desc", std::uint64_t{0}) != 0, answer->value("vring-avail", std::uint64_t{0}),
                    answer->value("used-idx", std::uint16_t{0}), answer->value("vring-num", 0u)};
}

}  // namespace

Clone::Clone(fs::path folder, machine::Shape shape, std::uint32_t frequency)
    : folder_(std::move(folder)), shape_(shape), frequency_(frequency) {}

Clone::~Clone() = default;

link::Status Clone::prepare(const CloneOptions& options, const machine::InstanceState& state) {
  const auto stream = incoming_stream(options, state, {});  // its memory is not whole yet
  if (!stream) return stream.error();
  const auto* network = network_of(state);
  if (network == nullptr || !network->network().link_up()) return {};
  return check_outside(passt_beside(options.qemu));
}

bool Clone::runs_in(const fs::path& folder) { return process_serves(read_pid_file(folder / pid_file), folder); }

void Clone::end_in(const fs::path& folder) {
  kill_and_wait(read_pid_file(folder / pid_file), folder);
  end_outside(folder);
}

link::Status Clone::connect() {
  pid_ = read_pid_file(folder_ / pid_file);
  if (!process_serves(pid_, folder_)) return {ErrorCode::not_found, "no clone runs in " + folder_.string()};
  if (auto mapped = memory_.open(folder_ / memory_file, shape_.memory_bytes); !mapped) return mapped;
  return qmp_.connect(folder_ / qmp_socket, connect_within);
}

link::Result<std::unique_ptr<Clone>> Clone::start(const CloneOptions& options, const fs::path& folder,
                                                  const machine::InstanceState& state) {
  if (auto fits = check_folder(folder, state); !fits) return fits.error();
  MappedFile memory;
  if (auto mapped = memory.open(folder / memory_file, machine::shape_of(state).memory_bytes); !mapped)
    return mapped.error();
  auto stream = incoming_stream(options, state, memory.view());
  if (!stream) return stream.error();
  remove_leftovers(folder);
  std::unique_ptr<Clone> clone(new Clone(folder, machine::shape_of(state), state.counter_frequency()));
  auto status = write_stream(folder / incoming_file, *stream);
  if (status) status = write_record(folder, clone->shape_, clone->frequency_);
  if (!status) return status.error();
  Machine machine{clone->shape_, clone->frequency_, folder / memory_file, folder / disk_file, folder};
  if (const auto* network = network_of(state)) {
    machine.mac = machine::mac_of(network->network()).value_or(machine.mac);
    machine.network = network->network().link_up();
  }
  if (machine.network) status = start_outside(passt_beside(options.qemu), folder, machine.mac);
  auto arguments = machine_arguments(machine);
  arguments.insert(arguments.end(), {"-incoming", "defer"});
  if (status) status = run_daemon(options.qemu, arguments);
  if (status) status = clone->connect();
  if (status) status = set_capabilities(clone->qmp_);
  if (status) status = load_from(clone->qmp_, folder / incoming_file);
  if (status) status = clone->resume();
  if (!status) {
    clone->kill();
    return status.error();
  }
  return clone;
}

link::Result<std::unique_ptr<Clone>> Clone::adopt(const fs::path& folder) {
  std::ifstream in(folder / record_file);
  const json record = json::parse(in, nullptr, false);
  if (!record.is_object()) return link::Error{ErrorCode::not_found, "no clone was started in " + folder.string()};
  const machine::Shape shape{record.value("vcpus", 0u), record.value("memory_bytes", std::uint64_t{0})};
  if (!shape.valid()) return link::Error{ErrorCode::damaged, (folder / record_file).string() + " is damaged"};
  std::unique_ptr<Clone> clone(new Clone(folder, shape, record.value("counter_frequency", 0u)));
  if (auto connected = clone->connect(); !connected) return connected.error();
  return clone;
}

bool Clone::alive() { return process_serves(pid_, folder_); }

link::Result<std::vector<int>> Clone::vcpu_threads() {
  auto answer = qmp_.execute("query-cpus-fast");
  if (!answer) return answer.error();
  std::vector<int> threads(shape_.vcpus, 0);
  for (const json& cpu : *answer) {
    const auto index = cpu.value("cpu-index", shape_.vcpus);
    if (index < shape_.vcpus) threads[index] = cpu.value("thread-id", 0);
  }
  if (std::count(threads.begin(), threads.end(), 0) == 0) return threads;
  return link::Error{ErrorCode::protocol, "QEMU does not say which threads its vCPUs are"};
}

link::Result<bool> Clone::running() {
  auto answer = qmp_.execute("query-status");
  if (!answer) return answer.error();
  return answer->value("running", false);
}

link::Result<bool> Clone::stopped() {
  auto answer = qmp_.execute("query-status");
  if (!answer) return answer.error();
  const std::string state = answer->value("status", "");
  return state == "paused" || state == "postmigrate";  // the latter: stop() had saved its state
}

link::Result<Bytes> Clone::save_stream() {
  if (auto stopped = qmp_.execute("stop"); !stopped) return stopped.error();
  if (auto status = set_capabilities(qmp_); !status) return status.error();
  if (auto saved = save_to(qmp_, folder_ / outgoing_file); !saved) return saved.error();
  return read_stream(folder_ / outgoing_file);
}

link::Result<machine::InstanceState> Clone::stop() {
  const auto sectors = disk_sectors(folder_);
  if (!sectors) return sectors.error();
  const auto stream = save_stream();
  if (!stream) return stream.error();
  machine::InstanceState state;
  if (auto problem = from_qemu(*stream, {memory_.view(), *sectors, frequency_}, state))
    return link::Error{ErrorCode::io, *problem};
  return state;
}

link::Status Clone::resume() {
  if (auto going = qmp_.execute("cont"); !going) return going.error();
  const auto now = running();
  if (!now) return now.error();
  if (!*now) return {ErrorCode::io, "the clone does not go on; see " + (folder_ / log_file).string()};
  return {};
}

void Clone::kill() {
  if (pid_ == 0) pid_ = read_pid_file(folder_ / pid_file);
  kill_and_wait(pid_, folder_);
  end_outside(folder_);
  qmp_.close();
  grow_.close();
  console_.close();
}

link::Status Clone::set_memory(std::uint64_t bytes) {
  if (bytes < least_memory_bytes || bytes > shape_.memory_bytes)
    return {ErrorCode::invalid,
            "a clone's memory must be 16 MiB to " + std::to_string(shape_.memory_bytes >> 20) + " MiB"};
  auto answer = qmp_.execute("balloon", {{"value", bytes}});
  return answer ? link::Status() : link::Status(answer.error());
}

link::Result<std::uint64_t> Clone::memory() {
  auto answer = qmp_.execute("query-balloon");
  if (!answer) return answer.error();
  return answer->value("actual", std::uint64_t{0});
}

link::Result<GuestMemory> Clone::guest_memory() {
  if (!reports_asked_) {
    auto asked =
        qmp_.execute("qom-set", {{"path", balloon_path}, {"property", "guest-stats-polling-interval"}, {"value", 1}});
    if (!asked) return asked.error();
    reports_asked_ = true;
  }
  auto answer = qmp_.execute("qom-get", {{"path", balloon_path}, {"property", "guest-stats"}});
  if (!answer) return answer.error();
  const auto report = answer->value("last-update", std::uint64_t{0});
  const auto stats = answer->value("stats", json::object());
  const auto available = stats.value("stat-available-memory", ~std::uint64_t{0});
  if (report == 0 || available > shape_.memory_bytes)
    return link::Error{ErrorCode::not_found, "the guest has not reported its memory"};
  return GuestMemory{available, report};
}

link::Status Clone::set_vcpus(std::uint32_t count) {
  if (count < 1 || count > shape_.vcpus)
    return {ErrorCode::invalid, "a clone has 1 to " + std::to_string(shape_.vcpus) + " vcpus"};
  if (!grow_.connected())
    if (auto status = grow_.connect(folder_ / grow_socket, 1s); !status) return status;
  return grow_.write("cpus " + std::to_string(count) + "\n");
}

std::uint32_t Clone::vcpus_online() {
  while (grow_.connected()) {
    const auto bytes = grow_.read(4096);
    if (!bytes || bytes->empty()) break;
    for (const char c : *bytes) {
      if (c != '\n') {
        if (grow_line_.size() < max_grow_line_bytes) grow_line_.push_back(c);
        continue;
      }
      unsigned count = 0;
      if (std::sscanf(grow_line_.c_str(), "cpus %u ok", &count) == 1 && count >= 1 && count <= shape_.vcpus)
        vcpus_online_ = count;
      grow_line_.clear();
    }
  }
  return vcpus_online_;
}

link::Result<std::uint16_t> Clone::keyboard_used() {
  auto queue = query_event_queue(qmp_);
  if (!queue) return queue.error();
  return queue->used;
}

link::Result<bool> Clone::inject(std::span<const link::InputEvent> frame) {
  if (frame.size() < 2 || frame.back().type != EV_SYN)
    return link::Error{ErrorCode::invalid, "an input frame ends with SYN_REPORT and has something before it"};
  const json events = qmp_events(frame);
  if (events.empty()) return link::Error{ErrorCode::invalid, "a key that QEMU's keyboard does not have"};
  const auto now = running();
  if (!now || !*now) return now;
  const auto queue = query_event_queue(qmp_);
  if (!queue) return queue.error();
  const std::uint64_t at = queue->avail + 2 - machine::ram_base;
  const View ram = memory_.view();
  if (!queue->ready || queue->avail < machine::ram_base || at + 2 > ram.size()) return false;
  const auto available = static_cast<std::uint16_t>(ram[at] | ram[at + 1] << 8);
  const auto free = static_cast<std::uint16_t>(available - queue->used);
  if (free > queue->size || free < frame.size()) return false;
  auto sent = qmp_.execute("input-send-event", {{"events", events}});
  if (!sent) return sent.error();
  return true;
}

link::Status Clone::console_write(std::string_view bytes) {
  if (!console_.connected())
    if (auto status = console_.connect(console_path(), 1s); !status) return status;
  return console_.write(bytes);
}

link::Result<std::string> Clone::console_read(std::size_t limit) {
  if (!console_.connected())
    if (auto status = console_.connect(console_path(), 1s); !status) return status.error();
  return console_.read(limit);
}

void Clone::release_console() { console_.close(); }

fs::path Clone::console_path() const { return folder_ / console_socket; }

}  // namespace amphion::qemu
