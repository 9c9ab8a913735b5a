#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What make bench-sched-wall runs in its instances, and nothing else needs: Debian's hackbench and pigz for armhf.
# Makes $AMPHION_CACHE/bench-wall/{hackbench,pigz,libz.so.1}; the stamp `bench-wall` has their versions. The other libraries
# stand on the instances' disk.
. "$(dirname "$0")/common.sh"

make_bench_wall() {
  local out="$AMPHION_CACHE/bench-wall.new" library
  rm -rf "$out"
  mkdir -p "$out"
  fetch_alone "$PHONE_SUITE" armhf rt-tests pigz zlib1g | unpack "$out/packages"
  library=$(find "$out/packages" -name libz.so.1)
  [ -n "$library" ] || die "the package zlib1g has no libz.so.1"
  cp -L "$library" "$out/packages/usr/bin/hackbench" "$out/packages/usr/bin/pigz" "$out/"
  rm -rf "$out/packages" "$AMPHION_CACHE/bench-wall"
  mv "$out" "$AMPHION_CACHE/bench-wall"
}

once bench-wall "$(key "$0")" make_bench_wall 100
