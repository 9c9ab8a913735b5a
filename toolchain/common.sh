# SPDX-License-Identifier: Apache-2.0
# What every script of toolchain/ shares: the cache, one-line failures, timed steps, stamps and private apt roots.
# Sourced, never run. Reads AMPHION_CACHE (default: ~/.cache/amphion) and AMPHION_MIRROR (default: the system's own).
# Invariants: a stamp is written last, so that an interrupted step is done again; a step whose stamp matches touches
# neither network nor disk; nothing outside the cache is changed, except by packages.sh.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

readonly TOOLCHAIN_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly ROOT_DIR=$(dirname "$TOOLCHAIN_DIR")
export AMPHION_CACHE=${AMPHION_CACHE:-$HOME/.cache/amphion}
readonly PHONE_SUITE=bookworm  # the armhf side: kernel, sysroot, root file systems
readonly CLONE_SUITE=forky     # the clones' QEMU (vfio-user needs 10.1 or later)
readonly NEXT_SUITE=forky      # the first of Debian's kernels with sched_ext

readonly SPEAKER=$(basename "$(dirname "$(realpath "$0")")")  # the folder of the script that sources this
say() { printf '[%s] %s\n' "$SPEAKER" "$*" >&2; }
die() {
  printf '[%s] error: %s\n' "$SPEAKER" "$*" >&2
  exit 1
}

# step NAME FUNCTION...: runs it, prints how long it took.
step() {
  local name=$1 begin=$EPOCHREALTIME
  shift
  "$@"
  say "$(awk -v n="$name" -v b="$begin" -v e="$EPOCHREALTIME" 'BEGIN { printf "%-17s %.1f s", n, e - b }')"
}

# key FILE_OR_WORD...: one digest of what a step is made from.
key() {
  local item
  for item in "$@"; do
    if [ -d "$item" ]; then find "$item" -type f -print0 | sort -z | xargs -0 cat; elif [ -f "$item" ]; then cat "$item"; else echo "$item"; fi
  done | sha256sum | cut -c1-32
}

stamp_file() { echo "$AMPHION_CACHE/stamps/$1"; }
is_stamped() { [ "$(head -n1 "$(stamp_file "$1")" 2>/dev/null)" = "$2" ]; }
# write_stamp NAME KEY <versions: the key, then what the step was made from, one a line.
write_stamp() {
  mkdir -p "$AMPHION_CACHE/stamps"
  { echo "$2"; cat; } >"$(stamp_file "$1").new"
  mv "$(stamp_file "$1").new" "$(stamp_file "$1")"
}

# once NAME KEY FUNCTION MiB: the function runs unless the stamp says that it has, and only with that much room on the
# disk; its standard output is the versions.
once() {
  if is_stamped "$1" "$2"; then
    say "$(printf '%-17s found' "$1")"
    return
  fi
  check_disk "$4" "$AMPHION_CACHE"
  mkdir -p "$AMPHION_CACHE/tmp"
  local versions="$AMPHION_CACHE/tmp/$1.versions"
  step "$1" run_into "$versions" "$3"
  write_stamp "$1" "$2" <"$versions"
}
run_into() {
  local out=$1
  shift
  "$@" >"$out"
}

check_distribution() {
  . /etc/os-release
  [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ] ||
    die "this is ${PRETTY_NAME:-an unknown system}; the set-up needs Debian 12 (bookworm), as a machine or a container"
  [ "$(dpkg --print-architecture)" = amd64 ] || die "this is $(dpkg --print-architecture); the set-up needs amd64"
}
check_root() { [ "$(id -u)" = 0 ] || die "the set-up installs packages: run it as root"; }
check_disk() {  # MiB, folder
  mkdir -p "$2" 2>/dev/null || die "cannot make $2: set AMPHION_CACHE to a folder that can be written"
  local free
  free=$(df --output=avail -m "$2" | tail -n1)
  [ "$free" -ge "$1" ] || die "$2 has $free MiB free and the set-up needs $1: make room, or set AMPHION_CACHE elsewhere"
}

# mirror: the archive that this machine's own apt uses for Debian 12.
mirror() {
  local uri=${AMPHION_MIRROR:-}
  [ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && $3 == "main" { if (!uri) uri = $1 } END { print uri }')
  [ -n "$uri" ] || die "no Debian 12 archive in apt's sources: add one, or set AMPHION_MIRROR to its address"
  echo "$uri"
}

# apt_root SUITE ARCHITECTURE: an apt of its own (sources, lists, empty status), updated; prints its configuration file.
apt_root() {
  local dir="$AMPHION_CACHE/apt/$1-$2" uri
  if [ ! -f "$dir/updated" ]; then
    uri=$(mirror)
    rm -rf "$dir"
    mkdir -p "$dir"/{lists/partial,archives/partial,none/partial,etc/preferences.d}
    : >"$dir/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $1 main" >"$dir/sources.list"
    cat >"$dir/apt.conf" <<END
APT::Architecture "$2";
APT::Architectures { "$2"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
// A testing suite behind a mirror that updates rarely: signatures still count, only their age does not.
Acquire::Check-Valid-Until "false";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
Dir::Etc "$dir/etc";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::parts "/dev/null";
END
    APT_CONFIG="$dir/apt.conf" apt-get -qq --error-on=any update >&2 ||
      die "the archive $uri ($1, $2) cannot be read: check the network and apt's sources"
    touch "$dir/updated"
  fi
  echo "$dir/apt.conf"
}

# with_fresh_lists CONF COMMAND...: once more with the archive's present lists if its first answer was that a file is gone.
with_fresh_lists() {
  export APT_CONFIG=$1
  shift
  "$@" >&2 || { apt-get -qq --error-on=any update >&2 && "$@" >&2; } ||
    die "the archive does not give: ${*: -1} (and the like); check the network and run again"
}

# fetch_closure SUITE ARCH PACKAGE...: downloads the packages with all they depend on; prints one .deb path a line.
fetch_closure() {
  local conf list
  conf=$(apt_root "$1" "$2")
  shift 2
  # Asked with an empty archive folder, because it leaves out what is already downloaded.
  list=$(APT_CONFIG="$conf" apt-get -qq -y -o Dir::Cache::archives="$(dirname "$conf")/none" --print-uris install "$@" |
    awk '{ print $2 }')
  [ -n "$list" ] || die "the archive has no consistent set of: $*"
  with_fresh_lists "$conf" apt-get -qq -y --download-only install "$@"
  local name
  for name in $list; do echo "$(dirname "$conf")/archives/$name"; done
}

# fetch_alone SUITE ARCH PACKAGE...: the packages only; prints one .deb path a line.
fetch_alone() {
  local conf dir name
  conf=$(apt_root "$1" "$2")
  dir=$(dirname "$conf")/archives
  shift 2
  (cd "$dir" && with_fresh_lists "$conf" apt-get -qq download "$@")
  for name in "$@"; do ls -t "$dir/${name}"_*.deb | head -n1; done
}

# unpack TARGET <one .deb a line; prints "package version".
unpack() {
  local deb
  mkdir -p "$1"
  while read -r deb; do
    dpkg-deb -x "$deb" "$1" || die "$deb is damaged: remove it and run again"
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb"
  done
}

# depend PACKAGE SUITE ARCH PATTERN: the first dependency of a meta package that matches.
depend() {
  local conf
  conf=$(apt_root "$2" "$3")
  APT_CONFIG="$conf" apt-cache depends "$1" | awk -v p="$4" '$1 == "Depends:" && $2 ~ p && !found { found = $2 } END { print found }'
}
