#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the Linux modules of a folder against the phone's kernel.
# Usage: toolchain/module.sh [FOLDER [OUTPUT]]   (default: guest-kernel-mods/amphion_host build/modules)
# The output folder mirrors the checkout by links, so that objects stay out of it. Prints the modules' paths.
. "$(dirname "$0")/common.sh"

readonly FOLDER=${1:-guest-kernel-mods/amphion_host}
readonly TREE=$(realpath -m "${2:-$ROOT_DIR/build/modules}")
readonly OUT=$TREE/$FOLDER

[ -f "$ROOT_DIR/$FOLDER/Kbuild" ] || die "$FOLDER has no Kbuild"
[ -s "$AMPHION_CACHE/kernel/version" ] || "$TOOLCHAIN_DIR/kernel.sh"

build_modules() {
  mkdir -p "$OUT"
  ln -sfn "$ROOT_DIR/hyp" "$TREE/hyp"
  cp -rsf "$ROOT_DIR/$FOLDER/." "$OUT/"
  find "$OUT" -xtype l -delete
  make -s -C "$AMPHION_CACHE/kernel/build" ARCH=arm CROSS_COMPILE=arm-linux-gnueabihf- M="$OUT" modules >&2 || die "$FOLDER does not build"
}
step "$FOLDER" build_modules
ls "$OUT"/*.ko
