#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The session of `make run`: certificates, data disk (both once), cloud server, emulated phone, and the terminal front.
# What runs already is left running, so a second `make run` comes back to the same phone.
# Usage: emulator/run.sh [--vnc N] [--no-front]   (show the picture at VNC display N too; start only)
. "$(dirname "$0")/../toolchain/common.sh"
. "$(dirname "$0")/session.sh"

vnc=() front=yes
while [ $# -gt 0 ]; do
  case $1 in
    --vnc)
      [[ ${2:-} =~ ^[0-9]{1,2}$ ]] || die "--vnc needs a display number, 0 to 99"
      vnc=(--vnc "$2")
      shift
      ;;
    --no-front) front=no ;;
    --help) exec sed -n 's/^# Usage: //p' "$0" ;;
    *) die "unknown option $1: --vnc N, --no-front, --help" ;;
  esac
  shift
done

make_certificates() { "$PC_BUILD/link/amphion-pki" create "$STATE/pki" >&2; }

make_data_disk() {
  "$ROOT_DIR/emulator/phone-config.sh" "10.0.2.2:$CLOUD_PORT" >"$STATE/phoned.json"
  "$ROOT_DIR/emulator/data-image.sh" "$STATE/phone/data.img" "$STATE/phoned.json" "$STATE/pki"
}

# The command line tool's own folder gets the owner's certificate, unless it serves another phone already.
give_owner_certificate() {
  local own=${XDG_CONFIG_HOME:-$HOME/.config}/amphion/pki file
  [ -n "${AMPHION_STATE:-}" ] && return
  [ ! -e "$own/ca.crt" ] || cmp -s "$own/ca.crt" "$STATE/pki/ca.crt" || return 0
  mkdir -p "$own"
  for file in ca.crt owner.crt owner.key; do cp -p "$STATE/pki/$file" "$own/"; done
}

start_cloud() {
  ! listens || die "another program uses port $CLOUD_PORT: end it, or set AMPHION_CLOUD_PORT before the phone is made"
  setsid "$PC_BUILD/cloud-side/amphiond/amphiond" --data "$STATE/cloud" --pki "$STATE/pki" \
    --listen "127.0.0.1:$CLOUD_PORT" </dev/null >>"$STATE/amphiond.log" 2>&1 &
  echo $! >"$STATE/cloud.pid"
  for _ in $(seq 50); do
    cloud_pid >/dev/null || die "the cloud server ended: $(tail -n 1 "$STATE/amphiond.log")"
    ! listens || return 0
    sleep 0.1
  done
  die "the cloud server does not listen: see $STATE/amphiond.log"
}

listens() { [ -n "$(ss -Hltn "sport = :$CLOUD_PORT" 2>/dev/null)" ]; }

# The phone knows its cloud by a port that was written onto its data disk.
check_cloud_port() {
  grep -q ":$CLOUD_PORT\"" "$STATE/phoned.json" ||
    die "this phone was made for another port than $CLOUD_PORT: set AMPHION_CLOUD_PORT as it was, or AMPHION_STATE elsewhere"
}

start_phone() {
  emulator start --bundle "$ROOT_DIR/build/qemu-virt.bundle" --data "$STATE/phone/data.img" \
    --control-port "$CONTROL_PORT" "${vnc[@]}" || exit 1
}
wait_for_phone() {
  for _ in $(seq 600); do
    ! amphion list >/dev/null 2>&1 || return 0
    emulator status | grep -q '^running' || die "the phone ended: see $STATE/phone/serial.log"
    sleep 0.2
  done
  die "the phone does not answer: see $STATE/phone/serial.log"
}
wait_for_login() { emulator wait 'login:' --seconds 120 || exit 1; }

umask 077  # keys and disks
mkdir -p "$STATE/phone" || die "cannot make $STATE: set AMPHION_STATE to a folder that can be written"
[ -f "$STATE/pki/phone.crt" ] || step certificates make_certificates
[ -f "$STATE/phone/data.img" ] || step "data disk" make_data_disk
check_cloud_port
give_owner_certificate
cloud_pid >/dev/null || step cloud start_cloud
if emulator status | grep -q '^running'; then
  [ ${#vnc[@]} = 0 ] || say "the phone runs already and keeps its screens: --vnc counts when it starts (make stop)"
  [ -z "${SCHED:-}" ] || say "the phone runs already and keeps its scheduler: SCHED counts when it starts (make stop); amphion sched changes it now"
else
  step board start_phone
  step phone wait_for_phone
  step login wait_for_login
fi
cat >"$STATE/env" <<END
export PATH="$PC_BUILD/phone-side/cli:$PC_BUILD/cloud-side/amphiond:\$PATH" AMPHION_PHONE=127.0.0.1:$CONTROL_PORT AMPHION_PKI="$STATE/pki"
END
cat >&2 <<END

  The phone runs: two instances, personal and work; log in as root, password amphion.
  In another terminal:  . $STATE/env
                        amphion list, amphion switch work, amphion dock work, amphion undock work, amphion --help
  Leaving (Ctrl-] q) lets phone and cloud run on; \`make run\` comes back, \`make stop\` ends both.

END
[ "$front" = yes ] || exit 0
if [ -t 0 ] && [ -t 1 ]; then
  read -r -t 10 -p "Enter to go to the phone " _ || true
  emulator front
else
  emulator screen
fi
