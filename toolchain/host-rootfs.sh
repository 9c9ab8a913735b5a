#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The host instance's root file system without what this project builds: $AMPHION_CACHE/rootfs/host-base (a folder).
# toolchain/host-initramfs.sh adds phoned, amphion and the module, and packs it.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/rootfs.sh"

readonly HOST_MODULES="virtio_mmio virtio_blk crc32c_generic ext4 virtio_net virtio_console virtio_input evdev uinput
  virtio-rng virtio-gpu"
readonly HOST_LIBRARIES="libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libatomic.so.1
  libstdc++.so.6 libprotobuf-lite.so.32 libmbedtls.so.14 libmbedx509.so.1 libmbedcrypto.so.7 libzstd.so.1 libevdev.so.2
  libfdt.so.1 libspdlog.so.1.10 libfmt.so.9 libz.so.1"

make_host_base() {
  local out="$AMPHION_CACHE/rootfs/host-base.new"
  rm -rf "$out"
  mkdir -p "$out"/{dev,proc,sys,run,tmp,data,lib,usr/lib}
  install_busybox "$out"
  install_users "$out"
  install_modules "$out" $HOST_MODULES
  install_libraries "$out" "$AMPHION_CACHE/sysroot"
  cp -r "$TOOLCHAIN_DIR/rootfs/host/." "$out/"
  cp "$TOOLCHAIN_DIR/rootfs/host-init" "$out/init"
  install -Dm644 "$AMPHION_CACHE/rootfs/font-8x16" "$out/usr/share/amphion/font-8x16"
  rm -rf "$AMPHION_CACHE/rootfs/host-base"
  mv "$out" "$AMPHION_CACHE/rootfs/host-base"
  cat "$(stamp_file sysroot)" | tail -n +2
}

install_libraries() {  # tree, sysroot
  local libraries=lib/arm-linux-gnueabihf name path
  mkdir -p "$1/$libraries"
  cp -L "$2/$libraries/ld-linux-armhf.so.3" "$1/$libraries/"
  ln -s arm-linux-gnueabihf/ld-linux-armhf.so.3 "$1/lib/ld-linux-armhf.so.3"
  for name in $HOST_LIBRARIES; do
    path=$(find "$2/$libraries" "$2/usr/$libraries" -maxdepth 1 -name "$name" | head -n1)
    [ -n "$path" ] || die "the sysroot has no $name: remove $AMPHION_CACHE/sysroot and run toolchain/sysroot.sh"
    cp -L "$path" "$1/$libraries/$name"
  done
}

for part in kernel sysroot guest-rootfs font; do
  [ -f "$(stamp_file "$part")" ] || "$TOOLCHAIN_DIR/$part.sh"
done
once host-rootfs "$(key "$0" "$TOOLCHAIN_DIR/rootfs.sh" "$TOOLCHAIN_DIR/rootfs/host" "$TOOLCHAIN_DIR/rootfs/host-init" \
  "$(cat "$(stamp_file kernel)" "$(stamp_file sysroot)")")" make_host_base 50
