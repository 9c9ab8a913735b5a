#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An instance's initramfs and disk: $AMPHION_CACHE/rootfs/{guest-initramfs.cpio.gz,guest-disk.ext4}.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/rootfs.sh"

readonly GUEST_MODULES="virtio_mmio virtio_balloon virtio_blk crc32c_generic ext4 virtio_console virtio_input evdev virtio-rng
  virtio_net"
readonly GUEST_DISK_MIB=64

make_guest() {
  local work="$AMPHION_CACHE/tmp/guest"
  rm -rf "$work"
  mkdir -p "$work" "$AMPHION_CACHE/rootfs/packages"
  fetch_alone "$PHONE_SUITE" armhf busybox-static | unpack "$AMPHION_CACHE/rootfs/packages"
  make_guest_initramfs "$work/initramfs"
  fetch_closure "$PHONE_SUITE" armhf openssl | unpack "$work/packages"
  make_guest_disk "$work/disk" "$work/packages"
  rm -rf "$work"
}

make_guest_initramfs() {
  mkdir -p "$1/bin"
  cp "$AMPHION_CACHE/rootfs/packages/bin/busybox" "$1/bin/"
  cp "$TOOLCHAIN_DIR/rootfs/guest-init" "$1/init"
  install_modules "$1" $GUEST_MODULES
  archive "$1" "$AMPHION_CACHE/rootfs/guest-initramfs.cpio.gz" gzip -9n
}

make_guest_disk() {  # tree, unpacked packages
  local disk="$AMPHION_CACHE/rootfs/guest-disk.ext4"
  mkdir -p "$1"/{dev,proc,sys,run,tmp,var,mnt,lib}
  install_busybox "$1"
  install_users "$1"
  cp -r "$TOOLCHAIN_DIR/rootfs/guest/." "$1/"
  cp "$TOOLCHAIN_DIR/rootfs/take-lease" "$1/usr/sbin/"
  install_programs "$1" "$2"
  rm -f "$disk.new"
  mke2fs -q -t ext4 -b 4096 -L amphion -O ^metadata_csum,^huge_file,^resize_inode -E root_owner=0:0 -m 0 -J size=4 \
    -d "$1" "$disk.new" "${GUEST_DISK_MIB}M" >/dev/null
  chmod 444 "$disk.new"
  mv "$disk.new" "$disk"
}

# openssl with its libraries, without documentation and what only apt needs.
install_programs() {
  local libraries=lib/arm-linux-gnueabihf name
  mkdir -p "$1/$libraries"
  cp "$2/usr/bin/openssl" "$1/usr/bin/"
  cp -a "$2/$libraries"/ld-linux-armhf.so.3 "$1/$libraries/"
  ln -sf arm-linux-gnueabihf/ld-linux-armhf.so.3 "$1/lib/ld-linux-armhf.so.3"
  for name in libc.so.6 libdl.so.2 libpthread.so.0 libm.so.6 libgcc_s.so.1; do
    [ ! -e "$2/$libraries/$name" ] || cp -L "$2/$libraries/$name" "$1/$libraries/"
  done
  cp -L "$2/usr/$libraries"/libssl.so.3 "$2/usr/$libraries"/libcrypto.so.3 "$1/$libraries/"
  mkdir -p "$1/usr/lib/ssl"
  cp "$2/etc/ssl/openssl.cnf" "$1/usr/lib/ssl/"
}

[ -s "$KERNEL_DIR/version" ] || "$TOOLCHAIN_DIR/kernel.sh"
once guest-rootfs "$(key "$0" "$TOOLCHAIN_DIR/rootfs.sh" "$TOOLCHAIN_DIR/rootfs/guest" "$TOOLCHAIN_DIR/rootfs/guest-init" \
  "$TOOLCHAIN_DIR/rootfs/take-lease" \
  "$(cat "$KERNEL_DIR/version")")" make_guest 300
