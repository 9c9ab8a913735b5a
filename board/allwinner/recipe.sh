# SPDX-License-Identifier: Apache-2.0
# What the recipes of Allwinner boards share: SD card, USB keyboards, watchdog (which resets the board); the words
# for the host's kernel. Sourced by the boards' recipes.
readonly ALLWINNER_MODULES="sunxi_wdt i2c-mv64xxx sunxi-mmc crc32c_generic ext4 phy-sun4i-usb ehci-platform
  ohci-platform usbhid hid-generic evdev uinput"
readonly HOST_BOOTARGS="console=ttyS0,115200 vt.global_cursor_default=0 consoleblank=0 panic=10 cryptomgr.notests apparmor=0 audit=0"
