#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian's armhf LPAE kernel, for instances and for the host instance, and what modules are built against.
# Makes $AMPHION_CACHE/kernel/{zImage,version,modules/lib/modules/<version>,build}.
. "$(dirname "$0")/common.sh"

make_kernel() {
  local out="$AMPHION_CACHE/kernel.new" image version
  rm -rf "$out"
  image=$(depend linux-image-armmp-lpae "$PHONE_SUITE" armhf '^linux-image-')
  [ -n "$image" ] || die "the archive has no armhf LPAE kernel for $PHONE_SUITE"
  version=${image#linux-image-}
  fetch_alone "$PHONE_SUITE" armhf "$image" | unpack "$out/image"
  make_headers "$version" "$out"
  mkdir -p "$out/modules/lib"
  mv "$out/image/boot/vmlinuz-$version" "$out/zImage"
  mv "$out/image/lib/modules" "$out/modules/lib/"
  rm -rf "$out/image" "$AMPHION_CACHE/kernel"
  depmod -b "$out/modules" "$version"
  echo "$version" >"$out/version"
  mv "$out" "$AMPHION_CACHE/kernel"
}

# Headers name their common part and their build tools by absolute paths, which are turned to the cache.
make_headers() {
  local version=$1 out=$2 common kbuild build
  local flavour=${version%-armmp-lpae}
  common=linux-headers-$flavour-common
  kbuild=linux-kbuild-$(echo "$flavour" | cut -d. -f1,2)
  fetch_alone "$PHONE_SUITE" armhf "linux-headers-$version" | unpack "$out/headers"
  fetch_alone "$PHONE_SUITE" amd64 "$common" "$kbuild" | unpack "$out/headers"
  build="$out/headers/usr/src/linux-headers-$version"
  sed -i "s,/usr/src/,$AMPHION_CACHE/kernel/headers/usr/src/,g" "$build/Makefile"
  rm -f "$build/scripts" "$build/tools"
  ln -s "../../lib/$kbuild/scripts" "$build/scripts"
  [ ! -d "$out/headers/usr/lib/$kbuild/tools" ] || ln -s "../../lib/$kbuild/tools" "$build/tools"
  ln -s "headers/usr/src/linux-headers-$version" "$out/build"
}

once kernel "$(key "$0" "cache=$AMPHION_CACHE" "$PHONE_SUITE")" make_kernel 500
