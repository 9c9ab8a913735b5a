// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qemu/guest.hpp"

#include <linux/input-event-codes.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/process.hpp"
#include "machine/cold_start.hpp"
#include "machine/device_tree.hpp"

namespace amphion::qemu::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path.string() + " is missing: run `make setup`");
  return {std::istreambuf_iterator<char>(in), {}};
}

void put(std::fstream& memory, std::uint32_t offset, std::string_view bytes) {
  memory.seekp(offset);
  memory.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

struct Key {
  char letter;
  std::uint16_t code;
  bool shift;
};
constexpr Key keys[] = {
    {'a', KEY_A, false},     {'b', KEY_B, false},      {'c', KEY_C, false},   {'d', KEY_D, false},
    {'e', KEY_E, false},     {'f', KEY_F, false},      {'g', KEY_G, false},   {'h', KEY_H, false},
    {'i', KEY_I, false},     {'j', KEY_J, false},      {'k', KEY_K, false},   {'l', KEY_L, false},
    {'m', KEY_M, false},     {'n', KEY_N, false},      {'o', KEY_O, false},   {'p', KEY_P, false},
    {'q', KEY_Q, false},     {'r', KEY_R, false},      {'s', KEY_S, false},   {'t', KEY_T, false},
    {'u', KEY_U, false},     {'v', KEY_V, false},      {'w', KEY_W, false},   {'x', KEY_X, false},
    {'y', KEY_Y, false},     {'z', KEY_Z, false},      {'0', KEY_0, false},   {'1', KEY_1, false},
    {'2', KEY_2, false},     {'3', KEY_3, false},      {'4', KEY_4, false},   {'5', KEY_5, false},
    {'6', KEY_6, false},     {'7', KEY_7, false},      {'8', KEY_8, false},   {'9', KEY_9, false},
    {' ', KEY_SPACE, false}, {'/', KEY_SLASH, false},  {'.', KEY_DOT, false}, {'-', KEY_MINUS, false},
    {'>', KEY_DOT, true},    {'\n', KEY_ENTER, false},
};

const Key& key_of(char letter) {
  for (const Key& key : keys)
    if (key.letter == letter) return key;
  throw std::runtime_error(std::string("no key for ") + letter);
}

void press(Clone& clone, std::uint16_t code, int value) {
  const std::array<link::InputEvent, 2> frame{{{EV_KEY, code, value}, {EV_SYN, SYN_REPORT, 0}}};
  const auto deadline = Clock::now() + 20s;
  for (;;) {
    const auto given = clone.inject(frame);
    if (!given) throw std::runtime_error(given.error().text);
    if (*given) return;
    if (Clock::now() > deadline) throw std::runtime_error("the keyboard's queue stays full");
    std::this_thread::sleep_for(5ms);
  }
}

}  // namespace

fs::path cache() {
  if (const char* set = std::getenv("AMPHION_CACHE")) return set;
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/root") / ".cache/amphion";
}

CloneOptions options(const fs::path& folder) {
  return {cache() / "qemu-clone/bin/qemu-system-arm", folder / "templates"};
}

Folder::Folder() {
  std::string name = "/tmp/amphion-test-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder can be made under /tmp");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_, ignored))
    if (entry.is_directory()) kill_and_wait(read_pid_file(entry.path() / pid_file), entry.path());
  fs::remove_all(path_, ignored);
}

fs::path Folder::clone(const std::string& name, const fs::path& from) const {
  const fs::path made = path_ / name;
  fs::create_directories(made);
  if (!from.empty())
    for (const char* file : {"memory", "disk0"}) fs::rename(from / file, made / file);
  return made;
}

