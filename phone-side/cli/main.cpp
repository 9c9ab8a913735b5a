// SPDX-License-Identifier: Apache-2.0
// amphion: the command-line tool of the phone's owner.
#include <csignal>
#include <iostream>

#include "phone-side/cli/commands.hpp"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return amphion::cli::run({argv + 1, argv + argc}, std::cout, std::cerr);
}
