// SPDX-License-Identifier: Apache-2.0
// See keys.hpp.
#include "emulator/keys.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace amphion::emulator {
namespace {

struct Key {
  char plain;
  char shifted;
  const char* name;
};

constexpr std::array<Key, 21> punctuation{{{'1', '!', "1"},
                                           {'2', '@', "2"},
                                           {'3', '#', "3"},
                                           {'4', '$', "4"},
                                           {'5', '%', "5"},
                                           {'6', '^', "6"},
                                           {'7', '&', "7"},
                                           {'8', '*', "8"},
                                           {'9', '(', "9"},
                                           {'0', ')', "0"},
                                           {'-', '_', "minus"},
                                           {'=', '+', "equal"},
                                           {'[', '{', "bracket_left"},
                                           {']', '}', "bracket_right"},
                                           {';', ':', "semicolon"},
                                           {'\'', '"', "apostrophe"},
                                           {'`', '~', "grave_accent"},
                                           {'\\', '|', "backslash"},
                                           {',', '<', "comma"},
                                           {'.', '>', "dot"},
                                           {'/', '?', "slash"}}};

struct Sequence {
  std::string_view bytes;
  const char* keys;
};

constexpr std::array<Sequence, 34> sequences{
    {{"\x1b[A", "up"},        {"\x1b[B", "down"},     {"\x1b[C", "right"},     {"\x1b[D", "left"},
     {"\x1bOA", "up"},        {"\x1bOB", "down"},     {"\x1bOC", "right"},     {"\x1bOD", "left"},
     {"\x1b[H", "home"},      {"\x1b[F", "end"},      {"\x1b[1~", "home"},     {"\x1b[2~", "insert"},
     {"\x1b[3~", "delete"},   {"\x1b[4~", "end"},     {"\x1b[5~", "pgup"},     {"\x1b[6~", "pgdn"},
     {"\x1bOP", "f1"},        {"\x1bOQ", "f2"},       {"\x1bOR", "f3"},        {"\x1bOS", "f4"},
     {"\x1b[11~", "f1"},      {"\x1b[12~", "f2"},     {"\x1b[13~", "f3"},      {"\x1b[14~", "f4"},
     {"\x1b[15~", "f5"},      {"\x1b[17~", "f6"},     {"\x1b[18~", "f7"},      {"\x1b[19~", "f8"},
     {"\x1b[20~", "f9"},      {"\x1b[21~", "f10"},    {"\x1b[1;3P", "alt-f1"}, {"\x1b[1;3Q", "alt-f2"},
     {"\x1b[1;3R", "alt-f3"}, {"\x1b[1;3S", "alt-f4"}}};

constexpr char escape = '\x1b';

Combination with(const char* modifier, Combination keys) {
  keys.insert(keys.begin(), modifier);
  return keys;
}

// Takes one sequence that begins with escape; `complete` is false when more bytes must come to decide.
std::pair<std::optional<Combination>, std::size_t> take_escape(const std::string& bytes, bool& complete) {
  complete = true;
  for (const Sequence& sequence : sequences) {
    if (bytes.starts_with(sequence.bytes)) return {parse_combination(sequence.keys), sequence.bytes.size()};
  }
  if (bytes.size() == 1) return {Combination{"esc"}, 1};  // what follows would have come in the same read
  if (bytes[1] == '[' || bytes[1] == 'O') {
    for (std::size_t i = 2; i < bytes.size(); ++i) {
      if (bytes[i] >= 0x40 && bytes[i] <= 0x7e) return {std::nullopt, i + 1};  // a key that we do not know
    }
    complete = bytes.size() > 16;
    return {std::nullopt, bytes.size()};
  }
  auto key = combination_of(bytes[1]);
  if (key) key = with("alt", *key);
  return {key, 2};
}

}  // namespace

std::optional<Combination> combination_of(char character) {
  if (character >= 'a' && character <= 'z') return Combination{std::string(1, character)};
  if (character >= 'A' && character <= 'Z') {
    return Combination{"shift", std::string(1, static_cast<char>(character - 'A' + 'a'))};
  }
  switch (character) {
    case ' ':
      return Combination{"spc"};
    case '\n':
    case '\r':
      return Combination{"ret"};
    case '\t':
      return Combination{"tab"};
    case '\b':
    case '\x7f':
      return Combination{"backspace"};
    case escape:
      return Combination{"esc"};
    default:
      break;
  }
  if (character >= 1 && character <= 26) {
    return Combination{"ctrl", std::string(1, static_cast<char>(character - 1 + 'a'))};
  }
  for (const Key& key : punctuation) {
    if (key.plain == character) return Combination{key.name};
    if (key.shifted == character) return Combination{"shift", key.name};
  }
  return std::nullopt;
}

std::optional<Combination> parse_combination(std::string_view text) {
  Combination keys;
  while (true) {
    const std::size_t dash = text.find('-');
    const std::string_view name = text.substr(0, dash);
    const bool clean =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
    if (name.empty() || !clean) return std::nullopt;
    keys.emplace_back(name);
    if (dash == std::string_view::npos) return keys;
    text.remove_prefix(dash + 1);
  }
}

std::vector<Combination> take_terminal_keys(std::string& bytes) {
  std::vector<Combination> result;
  while (!bytes.empty()) {
    if (bytes[0] != escape) {
      if (auto keys = combination_of(bytes[0])) result.push_back(*keys);
      bytes.erase(0, 1);
      continue;
    }
    bool complete = false;
    const auto [keys, length] = take_escape(bytes, complete);
    if (!complete) return result;
    if (keys) result.push_back(*keys);
    bytes.erase(0, length);
  }
  return result;
}

}  // namespace amphion::emulator
