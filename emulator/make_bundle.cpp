// SPDX-License-Identifier: Apache-2.0
// make-bundle: joins the hypervisor's image with the host instance's kernel, initramfs and device tree into the one
// file that the board loads (hyp/bundle.hpp). Run on the PC by board/*/bundle.sh.
// Invariants: the written bundle has passed the hypervisor's own check(); the output appears whole or not at all.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "board/boards.hpp"
#include "emulator/host_tree.hpp"
#include "emulator/sched_choice.hpp"
#include "hyp/bundle.hpp"

namespace amphion::emulator {
namespace {

constexpr std::uint32_t mib = 1u << 20;
// Places inside the host's memory. The kernel unpacks itself to the start, and must lie above what it unpacks to.
constexpr std::uint32_t kernel_place = 32 * mib;
constexpr std::uint32_t dtb_place = 80 * mib;
constexpr std::uint32_t initrd_place = 96 * mib;

struct Options {
  std::string board, hypervisor, kernel, initrd, board_dtb, out;
  std::string bootargs;
  std::string sched;
  std::uint32_t memory_mib = 1024;
  std::uint32_t host_base = 0x4800'0000;
  std::uint32_t host_mib = 256;
};

using Bytes = std::vector<std::uint8_t>;

const hyp::Board& find_board(const std::string& name) {
  std::string names;
  for (const hyp::Board* one : board::all) {
    if (one->name == name) return *one;
    names += std::string(names.empty() ? "" : ", ") + one->name;
  }
  throw std::runtime_error("there is no board " + name + "; there are: " + names);
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_whole(const std::string& path, const Bytes& bytes) {
  const std::string temporary = path + ".new";
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw std::runtime_error("cannot write " + temporary + ": is the disk full?");
  std::filesystem::rename(temporary, path);
}

hyp::BundleItem append(Bytes& bundle, const Bytes& item, std::uint64_t load) {
  bundle.resize((bundle.size() + 3) / 4 * 4);
  const auto offset = static_cast<std::uint32_t>(bundle.size());
  bundle.insert(bundle.end(), item.begin(), item.end());
  return {.offset = offset, .bytes = static_cast<std::uint32_t>(item.size()), .load = load};
}

// The pool is all RAM that is neither the hypervisor's nor the host's.
void fill_ranges(hyp::BundleHeader& header, const hyp::Board& board, const Options& options) {
  const std::uint64_t ram_end = std::uint64_t{board.ram_base} + std::uint64_t{options.memory_mib} * mib;
  if (ram_end - board.ram_base > board.ram_max_bytes) {
    throw std::runtime_error(std::string(board.name) + " has no more than " +
                             std::to_string(board.ram_max_bytes / mib) + " MiB: see --memory");
  }
  const std::uint64_t pool_base = std::uint64_t{board.ram_base} + board.hypervisor_bytes;
  const std::uint64_t host_end = std::uint64_t{options.host_base} + std::uint64_t{options.host_mib} * mib;
  if (options.host_base < pool_base || host_end > ram_end) {
    throw std::runtime_error(
        "the host's memory does not lie in the board's RAM: see --memory, --host-base, --host-memory");
  }
  header.host = {options.host_base, std::uint64_t{options.host_mib} * mib};
  header.pool[0] = {pool_base, options.host_base - pool_base};
  header.pool[1] = {host_end, ram_end - host_end};
}

hyp::BundleSched sched_choice(const std::string& text) {
  const auto choice = parse_sched_choice(text);
  if (const auto* wrong = std::get_if<std::string>(&choice)) throw std::runtime_error("--sched: " + *wrong);
  return std::get<hyp::BundleSched>(choice);
}

Bytes make_bundle(const hyp::Board& board, const Options& options) {
  const Bytes kernel = read_file(options.kernel);
  const Bytes initrd = options.initrd.empty() ? Bytes{} : read_file(options.initrd);
  const Bytes dtb = finish_host_tree(read_file(options.board_dtb),
                                     {.memory_base = options.host_base,
                                      .memory_bytes = options.host_mib * mib,
                                      .initrd_base = options.host_base + initrd_place,
                                      .initrd_bytes = static_cast<std::uint32_t>(initrd.size()),
                                      .event_spi = board.interrupts.amphion_event - 32,
                                      .firmware_power = board.psci_system_off != hyp::Board::no_function,
                                      .bootargs = options.bootargs});
  hyp::BundleHeader header{};
  header.magic = hyp::bundle_magic;
  header.version = hyp::bundle_version;
  header.header_bytes = sizeof(header);
  fill_ranges(header, board, options);
  if (!options.sched.empty()) header.sched = sched_choice(options.sched);

  Bytes bundle(sizeof(header));
  header.dtb = append(bundle, dtb, options.host_base + dtb_place);
  header.kernel = append(bundle, kernel, options.host_base + kernel_place);
  header.initrd = append(bundle, initrd, options.host_base + initrd_place);
  header.total_bytes = static_cast<std::uint32_t>(bundle.size());
  std::memcpy(bundle.data(), &header, sizeof(header));
  header.crc32 = hyp::bundle_crc32(bundle.data() + hyp::bundle_crc_from, bundle.size() - hyp::bundle_crc_from);
  std::memcpy(bundle.data(), &header, sizeof(header));

  const auto error = hyp::check(reinterpret_cast<const hyp::BundleHeader*>(bundle.data()), bundle.size());
  if (error != hyp::BundleError::none) throw std::runtime_error(hyp::text(error));
  return bundle;
}

void run(const Options& options) {
  const hyp::Board& board = find_board(options.board);
  Bytes image = read_file(options.hypervisor);
  const Bytes bundle = make_bundle(board, options);
  image.resize(hyp::bundle_offset(image.size()));
  image.insert(image.end(), bundle.begin(), bundle.end());
  if (board.load_address + image.size() > board.bundle_limit) {
    throw std::runtime_error("the bundle is too large for the board: make the initramfs smaller");
  }
  write_whole(options.out, image);
  std::printf("%s: %zu bytes, hypervisor %s\n", options.out.c_str(), image.size(), options.hypervisor.c_str());
}

}  // namespace
}  // namespace amphion::emulator

int main(int argc, char** argv) {
  amphion::emulator::Options options;
  CLI::App app{"Makes the bundle that a board loads."};
  app.add_option("--board", options.board, "the board's folder in board/")->required();
  app.add_option("--hyp", options.hypervisor, "the hypervisor's raw image")->required();
  app.add_option("--kernel", options.kernel, "the host instance's zImage")->required();
  app.add_option("--initrd", options.initrd, "its initramfs");
  app.add_option("--board-dtb", options.board_dtb, "the board's device tree")->required();
  app.add_option("--bootargs", options.bootargs, "its kernel command line")->required();
  app.add_option("--sched", options.sched,
                 std::string("how the scheduler begins: ") + amphion::emulator::sched_choice_help +
                     " (default: the hypervisor's choice)");
  app.add_option("--memory", options.memory_mib, "the board's RAM in MiB")->check(CLI::Range(512, 3072));
  app.add_option("--host-base", options.host_base, "where the host instance's memory begins");
  app.add_option("--host-memory", options.host_mib, "the host instance's memory in MiB")->check(CLI::Range(128, 1024));
  app.add_option("--out", options.out, "the bundle")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    amphion::emulator::run(options);
  } catch (const std::exception& error) {
    std::cerr << "make-bundle: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
