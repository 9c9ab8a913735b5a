#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds a Linux module of guest-kernel-mods/ against the phone's kernel.
# Usage: toolchain/module.sh [NAME [OUTPUT]]   (default: amphion_host build/modules)
# The output folder mirrors the checkout by links, so that objects stay out of it. Prints the module's path.
. "$(dirname "$0")/common.sh"

readonly MODULE=${1:-amphion_host}
readonly TREE=$(realpath -m "${2:-$ROOT_DIR/build/modules}")
readonly OUT=$TREE/guest-kernel-mods/$MODULE

[ -f "$ROOT_DIR/guest-kernel-mods/$MODULE/Makefile" ] || [ -f "$ROOT_DIR/guest-kernel-mods/$MODULE/Kbuild" ] ||
  die "guest-kernel-mods/$MODULE has no Makefile and no Kbuild"
[ -s "$AMPHION_CACHE/kernel/version" ] || "$TOOLCHAIN_DIR/kernel.sh"

build_module() {
  mkdir -p "$OUT"
  ln -sfn "$ROOT_DIR/hyp" "$TREE/hyp"
  cp -rsf "$ROOT_DIR/guest-kernel-mods/$MODULE/." "$OUT/"
  find "$OUT" -xtype l -delete
  make -s -C "$AMPHION_CACHE/kernel/build" ARCH=arm CROSS_COMPILE=arm-linux-gnueabihf- M="$OUT" modules >&2 || die "module $MODULE does not build"
}
step "$MODULE" build_module
echo "$OUT/$MODULE.ko"
