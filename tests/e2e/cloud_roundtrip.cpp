// SPDX-License-Identifier: Apache-2.0
// The cloud's half of the product, proven with stock QEMU at both ends and everything between real: an instance boots,
// docks into amphiond over mutual TLS, grows, is typed into, outlives amphiond's death, is refused its way home while
// it is too large, comes home, and docks again. Prints each step with its time; exit code 1 with one line if anything
// is not as it must be. Usage: cloud_roundtrip AMPHIOND   (kernel, root file system and QEMU from $AMPHION_CACHE)
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "link/pki.hpp"
#include "tests/e2e/guest_shell.hpp"
#include "tests/e2e/qemu_phone.hpp"

namespace amphion::e2e {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;

const Clock::time_point began = Clock::now();

void say(const std::string& what) {
  std::printf("%7.2f s  %s\n", std::chrono::duration<double>(Clock::now() - began).count(), what.c_str());
  std::fflush(stdout);
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("not so: " + what);
  say("ok: " + what);
}

template <typename F>
void wait_until(const F& holds, const std::string& what, std::chrono::seconds limit = 60s) {
  const auto end = Clock::now() + limit;
  while (!holds()) {
    if (Clock::now() >= end) throw std::runtime_error("waited in vain: " + what);
    std::this_thread::sleep_for(50ms);
  }
  say("ok: " + what);
}

std::uint16_t free_port() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool found = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  if (!found) throw std::runtime_error("no free port");
  return ntohs(address.sin_port);
}

// amphiond as a process, which may be killed and started again.
class Amphiond {
 public:
  Amphiond(std::string program, fs::path folder, fs::path qemu)
      : program_(std::move(program)), folder_(std::move(folder)), qemu_(std::move(qemu)), port_(free_port()) {}
  ~Amphiond() { stop(SIGTERM); }
  Amphiond(const Amphiond&) = delete;
  Amphiond& operator=(const Amphiond&) = delete;

  void start() {
    const std::string listen = "127.0.0.1:" + std::to_string(port_);
    const std::string log = (folder_ / "amphiond.log").string();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      dup2(out, 1);
      dup2(out, 2);
      execl(program_.c_str(), "amphiond", "--data", (folder_ / "cloud").c_str(), "--pki", (folder_ / "pki").c_str(),
            "--listen", listen.c_str(), "--qemu", qemu_.c_str(), nullptr);
      _exit(127);
    }
  }
  int stop(int signal) {
    if (pid_ <= 0) return -1;
    int status = 0;
    kill(pid_, signal);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  std::string program_;
  fs::path folder_;
  fs::path qemu_;
  std::uint16_t port_;
  pid_t pid_ = -1;
};

fs::path cache() {
  if (const char* given = std::getenv("AMPHION_CACHE"); given != nullptr && *given != '\0') return given;
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr ? home : "/root") / ".cache/amphion";
}

fs::path make_scratch() {
  std::string path = (fs::temp_directory_path() / "amphion-rt-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make " + path);
  return path;
}

void make_certificates(const fs::path& folder) {
  const auto made = [](const link::Status& status) {
    if (!status.ok()) throw std::runtime_error(status.error().text);
  };
  fs::create_directories(folder);
  made(link::create_authority(folder.string()));
  made(link::issue_certificate(folder.string(), {link::Role::cloud, "cloud-1"}));
  made(link::issue_certificate(folder.string(), {link::Role::phone, "phone-1"}));
}

std::string figures(const link::HandoverReport& report) {
  const auto& p = report.progress;
  char text[160];
  std::snprintf(text, sizeof text, "%.2f s (stopped %.2f s), %llu blocks, %.1f MiB raw, %.1f MiB sent",
                static_cast<double>(p.total.count()) / 1000, static_cast<double>(p.stopped.count()) / 1000,
                static_cast<unsigned long long>(p.blocks_sent), static_cast<double>(p.raw_bytes) / mib,
                static_cast<double>(p.sent_bytes) / mib);
  return text;
}

class Roundtrip {
 public:
  Roundtrip(const std::string& amphiond, fs::path scratch)
      : scratch_(std::move(scratch)),
        qemu_(cache() / "qemu-clone/bin/qemu-system-arm"),
        cloud_(amphiond, scratch_, qemu_),
        phone_({scratch_ / "phone",
                scratch_ / "pki",
                {qemu_, scratch_ / "templates"},
                cache() / "kernel/zImage",
                cache() / "rootfs/guest-initramfs.cpio.gz",
                cache() / "rootfs/guest-disk.ext4"}),
        shell_([this](const std::string& text) { phone_.console_write(text); },
               [this] { return phone_.console_read(); }) {}

  void run() {
    make_certificates(scratch_ / "pki");
    cloud_.start();
    prepare();
    connect();
    dock("the first dock");
    in_the_cloud();
    outlive_amphiond();
    refused();
    come_home();
    dock("the second dock");
    come_home();
    phone_.disconnect();
    expect(cloud_.stop(SIGTERM) == 0, "amphiond ends in order");
  }

 private:
  void prepare() {
    phone_.boot();
    shell_.log_in(120s);
    say("ok: the instance has booted");
    shell_.run(
        "(i=0; while :; do i=$((i+1)); echo $i >/run/next; mv /run/next /run/count; sleep 0.1; done) >/dev/null 2>&1 & "
        "echo $! >/run/pid");
    (void)phone_.instance().set_memory(96 * mib);
    wait_until([&] { return *phone_.instance().memory() <= 96 * mib; }, "its balloon holds it to 96 MiB");
    small_memory_ = memory_total();
    expect(processors() == 2, "it has two CPUs");
    shell_.run("echo on the disk >/root/file; sync; echo in memory >/run/file");
    shell_.run("echo 'echo $1 >>/root/typed' >/bin/note; chmod 755 /bin/note");
  }

