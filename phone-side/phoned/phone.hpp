// SPDX-License-Identifier: Apache-2.0
// The whole phone: its instances, who has the focus, screen, keyboards, the cloud, and the owner's commands.
// Thread safety: start/stop by main; the rest from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "phone-side/phoned/clone_screen.hpp"
#include "phone-side/phoned/cloud_link.hpp"
#include "phone-side/phoned/cloud_pairing.hpp"
#include "phone-side/phoned/control_server.hpp"
#include "phone-side/phoned/display.hpp"
#include "phone-side/phoned/focus.hpp"
#include "phone-side/phoned/keyboards.hpp"
#include "phone-side/phoned/owners.hpp"
#include "phone-side/phoned/slot.hpp"
#include "phone-side/phoned/time_floor.hpp"

namespace amphion::phoned {

class Phone : public Commands {
 public:
  // `shutdown`: asked for by an owner. `make`: where instances run.
  Phone(Config config, InstanceFactory make, std::function<void()> shutdown, BoardClock& clock = board_clock());
  ~Phone() override;

  // Throws std::runtime_error with one line when it cannot serve at all; a single instance's failure is its state.
  void start();
  void stop();

  // Returns when every part of it has answered; a phone that hangs does not.
  void answer();

  // Keys of the board, also from tests; an empty frame: a keyboard went away, nobody will release its keys.
  void keys(std::span<const Frame> frames);
  [[nodiscard]] std::uint16_t control_port() const { return control_.port(); }

  [[nodiscard]] nlohmann::json execute(const Request& request, const Progress& progress) override;
  [[nodiscard]] std::shared_ptr<ConsoleView> open_console(const Request& request) override;
  void console_input(const Request& request, std::string_view bytes) override;
  void console_left(const Request& request) override;

 private:
  [[nodiscard]] std::size_t index_of(const std::string& name) const;
  [[nodiscard]] Slot& slot(const std::string& name) const { return *slots_[index_of(name)]; }
  [[nodiscard]] nlohmann::json list();
  [[nodiscard]] std::size_t focused();
  void deliver(std::vector<Delivery> deliveries, std::size_t before);
  [[nodiscard]] std::vector<std::string> show(std::span<std::uint16_t> picture);
  void ask_for_screen(const std::string& instance);
  void start_time();
  void watch_time();
  [[nodiscard]] CloudTarget cloud_at_start();
  [[nodiscard]] nlohmann::json pair(const std::string& invitation);
  [[nodiscard]] nlohmann::json unpair(bool force);
  [[nodiscard]] nlohmann::json invite();
  [[nodiscard]] nlohmann::json doctor();
  [[nodiscard]] std::string away() const;
  void left();

  Config config_;
  std::function<void()> shutdown_;
  TimeFloor time_;
  Owners owners_;
  link::Records records_;
  std::vector<std::unique_ptr<Slot>> slots_;
  CloneScreen clone_screen_;
  CloudLink cloud_;

  std::mutex focus_mutex_;  // guards focus_, and keeps deliveries in order
  Focus focus_;
  std::atomic<std::uint64_t> keys_taken_{0};  // presses and releases of the board's keyboards since phoned began

  std::string screen_asked_;                       // the display's thread: whose clone's screen was asked for,
  std::shared_ptr<link::Session> screen_session_;  // in which session

  Display display_;
  std::mutex pairing_mutex_;  // guards pairing_ and trouble_; one command at a time
  std::condition_variable left_news_;
  CloudPairing pairing_;
  std::string pairing_trouble_;  // why its file could not be read

  std::mutex watch_mutex_;  // guards watching_
  std::condition_variable watch_news_;
  bool watching_ = false;
  std::thread watch_thread_;

  Keyboards keyboards_;
  std::thread keyboards_thread_;
  ControlServer control_;
};

}  // namespace amphion::phoned
