#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the host instance's root file system has on every board: $AMPHION_CACHE/rootfs/host-common (a folder) with busybox,
# libraries, nft and the console's font. toolchain/host-initramfs.sh adds the rest for a board, and packs it.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/rootfs.sh"

readonly HOST_LIBRARIES="libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libatomic.so.1
  libstdc++.so.6 libprotobuf-lite.so.32 libmbedtls.so.14 libmbedx509.so.1 libmbedcrypto.so.7 libzstd.so.1 libevdev.so.2
  libfdt.so.1 libspdlog.so.1.10 libfmt.so.9 libz.so.1"

# nft's own (the rest is above).
readonly NFT_LIBRARIES="libnftables.so.1 libnftnl.so.11 libmnl.so.0 libjansson.so.4 libgmp.so.10 libxtables.so.12
  libedit.so.2 libbsd.so.0 libmd.so.0 libtinfo.so.6"

make_host_common() {
  local out="$AMPHION_CACHE/rootfs/host-common.new"
  rm -rf "$out"
  mkdir -p "$out"/{dev,proc,sys,run,tmp,data,lib,usr/lib}
  install_busybox "$out"
  install_users "$out"
  install_libraries "$out" "$AMPHION_CACHE/sysroot" $HOST_LIBRARIES
  fetch_closure "$PHONE_SUITE" armhf nftables | unpack "$AMPHION_CACHE/tmp/nftables"
  install_libraries "$out" "$AMPHION_CACHE/tmp/nftables" $NFT_LIBRARIES
  cp "$AMPHION_CACHE/tmp/nftables/usr/sbin/nft" "$out/usr/sbin/"
  rm -rf "$AMPHION_CACHE/tmp/nftables"
  install -Dm644 "$AMPHION_CACHE/rootfs/font-8x16" "$out/usr/share/amphion/font-8x16"
  rm -rf "$AMPHION_CACHE/rootfs/host-common"
  mv "$out" "$AMPHION_CACHE/rootfs/host-common"
  cat "$(stamp_file sysroot)" | tail -n +2
}

install_libraries() {  # tree, sysroot, names...
  local libraries=lib/arm-linux-gnueabihf tree=$1 from=$2 name path
  shift 2
  mkdir -p "$tree/$libraries"
  for name in ld-linux-armhf.so.3 "$@"; do
    path=$(find "$from/$libraries" "$from/usr/$libraries" -maxdepth 1 -name "$name" | head -n1)
    [ -n "$path" ] || die "$from has no $name: remove $AMPHION_CACHE/sysroot and run toolchain/sysroot.sh"
    cp -L "$path" "$tree/$libraries/$name"
  done
  ln -sf arm-linux-gnueabihf/ld-linux-armhf.so.3 "$tree/lib/ld-linux-armhf.so.3"
}

for part in sysroot guest-rootfs font; do
  [ -f "$(stamp_file "$part")" ] || "$TOOLCHAIN_DIR/$part.sh"
done
once host-common "$(key "$0" "$TOOLCHAIN_DIR/rootfs.sh" "$(cat "$(stamp_file font)" "$(stamp_file sysroot)")")" make_host_common 50
