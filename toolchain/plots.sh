#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What make bench-sched draws with, and nothing else needs: Debian's matplotlib. Installs it if it is missing.
. "$(dirname "$0")/common.sh"

install_matplotlib() {
  check_root
  check_disk 400 /usr
  mkdir -p "$AMPHION_CACHE/tmp"
  apt-get -qq update >&2 || die "apt-get update failed: check the network and apt's sources"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install python3-matplotlib \
    >"$AMPHION_CACHE/tmp/plots.log" 2>&1 || { tail -n 20 "$AMPHION_CACHE/tmp/plots.log" >&2; die "apt could not install python3-matplotlib"; }
}

if dpkg-query -W -f '${Status}' python3-matplotlib 2>/dev/null | grep -q 'install ok installed'; then
  say "$(printf '%-17s found' plots)"
else
  step plots install_matplotlib
fi
dpkg-query -W -f '${Package} ${Version}\n' python3-matplotlib | write_stamp plots "$(key "$0")"
