#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the data disk of an emulated phone: phoned's configuration, the phone's certificate, and what its instances are
# first made from. Needs no root: mke2fs fills the file system itself.
# Usage: emulator/data-image.sh OUT.img PHONED.json PKI_DIR   (PKI_DIR from amphion-pki: ca.crt, phone.crt, phone.key)
set -euo pipefail
fail() { echo "data-image.sh: $1" >&2; exit 1; }
[ $# -eq 3 ] || fail "usage: emulator/data-image.sh OUT.img PHONED.json PKI_DIR"
out=$1 config=$2 pki=$3
cache=${AMPHION_CACHE:-$HOME/.cache/amphion}
readonly size=3G  # sparse; two copies of each instance's disk and memory while one comes home

for file in "$config" "$pki"/{ca.crt,phone.crt,phone.key} "$cache"/kernel/zImage \
  "$cache"/rootfs/{guest-initramfs.cpio.gz,guest-disk.ext4}; do
  [ -f "$file" ] || fail "no $file; run 'make setup' first"
done
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/pki" "$tree/images"
cp "$config" "$tree/phoned.json"
cp "$pki"/{ca.crt,phone.crt,phone.key} "$tree/pki/"
chmod 600 "$tree/pki/phone.key"
cp "$cache/kernel/zImage" "$cache"/rootfs/guest-initramfs.cpio.gz "$tree/images/"
cp --sparse=always "$cache/rootfs/guest-disk.ext4" "$tree/images/"
rm -f "$out"
mke2fs -q -t ext4 -L amphion-data -E lazy_itable_init=1,root_owner=0:0 -d "$tree" "$out" "$size"
