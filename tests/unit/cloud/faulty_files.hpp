// SPDX-License-Identifier: Apache-2.0
// Real files whose changing operations fail from a chosen one on, as on a disk that has become full or has died.
// Thread safety: as PosixFiles.
#pragma once

#include "cloud-side/store/files.hpp"

namespace amphion::cloud::testing {

class FaultyFiles final : public Files {
 public:
  // The operation after `operations` more changing ones, and all that follow, fail; removing goes on working. -1: none.
  void fail_after(int operations) { left_ = operations; }
  [[nodiscard]] int changes() const { return changes_; }

  std::unique_ptr<File> open(const std::filesystem::path& path, Mode mode) override {
    if (mode == Mode::create) change();
    return std::make_unique<Wrapped>(*this, real_.open(path, mode));
  }
  bool exists(const std::filesystem::path& path) override { return real_.exists(path); }
  std::vector<std::string> list(const std::filesystem::path& folder) override { return real_.list(folder); }
  void make_folder(const std::filesystem::path& folder) override {
    change();
    real_.make_folder(folder);
  }
  void remove_all(const std::filesystem::path& path) override { real_.remove_all(path); }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    change();
    real_.rename(from, to);
  }
  void sync_folder(const std::filesystem::path& folder) override {
    change();
    real_.sync_folder(folder);
  }
  void copy(const std::filesystem::path& from, const std::filesystem::path& to) override {
    change();
    real_.copy(from, to);
  }

 private:
  void change() {
    ++changes_;
    if (left_ == 0) throw StoreError("cannot write: the cloud's disk is full", true);
    if (left_ > 0) --left_;
  }

  class Wrapped final : public File {
   public:
    Wrapped(FaultyFiles& owner, std::unique_ptr<File> file) : owner_(owner), file_(std::move(file)) {}
    void read(std::uint64_t offset, std::span<std::byte> into) override { file_->read(offset, into); }
    void write(std::uint64_t offset, std::span<const std::byte> from) override {
      owner_.change();
      file_->write(offset, from);
    }
    void zero(std::uint64_t offset, std::uint64_t bytes) override {
      owner_.change();
      file_->zero(offset, bytes);
    }
    void resize(std::uint64_t bytes) override {
      owner_.change();
      file_->resize(bytes);
    }
    void sync() override {
      owner_.change();
      file_->sync();
    }
    std::uint64_t size() override { return file_->size(); }
    std::optional<Extent> next_data(std::uint64_t offset) override { return file_->next_data(offset); }

   private:
    FaultyFiles& owner_;
    std::unique_ptr<File> file_;
  };

  PosixFiles real_;
  int left_ = -1;
  int changes_ = 0;
};

}  // namespace amphion::cloud::testing
