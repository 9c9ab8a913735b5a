// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/qemu_phone.hpp"

#include <linux/input-event-codes.h>

#include <fstream>
#include <stdexcept>

#include "cloud-side/amphiond/saved_state.hpp"
#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/process.hpp"
#include "link/reconcile.hpp"

namespace amphion::e2e {
namespace {

using namespace std::chrono_literals;
using link::pb::SIDE_PHONE;

constexpr char name[] = "work";
constexpr char device[] = "phone-1";
constexpr std::uint32_t frequency = 62'500'000;

void need(const link::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error().text);
}

template <typename T>
T need(link::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().text);
  return std::move(*result);
}

std::uint16_t key_of(char c) {
  static constexpr char rows[] = "1234567890-\0\0\0qwertyuiop\0\0\n\0asdfghjkl\0\0\0\0\0zxcvbnm\0./";
  if (c == ' ') return KEY_SPACE;
  for (std::size_t i = 0; i < sizeof rows - 1; ++i) {
    if (rows[i] == c) return static_cast<std::uint16_t>(KEY_1 + i);
  }
  throw std::runtime_error(std::string("no key types '") + c + "'");
}

}  // namespace

QemuPhone::QemuPhone(QemuPhoneOptions options)
    : options_(std::move(options)),
      folder_(files_, options_.folder / "work"),
      records_(link::real_files(), (options_.folder / "records").string(), SIDE_PHONE) {
  files_.make_folder(options_.folder / "records");
  link::InstanceRecord record;
  record.instance = name;
  record.shape = options_.shape;
  record.bound_bytes = options_.bound_bytes;
  record.vcpus_allowed = options_.vcpus_allowed;
  need(records_.store(record));
}

QemuPhone::~QemuPhone() {
  disconnect();
  if (clone_) clone_->kill();
}

void QemuPhone::boot() {
  const auto run = folder_.run();
  files_.make_folder(run);
  files_.open(run / "memory", cloud::Files::Mode::create)->resize(options_.shape.memory_bytes);
  files_.copy(options_.disk, run / "disk0");
  std::ofstream(run / "clone.json") << R"({"vcpus":)" << options_.shape.vcpus << R"(,"memory_bytes":)"
                                    << options_.shape.memory_bytes << R"(,"counter_frequency":)" << frequency << "}";
  auto arguments = qemu::machine_arguments({options_.shape, frequency, run / "memory", run / "disk0", run});
  arguments.insert(arguments.end(),
                   {"-kernel", options_.kernel, "-initrd", options_.initramfs, "-append",
                    "console=ttyAMA0 amphion.name=work maxcpus=" + std::to_string(options_.vcpus_allowed)});
  need(qemu::run_daemon(options_.qemu.qemu, arguments));
  clone_ = need(qemu::Clone::adopt(run));
  need(clone_->resume());
}

void QemuPhone::connect(std::uint16_t port) {
  disconnect();
  auto stream = need(link::tls_connect({"127.0.0.1", port}, link::identity_in(options_.pki.string(), link::Role::phone),
                                       link::Role::cloud, link::in(15s)));
  link::pb::Hello hello;
  hello.set_side(SIDE_PHONE);
  hello.set_name(device);
  for (const auto& claim : need(records_.claims())) *hello.add_instances() = claim;
  link::SessionOptions session;
  session.expected_name = stream->peer_name();
  session_ = need(link::Session::open(std::move(stream), hello, *this, session));
  reconcile();
  session_->start();
  if (!here()) {
    open_console();
    send_keys(reached_);
  }
}

void QemuPhone::disconnect() {
  if (session_) session_->close();
  if (incoming_.joinable()) incoming_.join();
  session_.reset();
}

void QemuPhone::reconcile() {
  for (const auto& theirs : session_->peer().instances()) {
    const auto verdict = link::reconcile(SIDE_PHONE, claim_of(need(records_.load(name))), &theirs);
    const auto record = need(link::apply(verdict, records_, name, theirs));
    if (verdict == link::Verdict::take) need(start(record));
  }
}

// ---- docking ----

cloud::LeavingImage QemuPhone::leaving() {
  const auto record = need(records_.load(name));
  const auto stop = [this]() -> link::Result<link::SavedState> {
    auto state = clone_->stop();
    if (!state) return state.error();
    const std::lock_guard lock(mutex_);
    state->set_input_sequence(typed_.size());
    state->set_vcpus_allowed(options_.vcpus_allowed);
    return link::SavedState{cloud::seal_state(*state), typed_.size()};
  };
  return cloud::LeavingImage(folder_,
                             {stop, [this] { (void)clone_->resume(); },
                              [this] {
                                clone_->kill();
                                clone_.reset();
                              }},
                             record.base == 0 ? std::nullopt : std::optional(record.base));
}

