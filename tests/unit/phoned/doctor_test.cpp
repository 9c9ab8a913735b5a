// SPDX-License-Identifier: Apache-2.0
// The doctor's checks with what a broken phone has: each finds it, and says what to do.
#include "phone-side/phoned/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::int64_t now = link::wall_clock_s();

class DoctorTest : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.path() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  static void expect(const Check& check, Health health, const std::string& found) {
    EXPECT_EQ(check.health, health) << check.name << ": " << check.found;
    EXPECT_THAT(check.found, HasSubstr(found));
    EXPECT_EQ(check.advice.empty(), health == Health::good) << check.advice;
  }
  fakes::Folder folder_;
};

TEST_F(DoctorTest, Clock) {
  expect(check_clock({{"clock_s", now}, {"floor_s", now - 5}}), Health::good, "UTC");
  expect(check_clock({{"clock_s", 5}, {"floor_s", now}}), Health::bad, "1970-01-01 00:00:05 UTC, but it is");
  expect(check_clock({{"clock_s", now}, {"floor_s", 0}}), Health::warning, "nothing tells whether it is right");
  expect(check_clock({{"clock_s", now}, {"floor_s", now}, {"cloud_ahead_s", -600}}), Health::warning, "600 s ahead");
}

TEST_F(DoctorTest, Certificates) {
  const std::string pki = folder_.path() + "/pki";
  ASSERT_TRUE(link::create_authority(pki).ok());
  ASSERT_TRUE(link::issue_certificate(pki, {.role = link::Role::phone, .name = "phone"}).ok());
  const auto identity = link::identity_in(pki, link::Role::phone);
  const auto facts = link::certificate_facts(identity.certificate);
  expect(check_certificate("c", identity, now, "renew"), Health::good, "phone, until");
  expect(check_certificate("c", identity, facts->to - 86400, "renew"), Health::warning, "phone, until");
  expect(check_certificate("c", identity, facts->to + 1, "renew"), Health::bad, "has expired");
  expect(check_certificate("c", identity, 5, "renew"), Health::warning, "is valid from");
  ASSERT_TRUE(link::create_authority(pki + "/other").ok());
  auto strange = identity;
  strange.authority = pki + "/other/ca.crt";
  expect(check_certificate("c", strange, now, "renew"), Health::bad, "issued by another authority");
  strange.key = pki + "/other/ca.key";
  expect(check_certificate("c", strange, now, "renew"), Health::bad, "key is not the certificate's");
  expect(check_certificate("c", link::identity_in("/nowhere", link::Role::phone), now, "renew"), Health::bad,
         "cannot read");
}

TEST_F(DoctorTest, Cloud) {
  expect(check_cloud({{"address", ""}}), Health::warning, "paired with none");
  expect(check_cloud({{"address", "a:1"}, {"connected", true}, {"name", "cloud"}}), Health::good, "connected to cloud");
  const auto advice = [](const std::string& error) {
    const Check check = check_cloud({{"address", "a:1"}, {"connected", false}, {"error", error}});
    expect(check, Health::bad, error);
    return check.advice;
  };
  EXPECT_THAT(advice("cannot find host \"x\""), HasSubstr("name server"));
  EXPECT_THAT(advice("no one answers at a:1: Connection refused"), HasSubstr("--listen"));
  EXPECT_THAT(advice("this phone has been unpaired from this cloud"), HasSubstr("unpair --force"));
  EXPECT_THAT(advice("the peer's certificate has expired"), HasSubstr("clocks"));
  EXPECT_THAT(advice("the other side uses frame format version 2"), HasSubstr("update"));
}

TEST_F(DoctorTest, DataAndFileSystems) {
  EXPECT_NE(check_data(folder_.path()).health, Health::bad);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/.doctor"));
  expect(check_data(folder_.path() + "/none"), Health::bad, "No such file");
  BoardPaths paths;
  paths.ext4 = folder_.path() + "/ext4";
  expect(check_file_systems(paths), Health::good, "no errors");
  put("ext4/mmcblk0p2/errors_count", "0\n");
  expect(check_file_systems(paths), Health::good, "no errors");
  put("ext4/mmcblk0p2/errors_count", "3\n");
  expect(check_file_systems(paths), Health::bad, "mmcblk0p2 has recorded 3 errors");
}

TEST_F(DoctorTest, Instances) {
  put("zImage", "x");
  InstanceConfig config;
  config.name = "work";
  config.kernel = folder_.path() + "/zImage";
  const json running{{"state", "running"}, {"place", "phone"}};
  expect(check_instance(config, running, folder_.path()), Health::good, "running, on the phone");
  expect(check_instance(config, {{"state", "failed"}, {"note", "it broke"}}, folder_.path()), Health::bad, "it broke");
  put("records/work.record", "nonsense");
  expect(check_instance(config, running, folder_.path()), Health::bad, "work.record");
  std::filesystem::remove(folder_.path() + "/records/work.record");
  link::Records records(link::real_files(), folder_.path() + "/records", link::pb::SIDE_PHONE);
  link::InstanceRecord record;
  record.instance = "work";
  record.shape = {1, 64u << 20};
  record.generation = record.attempt = record.saved = 3;
  ASSERT_TRUE(records.store(record).ok());
  put("instances/work/3.state", "nonsense");
  expect(check_instance(config, running, folder_.path()), Health::bad, "its saved image of generation 3 is damaged");
  config.initrd = folder_.path() + "/none";
  expect(check_instance(config, running, folder_.path()), Health::bad, "none: No such file");
}

TEST_F(DoctorTest, ModulesAndTemperature) {
  BoardPaths paths;
  paths.modules_wanted = folder_.path() + "/order";
  paths.modules_loaded = folder_.path() + "/loaded";
  paths.thermal = folder_.path() + "/thermal";
  put("order", "virtio-mmio.ko\next4.ko\n");
  put("loaded", "ext4 1 0 - Live\nvirtio_mmio 1 0 - Live\n");
  expect(check_modules(paths), Health::good, "2 loaded");
  put("loaded", "ext4x 1 0\nvirtio_mmio 1 0\n");
  expect(check_modules(paths), Health::warning, "not loaded: ext4");
  EXPECT_TRUE(check_temperature(paths).empty());
  put("thermal/thermal_zone0/temp", "41234\n");
  put("thermal/thermal_zone1/temp", "91000\n");
  const auto checks = check_temperature(paths);
  ASSERT_EQ(checks.size(), 2u);
  expect(checks[0], Health::good, "41 degrees");
  expect(checks[1], Health::warning, "91 degrees");
}

TEST_F(DoctorTest, IsHealthyWithWarningsOnly) {
  EXPECT_EQ(to_json({{"a"}, {"b", Health::warning, "x", "y"}})["healthy"], true);
  EXPECT_EQ(to_json({{"a"}, {"b", Health::bad, "x", "y"}})["healthy"], false);
  const auto checks = check_hypervisor({});
  expect(checks.at(0), Health::bad, "/dev/amphion");  // a PC
}

}  // namespace
}  // namespace amphion::phoned
