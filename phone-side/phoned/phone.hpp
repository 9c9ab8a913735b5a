// SPDX-License-Identifier: Apache-2.0
// The whole phone: its instances, who has the focus, screen, keyboards, the cloud, and the owner's commands.
// Instances come and go by command; each keeps its number, 0 to max_instances - 1, and its slot as long as it is there.
// Thread safety: start/stop by main; the rest from any thread.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "phone-side/instance/hypervisor.hpp"
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
  // `shutdown`: asked for by an owner. `power_off`: the power key, the whole board's. `make`: where instances run.
  // `hypervisor`: outlives the phone.
  Phone(Config config, InstanceFactory make, instance::Hypervisor& hypervisor, Logs& logs,
        std::function<void()> shutdown, std::function<void()> power_off, BoardClock& clock = board_clock());
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
  [[nodiscard]] std::shared_ptr<ConsoleView> open_logs(const Request& request) override;
  void console_input(const Request& request, std::string_view bytes) override;
  void console_left(const Request& request) override;

 private:
  using Slots = std::array<std::shared_ptr<Slot>, max_instances>;  // by number; null: none of that number
  [[nodiscard]] Slots slots() const;
  [[nodiscard]] std::vector<std::shared_ptr<Slot>> present() const;
  [[nodiscard]] std::size_t index_of(const std::string& name) const;
  [[nodiscard]] std::shared_ptr<Slot> slot(const std::string& name) const;
  void put_slot(std::size_t number, std::shared_ptr<Slot> slot);
  [[nodiscard]] std::shared_ptr<Slot> make_slot(const InstanceConfig& config);
  void sweep();
  [[nodiscard]] nlohmann::json list(const std::string& only = {});
  [[nodiscard]] nlohmann::json create(const Request& request, const Progress& progress);
  void make_files(const InstanceConfig& config, const Progress& progress);
  [[nodiscard]] link::Status check_name(const InstanceConfig& config);
  [[nodiscard]] nlohmann::json remove(const Request& request);
  // Whether an instance may get that much memory beside the others.
  [[nodiscard]] InstanceList::Allow fits(const std::string& name, std::uint64_t bound_bytes) const;
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
  [[nodiscard]] std::uint64_t pool_bytes() const;  // memory for all instances together
  [[nodiscard]] amphion_sched scheduling();
  [[nodiscard]] nlohmann::json change_scheduling(const nlohmann::json& wishes);
  [[nodiscard]] nlohmann::json scheduling_statistics();
  [[nodiscard]] std::string away() const;
  void left();

  Config config_;
  InstanceFactory make_;
  instance::Hypervisor& hypervisor_;
  std::mutex scheduling_mutex_;  // one change at a time
  Logs& logs_;
  std::function<void()> shutdown_;
  std::function<void()> power_off_;
  TimeFloor time_;
  Owners owners_;
  link::Records records_;
  InstanceList list_;
  mutable std::mutex slots_mutex_;  // guards slots_; nothing else is taken while it is held
  Slots slots_;
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
