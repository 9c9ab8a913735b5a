// SPDX-License-Identifier: Apache-2.0
// The instance's thread: takes what happened from the partition, lets the device model answer, and reports.
#include "phone-side/instance/instance.hpp"

namespace amphion::instance {
namespace {

constexpr int most_at_once = 64;  // vCPUs that never stop asking must not keep the thread from everything else

}  // namespace

void Instance::serve() {
  for (;;) {
    partition_->wait(network_news());
    {
      const std::lock_guard lock(life_mutex_);
      if (ending_) return;
    }
    for (int served = 0; served < most_at_once; ++served) {
      const auto happening = partition_->next();
      if (!happening) break;
      serve_one(*happening);
    }
    serve_network();
    report();
  }
}

void Instance::serve_one(const Happening& happening) {
  if (happening.events != 0) return serve_events(happening.events);
  if (happening.rung != 0) return serve_doorbells(happening);
  serve_access(happening);
}

void Instance::serve_doorbells(const Happening& rung) {
  const std::lock_guard lock(model_mutex_);
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot)
    if ((rung.rung >> slot & 1) != 0) model_.ring(slot, rung.doorbell[slot]);
  if ((rung.rung & AMPHION_RUNG_UART) == 0) return;
  take_serial();
  feed_serial();
}

// A stopped instance receives nothing: its state may have been saved.
int Instance::network_news() {
  if (!tap_ || stopped()) return -1;
  const std::lock_guard lock(model_mutex_);
  return model_.network().has_room() ? tap_->descriptor() : -1;
}

void Instance::serve_network() {
  if (stopped()) return;
  const std::lock_guard lock(model_mutex_);
  if (model_.network().serve()) partition_->wake();
}

void Instance::serve_access(const Happening& access) {
  if (events_.access) events_.access(access);
  std::uint32_t data = 0;
  {
    const std::lock_guard lock(model_mutex_);
    if (access.write)
      model_.write(access.address, access.bytes, access.data);
    else
      data = model_.read(access.address, access.bytes);
  }
  partition_->complete(access.vcpu, data);
}

void Instance::serve_events(std::uint32_t events) {
  constexpr std::uint32_t stops = AMPHION_EVENT_PAUSED | AMPHION_EVENT_SYSTEM_OFF | AMPHION_EVENT_SYSTEM_RESET;
  if ((events & AMPHION_EVENT_OUT_OF_MEMORY) != 0 && events_.out_of_memory) events_.out_of_memory();
  {
    const std::lock_guard lock(model_mutex_);
    take_serial();  // before anybody asks for the state of what has stopped
  }
  if ((events & AMPHION_EVENT_SYSTEM_RESET) != 0) return restart();
  if ((events & stops) != 0) set_stopped(true);
  if ((events & AMPHION_EVENT_SYSTEM_OFF) != 0) {
    report();
    if (events_.off) events_.off();
  }
}

// The guest reset itself. If somebody waits for a pause, the new start waits for run().
void Instance::restart() {
  report();
  Problem problem = start_cold();
  {
    const std::lock_guard lock(life_mutex_);
    if (!problem && !pause_asked_) problem = partition_->run();
    stopped_ = problem.has_value() || pause_asked_;
    pause_asked_ = false;
    life_changed_.notify_all();
  }
  if (events_.restarted) events_.restarted(problem);
}

void Instance::report() {
  Outbox out;
  std::uint64_t reached = 0;
  {
    const std::lock_guard lock(model_mutex_);
    std::swap(out, outbox_);
    reached = model_.keyboard().reached();
  }
  if (!out.serial.empty() && events_.serial) events_.serial(out.serial);
  if (!out.console.empty() && events_.console) events_.console(out.console);
  if (!out.grow.empty() && events_.grow) events_.grow(out.grow);
  if (std::exchange(keys_reported_, reached) != reached && events_.keys_reached) events_.keys_reached(reached);
}

}  // namespace amphion::instance
