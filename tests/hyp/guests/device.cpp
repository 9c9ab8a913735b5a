// SPDX-License-Identifier: Apache-2.0
// Loads and stores to a device: every width, sign and register reaches the device model and comes back as the
// instruction says; what the abort does not describe is an external abort, and nothing happened.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/lab.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32;

namespace {

void check_last(u32 address, u32 bytes, bool write, u32 data) {
  CHECK_EQUAL(read32(echo_address), address);
  CHECK_EQUAL(read32(echo_bytes), bytes);
  CHECK_EQUAL(read32(echo_write), write ? 1 : 0);
  if (write) CHECK_EQUAL(read32(echo_data), data);
}

#define LOADED(instruction, address)                                                 \
  ([](u32 where) {                                                                   \
    u32 value;                                                                       \
    __asm__ volatile(instruction " %0, [%1]" : "=r"(value) : "r"(where) : "memory"); \
    return value;                                                                    \
  }(address))
#define STORE(instruction, value, address) \
  __asm__ volatile(instruction " %0, [%1]" ::"r"(value), "r"(address) : "memory")

u32 extended(u32 value, u32 bits) {
  const u32 shift = 32 - bits;
  return static_cast<u32>(static_cast<std::int32_t>(value << shift) >> shift);
}

void check_widths() {
  for (u32 address = echo.base; address < echo.base + echo.size_bytes; address += 4) {
    const u32 word = pattern(address);
    CHECK_EQUAL(LOADED("ldr", address), word);
    check_last(address, 4, false, 0);
    CHECK_EQUAL(LOADED("ldrh", address), word & 0xffff);
    check_last(address, 2, false, 0);
    CHECK_EQUAL(LOADED("ldrsh", address), extended(word, 16));
    CHECK_EQUAL(LOADED("ldrb", address), word & 0xff);
    check_last(address, 1, false, 0);
    CHECK_EQUAL(LOADED("ldrsb", address), extended(word, 8));
    STORE("str", 0x8765'4321, address);
    check_last(address, 4, true, 0x8765'4321);
    STORE("strh", 0x8765'4321, address);
    check_last(address, 2, true, 0x4321);
    STORE("strb", 0x8765'4381, address);
    check_last(address, 1, true, 0x81);
  }
  for (u32 offset = 0; offset < 4; ++offset) {
    CHECK_EQUAL(LOADED("ldrb", echo.base + offset), pattern(echo.base + offset) & 0xff);
    check_last(echo.base + offset, 1, false, 0);
  }
}

// r0 to r14, also those that other modes have for themselves. The address stands in another register.
#define CHECK_REGISTER(reg, from)                                                                    \
  do {                                                                                               \
    u32 value;                                                                                       \
    __asm__ volatile("push {r4-r12, lr}\n mov " from ", %1\n ldr " reg ", [" from "]\n mov r0, " reg \
                     "\n pop {r4-r12, lr}\n"                                                         \
                     "mov %0, r0"                                                                    \
                     : "=r"(value)                                                                   \
                     : "r"(echo.base)                                                                \
                     : "r0", "r1", "r2", "r3", "memory");                                            \
    CHECK_EQUAL(value, pattern(echo.base));                                                          \
  } while (false)

void check_registers() {
  CHECK_REGISTER("r0", "r1");
  CHECK_REGISTER("r1", "r0");
  CHECK_REGISTER("r2", "r0");
  CHECK_REGISTER("r3", "r0");
  CHECK_REGISTER("r4", "r0");
  CHECK_REGISTER("r5", "r0");
  CHECK_REGISTER("r6", "r0");
  CHECK_REGISTER("r7", "r0");
  CHECK_REGISTER("r8", "r0");
  CHECK_REGISTER("r9", "r0");
  CHECK_REGISTER("r10", "r0");
  CHECK_REGISTER("r11", "r0");
  CHECK_REGISTER("r12", "r0");
  CHECK_REGISTER("lr", "r0");
  CHECK_REGISTER("r0", "r0");
}

// In each mode: its own sp and lr are loaded, those of SVC stay.
#define CHECK_BANK(mode, reg)                                                                     \
  do {                                                                                            \
    register u32 address __asm__("r0") = echo.base;                                               \
    register u32 sp_change __asm__("r1");                                                         \
    register u32 lr_change __asm__("r2");                                                         \
    register u32 value __asm__("r3");                                                             \
    __asm__ volatile("mov r1, sp\n mov r2, lr\n cps #" mode "\n ldr " reg ", [r0]\n mov r3, " reg \
                     "\n cps #0x13\n"                                                             \
                     "eor r1, r1, sp\n eor r2, r2, lr"                                            \
                     : "=&r"(value), "=&r"(sp_change), "=&r"(lr_change)                           \
                     : "r"(address)                                                               \
                     : "memory");                                                                 \
    const u32 change = sp_change | lr_change, loaded = value;                                     \
    CHECK_EQUAL(loaded, pattern(echo.base));                                                      \
    CHECK_EQUAL(change, 0);                                                                       \
  } while (false)

void check_banked_registers() {
  CHECK_BANK("0x11", "sp");
  CHECK_BANK("0x11", "lr");
  CHECK_BANK("0x12", "sp");
  CHECK_BANK("0x12", "lr");
  CHECK_BANK("0x17", "sp");
  CHECK_BANK("0x17", "lr");
  CHECK_BANK("0x1b", "sp");
  CHECK_BANK("0x1b", "lr");
  CHECK_BANK("0x1f", "sp");  // SYS mode has no lr but the program's
}

// r8 of FIQ mode is another register than r8.
void check_fiq_registers() {
  u32 fiq, mine;
  __asm__ volatile(
      "mov r8, #77\n mov r0, %2\n cps #0x11\n ldr r8, [r0]\n mov r1, r8\n cps #0x13\n mov r2, r8\n"
      "mov %0, r1\n mov %1, r2"
      : "=&r"(fiq), "=&r"(mine)
      : "r"(echo.base)
      : "r0", "r1", "r2", "r8", "memory");
  CHECK_EQUAL(fiq, pattern(echo.base));
  CHECK_EQUAL(mine, 77);
}

// Several registers, write-back, exclusive, unaligned or 64 bits wide: HSR describes none of these.
#define CHECK_NOT_DESCRIBED(words)                                                                \
  do {                                                                                            \
    const u32 accesses = read32(echo_count);                                                      \
    const Fault fault = fault_of([] {                                                             \
      __asm__ volatile("mov r0, %0\n" words ::"r"(echo.base) : "r0", "r1", "r2", "r3", "memory"); \
    });                                                                                           \
    CHECK(fault.kind == Kind::data);                                                              \
    CHECK_EQUAL(fault.count, 1);                                                                  \
    CHECK_EQUAL(fault.address & ~7u, echo.base);                                                  \
    CHECK_EQUAL(read32(echo_count), accesses);                                                    \
  } while (false)

void check_not_described() {
  CHECK_NOT_DESCRIBED("ldm r0, {r2, r3}");
  CHECK_NOT_DESCRIBED("stm r0, {r2, r3}");
  CHECK_NOT_DESCRIBED("ldrd r2, r3, [r0]");
  CHECK_NOT_DESCRIBED("ldr r2, [r0], #4");
  CHECK_NOT_DESCRIBED("str r2, [r0, #4]!");
  CHECK_NOT_DESCRIBED("ldr r2, [r0, #1]");
}

}  // namespace

void guest_main() {
  check_widths();
  check_registers();
  check_banked_registers();
  check_fiq_registers();
  check_not_described();
}
