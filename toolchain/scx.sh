#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the sched_ext scheduler (sched/scx) is built with and tested in: Debian's next kernel in its cloud flavour, the first
# of Debian's that has sched_ext, with its types as a header; libbpf and bpftool of the backports; a static busybox.
# Makes $AMPHION_CACHE/scx/{vmlinux,vmlinux.h,version,kernel-modules,libbpf,bin/{bpftool,busybox}}. Nothing is installed.
. "$(dirname "$0")/common.sh"

make_scx() {
  local out="$AMPHION_CACHE/scx.new" image version
  rm -rf "$out"
  mkdir -p "$out/bin"
  image=$(depend linux-image-cloud-amd64 "$NEXT_SUITE" amd64 '^linux-image-')
  [ -n "$image" ] || die "the archive has no cloud kernel for $NEXT_SUITE"
  version=${image#linux-image-}
  # The archive names a kernel by its version, and drops the old one: the name comes from the metapackage each time.
  fetch_alone "$NEXT_SUITE" amd64 "linux-binary-$version" "linux-modules-$version" | unpack "$out/modules"
  decompress_kernel "$out/modules/usr/lib/modules/$version/vmlinuz" "$out/vmlinux"
  mv "$out/modules/usr/lib/modules/$version" "$out/kernel-modules"
  fetch_alone "$PHONE_SUITE-backports" amd64 bpftool libbpf-dev | unpack "$out/backports"
  mv "$out/backports/usr/sbin/bpftool" "$out/bin/"
  mkdir "$out/libbpf"
  mv "$out/backports/usr/include" "$out/backports/usr/lib/x86_64-linux-gnu/libbpf.a" "$out/libbpf/"
  fetch_alone "$PHONE_SUITE" amd64 busybox-static | unpack "$out/busybox"
  mv "$out/busybox/bin/busybox" "$out/bin/"
  "$out/bin/bpftool" btf dump file "$out/vmlinux" format c >"$out/vmlinux.h" || die "bpftool cannot read the types of $version"
  grep -q sched_ext_ops "$out/vmlinux.h" || die "the kernel $version has no sched_ext: is $NEXT_SUITE still Debian's next release?"
  rm -rf "$out/modules" "$out/backports" "$out/busybox" "$AMPHION_CACHE/scx"
  echo "$version" >"$out/version"
  mv "$out" "$AMPHION_CACHE/scx"
}

# The boot protocol (Documentation/arch/x86/boot.rst): setup_sects at 0x1f1, payload_offset and payload_length at 0x248;
# the last four bytes of the payload are its length when decompressed.
decompress_kernel() {  # vmlinuz, vmlinux
  local setup offset length
  setup=$(od -An -tu1 -j 497 -N 1 "$1")
  read -r offset length < <(od -An -tu4 -j 584 -N 8 "$1")
  dd if="$1" of="$2.packed" bs=1M iflag=skip_bytes,count_bytes skip=$(((setup + 1) * 512 + offset)) count=$((length - 4)) status=none
  zstd -dqc "$2.packed" >"$2" 2>/dev/null || xz -dc "$2.packed" >"$2" 2>/dev/null || die "$1 is compressed by neither zstd nor xz"
  rm "$2.packed"
}

once scx "$(key "$0" "$NEXT_SUITE")" make_scx 500