link::HandoverReport QemuPhone::dock() {
  auto image = leaving();
  const auto channel = need(session_->channel(name));
  link::SourceOptions options;
  options.bound_bytes = options_.bound_bytes;
  options.vcpus_allowed = options_.vcpus_allowed;
  reached_ = typed_.size();
  auto report = link::HandoverSource(*channel, records_, image, name, options).run();
  image.keep_copy();
  if (!here()) open_console();
  return report;
}

link::HandoverReport QemuPhone::undock(std::uint64_t bound_bytes) {
  std::unique_lock lock(mutex_);
  answer_.reset();
  link::pb::UndockRequest request;
  request.set_instance(name);
  request.set_bound_bytes(bound_bytes);
  request.set_vcpus_allowed(options_.vcpus_allowed);
  need(session_->send(request));
  if (!changed_.wait_for(lock, 300s, [this] { return answer_.has_value(); })) {
    throw std::runtime_error("the cloud does not answer the undock request");
  }
  return *answer_;
}

void QemuPhone::on_offer(link::Session&, const link::pb::Offer& offer, std::shared_ptr<link::Channel> channel) {
  if (incoming_.joinable()) incoming_.join();
  incoming_ = std::thread([this, offer, channel = std::move(channel)] {
    cloud::ArrivingImage image(folder_, std::nullopt, [this](const auto& record) { return start(record); });
    const auto report = link::HandoverDestination(*channel, records_, image).run(offer);
    const std::lock_guard lock(mutex_);
    answer_ = report;
    changed_.notify_all();
  });
}

link::Status QemuPhone::start(const link::InstanceRecord& record) {
  const auto sealed = cloud::read_small(files_, folder_.generation(record.saved) / "state", link::max_state_bytes);
  const auto state = cloud::open_state({reinterpret_cast<const char*>(sealed.data()), sealed.size()});
  if (!state) return state.error();
  if (auto used = link::use_saved(records_, name); !used) return used.error();
  folder_.make_run(record.saved);
  folder_.use_run();
  auto clone = qemu::Clone::start(options_.qemu, folder_.run(), *state);
  if (!clone) return clone.error();
  clone_ = std::move(*clone);
  return clone_->set_memory(options_.bound_bytes);
}

// ---- typing, console, status ----

void QemuPhone::type(const std::string& text) {
  std::uint64_t before = 0;
  {
    const std::lock_guard lock(mutex_);
    before = typed_.size();
    for (const char c : text) {
      for (const std::int32_t value : {1, 0}) {
        typed_.push_back({EV_KEY, key_of(c), value});
        typed_.push_back({EV_SYN, SYN_REPORT, 0});
      }
    }
  }
  if (session_ && !here()) send_keys(before);
}

void QemuPhone::send_keys(std::uint64_t after) {
  const std::lock_guard lock(mutex_);
  while (after < typed_.size()) {
    link::pb::InputEvents events;
    events.set_instance(name);
    events.set_first_sequence(after + 1);
    for (; after < typed_.size() && events.events_size() < 128; ++after) {
      auto& event = *events.add_events();
      event.set_type(typed_[after].type);
      event.set_code(typed_[after].code);
      event.set_value(typed_[after].value);
    }
    (void)session_->send(events);
  }
}

bool QemuPhone::all_typed_arrived() {
  const std::lock_guard lock(mutex_);
  return reached_ == typed_.size();
}

link::pb::InstanceStatus QemuPhone::status() {
  std::unique_lock lock(mutex_);
  status_.reset();
  link::pb::StatusQuery query;
  query.set_instance(name);
  need(session_->send(query));
  if (!changed_.wait_for(lock, 30s, [this] { return status_.has_value(); }) || status_->instances_size() != 1) {
    throw std::runtime_error("the cloud does not answer a status query");
  }
  return status_->instances(0);
}

void QemuPhone::open_console() {
  link::pb::ConsoleOpen open;
  open.set_instance(name);
  (void)session_->send(open);
}

void QemuPhone::console_write(const std::string& bytes) {
  if (here()) return need(clone_->console_write(bytes));
  link::pb::ConsoleData data;
  data.set_instance(name);
  data.set_data(bytes);
  need(session_->send(data));
}

std::string QemuPhone::console_read() {
  if (here()) return need(clone_->console_read(16384));
  const std::lock_guard lock(mutex_);
  return std::exchange(console_, {});
}

void QemuPhone::on_message(link::Session&, link::Message message) {
  const std::lock_guard lock(mutex_);
  if (const auto* refused = std::get_if<link::pb::UndockRefused>(&message)) {
    answer_ = link::HandoverReport{link::Outcome::aborted, 0, refused->reason(), {}};
  }
  if (const auto* reply = std::get_if<link::pb::StatusReply>(&message)) status_ = *reply;
  if (const auto* ack = std::get_if<link::pb::InputAck>(&message)) reached_ = std::max(reached_, ack->reached());
  if (const auto* data = std::get_if<link::pb::ConsoleData>(&message)) console_ += data->data();
  changed_.notify_all();
}

void QemuPhone::on_closed(link::Session&, const link::Error&) {}

}  // namespace amphion::e2e
