# SPDX-License-Identifier: Apache-2.0
# What the root file systems share: busybox with its links, users, modules in the order of loading, cpio archives.
# Sourced by guest-rootfs.sh and host-rootfs.sh, after common.sh.

readonly KERNEL_DIR="$AMPHION_CACHE/kernel"

# install_busybox TREE: the static armhf busybox and a link for each of its applets.
install_busybox() {
  local applet
  mkdir -p "$1"/{bin,sbin,usr/bin,usr/sbin}
  cp "$AMPHION_CACHE/rootfs/packages/bin/busybox" "$1/bin/busybox"
  for applet in $(qemu-arm-static "$1/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -sf /bin/busybox "$1/bin/$applet"
  done
  for applet in init getty reboot poweroff halt; do ln -sf /bin/busybox "$1/sbin/$applet"; done
}

# install_users TREE: root, whose password is the word amphion (README says so).
install_users() {
  mkdir -p "$1"/{etc,root}
  echo 'root:x:0:0:root:/root:/bin/sh' >"$1/etc/passwd"
  echo 'root:x:0:' >"$1/etc/group"
  echo "root:$(openssl passwd -6 -salt amphion amphion):19000:0:99999:7:::" >"$1/etc/shadow"
  chmod 600 "$1/etc/shadow"
}

# install_modules TREE NAME...: the modules with what they depend on into /modules, their order into /modules/order.
install_modules() {
  local tree=$1 version name path
  shift
  version=$(cat "$KERNEL_DIR/version")
  mkdir -p "$tree/modules"
  for name in "$@"; do
    modprobe -d "$KERNEL_DIR/modules" -S "$version" --show-depends "$name" 2>/dev/null |
      awk '$1 == "insmod" && $2 !~ /-ce[.]ko/ { print $2 }' || true
  done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$tree/modules/"
    basename "$path"
  done >"$tree/modules/order"
}

# archive TREE OUT COMPRESSOR...: a cpio archive owned by root.
archive() {
  local tree=$1 out=$2
  shift 2
  (cd "$tree" && find . | sort | cpio --quiet -o -H newc -R 0:0 --reproducible) | "$@" >"$out.new"
  mv "$out.new" "$out"
}
