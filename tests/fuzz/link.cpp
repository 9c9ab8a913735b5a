// SPDX-License-Identifier: Apache-2.0
// What comes from the other end of the link, and from a disk that lost its power.
#include <chrono>

#include "link/frame.hpp"
#include "link/hash_list.hpp"
#include "link/journal.hpp"
#include "link/memory_files.hpp"
#include "tests/fuzz/driver.hpp"

namespace amphion::fuzz {
namespace {

using link::Message;

constexpr auto soon = std::chrono::milliseconds(50);

std::string text_of(Random& random) { return std::string(random.below(40), static_cast<char>('a' + random.below(26))); }

Message message_of(Random& random) {
  switch (random.below(6)) {
    case 0: {
      link::pb::Abort abort;
      abort.mutable_id()->set_instance(text_of(random));
      abort.mutable_id()->set_generation(random.edge());
      abort.set_reason(text_of(random));
      return abort;
    }
    case 1: {
      link::pb::InputEvents events;
      events.set_first_sequence(random.edge());
      for (std::uint32_t n = random.below(20); n != 0; --n) {
        auto* event = events.add_events();
        event->set_type(random.below(4));
        event->set_code(random.below(0x300));
      }
      return events;
    }
    case 2: {
      link::pb::ConsoleData data;
      data.set_data(text_of(random));
      return data;
    }
    case 3:
      return link::pb::Offer();
    case 4:
      return link::pb::Blocks();
    default:
      return link::pb::Hello();
  }
}

std::string frame_of(const Message& message) {
  auto [writer, reader] = link::make_pipe();
  require(link::write_frame(*writer, message, link::in(soon)).ok(), "a message can be sent");
  std::string bytes(1u << 16, '\0');
  bytes.resize(*reader->read(std::as_writable_bytes(std::span(bytes)), link::in(soon)));
  return bytes;
}

void parse_hash_list(Random& random) {
  link::HashList list({{link::pb::Region(1), 1 + random.below(300)}, {link::pb::Region(2), 1 + random.below(300)}});
  for (int i = 0; i < 4; ++i) {
    const auto& region = random.one_of(list.regions());
    link::Hash hash{};
    hash[random.below(hash.size())] = std::byte{1};
    list.set(region.region, random.below(region.blocks), hash);
  }
  std::string bytes = list.serialize();
  mutate(bytes, random);
  const auto parsed = link::HashList::parse(bytes);
  if (!parsed) return;
  const auto again = link::HashList::parse(parsed->serialize());
  require(again.ok() && again->digest() == parsed->digest(), "what was parsed is written as it is");
}

void write(link::MemoryFiles& files, const std::string& path, const std::string& bytes) {
  auto file = files.open(path, true);
  require(file.ok() && (*file)->append(bytes).ok() && (*file)->sync().ok() && files.sync_folder("/data").ok(),
          "a file");
}

void open_journal(Random& random) {
  constexpr char path[] = "/data/work.journal";
  std::string bytes;
  {
    link::MemoryFiles files;
    auto journal = link::Journal::open(files, path);
    for (std::uint32_t n = 1 + random.below(6); n != 0; --n) {
      const std::array<link::InputEvent, 2> frame{{{1, static_cast<std::uint16_t>(random.below(200)), 1}, {0, 0, 0}}};
      require((*journal)->append(frame).ok(), "an event is kept");
    }
    bytes = *files.read(path, 1u << 20);
  }
  mutate(bytes, random);
  link::MemoryFiles files;
  write(files, path, bytes);
  auto journal = link::Journal::open(files, path);
  if (!journal) return;
  const std::array<link::InputEvent, 2> frame{{{1, 30, 1}, {0, 0, 0}}};
  const std::uint64_t before = (*journal)->last();
  require((*journal)->first() <= before + 1, "numbers ascend");
  const auto last = (*journal)->append(frame);
  require(last.ok() && *last == before + 2, "the next event has the next number");
  files.power_off();
  const auto again = link::Journal::open(files, path);
  require(again.ok() && (*again)->last() == *last, "what was appended is found again");
}

}  // namespace

void link_messages(Random& random) {
  const Message message = message_of(random);
  std::string body = link::encode(message);
  mutate(body, random);
  const auto type = static_cast<link::MessageType>(random.below(std::variant_size_v<Message> + 3));
  const auto decoded = link::decode(random.one_in(2) ? link::type_of(message) : type, body);
  if (decoded.ok()) static_cast<void>(link::encode(*decoded));

  std::string frame = frame_of(message);
  mutate(frame, random);
  auto [writer, reader] = link::make_pipe();
  require(writer->write(std::as_bytes(std::span(frame)), link::in(soon)).ok(), "bytes can be sent");
  writer->close();
  for (int n = 0; n < 3; ++n) {
    if (!link::read_frame(*reader, link::in(soon), soon)) break;
  }
}

void link_files(Random& random) { random.one_in(2) ? parse_hash_list(random) : open_journal(random); }

}  // namespace amphion::fuzz
