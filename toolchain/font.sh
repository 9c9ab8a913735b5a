#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The console's font, out of the phone's kernel: $AMPHION_CACHE/rootfs/font-8x16 (256 glyphs of 16 bytes, code page 437).
. "$(dirname "$0")/common.sh"

make_font() {
  mkdir -p "$AMPHION_CACHE/rootfs"
  python3 "$TOOLCHAIN_DIR/font.py" "$AMPHION_CACHE/kernel/zImage" "$AMPHION_CACHE/rootfs/font-8x16" || die "no console font"
  cat "$AMPHION_CACHE/kernel/version"
}

[ -s "$AMPHION_CACHE/kernel/version" ] || "$TOOLCHAIN_DIR/kernel.sh"
once font "$(key "$0" "$TOOLCHAIN_DIR/font.py" "$(cat "$AMPHION_CACHE/kernel/version")")" make_font 10
