// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/stream.hpp"

#include <algorithm>
#include <functional>
#include <string_view>

namespace amphion::qemu {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t file_magic = 0x5145'564d;  // "QEVM"
constexpr std::uint32_t file_version = 3;
enum SectionType : std::uint8_t {
  eof = 0,
  start = 1,
  part = 2,
  end = 3,
  full = 4,
  subsection = 5,
  vmdescription = 6,
  configuration = 7,
  command = 8,
  footer = 0x7e,
};
constexpr std::size_t max_stream_bytes = 64u << 20;
constexpr int max_depth = 10;
constexpr std::size_t target_page_bytes = 4096;

// RAM records: an address with flags in its low bits.
constexpr std::uint64_t ram_flag_zero = 0x02;
constexpr std::uint64_t ram_flag_mem_size = 0x04;
constexpr std::uint64_t ram_flag_page = 0x08;
constexpr std::uint64_t ram_flag_eos = 0x10;
constexpr std::uint64_t ram_flag_continue = 0x20;

[[noreturn]] void fail(const std::string& what) { throw StreamError("QEMU's stream is not understood: " + what); }

using AddField = std::function<void(const std::string&, std::size_t offset, std::size_t size)>;

// Walks fields in the order of the description and reports each leaf.
void walk(Reader& reader, const Json& description, const std::string& prefix, const AddField& add, int depth) {
  if (depth > max_depth) fail("description nested too deeply");
  for (const Json& field : description.at("fields")) {
    std::string name = prefix + field.at("name").get<std::string>();
    if (field.contains("index")) name += "[" + std::to_string(field["index"].get<std::uint32_t>()) + "]";
    const bool is_array = field.contains("array_len");
    const std::size_t count = is_array ? field["array_len"].get<std::size_t>() : 1;
    const std::size_t size = field.at("size").get<std::size_t>();
    if (size != 0 && count > reader.remaining() / size) fail("field " + name + " is larger than the stream");
    if (size == 0 && count > 1) fail("field " + name + " is an array of nothing");
    for (std::size_t i = 0; i < count; ++i) {
      const std::string element = is_array ? name + "#" + std::to_string(i) : name;
      if (field.contains("struct")) {
        walk(reader, field["struct"], element + ".", add, depth + 1);
        continue;
      }
      add(element, reader.position(), size);
      reader.take(size);
    }
  }
  if (!description.contains("subsections")) return;
  for (const Json& sub : description["subsections"]) {
    const auto name = sub.at("vmsd_name").get<std::string>();
    if (reader.u8() != subsection || reader.text(reader.u8()) != name) fail("subsection " + name + " is missing");
    reader.u32();  // version
    walk(reader, sub, prefix + name + ".", add, depth + 1);
  }
}

void skip_block_list(Reader& reader, std::uint64_t total) {
  while (total > 0) {
    reader.take(reader.u8());
    const std::uint64_t length = reader.u64();
    reader.u64();  // address; present because x-ignore-shared is on
    if (length > total) fail("RAM block list");
    total -= length;
  }
}

void skip_ram(Reader& reader) {
  for (;;) {
    const std::uint64_t record = reader.u64();
    const std::uint64_t flags = record & (target_page_bytes - 1);
    if (flags == ram_flag_eos) return;
    if (flags == ram_flag_mem_size) {
      skip_block_list(reader, record & ~std::uint64_t{target_page_bytes - 1});
      continue;
    }
    if (!(flags & ram_flag_continue)) reader.take(reader.u8());
    if ((flags & ~ram_flag_continue) == ram_flag_zero)
      reader.take(1);
    else if ((flags & ~ram_flag_continue) == ram_flag_page)
      reader.take(target_page_bytes);
    else
      fail("RAM record with flags " + std::to_string(flags));
  }
}

void expect_footer(Reader& reader, std::uint32_t id, const std::string& name) {
  if (reader.u8() != footer || reader.u32() != id) fail("section " + name + " does not end where its description says");
}

// Finds the description: the end mark, its type and its length stand before it, and it reaches to the end of the
// stream.
std::size_t find_description(View bytes) {
  constexpr std::string_view opening = "{\"configuration\"";
  const auto it = std::find_end(bytes.begin(), bytes.end(), opening.begin(), opening.end());
  if (it == bytes.end()) fail("it has no description");
  const auto at = static_cast<std::size_t>(it - bytes.begin());
  if (at < 6 || bytes[at - 6] != eof || bytes[at - 5] != vmdescription) fail("no end mark before its description");
  Reader length(bytes.subspan(at - 4, 4));
  if (length.u32() != bytes.size() - at) fail("the length of its description");
  return at;
}

}  // namespace

