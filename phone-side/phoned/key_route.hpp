// SPDX-License-Identifier: Apache-2.0
// The way of one instance's keys: each event has a sequence number and reaches the instance exactly once and in order,
// wherever it is. The states:
//   local   to the instance here; what its queue has not received yet is remembered in memory
//   held    the instance is being stopped: remembered in memory
//   away    appended to the journal, durably, then offered to the link
// Callers walk local -> held -> away (dock), held or away -> local (dock given up), away -> local (undock).
// Thread safety: none; the caller (Slot) serialises. Invariants: numbers rise by one; `reached` never exceeds `last`.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <vector>

#include "phone-side/phoned/key_event.hpp"

namespace amphion::phoned {

struct NumberedEvent {
  std::uint64_t sequence;
  KeyEvent event;

  friend bool operator==(const NumberedEvent&, const NumberedEvent&) = default;
};

// The durable journal as the route sees it. All throw std::runtime_error with one line when the file fails.
class KeyJournal {
 public:
  virtual ~KeyJournal() = default;
  virtual void restart(std::uint64_t next) = 0;  // empty; the next event has this number
  // One record of whole frames, at most most_record_events: durable when it returns, nothing of it kept after an error.
  virtual void append(std::span<const KeyEvent> frames) = 0;
  static constexpr std::size_t most_record_events = 64;
  [[nodiscard]] virtual std::vector<NumberedEvent> after(std::uint64_t sequence) const = 0;
  virtual void trim(std::uint64_t sequence) = 0;         // forget up to and including this one
  [[nodiscard]] virtual std::uint64_t last() const = 0;  // 0: it has never held one
};

class KeyRoute {
 public:
  enum class Mode { local, held, away };
  using Sink = std::function<void(std::span<const NumberedEvent>)>;

  // `local` gives events to the instance here, `link` offers them to the cloud (which may be away: they are sent
  // again).
  KeyRoute(KeyJournal& journal, Sink local, Sink link)
      : journal_(journal), local_(std::move(local)), link_(std::move(link)) {}

  // At start. `recorded` is the durable record's sequence.
  void start(Mode mode, std::uint64_t recorded);

  // Throws std::runtime_error when the journal cannot keep them; then the rest is lost, and the caller says so.
  void deliver(std::span<const Frame> frames);

  // local, held: the instance's queue has received up to here.
  void reached(std::uint64_t sequence);

  void hold();  // local -> held
  void leave(
      std::uint64_t input_sequence);  // held -> away; the saved state's sequence. What is beyond is journaled. Throws
  void stay();                        // held, away -> local: the dock was given up, the instance here goes on
  void arrive(std::uint64_t input_sequence);  // away -> local: an instance that came home and has received up to here

  // away: how far the clone is, and what it may not have.
  void acknowledged(std::uint64_t sequence);
  [[nodiscard]] std::vector<NumberedEvent> waiting() const { return journal_.after(acknowledged_); }

  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] std::uint64_t last() const { return last_; }
  [[nodiscard]] std::uint64_t progress() const { return mode_ == Mode::away ? acknowledged_ : reached_; }

 private:
  void give(const std::vector<NumberedEvent>& events);
  void remember(const std::vector<NumberedEvent>& events);

  KeyJournal& journal_;
  Sink local_;
  Sink link_;
  Mode mode_ = Mode::local;
  std::uint64_t last_ = 0;                // numbered
  std::uint64_t given_ = 0;               // to the instance here
  std::uint64_t reached_ = 0;             // its queue has it
  std::uint64_t acknowledged_ = 0;        // the clone has it
  std::deque<NumberedEvent> remembered_;  // beyond reached_, as far as they came before `away`
};

}  // namespace amphion::phoned