  void connect() {
    wait_until(
        [&] {
          try {
            phone_.connect(cloud_.port());
            return true;
          } catch (const std::runtime_error&) {
            return false;
          }
        },
        "the phone is connected to amphiond");
  }

  void dock(const std::string& what) {
    const std::uint64_t before = count();
    const auto report = phone_.dock();
    expect(report.outcome == link::Outcome::committed, what + ": " + figures(report) + " " + report.reason);
    expect(!phone_.here(), "it does not run on the phone");
    expect(count() >= before, "the same process counts on");
    wait_until([&] { return phone_.status().vcpus_online() == 4; }, "the guest has taken four CPUs");
    expect(processors() == 4, "it sees four CPUs");
    wait_until([&] { return memory_total() > 2 * small_memory_; }, "MemTotal is more than twice what it was");
  }

  void in_the_cloud() {
    expect(shell_.run("cat /root/file /run/file") == "on the disk\nin memory", "its files are as they were");
    phone_.type("root\n");
    wait_until([&] { return on_screen("assword:"); }, "its screen asks for the password");
    phone_.type("amphion\n");
    wait_until([&] { return on_screen("~#"); }, "somebody has logged in by typing");
    type_line("first");
    shell_.run("dd if=/dev/urandom of=/dev/shm/fill bs=1M count=120 2>/dev/null");
    say("ok: it filled 120 MiB");
  }

  // On the keyboard's own screen, tty1.
  bool on_screen(const std::string& text) { return shell_.run("cat /dev/vcs1").find(text) != std::string::npos; }

  // On the keyboard's own screen, where somebody has logged in by typing.
  void type_line(const std::string& word) {
    typed_ += word + "\n";
    phone_.type("note " + word + "\n");
    wait_until([&] { return phone_.all_typed_arrived(); }, "everything typed has reached the clone");
    wait_until([&] { return shell_.run("cat /root/typed") + "\n" == typed_; }, "'" + word + "' was typed into a file");
  }

  void outlive_amphiond() {
    const std::uint64_t before = count();
    cloud_.stop(SIGKILL);
    phone_.type("note second\n");  // while nobody listens
    typed_ += "second\n";
    cloud_.start();
    connect();
    expect(count() > before, "amphiond was killed and the clone went on");
    wait_until([&] { return shell_.run("cat /root/typed") + "\n" == typed_; },
               "what was typed meanwhile arrived, once");
  }

  void refused() {
    const auto report = phone_.undock(96 * mib);
    expect(report.reason.starts_with("work uses ") && report.reason.ends_with(", this phone gives it 96 MiB"),
           "undocking is refused: " + report.reason);
    expect(!phone_.here() && count() > 0, "the clone goes on");
    wait_until([&] { return memory_total() > 2 * small_memory_; }, "it has its memory again");
    shell_.run("rm /dev/shm/fill");
  }

  void come_home() {
    const std::uint64_t before = count();
    const auto report = phone_.undock(96 * mib);
    expect(report.outcome == link::Outcome::committed, "it comes home: " + figures(report) + " " + report.reason);
    expect(phone_.here(), "it runs on the phone");
    expect(count() >= before, "the same process counts on");
    expect(processors() == 2, "it has two CPUs again");
    expect(shell_.run("cat /root/typed") + "\n" == typed_, "the text is there, byte for byte");
    expect(shell_.run("cat /root/file /run/file") == "on the disk\nin memory", "its files are as they were");
  }

  std::uint64_t number(const std::string& command) {
    const auto said = shell_.run(command);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(said.data(), said.data() + said.size(), value);
    if (error != std::errc() || end != said.data() + said.size()) {
      throw std::runtime_error("'" + command + "' gave no number: '" + said + "'; its kernel says:\n" +
                               shell_.run("dmesg | tail -n 40"));
    }
    return value;
  }
  std::uint64_t count() { return number("kill -0 $(cat /run/pid) && cat /run/count"); }
  std::uint64_t processors() { return number("grep -c ^processor /proc/cpuinfo"); }
  std::uint64_t memory_total() { return number("sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"); }

  fs::path scratch_;
  fs::path qemu_;
  Amphiond cloud_;
  QemuPhone phone_;
  GuestShell shell_;
  std::uint64_t small_memory_ = 0;
  std::string typed_;
};

void print_log(const fs::path& scratch) {
  std::ifstream log(scratch / "amphiond.log");
  if (log) std::cerr << "--- amphiond's log\n" << log.rdbuf();
}

// Clones outlive amphiond, so a failed run must end them itself.
void end_clones(const fs::path& scratch) {
  if (auto clone = qemu::Clone::adopt(scratch / "cloud/devices/phone-1/instances/work/run")) (*clone)->kill();
}

}  // namespace
}  // namespace amphion::e2e

int main(int argc, char** argv) {
  using namespace amphion::e2e;
  if (argc != 2) {
    std::fprintf(stderr, "usage: cloud_roundtrip AMPHIOND\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto scratch = make_scratch();
  int result = 0;
  try {
    Roundtrip(argv[1], scratch).run();
    say("the cloud's half works");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cloud_roundtrip: %s\n", error.what());
    print_log(scratch);
    result = 1;
  }
  end_clones(scratch);
  if (std::getenv("AMPHION_KEEP") == nullptr) std::filesystem::remove_all(scratch);
  return result;
}
