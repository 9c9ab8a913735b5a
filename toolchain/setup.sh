#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything that is built with or run in, from the package registry into the system and into $AMPHION_CACHE.
# A second run finds it all and downloads nothing. Each part is a script that can be run alone.
. "$(dirname "$0")/common.sh"

check_distribution
set_up() {
  local part
  for part in packages kernel qemu-clone sysroot guest-rootfs font host-rootfs boards scx; do
    "$TOOLCHAIN_DIR/$part.sh"
  done
}
check_disk 1 "$AMPHION_CACHE"
exec {lock}>"$AMPHION_CACHE/lock"
flock --nonblock "$lock" || { say "another set-up is at work in $AMPHION_CACHE: waiting for it"; flock "$lock"; }
step set-up set_up
