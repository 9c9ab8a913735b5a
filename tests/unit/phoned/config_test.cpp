// SPDX-License-Identifier: Apache-2.0
// The configuration: defaults, and one line that names what is wrong.
#include "phone-side/phoned/config.hpp"

#include <gtest/gtest.h>

namespace amphion::phoned {
namespace {

std::string error_of(const std::string& text) {
  try {
    (void)parse_config(text, "c.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

std::string with(const std::string& more) { return R"({"instances": [{"name": "work", "kernel": "/k")" + more + "}]}"; }

TEST(Config, FillsInDefaults) {
  const Config config = parse_config(with(""), "c.json");
  EXPECT_EQ(config.data, "/data");
  EXPECT_EQ(config.pki, "/data/pki");
  EXPECT_EQ(config.control, "0.0.0.0:7447");
  ASSERT_EQ(config.instances.size(), 1u);
  EXPECT_TRUE(config.instances[0].shape.valid());
  EXPECT_LE(config.instances[0].bound_bytes, config.instances[0].shape.memory_bytes);
}

TEST(Config, BoundsFollowTheShape) {
  const Config config = parse_config(with(R"(, "memory_mib": 64, "vcpus": 1)"), "c.json");
  EXPECT_EQ(config.instances[0].bound_bytes, 64ull << 20);
  EXPECT_EQ(config.instances[0].vcpus_allowed, 1u);
}

TEST(Config, ANetworkIsTranslatedAndClosedUnlessSaidOtherwise) {
  const InstanceConfig usual = parse_config(with(""), "c.json").instances[0];
  EXPECT_EQ(usual.network, NetworkKind::nat);
  EXPECT_TRUE(usual.open_to.empty());
  const InstanceConfig one =
      parse_config(with(R"(, "network": "bridged", "open_to": ["personal", "a"])"), "c.json").instances[0];
  EXPECT_EQ(one.network, NetworkKind::bridged);
  EXPECT_EQ(one.open_to, (std::vector<std::string>{"personal", "a"}));
}

TEST(Config, NamesWhatIsWrong) {
  EXPECT_EQ(error_of("[]"), "c.json: : must be an object { ... }");
  EXPECT_TRUE(error_of("{").starts_with("c.json: is not JSON: "));
  EXPECT_EQ(error_of("{}"), "c.json: instances: must be a list of 1 to 8 instances");
  EXPECT_EQ(error_of(R"({"instancs": []})"), "c.json: instancs: unknown key");
  EXPECT_EQ(error_of(R"({"watchdog_s": 61})"), "c.json: watchdog_s: must be a number from 0 to 60");
  EXPECT_EQ(error_of(with(R"(, "cpus": 2)")), "c.json: instances[0].cpus: unknown key");
  EXPECT_EQ(error_of(with(R"(, "vcpus": 5)")), "c.json: instances[0].vcpus: must be a number from 1 to 4");
  EXPECT_EQ(error_of(with(R"(, "vcpus": 2, "vcpus_allowed": 3)")),
            "c.json: instances[0].vcpus_allowed: must be a number from 1 to 2");
  EXPECT_EQ(error_of(with(R"(, "memory_mib": 2050)")),
            "c.json: instances[0].memory_mib: must be a multiple of 2 from 64 to 2048");
  EXPECT_EQ(error_of(with(R"(, "memory_mib": 65)")),
            "c.json: instances[0].memory_mib: must be a multiple of 2 from 64 to 2048");
  EXPECT_EQ(error_of(with(R"(, "memory_mib": 64, "bound_mib": 65)")),
            "c.json: instances[0].bound_mib: must be a number from 32 to 64");
  EXPECT_EQ(error_of(with(R"(, "bound_mib": -1)")), "c.json: instances[0].bound_mib: must be a number from 32 to 512");
  EXPECT_EQ(error_of(R"({"instances": [{"name": "work"}]})"),
            "c.json: instances[0].kernel: is missing; name the instance's kernel (a zImage)");
  EXPECT_EQ(error_of(with(R"(, "disk": 4)")), "c.json: instances[0].disk: must be a text in quotes");
  EXPECT_EQ(error_of(with(R"(, "network": "NAT")")),
            "c.json: instances[0].network: must be \"nat\", \"bridged\" or \"none\"");
  for (const char* list : {"\"work\"", "[1]", "[\"../x\"]", R"(["a","a","a","a","a","a","a","a","a"])"})
    EXPECT_EQ(error_of(with(std::string(", \"open_to\": ") + list)),
              "c.json: instances[0].open_to: must be a list of instances' names");
  EXPECT_EQ(error_of(R"({"instances": [{"name": "a", "kernel": "k"}, {"name": "a", "kernel": "k"}]})"),
            "c.json: instances[1].name: \"a\" is there twice");
  EXPECT_EQ(error_of(R"({"instances": [{"name": "host", "kernel": "k"}]})"),
            "c.json: instances[0].name: must be " + std::string(name_rule));
}

TEST(Config, ANewInstanceIsTheTemplateWithItsOwnersWishes) {
  const Config config = parse_config(
      R"({"instances": [{"name": "work", "kernel": "/k"}], "template": {"kernel": "/t", "cmdline": "a={name} b={name}"}})",
      "c.json");
  const auto made = new_instance(config.instance_template, "notes", nlohmann::json::object());
  EXPECT_EQ(made.name, "notes");
  EXPECT_EQ(made.kernel, "/t");
  EXPECT_EQ(made.cmdline, "a=notes b=notes");
  EXPECT_EQ(made.bound_bytes, 192ull << 20);
  const auto larger = new_instance(config.instance_template, "notes", nlohmann::json::parse(R"({"bound_mib": 601})"));
  EXPECT_EQ(larger.bound_bytes, 601ull << 20);
  EXPECT_EQ(larger.shape.memory_bytes, 602ull << 20) << "the largest shape grows with it";
  const auto smaller = new_instance(config.instance_template, "notes", nlohmann::json::parse(R"({"memory_mib": 128})"));
  EXPECT_EQ(smaller.bound_bytes, 128ull << 20) << "and what runs here shrinks with that";
  EXPECT_THROW((void)new_instance(nlohmann::json::object(), "notes", nlohmann::json::object()), ConfigError)
      << "no kernel";
  EXPECT_EQ(error_of(R"({"instances": [{"name": "work", "kernel": "/k"}], "template": {"kernel": "/t", "vcpus": 9}})"),
            "c.json: template.vcpus: must be a number from 1 to 4");
  EXPECT_EQ(error_of(R"({"instances": [{"name": "work", "kernel": "/k"}], "template": {"kernel": "/t", "name": "x"}})"),
            "c.json: template.name: unknown key");
}

TEST(Config, AnInstanceIsWrittenDownAsItIsRead) {
  const auto text = R"({"name": "x", "kernel": "/k", "initrd": "/i", "disk": "/d", "disk_mib": 7, "vcpus": 3,
                        "vcpus_allowed": 1, "memory_mib": 80, "bound_mib": 40, "cmdline": "c", "network": "bridged",
                        "open_to": ["y", "z"]})";
  EXPECT_EQ(to_json(parse_instance(nlohmann::json::parse(text), "")), nlohmann::json::parse(text));
}

TEST(Config, RefusesNamesThatAreNoFolders) {
  for (const char* name : {"", "Work", "../x", "1a", "a/b", "a b", "abcdefghijklmnopqrstuvwxyz0123456"}) {
    EXPECT_FALSE(valid_instance_name(name)) << name;
  }
  EXPECT_TRUE(valid_instance_name("work-2"));
}

TEST(Config, SaysWhereItLooked) {
  try {
    (void)read_config("/nonexistent/phoned.json");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("/nonexistent/phoned.json: cannot be read"));
  }
}

}  // namespace
}  // namespace amphion::phoned
