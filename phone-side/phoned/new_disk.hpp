// SPDX-License-Identifier: Apache-2.0
// Makes a new instance's disk: its image's copy, as large as wanted, or an empty one.
// Thread safety: one thread at a time for a folder.
#pragma once

#include "phone-side/phoned/config.hpp"
#include "phone-side/phoned/saved_image.hpp"

namespace amphion::phoned {

// What the files that `config` names must be, before anything is made: an error names the one that is wrong.
[[nodiscard]] link::Status check_images(const InstanceConfig& config);

// Free bytes of the disk that a folder is on.
[[nodiscard]] std::uint64_t free_bytes(const std::string& folder);

// no_space: what is to be written at once does not fit, with a little to spare for everybody's journals and records.
[[nodiscard]] link::Status check_space(std::uint64_t needed_bytes, std::uint64_t free_bytes, const std::string& what);

// disk_file(folder), durable, unless it is there. Nothing if the instance has no disk.
[[nodiscard]] link::Status make_disk(link::Files& files, const InstanceConfig& config, const std::string& folder,
                                     const CopyProgress& progress);

}  // namespace amphion::phoned
