#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Packs the host instance's initramfs for a board: what is common (host-rootfs.sh), the board's drivers, the programs of
# the phone build, amphion_host.ko.
# Usage: toolchain/host-initramfs.sh BOARD OUT [PHONE_BUILD [MODULE]]
#   (default: build/phone, and build/modules/.../amphion_host.ko; what is not built is left out, with a note)
# lz4, because an emulated CPU unpacks it.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/rootfs.sh"

readonly BOARD=${1:-} OUT=${2:?usage: toolchain/host-initramfs.sh BOARD OUT [PHONE_BUILD [MODULE]]}
readonly PHONE_BUILD=${3:-$ROOT_DIR/build/phone}
readonly MODULE=${4:-$ROOT_DIR/build/modules/guest-kernel-mods/amphion_host/amphion_host.ko}
[ -f "$ROOT_DIR/board/$BOARD/recipe.sh" ] || die "there is no board $BOARD"
. "$ROOT_DIR/board/$BOARD/recipe.sh"
# The instances' networks (rootfs/host/usr/sbin/amphion-network), on every board.
readonly NETWORK_MODULES="tun bridge nf_tables nft_ct nft_nat nft_chain_nat nft_masq nft_limit nft_connlimit
  nft_meta_bridge"

pack() {
  tree=$(mktemp -d "$AMPHION_CACHE/tmp/host.XXXXXX")
  trap 'rm -rf "$tree"' EXIT
  cp -a "$AMPHION_CACHE/rootfs/host-common/." "$tree/"
  cp -r "$TOOLCHAIN_DIR/rootfs/host/." "$tree/"
  cp "$TOOLCHAIN_DIR/rootfs/host-init" "$tree/init"
  cp "$TOOLCHAIN_DIR/rootfs/take-lease" "$tree/usr/sbin/"
  if [ -n "${FIRMWARE:-}" ]; then
    no_default_password "$tree"
  else  # it never leaves the emulator: a root shell on its serial console
    sed -i 's|^serial-console:.*|serial-console::askfirst:-/bin/sh|' "$tree/etc/inittab"
  fi
  # shellcheck disable=SC2086
  install_modules "$tree" $HOST_MODULES $NETWORK_MODULES
  install_program "$tree" phoned usr/sbin
  install_program "$tree" amphion-instance usr/sbin
  install_program "$tree" amphion usr/bin
  install_program "$tree" amphion-run usr/bin
  if [ -f "$MODULE" ]; then
    cp "$MODULE" "$tree/modules/amphion_host.ko"
    arm-linux-gnueabihf-strip --strip-debug "$tree/modules/amphion_host.ko"
  else
    say "no $MODULE: the host instance will have no /dev/amphion"
  fi
  mkdir -p "$(dirname "$OUT")"
  archive "$tree" "$OUT" lz4 -l -9 -q -c
}

# What goes onto a card has no password; the first login sets one (rootfs/card/bin/login).
no_default_password() {  # tree
  rm -f "$1/bin/login"
  cp -r "$TOOLCHAIN_DIR/rootfs/card/." "$1/"
  chmod 600 "$1/etc/shadow"
}

install_program() {  # tree, name, folder
  local path
  path=$(find "$PHONE_BUILD" -type f -name "$2" -perm -u+x 2>/dev/null | head -n1) || true
  if [ -n "$path" ]; then
    arm-linux-gnueabihf-strip -o "$1/$3/$2" "$path"
  else
    say "no $2 in $PHONE_BUILD: left out"
  fi
}

[ -d "$AMPHION_CACHE/rootfs/host-common" ] || "$TOOLCHAIN_DIR/host-rootfs.sh"
step "host of $BOARD" pack
