#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bundle for an Allwinner board: hypervisor, the host's kernel and initramfs, the device tree of Debian's kernel.
# Usage: board/allwinner/bundle.sh BOARD OUT [--sched TEXT]   (make-bundle --help says what)
. "$(dirname "$0")/../../toolchain/common.sh"

readonly BOARD=${1:-} OUT=${2:?usage: board/allwinner/bundle.sh BOARD OUT [--sched TEXT]} SCHED_TEXT=${4:-}
[ $# = 2 ] || { [ $# = 4 ] && [ "$3" = --sched ]; } || die "usage: board/allwinner/bundle.sh BOARD OUT [--sched TEXT]"
[ -f "$ROOT_DIR/board/$BOARD/recipe.sh" ] || die "there is no board $BOARD"
. "$ROOT_DIR/board/$BOARD/recipe.sh"

readonly HYP=$ROOT_DIR/build/hyp/hyp/amphion-hyp-$BOARD.bin
readonly INITRD=$ROOT_DIR/build/phone/host-$BOARD.cpio.lz4
readonly TOOL=$ROOT_DIR/build/pc/emulator/make-bundle
for file in "$HYP" "$INITRD" "$TOOL" "$AMPHION_CACHE/boards/dtb/$DEVICE_TREE"; do
  [ -f "$file" ] || die "there is no $file: build it first (make image BOARD=$BOARD)"
done
"$TOOL" --board "$BOARD" --hyp "$HYP" --kernel "$AMPHION_CACHE/kernel/zImage" --initrd "$INITRD" \
  --board-dtb "$AMPHION_CACHE/boards/dtb/$DEVICE_TREE" --bootargs "$HOST_BOOTARGS" ${SCHED_TEXT:+--sched "$SCHED_TEXT"} --out "$OUT"
