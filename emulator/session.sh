# SPDX-License-Identifier: Apache-2.0
# What `make run` and `make stop` share: where a session's data lie and how its two processes are told apart.
# Sourced after toolchain/common.sh. AMPHION_STATE names the data folder (default: ~/.local/share/amphion);
# `make clean` never touches it.

readonly STATE=${AMPHION_STATE:-$HOME/.local/share/amphion}
readonly CONTROL_PORT=${AMPHION_CONTROL_PORT:-7447}
readonly CLOUD_PORT=${AMPHION_CLOUD_PORT:-7448}
readonly PC_BUILD=$ROOT_DIR/build/pc

emulator() { "$PC_BUILD/emulator/amphion-emulator" --state "$STATE/phone" "$@"; }
amphion() { "$PC_BUILD/phone-side/cli/amphion" --phone "127.0.0.1:$CONTROL_PORT" --pki "$STATE/pki" "$@"; }

# cloud_pid: amphiond's process, if it is the one that was started for this folder.
cloud_pid() {
  local pid
  pid=$(cat "$STATE/cloud.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "--data $STATE/cloud" || return 1
  echo "$pid"
}
