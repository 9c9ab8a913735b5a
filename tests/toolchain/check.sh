#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the set-up says where it cannot go on: one line with what is wrong and what to do, exit code 1, nothing half made.
# Runs as root, each case in a mount namespace of its own; touches neither the network nor the real cache.
set -uo pipefail
cd "$(dirname "$0")/../.."
readonly SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
export AMPHION_CACHE=$SCRATCH/cache
failed=0

# expect TEXT COMMAND...: it fails with code 1, and its last line is an error that contains the text.
expect() {
  local text=$1 said code
  shift
  said=$("$@" 2>&1 >/dev/null)
  code=$?
  case "$code ${said##*$'\n'}" in
    "1 [toolchain] error: "*"$text"*) echo "ok: $text" ;;
    *)
      printf 'tests/toolchain: no "%s" but, with exit code %s:\n%s\n' "$text" "$code" "$said" >&2
      failed=1
      ;;
  esac
}
in_own_mounts() { unshare --mount bash -ec "$1"; }

printf 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04"\n' >"$SCRATCH/os-release"
expect 'this is Ubuntu 24.04; the set-up needs Debian 12' \
  in_own_mounts "mount --bind $SCRATCH/os-release /etc/os-release; toolchain/setup.sh"

printf '#!/bin/sh\nexit 1\n' >"$SCRATCH/nothing-installed"
cp -r toolchain "$SCRATCH/"
chmod -R go+rX "$SCRATCH" && chmod 755 "$SCRATCH/nothing-installed"
expect 'run it as root' \
  in_own_mounts "mount --bind $SCRATCH/nothing-installed /usr/bin/dpkg-query
                 exec setpriv --reuid=65534 --clear-groups --inh-caps=-all bash $SCRATCH/toolchain/packages.sh"

expect 'cannot be read: check the network' env AMPHION_MIRROR=http://127.0.0.1:9/debian toolchain/kernel.sh
[ ! -e "$AMPHION_CACHE/stamps/kernel" ] || { echo "tests/toolchain: a failed step left its stamp" >&2; failed=1; }

expect 'MiB free and the set-up needs' \
  in_own_mounts "mkdir -p $SCRATCH/full; mount -t tmpfs -o size=8m full $SCRATCH/full; AMPHION_CACHE=$SCRATCH/full/cache toolchain/kernel.sh"

touch "$SCRATCH/file"
expect 'set AMPHION_CACHE to a folder that can be written' env AMPHION_CACHE="$SCRATCH/file/cache" toolchain/kernel.sh
exit $failed
