// SPDX-License-Identifier: Apache-2.0
// What phoned and its instances have said, in bounded files of the data folder: phoned.log, and for each instance
// NAME.instance.log with its serial port (its kernel's messages) and what phoned says of it ("NAME: ..."). The oldest
// half goes when a file is full. Nothing is synced: after a power cut the last seconds may be missing. An instance
// writes what it likes, so what is no plain text is left out. A file that cannot be written costs nobody anything but
// itself. Thread safety: all functions from any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "link/files.hpp"
#include "phone-side/phoned/console_hub.hpp"

namespace amphion::phoned {

class Log {
 public:
  // Files `path` and `path`.old, each at most `half_bytes`.
  Log(link::Files& files, std::string path, std::size_t half_bytes)
      : files_(files), path_(std::move(path)), half_bytes_(half_bytes) {}

  void put(std::string_view bytes);      // as it comes: lines may be in parts
  void put_line(std::string_view line);  // by itself, whatever was said before
  // What is there; `follow`: and what comes, until the viewer ends it.
  [[nodiscard]] std::shared_ptr<ConsoleView> view(bool follow);
  void remove();

 private:
  void write(std::string_view text);  // with mutex_
  [[nodiscard]] std::string contents();

  link::Files& files_;
  const std::string path_;
  const std::size_t half_bytes_;
  std::mutex mutex_;
  std::unique_ptr<link::File> file_;
  std::size_t bytes_ = 0;
  bool opened_ = false, begun_ = false;  // a line that has not ended
  ConsoleHub hub_{0};
};

class Logs {
 public:
  Logs(link::Files& files, std::string folder);

  // A line of phoned's, with its time before it. One of an instance goes to both files.
  void note(const std::string& time, std::string_view line);
  [[nodiscard]] Log& phoned() { return phoned_; }
  [[nodiscard]] std::shared_ptr<Log> of(const std::string& instance);
  void forget(const std::string& instance);  // its files go

 private:
  link::Files& files_;
  const std::string folder_;
  Log phoned_;
  std::mutex mutex_;  // guards instances_
  std::map<std::string, std::shared_ptr<Log>> instances_;
};

}  // namespace amphion::phoned
