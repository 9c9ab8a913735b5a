#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the tree, each preset only what is used of it: PC programs, the phone's user space, the hypervisor, the module,
# the bundle for the emulated board, and those for the boards that boot from a card; for tests also the programs that run
# QEMU, the unit tests and the fuzz targets with sanitizers, and the modules that test guests load; for make bench-hyp and bench-sched their programs.
# Usage: toolchain/build.sh [PART...]   parts: pc phone hyp module bundle scx boards pc-tests pc-sanitize test-module scx-tests bench-load bench-sched-cost bench-sched-hyp sim
#   (default: pc phone hyp module bundle scx)
# Environment: SCHED, how the scheduler of the bundles begins (docs/scheduling.md); default: as the hypervisor chooses.
. "$(dirname "$0")/common.sh"
cd "$ROOT_DIR"

readonly PC_PROGRAMS="make-bundle amphion-emulator amphion amphion-pki amphiond sbco-sim"
readonly PC_TESTS="qemu_carry_test cloud_roundtrip"
readonly PHONE_PROGRAMS="phoned amphion-instance amphion amphion-run"

configure() {  # preset, options...
  local preset=$1 launcher=()
  shift
  [ ! -f "build/$preset/build.ninja" ] || return 0
  ! command -v ccache >/dev/null || launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cmake --preset "$preset" "${launcher[@]}" "$@" >/dev/null || die "cmake --preset $preset failed"
}
compile() {  # preset, targets...
  local preset=$1 quiet=--quiet
  shift
  [ ! -t 2 ] || quiet=  # on a terminal one line tells how far it is
  NINJA_STATUS="build $preset: %f of %t " ninja -C "build/$preset" -j "$(nproc)" $quiet "$@" >&2 || die "the build of $preset failed"
}
unit_tests() {  # as the build files say now, not when this folder was configured
  ninja -C build/pc-sanitize --quiet build.ninja >&2
  ninja -C build/pc-sanitize -t targets all | sed -n 's/^\([a-z_]*_unit_tests\): phony$/\1/p'
}

part_pc() { configure pc -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" && compile pc $PC_PROGRAMS; }
part_sim() { configure pc -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" && compile pc sbco-sim; }
part_pc-tests() { part_pc && compile pc $PC_TESTS; }
part_phone() { configure phone -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" && compile phone $PHONE_PROGRAMS; }
part_hyp() { configure hyp && compile hyp; }
part_pc-sanitize() {
  configure pc-sanitize -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1"
  compile pc-sanitize $(unit_tests) amphion-fuzz
}
part_scx() { configure pc -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" && compile pc amphion-scx; }
part_scx-tests() { part_scx && compile pc scx-load scx-kvm scx-docked amphiond amphion-pki; }
part_module() { toolchain/module.sh guest-kernel-mods/amphion_host >/dev/null; }
part_test-module() { toolchain/module.sh tests/guest >/dev/null; }
part_bench-sched-cost() { part_phone && compile phone sched-cost && part_pc && compile pc sched-cost; }
part_bench-sched-hyp() { part_hyp && compile hyp amphion-hyp-orangepi-pc-icount && part_pc && part_sim; }
part_bench-load() { part_phone && compile phone hyp-load && part_pc && compile pc hyp-tree; }
readonly SCHED_OPTION=(${SCHED:+--sched "$SCHED"})
part_bundle() {
  toolchain/host-initramfs.sh qemu-virt build/phone/host-qemu-virt.cpio.lz4
  board/qemu-virt/bundle.sh build/qemu-virt.bundle "${SCHED_OPTION[@]}" >/dev/null
}
part_boards() {
  local board
  for board in cubieboard2 orangepi-pc; do
    toolchain/host-initramfs.sh "$board" "build/phone/host-$board.cpio.lz4"
    board/allwinner/bundle.sh "$board" "build/$board.bundle" "${SCHED_OPTION[@]}" >/dev/null
  done
}

[ $# -gt 0 ] || set -- pc phone hyp module bundle scx
for part in "$@"; do
  declare -F "part_$part" >/dev/null || die "unknown part $part: pc phone hyp module bundle scx boards pc-tests pc-sanitize test-module scx-tests bench-load bench-sched-cost bench-sched-hyp sim"
  step "build $part" "part_$part"
done
