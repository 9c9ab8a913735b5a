#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What make bench-hyp compares with and runs, and nothing else needs: Debian's Xen, openssl and hackbench for armhf.
# Makes $AMPHION_CACHE/bench/{xen,hackbench,openssl,openssl.cnf,lib/}; the stamp `bench` has their versions.
. "$(dirname "$0")/common.sh"

readonly LIBRARIES="ld-linux-armhf.so.3 libc.so.6 libpthread.so.0 libdl.so.2 libssl.so.3 libcrypto.so.3"

make_bench() {
  local out="$AMPHION_CACHE/bench.new" xen name path
  rm -rf "$out"
  mkdir -p "$out/lib"
  xen=$(depend xen-system-armhf "$PHONE_SUITE" armhf '^xen-hypervisor-[0-9]')
  [ -n "$xen" ] || die "the archive has no Xen for armhf"
  fetch_alone "$PHONE_SUITE" armhf "$xen" rt-tests | unpack "$out/packages"
  fetch_closure "$PHONE_SUITE" armhf openssl | unpack "$out/packages"
  cp "$out/packages/boot/${xen/xen-hypervisor/xen}" "$out/xen"
  cp "$out/packages/usr/bin/hackbench" "$out/packages/usr/bin/openssl" "$out/packages/etc/ssl/openssl.cnf" "$out/"
  for name in $LIBRARIES; do
    path=$(find "$out/packages" -name "$name" -path '*/arm-linux-gnueabihf/*' | head -n1)
    [ -n "$path" ] || die "the packages have no $name"
    cp -L "$path" "$out/lib/"
  done
  rm -rf "$out/packages" "$AMPHION_CACHE/bench"
  mv "$out" "$AMPHION_CACHE/bench"
}

once bench "$(key "$0")" make_bench 300