const Section::Field& Section::find(const std::string& field) const {
  const auto it = fields_.find(field);
  if (it == fields_.end()) fail("section " + name_ + " has no field " + field);
  return it->second;
}

View Section::view(const std::string& field) const {
  const Field& f = find(field);
  return View(body_).subspan(f.offset, f.size);
}

std::uint64_t Section::get(const std::string& field) const {
  const View bytes = view(field);
  if (bytes.size() > 8) fail("field " + field + " is not a number");
  return Reader(bytes).number(bytes.size());
}

void Section::set(const std::string& field, std::uint64_t value) {
  const Field& f = find(field);
  if (f.size > 8) fail("field " + field + " is not a number");
  for (std::size_t i = 0; i < f.size; ++i)
    body_[f.offset + i] = static_cast<std::uint8_t>(value >> (8 * (f.size - 1 - i)));
}

void Section::put(const std::string& field, View content) {
  const Field& f = find(field);
  if (f.size != content.size()) fail("size of field " + field);
  std::copy(content.begin(), content.end(), body_.begin() + static_cast<std::ptrdiff_t>(f.offset));
}

void Stream::parse_preamble(Reader& reader) {
  if (reader.u32() != file_magic || reader.u32() != file_version) fail("wrong magic or version");
  if (reader.u8() != configuration) fail("no configuration");
  walk(
      reader, description_.at("configuration"), "", [](const std::string&, std::size_t, std::size_t) {}, 0);
  std::uint32_t ram_id = 0;
  for (;;) {
    const std::uint8_t type = reader.peek();
    if (type == full || type == eof) return;
    reader.take(1);
    if (type == command) {
      reader.take(2);
      reader.take(reader.u16());
      continue;
    }
    const std::uint32_t id = reader.u32();
    if (type == start) {
      if (reader.text(reader.u8()) != "ram") fail("an iterative section other than RAM");
      reader.take(8);
      ram_id = id;
    } else if ((type != part && type != end) || id != ram_id) {
      fail("section type " + std::to_string(type));
    }
    skip_ram(reader);
    expect_footer(reader, id, "ram");
  }
}

void Stream::parse_section(Reader& reader, const Json& device) {
  Section s;
  if (reader.u8() != full) fail("a device section is missing");
  s.id_ = reader.u32();
  s.name_ = reader.text(reader.u8());
  s.instance_ = reader.u32();
  s.version_ = reader.u32();
  if (s.name_ != device.at("name").get<std::string>())
    fail("section " + s.name_ + " is not in the description's order");
  if (s.instance_ != device.at("instance_id").get<std::uint32_t>()) fail("instance of section " + s.name_);
  Reader fields = reader;
  const std::size_t begin = reader.position();
  walk(
      fields, device, "",
      [&](const std::string& name, std::size_t offset, std::size_t size) {
        s.fields_[name] = {offset - begin, size};
      },
      0);
  const View body = reader.take(fields.position() - begin);
  s.body_.assign(body.begin(), body.end());
  expect_footer(reader, s.id_, s.name_);
  sections_.push_back(std::move(s));
}

