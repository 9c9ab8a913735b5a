#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the whole tree: PC programs, the phone's user space, the hypervisor, the module, the bundle for the emulated board.
# Usage: toolchain/build.sh [PART...]   parts: pc phone hyp module bundle pc-sanitize (default: all but pc-sanitize)
. "$(dirname "$0")/common.sh"
cd "$ROOT_DIR"

preset() {
  local build=build/$1 launcher=()
  command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  [ -f "$build/build.ninja" ] || cmake --preset "$1" "${launcher[@]}" >/dev/null || die "cmake --preset $1 failed"
  ninja -C "$build" -j "$(nproc)" --quiet >&2 || die "the build of $1 failed"
}
bundle() {
  toolchain/host-initramfs.sh build/phone/host-initramfs.cpio.lz4
  board/qemu-virt/bundle.sh build/qemu-virt.bundle >/dev/null
}

[ $# -gt 0 ] || set -- pc phone hyp module bundle
for part in "$@"; do
  case $part in
    pc | phone | hyp | pc-sanitize) step "build $part" preset "$part" ;;
    module) toolchain/module.sh amphion_host >/dev/null ;;
    bundle) step bundle bundle ;;
    *) die "unknown part $part: pc phone hyp module bundle pc-sanitize" ;;
  esac
done
