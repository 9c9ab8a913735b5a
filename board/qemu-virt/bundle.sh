#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The bundle for the development board: QEMU dumps the board's device tree, make-bundle joins the rest.
# Usage: board/qemu-virt/bundle.sh OUT [--hyp FILE] [--kernel FILE] [--initrd FILE] [--tool FILE] [--cpus N] [--memory MiB]
#   [--bootargs TEXT] [--sched TEXT]   (--initrd '': none; --sched: make-bundle --help says what)
. "$(dirname "$0")/../../toolchain/common.sh"
. "$ROOT_DIR/board/qemu-virt/recipe.sh"

[ $# -ge 1 ] || die "usage: board/qemu-virt/bundle.sh OUT [--hyp FILE] [--initrd FILE] [--tool FILE] [--cpus N] [--memory MiB] [--sched TEXT]"
out=$1
shift
hyp=$ROOT_DIR/build/hyp/hyp/amphion-hyp-qemu-virt.bin
kernel=$AMPHION_CACHE/kernel/zImage
initrd=$ROOT_DIR/build/phone/host-qemu-virt.cpio.lz4
tool=$ROOT_DIR/build/pc/emulator/make-bundle
cpus=2
memory=1024
bootargs=$HOST_BOOTARGS
sched=
while [ $# -ge 2 ]; do
  case $1 in
    --hyp) hyp=$2 ;;
    --kernel) kernel=$2 ;;
    --initrd) initrd=$2 ;;
    --tool) tool=$2 ;;
    --cpus) cpus=$2 ;;
    --memory) memory=$2 ;;
    --bootargs) bootargs=$2 ;;
    --sched) sched=$2 ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done
for file in "$hyp" "$kernel" ${initrd:+"$initrd"} "$tool"; do
  [ -f "$file" ] || die "there is no $file: build it first (make)"
done

tree=$(mktemp)
trap 'rm -f "$tree"' EXIT
qemu-system-arm -M "virt,gic-version=2,virtualization=on,highmem=off,dumpdtb=$tree" -cpu cortex-a7 -smp "$cpus" \
  -m "$memory" -nodefaults -display none 2>/dev/null || die "QEMU cannot describe the board with $cpus CPUs and $memory MiB"
"$tool" --board qemu-virt --hyp "$hyp" --kernel "$kernel" ${initrd:+--initrd "$initrd"} --board-dtb "$tree" \
  --memory "$memory" --bootargs "$bootargs" ${sched:+--sched "$sched"} --out "$out"
