// SPDX-License-Identifier: Apache-2.0
// amphiond's command line, its lock on the data folder, and the admin socket.
#include "cloud-side/amphiond/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cloud-side/amphiond/admin_socket.hpp"
#include "cloud-side/amphiond/data_lock.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

TEST(Options, reads_a_listen_address) {
  std::string host;
  std::uint16_t port = 0;
  EXPECT_FALSE(parse_listen("127.0.0.1:7448", host, port));
  EXPECT_EQ(host, "127.0.0.1");
  EXPECT_EQ(port, 7448);
  EXPECT_FALSE(parse_listen("[::1]:65535", host, port));
  EXPECT_EQ(host, "::1");
}

TEST(Options, refuses_what_is_no_listen_address) {
  std::string host;
  std::uint16_t port = 0;
  for (const char* text : {"", "7448", ":7448", "a:", "a:65536", "a:-1", "a:1x", "[::1:7448", "[]:1"}) {
    EXPECT_TRUE(parse_listen(text, host, port)) << text;
  }
}

TEST(Options, names_what_is_missing) {
  const char* arguments[] = {"amphiond", "--data", "/tmp/x"};
  ::testing::internal::CaptureStderr();
  const auto parsed = parse_options(3, arguments);
  EXPECT_FALSE(parsed.options);
  EXPECT_EQ(parsed.exit_code, 2);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("--pki is required"));
}

TEST(DataLock, only_one_amphiond_has_a_data_folder) {
  const Scratch scratch;
  const auto data = scratch.path() / "data";
  {
    const DataLock first(data);
    try {
      const DataLock second(data);
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("another amphiond (process " + std::to_string(getpid()) + ")"));
    }
  }
  const DataLock again(data);
}

std::string ask(const std::filesystem::path& path, const std::string& request) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string answer;
  for (char c = 0; read(fd, &c, 1) == 1 && c != '\n';) answer += c;
  close(fd);
  return answer;
}

TEST(AdminSocket, answers_lines_and_survives_nonsense) {
  const Scratch scratch;
  const AdminSocket socket(scratch.path() / "admin.sock", [](const nlohmann::json& request) {
    if (request.value("do", "") == "throw") throw std::runtime_error("broken");
    return nlohmann::json{{"ok", true}};
  });
  EXPECT_THAT(ask(scratch.path() / "admin.sock", "{\n"), ::testing::HasSubstr("a request is one JSON object"));
  EXPECT_THAT(ask(scratch.path() / "admin.sock", "[]\n"), ::testing::HasSubstr("\"ok\":false"));
  EXPECT_THAT(ask(scratch.path() / "admin.sock", "{\"do\":\"throw\"}\n"), ::testing::HasSubstr("broken"));
  EXPECT_THAT(ask(scratch.path() / "admin.sock", std::string(100000, ' ')), ::testing::IsEmpty());
  EXPECT_EQ(ask(scratch.path() / "admin.sock", "{\"do\":\"list\"}\n"), "{\"ok\":true}");
}

}  // namespace
}  // namespace amphion::cloud::testing