machine::InstanceState boot_state(const fs::path& folder, const machine::Shape& shape, const std::string& cmdline) {
  fs::copy_file(cache() / "rootfs/guest-disk.ext4", folder / "disk0", fs::copy_options::overwrite_existing);
  std::ofstream(folder / "memory", std::ios::binary);
  fs::resize_file(folder / "memory", shape.memory_bytes);
  const std::string initrd = read_file(cache() / "rootfs/guest-initramfs.cpio.gz");
  machine::DeviceTreeInput input{shape, frequency, cmdline};
  input.initrd_start = machine::ram_base + machine::initrd_offset;
  input.initrd_end = input.initrd_start + static_cast<std::uint32_t>(initrd.size());
  input.rng_seed.assign(64, 7);  // a test needs no secrets
  const auto tree = machine::make_device_tree(input);
  std::fstream memory(folder / "memory", std::ios::binary | std::ios::in | std::ios::out);
  put(memory, machine::kernel_offset, read_file(cache() / "kernel/zImage"));
  put(memory, machine::initrd_offset, initrd);
  put(memory, machine::device_tree_offset, {reinterpret_cast<const char*>(tree.data()), tree.size()});
  if (tree.empty() || !memory.flush()) throw std::runtime_error("the guest's memory cannot be prepared");
  return machine::cold_state(shape, frequency, fs::file_size(folder / "disk0") / 512);
}

void Shell::expect(const std::string& text, std::chrono::seconds within) {
  const auto deadline = Clock::now() + within;
  for (;;) {
    if (const auto at = heard_.find(text); at != std::string::npos) {
      heard_.erase(0, at + text.size());
      return;
    }
    if (Clock::now() > deadline) throw std::runtime_error("the guest did not say \"" + text + "\" but: " + heard_);
    const auto bytes = clone_.console_read(4096);
    if (!bytes) throw std::runtime_error(bytes.error().text);
    heard_ += *bytes;
    if (bytes->empty()) std::this_thread::sleep_for(10ms);
  }
}

void Shell::log_in(std::chrono::seconds within) {
  expect("login:", within);
  (void)clone_.console_write("root\n");
  expect("assword:", 20s);
  (void)clone_.console_write("amphion\n");
  expect("# ", 20s);
  run("stty -echo; PS1=; PS2=");
}

// The mark is put together by the shell, so that the echo of the command does not look like it.
std::string Shell::run(const std::string& command, std::chrono::seconds within) {
  const std::string number = std::to_string(++commands_);
  const std::string begin = "<" + number + "begin>", end = "<" + number + "end>";
  if (auto sent =
          clone_.console_write("echo '<" + number + "'begin'>'; " + command + "\necho '<" + number + "'end'>'\n");
      !sent)
    throw std::runtime_error(sent.error().text);
  expect(begin + "\r\n", within);
  const auto deadline = Clock::now() + within;
  while (heard_.find(end) == std::string::npos) {
    const auto bytes = clone_.console_read(4096);
    if (!bytes) throw std::runtime_error(bytes.error().text);
    heard_ += *bytes;
    if (Clock::now() > deadline) throw std::runtime_error(command + " does not end; it says: " + heard_);
    if (bytes->empty()) std::this_thread::sleep_for(5ms);
  }
  std::string output = heard_.substr(0, heard_.find(end));
  heard_.erase(0, heard_.find(end) + end.size());
  std::erase(output, '\r');
  if (!output.empty() && output.back() == '\n') output.pop_back();
  return output;
}

void Shell::expect_on_screen(const std::string& text, std::chrono::seconds within) {
  const auto deadline = Clock::now() + within;
  for (std::string screen; screen.find(text) == std::string::npos; std::this_thread::sleep_for(100ms)) {
    screen = run("cat /dev/vcs1");
    if (Clock::now() > deadline) throw std::runtime_error("the screen does not show \"" + text + "\" but: " + screen);
  }
}

void type(Clone& clone, const std::string& text) {
  for (const char letter : text) {
    const Key& key = key_of(letter);
    if (key.shift) press(clone, KEY_LEFTSHIFT, 1);
    press(clone, key.code, 1);
    press(clone, key.code, 0);
    if (key.shift) press(clone, KEY_LEFTSHIFT, 0);
  }
}

}  // namespace amphion::qemu::test