Stream Stream::parse(View bytes) {
  if (bytes.size() > max_stream_bytes) fail("longer than " + std::to_string(max_stream_bytes) + " bytes");
  Stream stream;
  const std::size_t at = find_description(bytes);
  stream.description_text_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end());
  try {
    stream.description_ = Json::parse(stream.description_text_);
    Reader reader(bytes.first(at - 6));
    Reader preamble(bytes.first(at - 5));  // may see the end mark
    stream.parse_preamble(preamble);
    const View head = reader.take(preamble.position());
    stream.preamble_.assign(head.begin(), head.end());
    for (const Json& device : stream.description_.at("devices")) stream.parse_section(reader, device);
    if (reader.remaining() != 0) fail("sections that are not in its description");
  } catch (const Json::exception& error) {
    fail(std::string("description: ") + error.what());
  }
  return stream;
}

Bytes Stream::bytes() const {
  Writer out;
  out.bytes(preamble_);
  for (const Section& s : sections_) {
    out.u8(full);
    out.u32(s.id_);
    out.u8(s.name_.size());
    out.text(s.name_);
    out.u32(s.instance_);
    out.u32(s.version_);
    out.bytes(s.body_);
    out.u8(footer);
    out.u32(s.id_);
  }
  out.u8(eof);
  out.u8(vmdescription);
  out.u32(description_text_.size());
  out.text(description_text_);
  return out.take();
}

const Section* Stream::find(const std::string& name, std::uint32_t instance) const {
  for (const Section& s : sections_)
    if (s.name_ == name && s.instance_ == instance) return &s;
  return nullptr;
}

const Section& Stream::section(const std::string& name, std::uint32_t instance) const {
  const Section* found = find(name, instance);
  if (found == nullptr) fail("it has no section " + name + " " + std::to_string(instance));
  return *found;
}

Section& Stream::section(const std::string& name, std::uint32_t instance) {
  return const_cast<Section&>(static_cast<const Stream*>(this)->section(name, instance));
}

bool Stream::has_matching(const std::string& prefix, const std::string& suffix) const {
  return std::any_of(sections_.begin(), sections_.end(),
                     [&](const Section& s) { return s.name_.starts_with(prefix) && s.name_.ends_with(suffix); });
}

const Section& Stream::matching(const std::string& prefix, const std::string& suffix) const {
  for (const Section& s : sections_)
    if (s.name_.starts_with(prefix) && s.name_.ends_with(suffix)) return s;
  fail("it has no section " + prefix + "..." + suffix);
}

Section& Stream::matching(const std::string& prefix, const std::string& suffix) {
  return const_cast<Section&>(static_cast<const Stream*>(this)->matching(prefix, suffix));
}

void Stream::set_subsection(Section& s, const std::string& name, const std::string& field, std::size_t size,
                            std::uint64_t value) {
  const std::string path = name + "." + field;
  if (!s.has(path)) {
    Writer addition;
    addition.u8(subsection);
    addition.u8(name.size());
    addition.text(name);
    addition.u32(1);
    addition.number(0, size);
    const Bytes bytes = addition.take();
    s.body_.insert(s.body_.end(), bytes.begin(), bytes.end());
    s.fields_[path] = {s.body_.size() - size, size};
    const auto index = static_cast<std::size_t>(&s - sections_.data());
    description_["devices"][index]["subsections"].push_back(
        {{"vmsd_name", name},
         {"version", 1},
         {"fields", Json::array({{{"name", field}, {"type", "uint"}, {"size", size}}})}});
    description_text_ = description_.dump();
  }
  s.set(path, value);
}

void Stream::replace_opaque(Section& s, const std::string& field, Bytes content) {
  Section::Field& f = s.fields_.at(field);
  if (f.offset != 0 || f.size != s.body_.size()) fail("section " + s.name_ + " is not one opaque field");
  if (f.size != content.size()) {
    const auto index = static_cast<std::size_t>(&s - sections_.data());
    description_["devices"][index]["fields"][0]["size"] = content.size();
    description_text_ = description_.dump();
    f.size = content.size();
  }
  s.body_ = std::move(content);
}

}  // namespace amphion::qemu
