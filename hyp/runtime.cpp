// SPDX-License-Identifier: Apache-2.0
// What the compiler expects of a C and C++ library: memory functions, and the ends that must not be reached.
#include "hyp/panic.hpp"
#include "hyp/types.hpp"

extern "C" {

using amphion::hyp::u32;
using amphion::hyp::u8;

void* memcpy(void* __restrict to, const void* __restrict from, std::size_t bytes) {
  auto* out = static_cast<u8*>(to);
  const auto* in = static_cast<const u8*>(from);
  if (((reinterpret_cast<u32>(out) | reinterpret_cast<u32>(in)) & 3) == 0) {
    for (; bytes >= 16; bytes -= 16, out += 16, in += 16) {
      const auto* words = reinterpret_cast<const u32*>(in);
      const u32 a = words[0], b = words[1], c = words[2], d = words[3];
      auto* target = reinterpret_cast<u32*>(out);
      target[0] = a, target[1] = b, target[2] = c, target[3] = d;
    }
  }
  for (; bytes != 0; --bytes) *out++ = *in++;
  return to;
}

void* memmove(void* to, const void* from, std::size_t bytes) {
  if (to <= from || static_cast<const u8*>(from) + bytes <= static_cast<u8*>(to)) return memcpy(to, from, bytes);
  auto* out = static_cast<u8*>(to);
  const auto* in = static_cast<const u8*>(from);
  while (bytes-- != 0) out[bytes] = in[bytes];
  return to;
}

void* memset(void* to, int value, std::size_t bytes) {
  auto* out = static_cast<u8*>(to);
  const u8 byte = static_cast<u8>(value);
  if ((reinterpret_cast<u32>(out) & 3) == 0) {
    const u32 word = byte * 0x0101'0101u;
    for (; bytes >= 4; bytes -= 4, out += 4) *reinterpret_cast<u32*>(out) = word;
  }
  for (; bytes != 0; --bytes) *out++ = byte;
  return to;
}

int memcmp(const void* a, const void* b, std::size_t bytes) {
  const auto* x = static_cast<const u8*>(a);
  const auto* y = static_cast<const u8*>(b);
  for (; bytes != 0; --bytes, ++x, ++y) {
    if (*x != *y) return *x < *y ? -1 : 1;
  }
  return 0;
}

int __aeabi_atexit(void*, void (*)(void*), void*) { return 0; }
void* __dso_handle = nullptr;
[[noreturn]] void __cxa_pure_virtual() { amphion::hyp::panic("a pure virtual function was called"); }
[[noreturn]] void abort() { amphion::hyp::panic("abort"); }
[[noreturn]] int raise(int) { amphion::hyp::panic("division by zero"); }
[[noreturn]] void __aeabi_unwind_cpp_pr0() { amphion::hyp::panic("unwinding"); }
[[noreturn]] void __aeabi_unwind_cpp_pr1() { amphion::hyp::panic("unwinding"); }
}
