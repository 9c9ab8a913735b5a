// SPDX-License-Identifier: Apache-2.0
// The proof of the machine: a running Debian guest with every device of the phone machine is carried from one QEMU
// process through the sealed neutral state into another, and on into a third. Its processes, half-typed input, disk,
// console, balloon and CPUs go on.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "machine/envelope.hpp"
#include "tests/unit/qemu/guest.hpp"

namespace amphion::qemu::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr machine::Shape shape{4, 256u << 20};

// Stops `clone`, sends its state through its sealed form, ends it, and starts another on its memory and disk.
std::unique_ptr<Clone> carry(std::unique_ptr<Clone> clone, const std::filesystem::path& from,
                             const std::filesystem::path& to, const CloneOptions& with) {
  const auto begun = Clock::now();
  auto state = clone->stop();
  if (!state) throw std::runtime_error(state.error().text);
  clone->kill();
  const std::string sealed = machine::seal(*state);
  machine::InstanceState arrived;
  if (auto problem = machine::open_envelope(sealed, arrived)) throw std::runtime_error(*problem);
  for (const char* file : {"memory", "disk0"}) std::filesystem::rename(from / file, to / file);
  auto next = Clone::start(with, to, arrived);
  if (!next) throw std::runtime_error(next.error().text);
  std::printf(
      "carried: %zu bytes of state, %lld ms from stop to go\n", sealed.size(),
      static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun).count()));
  return std::move(*next);
}

void wait_for_memory(Clone& clone, std::uint64_t bytes) {
  for (const auto deadline = Clock::now() + 30s; Clock::now() < deadline; std::this_thread::sleep_for(50ms)) {
    const auto now = clone.memory();
    ASSERT_TRUE(now) << now.error().text;
    if (*now == bytes) return;
  }
  FAIL() << "the balloon stays at " << *clone.memory();
}

void wait_for_vcpus(Clone& clone, std::uint32_t count) {
  for (const auto deadline = Clock::now() + 30s; Clock::now() < deadline; std::this_thread::sleep_for(50ms))
    if (clone.vcpus_online() == count) return;
  FAIL() << clone.vcpus_online() << " vcpus are online";
}

void wait_for_report(Clone& clone) {
  for (const auto deadline = Clock::now() + 30s; Clock::now() < deadline; std::this_thread::sleep_for(100ms))
    if (clone.guest_memory()) return;
  FAIL() << clone.guest_memory().error().text;
}

std::string entropy(Shell& shell) {
  return shell.run("cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c");
}
// A lease is asked for anew, and is the one that the guest has.
std::string lease(Shell& shell) {
  return shell.run(
      "until ifconfig eth0 | grep -q inet.addr; do sleep 0.1; done; udhcpc -nq -i eth0 -s /bin/true >/dev/null 2>&1 && "
      "echo leased $(ifconfig eth0 | sed -n 's/.*inet addr:\\([0-9.]*\\) .*/\\1/p')");
}

