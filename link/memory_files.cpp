// SPDX-License-Identifier: Apache-2.0
// See memory_files.hpp.
#include "link/memory_files.hpp"

namespace amphion::link {

class MemoryFiles::Handle : public File {
 public:
  Handle(MemoryFiles& files, std::shared_ptr<Inode> inode, std::string path)
      : files_(files), inode_(std::move(inode)), path_(std::move(path)) {}

  Status append(std::string_view bytes) override {
    const std::lock_guard lock(files_.mutex_);
    if (Status s = files_.change("write", path_); !s.ok()) return s;
    const std::uint64_t used = files_.used();
    if (used + bytes.size() > files_.capacity_) {
      inode_->contents +=
          bytes.substr(0, static_cast<std::size_t>(files_.capacity_ > used ? files_.capacity_ - used : 0));
      return {ErrorCode::no_space, "cannot write " + path_ + ": No space left on device"};
    }
    inode_->contents += bytes;
    return {};
  }
  Status truncate(std::uint64_t size) override {
    const std::lock_guard lock(files_.mutex_);
    if (Status s = files_.change("truncate", path_); !s.ok()) return s;
    inode_->contents.resize(static_cast<std::size_t>(size));
    return {};
  }
  Status sync() override {
    const std::lock_guard lock(files_.mutex_);
    if (Status s = files_.change("sync", path_); !s.ok()) return s;
    inode_->durable = inode_->contents;
    return {};
  }

 private:
  MemoryFiles& files_;
  std::shared_ptr<Inode> inode_;
  std::string path_;
};

Status MemoryFiles::change(const std::string& what, const std::string& path) {
  ++changes_;
  if (fail_after_ < 0) return {};
  if (fail_after_ > 0) {
    --fail_after_;
    return {};
  }
  if (const auto called = std::exchange(on_failure_, nullptr)) called();
  return {ErrorCode::io, "cannot " + what + " " + path + ": Input/output error"};
}

std::uint64_t MemoryFiles::used() const {
  std::uint64_t bytes = 0;
  for (const auto& [name, inode] : names_) bytes += inode->contents.size();
  return bytes;
}

Result<std::string> MemoryFiles::read(const std::string& path, std::uint64_t max_bytes) {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  if (found == names_.end()) return Error{ErrorCode::not_found, "cannot read " + path + ": No such file or directory"};
  if (found->second->contents.size() > max_bytes) return Error{ErrorCode::invalid, path + " is too long"};
  return found->second->contents;
}

Result<std::unique_ptr<File>> MemoryFiles::open(const std::string& path, bool empty) {
  const std::lock_guard lock(mutex_);
  auto found = names_.find(path);
  if (found == names_.end() || empty) {
    if (Status s = change("open", path); !s.ok()) return s.error();
  }
  if (found == names_.end()) found = names_.emplace(path, std::make_shared<Inode>()).first;
  if (empty) found->second->contents.clear();
  return std::unique_ptr<File>(std::make_unique<Handle>(*this, found->second, path));
}

Status MemoryFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  if (Status s = change("rename", from); !s.ok()) return s;
  const auto found = names_.find(from);
  if (found == names_.end()) return {ErrorCode::not_found, "cannot rename " + from + ": No such file or directory"};
  names_[to] = found->second;
  names_.erase(found);
  return {};
}

Status MemoryFiles::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (Status s = change("remove", path); !s.ok()) return s;
  names_.erase(path);
  return {};
}

Status MemoryFiles::make_folder(const std::string&) { return {}; }

Status MemoryFiles::sync_folder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (Status s = change("sync folder", path); !s.ok()) return s;
  const std::string folder = path == "/" ? "" : path;
  const auto inside = [&](const std::string& name) {
    return name.size() > folder.size() && name.starts_with(folder) && name[folder.size()] == '/' &&
           name.find('/', folder.size() + 1) == std::string::npos;
  };
  std::erase_if(durable_names_, [&](const auto& entry) { return inside(entry.first); });
  for (const auto& [name, inode] : names_) {
    if (inside(name)) durable_names_[name] = inode;
  }
  return {};
}

Result<std::vector<std::string>> MemoryFiles::list(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, inode] : names_) {
    if (name.starts_with(folder + "/")) names.push_back(name.substr(folder.size() + 1));
  }
  return names;
}

void MemoryFiles::power_off() {
  const std::lock_guard lock(mutex_);
  // Handles that are still open keep writing to inodes that no name leads to.
  Names fresh;
  for (const auto& [name, inode] : durable_names_) {
    auto copy = std::make_shared<Inode>();
    copy->contents = copy->durable = inode->durable;
    fresh[name] = copy;
  }
  names_ = fresh;
  durable_names_ = std::move(fresh);
  fail_after_ = -1;
}

void MemoryFiles::fail_after(int operations) {
  const std::lock_guard lock(mutex_);
  fail_after_ = operations;
}

void MemoryFiles::on_failure(std::function<void()> called) {
  const std::lock_guard lock(mutex_);
  on_failure_ = std::move(called);
}

void MemoryFiles::set_capacity(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

void MemoryFiles::tear(const std::string& path, std::string_view tail) {
  const std::lock_guard lock(mutex_);
  if (const auto found = names_.find(path); found != names_.end()) {
    found->second->contents += tail;
    found->second->durable = found->second->contents;
  }
}

int MemoryFiles::changes() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

}  // namespace amphion::link
