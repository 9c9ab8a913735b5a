// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/templates.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "cloud-side/qemu/command_line.hpp"
#include "cloud-side/qemu/process.hpp"
#include "cloud-side/qemu/stream.hpp"
#include "machine/envelope.hpp"

namespace amphion::qemu {
namespace {

using namespace std::chrono_literals;
using link::ErrorCode;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uintmax_t template_disk_bytes = 1 << 20;
constexpr auto migration_within = 60s;

link::Status wait_for_migration(Qmp& qmp) {
  const auto deadline = std::chrono::steady_clock::now() + migration_within;
  for (;;) {
    auto answer = qmp.execute("query-migrate");
    if (!answer) return answer.error();
    const std::string status = answer->value("status", "");
    if (status == "completed") return {};
    if (status == "failed" || status == "cancelled")
      return {ErrorCode::refused, "QEMU: migration " + status + ": " + answer->value("error-desc", "see its log")};
    if (std::chrono::steady_clock::now() > deadline) return {ErrorCode::timeout, "QEMU does not finish its migration"};
    std::this_thread::sleep_for(2ms);
  }
}

// A folder of its own with a short path (sockets), removed at the end.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "amphion-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

bool make_sparse(const fs::path& file, std::uintmax_t bytes) {
  std::error_code error;
  std::ofstream(file, std::ios::binary);
  fs::resize_file(file, bytes, error);
  return !error;
}

std::string file_name(const std::string& version, std::vector<std::string> arguments, const machine::Shape& shape) {
  std::string text = version;
  for (const auto& a : arguments) text += '\0' + a;
  const auto digest = machine::sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  constexpr char digits[] = "0123456789abcdef";
  std::string name = std::to_string(shape.vcpus) + "x" + std::to_string(shape.memory_bytes >> 20) + "-";
  for (std::size_t i = 0; i < 8; ++i) name.append({digits[digest[i] >> 4], digits[digest[i] & 15]});
  return name + ".template";
}

// A file that was written when the power went may be empty.
bool is_whole(View stream) {
  try {
    (void)Stream::parse(stream);
    return true;
  } catch (const StreamError&) {
    return false;
  }
}

link::Status make(const fs::path& qemu, const machine::Shape& shape, std::uint32_t frequency, const fs::path& out) {
  const TemporaryFolder folder;
  const Machine m{shape, frequency, folder.path / "memory", folder.path / "disk0", folder.path};
  if (folder.path.empty() || !make_sparse(m.memory, shape.memory_bytes) || !make_sparse(m.disk, template_disk_bytes))
    return {ErrorCode::io, "no temporary files can be made; see whether the disk is full"};
  if (auto started = run_daemon(qemu, machine_arguments(m)); !started) return started;
  const int pid = read_pid_file(folder.path / pid_file);
  Qmp qmp;
  auto status = qmp.connect(folder.path / qmp_socket, 10s);
  if (status) status = set_capabilities(qmp);
  if (status) status = save_to(qmp, folder.path / "stream");
  if (status) {
    auto bytes = read_stream(folder.path / "stream");
    status = bytes ? write_stream(out, *bytes) : link::Status(bytes.error());
  }
  kill_and_wait(pid, folder.path);
  return status;
}

}  // namespace

link::Status set_capabilities(Qmp& qmp) {
  auto answer = qmp.execute("migrate-set-capabilities",
                            {{"capabilities", json::array({{{"capability", "x-ignore-shared"}, {"state", true}}})}});
  return answer ? link::Status() : link::Status(answer.error());
}

link::Status save_to(Qmp& qmp, const fs::path& file) {
  std::error_code ignored;
  fs::remove(file, ignored);
  if (auto answer = qmp.execute("migrate", {{"uri", "file:" + file.string()}}); !answer) return answer.error();
  return wait_for_migration(qmp);
}

link::Status load_from(Qmp& qmp, const fs::path& file) {
  // QEMU stays after a failure, so that its reason can be asked for.
  if (auto answer = qmp.execute("migrate-incoming", {{"uri", "file:" + file.string()}, {"exit-on-error", false}});
      !answer)
    return answer.error();
  return wait_for_migration(qmp);
}

link::Result<Bytes> read_stream(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  Bytes bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return link::Error{ErrorCode::io, file.string() + " cannot be read"};
  return bytes;
}

// Under a name of its own until it is whole and on the disk: several threads may make the same.
link::Status write_stream(const fs::path& file, View bytes) {
  std::string part = file.string() + ".XXXXXX";
  const int fd = mkostemp(part.data(), O_CLOEXEC);
  bool done = fd >= 0;
  for (std::size_t at = 0; done && at < bytes.size();) {
    const ssize_t n = write(fd, bytes.data() + at, bytes.size() - at);
    done = n > 0 || (n < 0 && errno == EINTR);
    if (n > 0) at += static_cast<std::size_t>(n);
  }
  done = done && fdatasync(fd) == 0;
  if (fd >= 0) close(fd);
  std::error_code error;
  if (done) fs::rename(part, file, error);
  if (done && !error) return {};
  fs::remove(part, error);
  return {ErrorCode::no_space, file.string() + " cannot be written; see whether the disk is full"};
}

link::Result<Bytes> template_stream(const fs::path& qemu, const fs::path& folder, const machine::Shape& shape,
                                    std::uint32_t frequency) {
  auto version = run_and_read(qemu, {"--version"});
  if (!version) return version.error();
  const Machine names{shape, frequency, "memory", "disk0", ""};
  const fs::path file = folder / file_name(*version, machine_arguments(names), shape);
  std::error_code error;
  if (auto known = read_stream(file); known && is_whole(*known)) return known;
  fs::create_directories(folder, error);
  if (auto made = make(qemu, shape, frequency, file); !made) return made.error();
  return read_stream(file);
}

}  // namespace amphion::qemu
