#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The armhf libraries and headers that the phone's user space is built and linked with: $AMPHION_CACHE/sysroot.
# The compiler is Debian's own cross compiler (packages.sh); protoc is the PC's, of the same release.
. "$(dirname "$0")/common.sh"

readonly SYSROOT_PACKAGES="libc6-dev libstdc++-12-dev libevdev-dev libmbedtls-dev libprotobuf-dev libzstd-dev libfdt-dev
  nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev linux-libc-dev"

make_sysroot() {
  local out="$AMPHION_CACHE/sysroot.new"
  rm -rf "$out"
  fetch_closure "$PHONE_SUITE" armhf $SYSROOT_PACKAGES | unpack "$out"
  rm -rf "$out"/usr/share/{doc,man,locale}
  relative_links "$out"
  # The cross compiler looks for its own libstdc++ beside itself; the start files come from here.
  rm -rf "$AMPHION_CACHE/sysroot"
  mv "$out" "$AMPHION_CACHE/sysroot"
}

# Absolute links inside the tree would point into the PC's own file system.
relative_links() {
  local link target
  find "$1" -type l -lname '/*' | while read -r link; do
    target=$(readlink "$link")
    ln -sfnr "$1$target" "$link"
  done
}

once sysroot "$(key "$0" "$SYSROOT_PACKAGES")" make_sysroot 400
