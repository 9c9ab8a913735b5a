// SPDX-License-Identifier: Apache-2.0
// An instance as its host sees it: hypercalls, and the request page. All of them have the same shape of memory.
#pragma once

#include "hyp/abi/amphion_hypercall.h"
#include "tests/hyp/host/suite.hpp"
#include "tests/hyp/runtime/call.hpp"

namespace amphion::lab {

inline constexpr u32 most_instances = AMPHION_MAX_INSTANCES;
inline constexpr u32 instance_pages = 4096, bound_pages = 1024;

// The result of a management call that must go well; r1's.
u32 must(u32 function, u32 a = 0, u32 b = 0, u32 c = 0);
[[nodiscard]] inline int error_of(Answer answer) { return static_cast<int>(answer.value); }

// A page of the host's memory for structures that travel by hypercall; used up by the next one.
extern hyp::u8 bounce[AMPHION_PAGE_BYTES];
[[nodiscard]] inline u32 bounce_page() { return reinterpret_cast<u32>(&bounce); }
template <typename T>
T& bounced() {
  return *reinterpret_cast<T*>(&bounce);
}

class Partition {
 public:
  void create(const Test& test, u32 number);  // as after power-on, to run from the first byte of its image
  void destroy();
  void run() { must(AMPHION_HC_RUN, id_); }
  void ask_pause() { must(AMPHION_HC_PAUSE, id_); }
  void set_line(u32 intid, bool level) { must(AMPHION_HC_IRQ, id_, intid, level ? 1 : 0); }
  // While stopped: everything is read, the instance ends, and a new one goes on in its place.
  void move(const Test& test);

  [[nodiscard]] bool exists() const { return id_ != 0; }
  [[nodiscard]] u32 id() const { return id_; }
  [[nodiscard]] u32 number() const { return number_; }
  // The slot's InterruptStatus: bits to clear (15:8), then to set (7:0).
  void change_status(u32 slot, u32 bits) { must(AMPHION_HC_VIRTIO_IRQ, id_, slot, bits); }

  [[nodiscard]] u32 take_events();
  [[nodiscard]] u32 take_rung();
  [[nodiscard]] u32 take_doorbell(u32 slot);
  [[nodiscard]] const amphion_bytes& take_sent();  // by its UART; in the bounce page
  u32 give(u32 count, char byte);                  // to its UART; how many fit
  // The access of vCPU `vcpu`, if one waits.
  [[nodiscard]] amphion_slot* pending(u32 vcpu);
  void complete(u32 vcpu, u32 data);

 private:
  [[nodiscard]] amphion_request_page& requests() const;
  [[nodiscard]] u32* registers() const;  // of its virtio slots: pattern(offset), but for InterruptStatus
  void make(const Test& test);

  u32 id_ = 0;
  u32 number_ = 0;
};

}  // namespace amphion::lab