// Neither by the gateway nor by the guest's own idea of 127.0.0.1 on the wire.
void expect_nothing_of_the_cloud(Shell& shell) {
  const int service = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in at{};
  socklen_t size = sizeof at;
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(service, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(listen(service, 8), 0);
  ASSERT_EQ(getsockname(service, reinterpret_cast<sockaddr*>(&at), &size), 0);
  const std::string port = std::to_string(ntohs(at.sin_port));
  shell.run(
      "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip addr del 127.0.0.1/8 dev lo; "
      "ip route add 127.0.0.1 via 10.67.1.2");
  for (const char* address : {"10.67.1.2", "10.67.1.3", "127.0.0.1"})
    EXPECT_NE(shell.run(std::string("nc -w 2 ") + address + " " + port + " </dev/null >/dev/null 2>&1; echo $?"), "0")
        << address;
  EXPECT_EQ(accept(service, nullptr, nullptr), -1) << "a clone has reached a service of the cloud's host";
  shell.run("ip route del 127.0.0.1; ip addr add 127.0.0.1/8 dev lo");
  close(service);
}

std::string online(Shell& shell) { return shell.run("cat /sys/devices/system/cpu/online"); }

TEST(Carry, EveryDeviceGoesOnInAnotherQemuAndBack) {
  const Folder folder;
  const CloneOptions with = options(folder.path());
  const auto a = folder.clone("a"), b = folder.clone("b"), c = folder.clone("c");
  auto started =
      Clone::start(with, a, boot_state(a, shape, "console=tty0 console=ttyAMA0 quiet maxcpus=2 amphion.name=carry"));
  ASSERT_TRUE(started) << started.error().text;
  auto clone = std::move(*started);
  auto shell = std::make_unique<Shell>(*clone);
  shell->log_in(90s);
  EXPECT_EQ(online(*shell), "0-1");
  EXPECT_EQ(entropy(*shell), "virtio_rng.0\n64");
  EXPECT_EQ(lease(*shell), "leased 10.67.1.15");
  EXPECT_EQ(shell->run("ls /sys/bus/pci/devices | wc -l"), "5");

  expect_nothing_of_the_cloud(*shell);
  shell->expect_on_screen("login:", 30s);
  std::this_thread::sleep_for(1s);
  type(*clone, "root\n");
  shell->expect_on_screen("assword:", 30s);
  std::this_thread::sleep_for(1s);  // login throws away what was typed before it listens
  type(*clone, "amphion\n");
  shell->expect_on_screen("# ", 30s);
  type(*clone, "echo half a li");  // and no more: the rest comes in the other QEMU
  shell->run("secret=4711; dd if=/dev/urandom of=/root/data bs=64k count=32 2>/dev/null; sync");
  const std::string sum = shell->run("md5sum < /root/data");
  shell->run(
      "(n=0; while sleep 0.1; do n=$((n+1)); echo $n > /tmp/n.new; mv /tmp/n.new /tmp/n; done) >/dev/null 2>&1 &");
  std::this_thread::sleep_for(500ms);
  const int before = std::stoi(shell->run("cat /tmp/n"));

  shell.reset();
  clone = carry(std::move(clone), a, b, with);
  shell = std::make_unique<Shell>(*clone);
  type(*clone, "ne > /root/typed\n");
  EXPECT_EQ(shell->run("echo $secret"), "4711");
  EXPECT_EQ(entropy(*shell), "virtio_rng.0\n64");
  EXPECT_EQ(lease(*shell), "leased 10.67.1.15");
  shell->expect_on_screen("echo half a line > /root/typed", 30s);
  shell->run("until [ -s /root/typed ]; do sleep 0.1; done");
  EXPECT_EQ(shell->run("cat /root/typed"), "half a line");
  EXPECT_GT(std::stoi(shell->run("cat /tmp/n")), before);
  EXPECT_EQ(shell->run("echo 3 > /proc/sys/vm/drop_caches; md5sum < /root/data"), sum);
  ASSERT_TRUE(clone->set_vcpus(4));
  wait_for_vcpus(*clone, 4);
  EXPECT_EQ(online(*shell), "0-3");
  ASSERT_TRUE(clone->set_memory(128u << 20));
  wait_for_memory(*clone, 128u << 20);
  wait_for_report(*clone);

  // Whoever drove the clone dies; another takes it up.
  shell.reset();
  clone.reset();
  auto adopted = Clone::adopt(b);
  ASSERT_TRUE(adopted) << adopted.error().text;
  clone = std::move(*adopted);
  shell = std::make_unique<Shell>(*clone);
  EXPECT_TRUE(*clone->running());
  EXPECT_EQ(shell->run("dd if=/dev/urandom of=/root/more bs=64k count=16 conv=fsync 2>/dev/null; echo $?"), "0");
  const std::string more = shell->run("md5sum < /root/more");
  type(*clone, "echo ");

  shell.reset();
  clone = carry(std::move(clone), b, c, with);
  shell = std::make_unique<Shell>(*clone);
  type(*clone, "home > /root/typed2\n");
  EXPECT_EQ(online(*shell), "0-3");
  EXPECT_EQ(entropy(*shell), "virtio_rng.0\n64");
  EXPECT_EQ(lease(*shell), "leased 10.67.1.15");
  EXPECT_EQ(shell->run("echo 3 > /proc/sys/vm/drop_caches; md5sum < /root/more"), more);
  EXPECT_EQ(*clone->memory(), 128u << 20);
  wait_for_report(*clone);
  ASSERT_TRUE(clone->set_memory(shape.memory_bytes));
  wait_for_memory(*clone, shape.memory_bytes);
  ASSERT_TRUE(clone->set_vcpus(2));
  wait_for_vcpus(*clone, 2);
  EXPECT_EQ(shell->run("until [ -s /root/typed2 ]; do sleep 0.1; done; cat /root/typed2; echo $secret"), "home\n4711");
  EXPECT_EQ(shell->run("dmesg | grep -c -i -E 'BUG|stall|Oops|error'"), "0");

  // A guest that switches itself off stays, standing still, and can still be taken home.
  (void)clone->console_write("poweroff -f\n");
  for (const auto deadline = Clock::now() + 20s; *clone->running() && Clock::now() < deadline;)
    std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(*clone->running());
  EXPECT_TRUE(clone->alive());
  const auto off = clone->stop();
  ASSERT_TRUE(off) << off.error().text;
  EXPECT_EQ(off->vcpus(0).power() + off->vcpus(1).power(), 1) << "one of two has called SYSTEM_OFF";
  clone->kill();
  EXPECT_FALSE(clone->alive());
}

}  // namespace
}  // namespace amphion::qemu::test
