// SPDX-License-Identifier: Apache-2.0
#include "phone-side/phoned/device_model_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

namespace amphion::phoned {
namespace {

using devices::OwnedFd;
using link::ErrorCode;
using link::Status;

constexpr std::size_t most_waiting_bytes = 2 * instance::max_message_bytes;
constexpr std::size_t most_problem_bytes = 200;
constexpr std::size_t piece_bytes = 64 * 1024;

std::string error_text(int error) { return std::generic_category().message(error); }

// Its texts are shown to people.
std::string printable(std::string text) {
  if (text.size() > most_problem_bytes) text.resize(most_problem_bytes);
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text;
}

std::string end_of(int status) {
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGSYS) return "its device model made a system call that it must not make";
    return std::string("its device model was ended by ") + sigdescr_np(signal);
  }
  return "its device model has ended (" + std::to_string(WEXITSTATUS(status)) + ")";
}

class SpawnActions {
 public:
  SpawnActions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

}  // namespace

DeviceModelProcess::DeviceModelProcess(const std::string& program, const std::string& name,
                                       const std::vector<int>& files, Listener listener,
                                       std::chrono::milliseconds patience)
    : listener_(std::move(listener)), patience_(patience), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  int pair[2] = {-1, -1};
  if (!wake_.valid() || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    end_ = "its device model cannot be started: " + error_text(errno);
    return;
  }
  socket_ = OwnedFd(pair[0]);
  thread_ = std::thread([this, &program, &name, &files, theirs = pair[1]] {
    const auto status = spawn(program, name, files, theirs);
    close(theirs);
    {
      const std::lock_guard lock(mutex_);
      if (!status.ok()) end_ = status.error().text;
      started_ = true;
      news_.notify_all();
    }
    if (status.ok()) run();
  });
  std::unique_lock lock(mutex_);
  news_.wait(lock, [this] { return started_; });
}

DeviceModelProcess::~DeviceModelProcess() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  (void)eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

// Everything but the descriptors in their places is closed; they are moved away from those places first.
Status DeviceModelProcess::spawn(const std::string& program, const std::string& name, const std::vector<int>& files,
                                 int socket) {
  constexpr int places_end = instance::inherited::initrd + 1;
  SpawnActions spawn;
  std::vector<OwnedFd> moved;
  std::vector<int> wanted{socket};
  wanted.insert(wanted.end(), files.begin(), files.end());
  for (const int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&spawn.actions, fd, "/dev/null", O_RDWR, 0);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    moved.emplace_back(fcntl(wanted[i], F_DUPFD_CLOEXEC, places_end));
    if (!moved.back().valid()) return {ErrorCode::io, "its device model cannot be started: " + error_text(errno)};
    posix_spawn_file_actions_adddup2(&spawn.actions, moved.back().get(),
                                     instance::inherited::socket + static_cast<int>(i));
  }
  posix_spawn_file_actions_addclosefrom_np(&spawn.actions,
                                           instance::inherited::socket + static_cast<int>(wanted.size()));
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&spawn.attributes, &none);
  posix_spawnattr_setflags(&spawn.attributes, POSIX_SPAWN_SETSIGMASK);
  char* const arguments[] = {const_cast<char*>(program.c_str()), const_cast<char*>(name.c_str()), nullptr};
  char* const environment[] = {nullptr};
  const int error = posix_spawn(&pid_, program.c_str(), &spawn.actions, &spawn.attributes, arguments, environment);
  if (error != 0) return {ErrorCode::io, program + " cannot be started: " + error_text(error)};
  return {};
}

bool DeviceModelProcess::over() {
  const std::lock_guard lock(mutex_);
  return ending_ || !end_.empty();
}

void DeviceModelProcess::run() {
  while (!over()) exchange();
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  std::string why;
  {
    const std::lock_guard lock(mutex_);
    if (end_.empty() || end_ == "closed") end_ = ending_ ? "its device model was ended" : end_of(status);
    if (!ending_) why = end_;
    news_.notify_all();
  }
  if (!why.empty()) listener_.on_end(why);
}

void DeviceModelProcess::exchange() {
  bool sends = false;
  {
    const std::lock_guard lock(mutex_);
    sends = !waiting_.empty();
  }
  pollfd fds[2] = {{socket_.get(), static_cast<short>(sends ? POLLIN | POLLOUT : POLLIN), 0}, {wake_.get(), POLLIN, 0}};
  if (poll(fds, 2, -1) < 0) return;
  eventfd_t count = 0;
  if (fds[1].revents != 0) (void)eventfd_read(wake_.get(), &count);
  if ((fds[0].revents & POLLOUT) != 0) send_waiting();
  if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive();
}

void DeviceModelProcess::send_waiting() {
  const std::lock_guard lock(mutex_);
  const ssize_t done = send(socket_.get(), waiting_.data(), waiting_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (done > 0) waiting_.erase(0, static_cast<std::size_t>(done));  // its end is noticed by receive()
}

void DeviceModelProcess::receive() {
  std::array<char, piece_bytes> piece;
  const ssize_t done = recv(socket_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (done < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (done <= 0) return breach("closed");
  arrived_.put({piece.data(), static_cast<std::size_t>(done)});
  Report report;
  for (;;) {
    switch (arrived_.next(report)) {
      case instance::FrameBuffer::Next::incomplete:
        return;
      case instance::FrameBuffer::Next::broken:
        return breach("its device model sent what is no message");
      case instance::FrameBuffer::Next::message:
        take(report);
        if (over()) return;
    }
  }
}

void DeviceModelProcess::take(const Report& report) {
  if (report.what_case() != Report::kAnswer) {
    if (!listener_.on_report(report)) breach("its device model said what cannot be true");
    return;
  }
  const std::lock_guard lock(mutex_);
  const auto asked = asked_.find(report.answer().id());
  if (asked == asked_.end() || asked->second) {
    if (end_.empty()) end_ = "its device model answered what was not asked";
    return;
  }
  asked->second = report.answer();
  news_.notify_all();
}

void DeviceModelProcess::breach(const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (end_.empty()) end_ = what;
  }
  (void)eventfd_write(wake_.get(), 1);
}

void DeviceModelProcess::put(const Request& request) {
  if (waiting_.size() > most_waiting_bytes) {
    if (end_.empty()) end_ = "its device model does not listen";
  } else {
    waiting_ += instance::frame(request);
  }
  (void)eventfd_write(wake_.get(), 1);
}

void DeviceModelProcess::tell(const Request& request) {
  const std::lock_guard lock(mutex_);
  put(request);
}

link::Result<DeviceModelProcess::Answer> DeviceModelProcess::ask(Request request) {
  std::unique_lock lock(mutex_);
  const std::uint64_t id = ++last_id_;
  request.set_id(id);
  std::optional<Answer>& answer = asked_[id];
  put(request);
  const bool heard = news_.wait_for(lock, patience_, [&] { return answer || !end_.empty(); });
  if (!heard) {
    end_ = "its device model does not answer";
    (void)eventfd_write(wake_.get(), 1);
  }
  // The reason is complete when the process is gone.
  if (!answer) news_.wait(lock, [&] { return end_ != "closed"; });
  const std::optional<Answer> got = std::move(answer);
  asked_.erase(id);
  if (!got) return link::Error{ErrorCode::io, end_};
  if (!got->problem().empty()) return link::Error{ErrorCode::io, printable(got->problem())};
  return *got;
}

}  // namespace amphion::phoned
