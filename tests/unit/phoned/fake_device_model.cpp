// SPDX-License-Identifier: Apache-2.0
// A device-model process for tests of phoned: answers every request well until the guest's command line says what it
// does wrong. At a boot it writes to the guest's memory, the disk and the console, to show what it was given.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

#include "phone-side/instance/process.pb.h"
#include "phone-side/instance/wire.hpp"

namespace {

using namespace amphion::instance;

std::string wrong;

void say(const pb::Report& report) {
  if (!write_message(inherited::socket, report)) _exit(1);
}

void write_raw(const std::string& bytes) {
  if (write(inherited::socket, bytes.data(), bytes.size()) < 0) _exit(1);
}

void show_what_it_has() {
  auto* memory = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, inherited::partition, 0));
  std::strcpy(memory, "its memory");
  char kernel[16] = {};
  if (pread(inherited::kernel, kernel, sizeof kernel - 1, 0) < 0 || pwrite(inherited::disk, "its disk", 8, 0) < 0)
    _exit(2);
  std::string text = std::string(kernel) + ", descriptors:";
  for (int fd = 0; fd < 1024; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) text += " " + std::to_string(fd);
  pb::Report report;
  report.set_console(text);
  say(report);
}

void misbehave() {
  pb::Report report;
  if (wrong == "dies") raise(SIGKILL);
  if (wrong == "ends") _exit(3);
  if (wrong == "no message") write_raw(std::string("\3\0\0\0\xff\xff\xff", 7));
  if (wrong == "too long") write_raw("\xff\xff\xff\xff");
  if (wrong == "nothing") say(report);
  if (wrong == "keys that nobody typed") report.set_keys_reached(1);
  if (wrong == "an answer to nobody") report.mutable_answer()->set_id(1000);
  if (report.what_case() != pb::Report::WHAT_NOT_SET) say(report);
}

void answer(const pb::Request& request) {
  pb::Report report;
  pb::Answer& to = *report.mutable_answer();
  to.set_id(request.id());
  if (request.what_case() == pb::Request::kSetup) wrong = request.setup().cmdline();
  if (request.what_case() == pb::Request::kBoot) show_what_it_has();
  if (request.what_case() == pb::Request::kRun) misbehave();
  if (request.what_case() == pb::Request::kSave) to.set_state(wrong);
  if (request.what_case() == pb::Request::kInput) to.set_taken(wrong == "greed" ? 100 : 1);
  if (request.what_case() == pb::Request::kWritten) to.set_written(wrong == "no bitmap" ? "" : std::string(2048, '\1'));
  if (request.what_case() == pb::Request::kPause && wrong == "a problem")
    to.set_problem("lines\n\x1b[31m and " + std::string(1000, 'x'));
  if (request.what_case() == pb::Request::kKeys) {
    report.set_keys_reached(request.keys().keys(request.keys().keys_size() - 1).sequence());
    say(report);
  } else if (wrong != "silence" || request.what_case() == pb::Request::kSetup) {
    say(report);
  }
}

}  // namespace

int main() {
  pb::Request request;
  while (read_message(inherited::socket, request)) answer(request);
  return 0;
}
