#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SD card of an Allwinner board as one image: U-Boot, boot script and bundle, data partition. README.md beside this
# file shows the layout. Made without root, mounts or loop devices; the file is sparse.
# Usage: board/allwinner/image.sh BOARD OUT CONFIG PKI_FOLDER [MiB]   (MiB: the whole card, a power of two; default 2048;
# PKI_FOLDER empty: no certificate, the phone will be paired)
. "$(dirname "$0")/../../toolchain/common.sh"

[ $# -ge 4 ] || die "usage: board/allwinner/image.sh BOARD OUT CONFIG PKI_FOLDER [MiB]"
readonly BOARD=$1 OUT=$2 CONFIG=$3 PKI=$4 SIZE_MIB=${5:-2048}
readonly BUNDLE=$ROOT_DIR/build/$BOARD.bundle
readonly FIRMWARE_KIB=8                  # where the SoC's boot ROM looks for eGON.BT0
readonly BOOT_MIB=1 BOOT_SIZE_MIB=63     # first partition
readonly DATA_MIB=$((BOOT_MIB + BOOT_SIZE_MIB))  # second partition, to the end

[ -f "$ROOT_DIR/board/$BOARD/recipe.sh" ] || die "there is no board $BOARD"
. "$ROOT_DIR/board/$BOARD/recipe.sh"
readonly U_BOOT=$AMPHION_CACHE/boards/u-boot/$FIRMWARE/u-boot-sunxi-with-spl.bin
for file in "$BUNDLE" "$U_BOOT"; do
  [ -f "$file" ] || die "there is no $file: build it first (make image BOARD=$BOARD)"
done
[ "$SIZE_MIB" -ge 1024 ] && [ $((SIZE_MIB & (SIZE_MIB - 1))) = 0 ] || die "a card has 1024, 2048, 4096... MiB, not $SIZE_MIB"
[ ! -e "$OUT" ] || die "$OUT is there already: it may hold instances; remove it by hand if it is not needed"
[ "$(stat -c %s "$U_BOOT")" -le $(((BOOT_MIB * 1024 - FIRMWARE_KIB) * 1024)) ] || die "$U_BOOT does not fit before the first partition"

work=$(mktemp -d)
trap 'rm -rf "$work" "$OUT.new"' EXIT

# bootz, because it enters what it boots in HYP mode; the bundle says in its zImage header where it must lie.
make_boot_files() {
  local load
  load=0x$(od -An -tx4 -j40 -N4 "$BUNDLE" | tr -d ' ')
  mkdir "$work/boot"
  cp "$BUNDLE" "$work/boot/amphion.bundle"
  cat >"$work/boot.cmd" <<END
echo "amphion: loading the bundle"
load \${devtype} \${devnum}:\${distro_bootpart} $load /amphion.bundle && bootz $load - \${fdtcontroladdr}
echo "amphion: the card's first partition has no whole amphion.bundle; write the card again"
END
  mkimage -A arm -T script -C none -n amphion -d "$work/boot.cmd" "$work/boot/boot.scr" >/dev/null || die "mkimage failed"
}

# The instances' disk without the password that the emulated ones have: the first login sets one.
make_guest_disk() {
  local card=$TOOLCHAIN_DIR/rootfs/card
  cp --sparse=always "$AMPHION_CACHE/rootfs/guest-disk.ext4" "$work/guest-disk.ext4"
  chmod 600 "$work/guest-disk.ext4"
  debugfs -w -f - "$work/guest-disk.ext4" >"$work/debugfs.log" 2>&1 <<END
rm /etc/shadow
write $card/etc/shadow /etc/shadow
sif /etc/shadow mode 0100600
rm /bin/login
write $card/bin/login /bin/login
sif /bin/login mode 0100755
END
  e2fsck -fn "$work/guest-disk.ext4" >/dev/null 2>&1 || die "the instances' disk cannot be made: $(cat "$work/debugfs.log")"
}

write_card() {
  truncate -s "${SIZE_MIB}M" "$OUT.new"
  sfdisk -q "$OUT.new" <<END
label: dos
start=${BOOT_MIB}MiB, size=${BOOT_SIZE_MIB}MiB, type=83, bootable
start=${DATA_MIB}MiB, type=83
END
  dd if="$U_BOOT" of="$OUT.new" bs=1K seek=$FIRMWARE_KIB conv=notrunc status=none
  # U-Boot's ext4 reads neither checksums of metadata nor 64-bit block numbers.
  mke2fs -q -t ext4 -L amphion-boot -m 0 -O ^metadata_csum,^64bit,^has_journal -d "$work/boot" \
    -E "root_owner=0:0,offset=$((BOOT_MIB << 20))" "$OUT.new" "${BOOT_SIZE_MIB}M" || die "the boot partition cannot be made"
  "$ROOT_DIR/emulator/data-image.sh" "$work/data" "$CONFIG" "$PKI" $((SIZE_MIB - DATA_MIB)) \
    "$work/guest-disk.ext4"
  dd if="$work/data" of="$OUT.new" bs=1M seek=$DATA_MIB conv=notrunc,sparse status=none || die "is the disk full?"
}

mkdir -p "$(dirname "$OUT")"
make_boot_files
make_guest_disk
write_card
mv "$OUT.new" "$OUT"
