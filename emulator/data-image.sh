#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the emulated phone's data disk: phoned's configuration, the phone's certificate, the images of its instances, and
# its date, before which the phone's clock never is.
# Usage: emulator/data-image.sh IMAGE CONFIG PKI_FOLDER [MiB [GUEST_DISK]]   (PKI_FOLDER empty: it will be paired)
# The image is a sparse file. Of the certificates only the phone's own go onto it, never another key.
. "$(dirname "$0")/../toolchain/common.sh"

[ $# -ge 3 ] || die "usage: emulator/data-image.sh IMAGE CONFIG PKI_FOLDER [MiB [GUEST_DISK]]"
image=$1 config=$2 pki=$3 size_mib=${4:-1536} guest_disk=${5:-$AMPHION_CACHE/rootfs/guest-disk.ext4}
for file in "$config" ${pki:+"$pki/ca.crt"} "$guest_disk"; do
  [ -f "$file" ] || die "there is no $file"
done
[ ! -e "$image" ] || die "$image is there already: it may hold instances; remove it by hand if it is not needed"

tree=$(mktemp -d)
trap 'rm -rf "$tree" "$image.new"' EXIT
mkdir -p "$tree"/{pki,images} "$(dirname "$image")"
cp "$config" "$tree/phoned.json"
date +%s >"$tree/clock"
[ -z "$pki" ] || cp "$pki/ca.crt" "$tree/pki/"
for file in phone.crt phone.key; do
  [ -n "$pki" ] || break
  if [ -f "$pki/$file" ]; then cp -p "$pki/$file" "$tree/pki/"; else say "the phone gets no $file: $pki has none"; fi
done
cp "$AMPHION_CACHE/kernel/zImage" "$AMPHION_CACHE/rootfs/guest-initramfs.cpio.gz" "$tree/images/"
cp --sparse=always "$guest_disk" "$tree/images/guest-disk.ext4"
umask 077  # the phone's key is in it
mke2fs -q -t ext4 -L amphion-data -m 0 -E root_owner=0:0 -d "$tree" "$image.new" "${size_mib}M" >/dev/null ||
  die "the data disk cannot be made: is the disk full?"
mv "$image.new" "$image"
