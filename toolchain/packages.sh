#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian packages of the PC: compilers, libraries of the cloud's side and of the tests, QEMU for the emulated board.
# Installs what is missing; with all of them there it needs neither the network nor root.
. "$(dirname "$0")/common.sh"

readonly PACKAGES="
  build-essential iproute2 nftables cmake ninja-build ccache pkg-config python3 git
  gcc-arm-linux-gnueabihf g++-arm-linux-gnueabihf
  qemu-system-arm qemu-user-static
  cpio lz4 kmod e2fsprogs fdisk u-boot-tools device-tree-compiler openssl make bc
  protobuf-compiler libprotobuf-dev libmbedtls-dev libzstd-dev libfdt-dev libevdev-dev
  clang-19 libelf-dev zlib1g-dev qemu-system-x86 zstd xz-utils
  libcli11-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libgtest-dev libgmock-dev"

missing_packages() {
  local package
  for package in $PACKAGES; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || echo "$package"
  done
}

install_missing() {
  check_root
  check_disk 2500 /usr
  say "installing: $*"
  apt-get -qq update >&2 || die "apt-get update failed: check the network and apt's sources"
  mkdir -p "$AMPHION_CACHE/tmp"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" \
    >"$AMPHION_CACHE/tmp/packages.log" 2>&1 || { tail -n 20 "$AMPHION_CACHE/tmp/packages.log" >&2; die "apt could not install: $*"; }
}

check_distribution
missing=$(missing_packages)
if [ -z "$missing" ]; then
  say "$(printf '%-17s found' packages)"
else
  step packages install_missing $missing
fi
# shellcheck disable=SC2086
dpkg-query -W -f '${Package} ${Version}\n' $PACKAGES | write_stamp packages "$(key "$PACKAGES")"
