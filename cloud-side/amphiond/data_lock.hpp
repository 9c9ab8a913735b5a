// SPDX-License-Identifier: Apache-2.0
// One amphiond on one data folder: a lock on DATA/lock that the kernel releases when the process ends, however it ends.
// Clones must not inherit it (they outlive amphiond), so the descriptor is close-on-exec.
// Thread safety: used by main() only.
#pragma once

#include <filesystem>
#include <string>

namespace amphion::cloud {

class DataLock {
 public:
  // Makes the folder if it is not there (mode 0700). Throws std::runtime_error with a one-line text: no permission,
  // or another amphiond (its process id is named) has the folder.
  explicit DataLock(const std::filesystem::path& data);
  ~DataLock();
  DataLock(const DataLock&) = delete;
  DataLock& operator=(const DataLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace amphion::cloud
