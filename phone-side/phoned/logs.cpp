// SPDX-License-Identifier: Apache-2.0
// Log files; see logs.hpp.
#include "phone-side/phoned/logs.hpp"

#include <algorithm>

namespace amphion::phoned {
namespace {

constexpr std::size_t half_bytes = 96 * 1024;  // both halves fit a viewer's buffer

// An instance must not speak to the terminal of who reads its log.
std::string plain(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (c == '\n' || c == '\t' || (c >= ' ' && c <= '~')) {
      text += c;
    } else if (c != '\r') {
      text += '?';
    }
  }
  return text;
}

}  // namespace

void Log::put(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  write(plain(bytes));
}

void Log::put_line(std::string_view line) {
  const std::lock_guard lock(mutex_);
  std::string text = plain(line);
  std::replace(text.begin(), text.end(), '\n', ' ');
  write((begun_ ? "\n" : "") + text + "\n");
}

void Log::write(std::string_view text) {
  if (text.empty()) return;
  begun_ = text.back() != '\n';
  hub_.put(text);
  if (!std::exchange(opened_, true)) {
    const auto now = files_.read(path_, half_bytes_);
    bytes_ = now.ok() ? now->size() : half_bytes_;  // none, or none of ours
  }
  if (bytes_ + text.size() > half_bytes_) {
    file_.reset();
    (void)files_.rename(path_, path_ + ".old");
    bytes_ = 0;
  }
  if (!file_) {
    auto opened = files_.open(path_, false);
    if (!opened.ok()) return;
    file_ = std::move(*opened);
  }
  const std::string_view most = text.substr(text.size() - std::min(text.size(), half_bytes_));
  if (file_->append(most).ok()) bytes_ += most.size();
}

std::string Log::contents() {
  std::string text;
  for (const char* suffix : {".old", ""}) {
    if (auto part = files_.read(path_ + suffix, half_bytes_); part.ok()) text += *part;
  }
  return text;
}

std::shared_ptr<ConsoleView> Log::view(bool follow) {
  const std::lock_guard lock(mutex_);
  auto view = follow ? hub_.join() : std::make_shared<ConsoleView>();
  view->put(contents());
  if (!follow) view->end({});
  return view;
}

void Log::remove() {
  const std::lock_guard lock(mutex_);
  file_.reset();
  opened_ = false;
  (void)files_.remove(path_);
  (void)files_.remove(path_ + ".old");
  hub_.end_all("the instance was removed");
}

Logs::Logs(link::Files& files, std::string folder)
    : files_(files), folder_(std::move(folder)), phoned_(files, folder_ + "/phoned.log", half_bytes) {
  (void)files_.make_folder(folder_);
}

void Logs::note(const std::string& time, std::string_view line) {
  phoned_.put_line(time + " " + std::string(line));
  std::shared_ptr<Log> instance;
  {
    const std::lock_guard lock(mutex_);
    const auto found = instances_.find(std::string(line.substr(0, line.find(": "))));
    if (found != instances_.end()) instance = found->second;
  }
  if (instance) instance->put_line("-- " + time + " " + std::string(line));
}

std::shared_ptr<Log> Logs::of(const std::string& instance) {
  const std::lock_guard lock(mutex_);
  auto& log = instances_[instance];
  // An instance may be called phoned.
  if (!log) log = std::make_shared<Log>(files_, folder_ + "/" + instance + ".instance.log", half_bytes);
  return log;
}

void Logs::forget(const std::string& instance) {
  std::shared_ptr<Log> log = of(instance);
  const std::lock_guard lock(mutex_);
  log->remove();
  instances_.erase(instance);
}

}  // namespace amphion::phoned
