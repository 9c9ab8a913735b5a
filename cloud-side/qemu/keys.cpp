// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/keys.hpp"

#include <linux/input-event-codes.h>

namespace amphion::qemu {
namespace {

struct Pair {
  std::uint16_t code;
  std::uint8_t qnum;
};

// Beyond the block in which Linux code and scan code are the same.
constexpr Pair table[] = {
    {KEY_ZENKAKUHANKAKU, 0x76},
    {KEY_102ND, 0x56},
    {KEY_F11, 0x57},
    {KEY_F12, 0x58},
    {KEY_RO, 0x73},
    {KEY_KATAKANA, 0x78},
    {KEY_HIRAGANA, 0x77},
    {KEY_HENKAN, 0x79},
    {KEY_KATAKANAHIRAGANA, 0x70},
    {KEY_MUHENKAN, 0x7b},
    {KEY_KPJPCOMMA, 0x5c},
    {KEY_KPENTER, 0x9c},
    {KEY_RIGHTCTRL, 0x9d},
    {KEY_KPSLASH, 0xb5},
    {KEY_SYSRQ, 0x54},
    {KEY_RIGHTALT, 0xb8},
    {KEY_HOME, 0xc7},
    {KEY_UP, 0xc8},
    {KEY_PAGEUP, 0xc9},
    {KEY_LEFT, 0xcb},
    {KEY_RIGHT, 0xcd},
    {KEY_END, 0xcf},
    {KEY_DOWN, 0xd0},
    {KEY_PAGEDOWN, 0xd1},
    {KEY_INSERT, 0xd2},
    {KEY_DELETE, 0xd3},
    {KEY_MUTE, 0xa0},
    {KEY_VOLUMEDOWN, 0xae},
    {KEY_VOLUMEUP, 0xb0},
    {KEY_POWER, 0xde},
    {KEY_KPEQUAL, 0x59},
    {KEY_PAUSE, 0xc6},
    {KEY_KPCOMMA, 0x7e},
    {KEY_YEN, 0x7d},
    {KEY_LEFTMETA, 0xdb},
    {KEY_RIGHTMETA, 0xdc},
    {KEY_COMPOSE, 0xdd},
    {KEY_STOP, 0xe8},
    {KEY_AGAIN, 0x85},
    {KEY_PROPS, 0x86},
    {KEY_UNDO, 0x87},
    {KEY_FRONT, 0x8c},
    {KEY_COPY, 0xf8},
    {KEY_OPEN, 0x64},
    {KEY_PASTE, 0x65},
    {KEY_FIND, 0xc1},
    {KEY_CUT, 0xbc},
    {KEY_HELP, 0xf5},
    {KEY_MENU, 0x9e},
    {KEY_CALC, 0xa1},
    {KEY_SLEEP, 0xdf},
    {KEY_WAKEUP, 0xe3},
    {KEY_MAIL, 0xec},
    {KEY_BOOKMARKS, 0xe6},
    {KEY_COMPUTER, 0xeb},
    {KEY_BACK, 0xea},
    {KEY_FORWARD, 0xe9},
    {KEY_NEXTSONG, 0x99},
    {KEY_PLAYPAUSE, 0xa2},
    {KEY_PREVIOUSSONG, 0x90},
    {KEY_STOPCD, 0xa4},
    {KEY_HOMEPAGE, 0xb2},
    {KEY_REFRESH, 0xe7},
    {KEY_F13, 0x5d},
    {KEY_F14, 0x5e},
    {KEY_F15, 0x5f},
    {KEY_MEDIA, 0xed},
};

}  // namespace

std::optional<std::uint32_t> qnum(std::uint16_t linux_code) {
  if (linux_code >= KEY_ESC && linux_code <= KEY_KPDOT) return linux_code;
  for (const Pair& pair : table)
    if (pair.code == linux_code) return pair.qnum;
  return {};
}

}  // namespace amphion::qemu
