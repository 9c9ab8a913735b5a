// SPDX-License-Identifier: Apache-2.0
// The board's keyboards: every evdev device that has letters, grabbed by libevdev so that nothing else on the host
// hears them. Devices may come and go (the input folder is watched). Thread safety: run() belongs to one thread, the
// callbacks come from it; stop() from any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "phone-side/phoned/key_event.hpp"

struct libevdev;

namespace amphion::phoned {

class Keyboards {
 public:
  struct Callbacks {
    std::function<void(const Frame&)> frame;  // whole, SYN_REPORT last
    std::function<void()> gone;               // a keyboard went away, maybe with keys held
  };

  Keyboards(std::string folder, Callbacks callbacks);
  ~Keyboards();
  Keyboards(const Keyboards&) = delete;
  Keyboards& operator=(const Keyboards&) = delete;

  void run();
  void stop();

 private:
  struct Keyboard;

  void scan();
  void open(const std::string& file);
  [[nodiscard]] bool read(Keyboard& keyboard);

  std::string folder_;
  Callbacks callbacks_;
  int watch_ = -1;
  int wake_ = -1;
  std::vector<std::unique_ptr<Keyboard>> keyboards_;
};

}  // namespace amphion::phoned
