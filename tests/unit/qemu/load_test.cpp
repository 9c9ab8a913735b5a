// SPDX-License-Identifier: Apache-2.0
// What a phone may bring that QEMU does not keep: every system register with a value of its own must still load. The
// vCPUs are off, so nothing runs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "machine/cold_start.hpp"
#include "tests/unit/qemu/guest.hpp"

namespace amphion::qemu::test {
namespace {

constexpr machine::Shape shape{1, 64u << 20};
using Change = std::function<void(machine::Cp15&)>;

link::Result<machine::InstanceState> there_and_back(const Folder& folder, const std::string& name,
                                                    const Change& change) {
  auto state = machine::cold_state(shape, frequency, 2048);
  state.mutable_vcpus(0)->set_power(machine::Vcpu::POWER_OFF);
  change(*state.mutable_vcpus(0)->mutable_cp15());
  const auto place = folder.clone(name);
  for (const auto& [file, size] : {std::pair{"memory", shape.memory_bytes}, {"disk0", std::uint64_t{2048 * 512}}}) {
    const int fd = open((place / file).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(size)), 0);
    close(fd);
  }
  auto clone = Clone::start(options(folder.path()), place, state);
  if (!clone) return clone.error();
  auto came = (*clone)->stop();
  (*clone)->kill();
  return came;
}

#define AMPHION_REGISTER(name, value)                     \
  {                                                       \
#name, [](machine::Cp15 & c) { c.set_##name(value); } \
  }

TEST(Load, EverySystemRegisterOfAPhone) {
  const Folder folder;
  const std::pair<const char*, Change> registers[] = {
      AMPHION_REGISTER(sctlr, 0x30c5'387d),
      AMPHION_REGISTER(cpacr, 0x00f0'0000),
      AMPHION_REGISTER(ttbr0, 0x0012'0000'4567'8000),
      AMPHION_REGISTER(ttbr1, 0x4020'7000),
      AMPHION_REGISTER(ttbcr, 0xb502'3500),
      AMPHION_REGISTER(dacr, 0x5555'5555),
      AMPHION_REGISTER(dfsr, 0x2a07),
      AMPHION_REGISTER(ifsr, 0x1207),
      AMPHION_REGISTER(adfsr, 0xffff'ffff),
      AMPHION_REGISTER(aifsr, 0xffff'ffff),
      AMPHION_REGISTER(dfar, 0x1234'5678),
      AMPHION_REGISTER(ifar, 0x1234'5678),
      AMPHION_REGISTER(par, 0xff00'0000'0000'0b80),
      AMPHION_REGISTER(mair0, 0xeeaa'4400),
      AMPHION_REGISTER(mair1, 0xff00'0004),
      AMPHION_REGISTER(amair0, 0xffff'ffff),
      AMPHION_REGISTER(amair1, 0xffff'ffff),
      AMPHION_REGISTER(vbar, 0xffff'ffe0),
      AMPHION_REGISTER(contextidr, 0x1234'5678),
      AMPHION_REGISTER(tpidrurw, 0x1234'5678),
      AMPHION_REGISTER(tpidruro, 0x1234'5678),
      AMPHION_REGISTER(tpidrprw, 0x1234'5678),
      AMPHION_REGISTER(csselr, 0xf),
      AMPHION_REGISTER(teecr, 1),
      AMPHION_REGISTER(teehbr, 0x1234'5678),
      AMPHION_REGISTER(cntkctl, 0x3ff),
      AMPHION_REGISTER(actlr, 0x6040),
  };
  // What QEMU's Cortex-A7 holds constant is left behind; everything else comes back.
  const std::string constant = " actlr adfsr aifsr amair0 amair1 ";
  machine::Cp15 expected = machine::cold_state(shape, frequency, 2048).vcpus(0).cp15();
  for (const auto& [name, change] : registers)
    if (constant.find(" " + std::string(name) + " ") == std::string::npos) change(expected);
  const auto came = there_and_back(folder, "all", [&](machine::Cp15& c) {
    for (const auto& [name, change] : registers) change(c);
  });
  ASSERT_TRUE(came) << came.error().text;
  EXPECT_EQ(came->vcpus(0).cp15().SerializeAsString(), expected.SerializeAsString());
}

}  // namespace
}  // namespace amphion::qemu::test
