// SPDX-License-Identifier: Apache-2.0
// libevdev and the folder of input devices; see keyboards.hpp.
#include "phone-side/phoned/keyboards.hpp"

#include <fcntl.h>
#include <libevdev/libevdev.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

namespace amphion::phoned {

struct Keyboards::Keyboard {
  std::string file;
  int fd = -1;
  libevdev* device = nullptr;
  Frame frame;

  Keyboard() = default;
  Keyboard(const Keyboard&) = delete;
  Keyboard& operator=(const Keyboard&) = delete;
  ~Keyboard() {
    libevdev_free(device);
    if (fd >= 0) close(fd);
  }
};

namespace {

constexpr std::size_t most_events_a_frame = 64;  // more in one frame than a keyboard can say: cut into several

bool has_letters(const libevdev* device) {
  return libevdev_has_event_type(device, EV_KEY) != 0 && libevdev_has_event_code(device, EV_KEY, KEY_A) != 0 &&
         libevdev_has_event_code(device, EV_KEY, KEY_ENTER) != 0;
}

}  // namespace

Keyboards::Keyboards(std::string folder, Callbacks callbacks)
    : folder_(std::move(folder)), callbacks_(std::move(callbacks)) {
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  watch_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch_ >= 0) inotify_add_watch(watch_, folder_.c_str(), IN_CREATE | IN_ATTRIB);
}

Keyboards::~Keyboards() {
  keyboards_.clear();
  if (watch_ >= 0) close(watch_);
  close(wake_);
}

void Keyboards::stop() { [[maybe_unused]] const int done = eventfd_write(wake_, 1); }

void Keyboards::run() {
  std::thread giver([this] { give(); });
  read_all();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  news_.notify_one();
  giver.join();
}

void Keyboards::read_all() {
  scan();
  for (;;) {
    std::vector<pollfd> files{{wake_, POLLIN, 0}, {watch_, POLLIN, 0}};
    for (const auto& keyboard : keyboards_) files.push_back({keyboard->fd, POLLIN, 0});
    if (poll(files.data(), files.size(), -1) < 0 && errno != EINTR) return;
    if (files[0].revents != 0) return;
    for (std::size_t i = files.size() - 1; i >= 2; --i) {
      if (files[i].revents == 0 || read(*keyboards_[i - 2])) continue;
      spdlog::info("keyboard {} is gone", keyboards_[i - 2]->file);
      keyboards_.erase(keyboards_.begin() + static_cast<std::ptrdiff_t>(i - 2));
      put({});
    }
    if (files[1].revents != 0) {
      std::array<char, 4096> events{};
      while (::read(watch_, events.data(), events.size()) > 0) {
      }
      scan();
    }
  }
}

void Keyboards::scan() {
  std::error_code ignored;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    if (entry.path().filename().string().starts_with("event")) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    const auto same = [&](const auto& keyboard) { return keyboard->file == file; };
    if (std::none_of(keyboards_.begin(), keyboards_.end(), same)) open(file);
  }
}

void Keyboards::open(const std::string& file) {
  auto keyboard = std::make_unique<Keyboard>();
  keyboard->file = file;
  keyboard->fd = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (keyboard->fd < 0 || libevdev_new_from_fd(keyboard->fd, &keyboard->device) < 0) return;
  if (!has_letters(keyboard->device)) return;
  if (libevdev_grab(keyboard->device, LIBEVDEV_GRAB) < 0) {
    spdlog::warn("keyboard {} ({}) is in use by another program; its keys are left to that", file,
                 libevdev_get_name(keyboard->device));
    return;
  }
  spdlog::info("keyboard {} ({})", file, libevdev_get_name(keyboard->device));
  keyboards_.push_back(std::move(keyboard));
}

bool Keyboards::read(Keyboard& keyboard) {
  int flag = LIBEVDEV_READ_FLAG_NORMAL;
  for (;;) {
    input_event event{};
    const int result = libevdev_next_event(keyboard.device, static_cast<unsigned>(flag), &event);
    if (result == -EAGAIN) {
      if (flag == LIBEVDEV_READ_FLAG_NORMAL) return true;
      flag = LIBEVDEV_READ_FLAG_NORMAL;  // what had been lost is made up for
      continue;
    }
    if (result < 0) return false;
    if (result == LIBEVDEV_READ_STATUS_SYNC) {
      if (flag == LIBEVDEV_READ_FLAG_NORMAL)
        spdlog::warn("keyboard {}: keys came too fast, some are lost", keyboard.file);
      flag = LIBEVDEV_READ_FLAG_SYNC;
      if (event.type == EV_SYN && event.code == SYN_DROPPED) continue;
    }
    keyboard.frame.push_back({event.type, event.code, event.value});
    const bool whole = event.type == EV_SYN && event.code == SYN_REPORT;
    if (!whole && keyboard.frame.size() < most_events_a_frame) continue;
    put(std::exchange(keyboard.frame, {}));
  }
}

void Keyboards::put(Frame frame) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(frame));
  }
  news_.notify_one();
}

void Keyboards::give() {
  std::unique_lock lock(mutex_);
  while (true) {
    news_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const std::vector<Frame> frames = std::exchange(waiting_, {});
    lock.unlock();
    callbacks_.frames(frames);
    lock.lock();
  }
}

}  // namespace amphion::phoned
