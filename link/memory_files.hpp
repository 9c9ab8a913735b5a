// SPDX-License-Identifier: Apache-2.0
// Files in memory for tests: what was not synced is lost at `power_off()`; writes can be made to fail, the space to run
// out. Model: a file's contents become durable at its sync(); a name (creation, rename, removal) at sync_folder().
// Thread safety: all functions from any thread.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "link/files.hpp"

namespace amphion::link {

class MemoryFiles : public Files {
 public:
  Result<std::string> read(const std::string& path, std::uint64_t max_bytes) override;
  Result<std::unique_ptr<File>> open(const std::string& path, bool empty) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_folder(const std::string& path) override;
  Status sync_folder(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& folder) override;

  // Drops everything that is not durable, and revives operations after fail_after().
  void power_off();
  // The operation after `operations` more changing ones, and all that follow, fail (io). -1: none.
  void fail_after(int operations);
  // Called at the first operation that fails_after() fails; must not call back.
  void on_failure(std::function<void()> called);
  // Appends fail with no_space once all files together would exceed this.
  void set_capacity(std::uint64_t bytes);
  // Adds unsynced bytes to a file's durable contents: a torn tail.
  void tear(const std::string& path, std::string_view tail);
  [[nodiscard]] int changes() const;  // changing operations so far

 private:
  struct Inode {
    std::string contents;
    std::string durable;
  };
  class Handle;
  friend class Handle;
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  Status change(const std::string& what, const std::string& path);  // counts; fails when it is time
  [[nodiscard]] std::uint64_t used() const;

  mutable std::mutex mutex_;
  Names names_;
  Names durable_names_;
  std::uint64_t capacity_ = ~std::uint64_t{0};
  int fail_after_ = -1;
  std::function<void()> on_failure_;
  int changes_ = 0;
};

}  // namespace amphion::link
