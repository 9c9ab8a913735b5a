#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What tests/bench/hyp.py boots: OUT/load.cpio, the initramfs that is measured (on the bare machine and in instances), and
# OUT/host.cpio.lz4, that of the host instance, whose /init runs the instances that the kernel's command line asks for:
# vcpus=N mib=N load=PARTS [beside=PARTS]
# Usage: tests/bench/hyp/pack.sh OUT   (after toolchain/bench.sh, toolchain/build.sh phone module test-module)
. "$(dirname "$0")/../../../toolchain/common.sh"
. "$TOOLCHAIN_DIR/rootfs.sh"

readonly OUT=${1:?usage: tests/bench/hyp/pack.sh OUT}
readonly MODULES=$ROOT_DIR/build/modules
readonly VERSION=$(cat "$KERNEL_DIR/version")

pack() {  # as archive; without the time of packing, which would be another run
  find "$1" -exec touch -h -d @0 {} +
  archive "$@"
}

pack_load() {  # tree
  mkdir -p "$1"/{bin,dev,etc,lib,proc,tmp,modules}
  cp "$AMPHION_CACHE/bench/"{openssl,hackbench} "$1/bin/"
  cp "$AMPHION_CACHE/bench/openssl.cnf" "$1/etc/"
  cp "$AMPHION_CACHE/bench/lib/"* "$1/lib/"
  arm-linux-gnueabihf-strip -o "$1/init" "$ROOT_DIR/build/phone/tests/bench/hyp/hyp-load"
  cp "$AMPHION_CACHE/rootfs/packages/bin/busybox" "$1/bin/busybox"
  find "$KERNEL_DIR/modules" \( -name virtio_mmio.ko -o -name virtio_console.ko \) -exec cp {} "$1/modules/" \;
  arm-linux-gnueabihf-strip --strip-debug -o "$1/modules/hyp_bench.ko" "$MODULES/tests/guest/hyp_bench.ko"
  pack "$1" "$OUT/load.cpio" cat
}

pack_host() {  # tree
  mkdir -p "$1"/{dev,proc,sys,tmp,modules,usr/bin,bench}
  cp -a "$AMPHION_CACHE/rootfs/host-base/"{bin,lib,sbin} "$1/"
  arm-linux-gnueabihf-strip -o "$1/usr/bin/amphion-run" "$ROOT_DIR/build/phone/phone-side/instance/amphion-run"
  arm-linux-gnueabihf-strip --strip-debug -o "$1/modules/amphion_host.ko" \
    "$MODULES/guest-kernel-mods/amphion_host/amphion_host.ko"
  cp "$KERNEL_DIR/zImage" "$OUT/load.cpio" "$1/bench/"
  truncate -s 1M "$1/bench/disk"
  install -m755 "$(dirname "$0")/host-init" "$1/init"
  pack "$1" "$OUT/host.cpio.lz4" lz4 -l -q -c
}

mkdir -p "$OUT"
readonly TREES=$(mktemp -d "$AMPHION_CACHE/tmp/bench.XXXXXX")
trap 'rm -rf "$TREES"' EXIT
pack_load "$TREES/load"
pack_host "$TREES/host"
