#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the boards' SD cards begin with, and the boards' device trees: Debian's U-Boot for Allwinner boards, and the trees
# that belong to the phone's kernel. Makes $AMPHION_CACHE/boards/{u-boot/<folder>/u-boot-sunxi-with-spl.bin,dtb/*.dtb}.
. "$(dirname "$0")/common.sh"

readonly BOARD_TREES="sun7i-a20-cubieboard2.dtb sun8i-h3-orangepi-pc.dtb"
readonly BOARD_FIRMWARE="Cubieboard2 orangepi_plus"

make_boards() {
  local out="$AMPHION_CACHE/boards.new" version name
  version=$(cat "$AMPHION_CACHE/kernel/version")
  rm -rf "$out"
  mkdir -p "$out"/{u-boot,dtb}
  fetch_alone "$PHONE_SUITE" armhf "linux-image-$version" u-boot-sunxi | unpack "$out/packages"
  for name in $BOARD_TREES; do
    cp "$out/packages/usr/lib/linux-image-$version/$name" "$out/dtb/" || die "the kernel's package has no $name"
  done
  for name in $BOARD_FIRMWARE; do
    install -Dm644 "$out/packages/usr/lib/u-boot/$name/u-boot-sunxi-with-spl.bin" \
      "$out/u-boot/$name/u-boot-sunxi-with-spl.bin" || die "Debian's U-Boot has no $name"
  done
  rm -rf "$out/packages" "$AMPHION_CACHE/boards"
  mv "$out" "$AMPHION_CACHE/boards"
}

[ -s "$AMPHION_CACHE/kernel/version" ] || "$TOOLCHAIN_DIR/kernel.sh"
once boards "$(key "$0" "$(cat "$AMPHION_CACHE/kernel/version")")" make_boards 600
