#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ends what `make run` started: the phone in order (its power key), then the cloud server. Clones go on by themselves
# and are found again by the next `make run`; --clones ends them too: what they did since their dock is lost.
. "$(dirname "$0")/../toolchain/common.sh"
. "$(dirname "$0")/session.sh"

if emulator status | grep -q '^running'; then
  step phone emulator stop --seconds 60
else
  say "no phone runs in $STATE"
fi
if pid=$(cloud_pid); then
  kill -TERM "$pid"
  while cloud_pid >/dev/null; do sleep 0.1; done
  say "the cloud server ended"
fi
rm -f "$STATE/cloud.pid"

clones() {
  local entry words
  for entry in /proc/[0-9]*/cmdline; do
    words=$(tr '\0' ' ' 2>/dev/null <"$entry") || continue
    case $words in *qemu-system-arm*"$STATE/cloud/"*) basename "$(dirname "$entry")" ;; esac
  done
}
for pid in $(clones); do
  if [ "${1:-}" = --clones ]; then
    kill "$pid"
  else
    say "a docked instance goes on as process $pid: the next make run finds it; emulator/stop.sh --clones ends it"
  fi
done
