// SPDX-License-Identifier: Apache-2.0
// The board's keyboards: every evdev device that has letters, grabbed by libevdev so that nothing else on the host
// hears them. Devices may come and go (the input folder is watched). What was read waits here for its receiver, which
// may write to disk and then gets all of it at once: the kernel keeps 64 events of a device and forgets all of them
// when more come. Thread safety: run() belongs to one thread, the callbacks come from one other, all before run()
// returns; stop() from any.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "phone-side/phoned/key_event.hpp"

struct libevdev;

namespace amphion::phoned {

class Keyboards {
 public:
  struct Callbacks {
    // All that waits, in order: whole frames, SYN_REPORT last. An empty one: a keyboard went away, maybe with keys
    // held.
    std::function<void(std::span<const Frame>)> frames;
  };

  Keyboards(std::string folder, Callbacks callbacks);
  ~Keyboards();
  Keyboards(const Keyboards&) = delete;
  Keyboards& operator=(const Keyboards&) = delete;

  void run();
  void stop();

 private:
  struct Keyboard;

  void read_all();
  void scan();
  void open(const std::string& file);
  [[nodiscard]] bool read(Keyboard& keyboard);
  void put(Frame frame);
  void give();

  std::string folder_;
  Callbacks callbacks_;
  int watch_ = -1;
  int wake_ = -1;
  std::vector<std::unique_ptr<Keyboard>> keyboards_;

  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<Frame> waiting_;
  bool ended_ = false;
};

}  // namespace amphion::phoned
