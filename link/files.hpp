// SPDX-License-Identifier: Apache-2.0
// The file operations that durability depends on, as an interface: the real ones, and MemoryFiles (memory_files.hpp),
// which forgets what was not synced, fails and fills up. Thread safety: Files may be shared; a File belongs to one
// thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "link/error.hpp"

namespace amphion::link {

class File {
 public:
  virtual ~File() = default;
  virtual Status append(std::string_view bytes) = 0;
  virtual Status truncate(std::uint64_t size) = 0;
  virtual Status sync() = 0;
};

class Files {
 public:
  virtual ~Files() = default;
  // Whole contents; not_found, or invalid when longer than `max_bytes`.
  virtual Result<std::string> read(const std::string& path, std::uint64_t max_bytes) = 0;
  // For appending; made (mode 0600) if it is not there. `empty`: truncated first.
  virtual Result<std::unique_ptr<File>> open(const std::string& path, bool empty) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;       // done as well when it is not there
  virtual Status make_folder(const std::string& path) = 0;  // durable, with parents; done as well when there
  virtual Status sync_folder(const std::string& path) = 0;
  virtual Result<std::vector<std::string>> list(const std::string& folder) = 0;  // names, sorted
};

Files& real_files();

// Replaces `path` whole and durably: temporary file, sync, rename, sync of the folder. After an error the old contents
// may be there or the new, never a mixture.
Status write_durably(Files& files, const std::string& path, std::string_view bytes);

// Contents inside an envelope: magic (4 bytes), format version, length, SHA-256. Checked before anything is decoded.
[[nodiscard]] std::string seal(std::string_view magic, std::uint32_t version, std::string_view body);
[[nodiscard]] Result<std::string> unseal(std::string_view magic, std::uint32_t version, std::string_view sealed,
                                         const std::string& what);

}  // namespace amphion::link
