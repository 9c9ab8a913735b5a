# SPDX-License-Identifier: Apache-2.0
# What the host instance of this board needs: drivers, and its kernel's command line. Sourced by the scripts that make it.
readonly HOST_MODULES="virtio_mmio virtio_blk crc32c_generic ext4 virtio_net virtio_console virtio_input evdev uinput
  virtio-rng virtio-gpu"
readonly HOST_BOOTARGS="console=ttyAMA0 vt.global_cursor_default=0 consoleblank=0 panic=10 cryptomgr.notests apparmor=0 audit=0"
