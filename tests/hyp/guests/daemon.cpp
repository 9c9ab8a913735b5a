// SPDX-License-Identifier: Apache-2.0
// Each vCPU computes for a short while now and then, as daemons of a host do, so that queues are not always equally
// long (guests/contend.cpp). The vCPUs have nothing to do with one another.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/experiment.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"
#include "tests/hyp/runtime/work.hpp"

using namespace amphion::lab;
using amphion::hyp::read32;

namespace {

u32 run = 0, sleep_us = 0, first_seed = 0;

void sleep_for(u32 us) {
  amphion::hyp::CntvCval::write(counter() + ticks_of_us(us));
  amphion::hyp::CntvCtl::write(1);
  u32 acknowledged;
  do wait();
  while ((acknowledged = gic::acknowledge()) == gic::none);
  amphion::hyp::CntvCtl::write(0);
  gic::end(acknowledged);
}

void serve() {
  gic::init();
  gic::enable(virtual_timer);
  Random random(first_seed + vcpu_number());
  for (;;) {
    sleep_for(exponential(random, sleep_us));
    compute(exponential(random, run));
  }
}

}  // namespace

void guest_main() {
  Experiment experiment;
  for (u32 n = 0; n < experiment_words; ++n) reinterpret_cast<u32*>(&experiment)[n] = read32(experiment_word(n));
  run = experiment.daemon_run;
  sleep_us = experiment.daemon_sleep_us;
  first_seed = experiment.seed * 64 + read32(number) * 4;
  for (u32 vcpu = 1; vcpu < amphion::machine::max_vcpus; ++vcpu) start_vcpu(vcpu, serve);
  serve();
}
