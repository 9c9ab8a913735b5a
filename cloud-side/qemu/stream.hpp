// SPDX-License-Identifier: Apache-2.0
// QEMU's migration stream, read and written by the JSON description that closes it.
// Layout: header, configuration, the sections of RAM (kept as they are), one section a device, end mark, description.
// The description names every field of every device section with its size; nothing here knows a device.
// Thread safety: none; a value. Invariant: parse() followed by bytes() gives the same bytes.
// Errors: StreamError with a one-line text.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "cloud-side/qemu/bytes.hpp"

namespace amphion::qemu {

// One device section. A field is named by its path in the description: structs are joined by '.', a subsection stands
// as 'name.' before its fields, element n of an array is 'name#n'.
class Section {
 public:
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::uint32_t instance() const { return instance_; }
  [[nodiscard]] bool has(const std::string& field) const { return fields_.contains(field); }
  [[nodiscard]] View view(const std::string& field) const;
  [[nodiscard]] std::uint64_t get(const std::string& field) const;  // fields of 1, 2, 4 or 8 bytes
  void set(const std::string& field, std::uint64_t value);
  void put(const std::string& field, View content);  // of the field's own size

 private:
  friend class Stream;
  struct Field {
    std::size_t offset;
    std::size_t size;
  };
  [[nodiscard]] const Field& find(const std::string& field) const;

  std::string name_;
  std::uint32_t id_ = 0;
  std::uint32_t instance_ = 0;
  std::uint32_t version_ = 0;
  Bytes body_;
  std::unordered_map<std::string, Field> fields_;
};

class Stream {
 public:
  [[nodiscard]] static Stream parse(View bytes);
  [[nodiscard]] Bytes bytes() const;

  [[nodiscard]] const Section& section(const std::string& name, std::uint32_t instance = 0) const;
  [[nodiscard]] Section& section(const std::string& name, std::uint32_t instance = 0);
  [[nodiscard]] const Section* find(const std::string& name, std::uint32_t instance = 0) const;
  // The section whose name ends with `suffix`, and starts with `prefix`.
  [[nodiscard]] const Section& matching(const std::string& prefix, const std::string& suffix) const;
  [[nodiscard]] Section& matching(const std::string& prefix, const std::string& suffix);
  [[nodiscard]] bool has_matching(const std::string& prefix, const std::string& suffix) const;
  // Sets the one number of a subsection, version 1, that its device saves only when it is needed: added at the
  // section's end if it is not there (QEMU finds subsections by name).
  void set_subsection(Section& section, const std::string& name, const std::string& field, std::size_t size,
                      std::uint64_t value);
  // Replaces a section that is a single opaque field, whose size may change.
  void replace_opaque(Section& section, const std::string& field, Bytes content);

 private:
  void parse_preamble(Reader& reader);
  void parse_section(Reader& reader, const nlohmann::ordered_json& device);

  Bytes preamble_;
  std::vector<Section> sections_;
  std::string description_text_;
  nlohmann::ordered_json description_;
};

}  // namespace amphion::qemu
