// SPDX-License-Identifier: Apache-2.0
// Small migration streams, made field by field together with their description, for tests of the reader.
// Thread safety: none.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cloud-side/qemu/bytes.hpp"

namespace amphion::qemu::test {

class StreamBuilder {
 public:
  StreamBuilder() {
    head_.u32(0x5145'564d);
    head_.u32(3);
    head_.u8(7);
    head_.u32(4);
    head_.text("test");
    description_["configuration"] = {
        {"vmsd_name", "configuration"},
        {"version", 1},
        {"fields",
         {{{"name", "len"}, {"type", "uint32"}, {"size", 4}}, {{"name", "name"}, {"type", "buffer"}, {"size", 4}}}}};
    description_["page_size"] = 4096;
    description_["devices"] = nlohmann::ordered_json::array();
  }
  // A section whose fields are described by `fields` (and `subsections`) and whose bytes are `body`.
  void section(const std::string& name, std::uint32_t instance, const nlohmann::ordered_json& fields, View body,
               const nlohmann::ordered_json& subsections = {}) {
    ++id_;
    head_.u8(4);
    head_.u32(id_);
    head_.u8(name.size());
    head_.text(name);
    head_.u32(instance);
    head_.u32(1);
    head_.bytes(body);
    head_.u8(0x7e);
    head_.u32(id_);
    nlohmann::ordered_json device{
        {"name", name}, {"instance_id", instance}, {"vmsd_name", name}, {"version", 1}, {"fields", fields}};
    if (!subsections.empty()) device["subsections"] = subsections;
    description_["devices"].push_back(device);
  }
  [[nodiscard]] Writer& raw() { return head_; }
  [[nodiscard]] nlohmann::ordered_json& description() { return description_; }
  [[nodiscard]] Bytes finish() {
    const std::string text = description_.dump();
    head_.u8(0);
    head_.u8(6);
    head_.u32(text.size());
    head_.text(text);
    return head_.take();
  }

 private:
  Writer head_;
  nlohmann::ordered_json description_;
  std::uint32_t id_ = 0;
};

}  // namespace amphion::qemu::test
