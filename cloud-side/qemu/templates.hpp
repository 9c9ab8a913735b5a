// SPDX-License-Identifier: Apache-2.0
// Template streams: what a clone's QEMU saves of itself before its guest has run. Made once for each QEMU version,
// command line and shape, and kept as files named after their digest, so that a new QEMU or a new machine makes new
// ones. Thread safety: several processes may use one folder (files appear by rename).
#pragma once

#include <filesystem>

#include "cloud-side/qemu/bytes.hpp"
#include "cloud-side/qemu/qmp.hpp"
#include "link/error.hpp"
#include "machine/phone.hpp"

namespace amphion::qemu {

// From the folder, or made (about a second).
[[nodiscard]] link::Result<Bytes> template_stream(const std::filesystem::path& qemu,
                                                  const std::filesystem::path& folder, const machine::Shape& shape,
                                                  std::uint32_t counter_frequency);

// Capabilities that both ends of a stream must have: memory stays in its file.
link::Status set_capabilities(Qmp& qmp);
// The machine must stand still. Writes the stream to `file` and waits until it is whole.
link::Status save_to(Qmp& qmp, const std::filesystem::path& file);
// Loads a stream into a machine started with -incoming defer, and waits.
link::Status load_from(Qmp& qmp, const std::filesystem::path& file);

[[nodiscard]] link::Result<Bytes> read_stream(const std::filesystem::path& file);
link::Status write_stream(const std::filesystem::path& file, View bytes);

}  // namespace amphion::qemu
