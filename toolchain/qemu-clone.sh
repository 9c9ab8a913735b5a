#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The clones' QEMU, newer than Debian 12's, and passt, by which their networks reach the outside, in a prefix of their own
# with their own libraries and loader.
# Makes $AMPHION_CACHE/qemu-clone/bin/{qemu-system-arm,passt} (wrappers) and qemu-clone/version.
. "$(dirname "$0")/common.sh"

make_qemu_clone() {
  local out="$AMPHION_CACHE/qemu-clone.new"
  rm -rf "$out"
  fetch_closure "$CLONE_SUITE" amd64 qemu-system-arm passt | unpack "$out/prefix"
  [ -x "$out/prefix/usr/bin/qemu-system-arm" ] || die "the package of QEMU has no qemu-system-arm"
  # Merged /usr by hand: dpkg-deb unpacks what a package ships, and the link /lib64 belongs to base-files' scripts.
  for dir in lib lib64; do
    [ -e "$out/prefix/$dir" ] || ln -s "usr/$dir" "$out/prefix/$dir"
  done
  mkdir -p "$out/bin"
  write_wrapper >"$out/bin/qemu-system-arm"
  write_passt_wrapper >"$out/bin/passt"
  chmod +x "$out"/bin/*
  "$out/bin/qemu-system-arm" --version | sed -n 's/^QEMU emulator version \([^ ]*\).*/\1/p' >"$out/version"
  [ -s "$out/version" ] || die "the clones' QEMU does not start from its prefix"
  "$out/bin/passt" --version >/dev/null 2>&1 || die "passt does not start from its prefix"
  rm -rf "$AMPHION_CACHE/qemu-clone"
  mv "$out" "$AMPHION_CACHE/qemu-clone"
}

# The wrapper replaces itself by QEMU, so the process id stays that of whoever started it.
write_wrapper() {
  cat <<'END'
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# QEMU through its prefix's own loader and libraries; the system's QEMU modules would not load into it.
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")/prefix
libraries=$prefix/usr/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR="$libraries/qemu"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --argv0 qemu-system-arm \
  "$prefix/usr/bin/qemu-system-arm" -L "$prefix/usr/share/qemu" "$@"
END
}

# passt looks for a variant of itself beside what runs it, which is the loader: it says so and goes on.
write_passt_wrapper() {
  cat <<'END'
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# passt through its prefix's own loader and libraries.
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")/prefix
libraries=$prefix/usr/lib/x86_64-linux-gnu
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" --argv0 passt "$prefix/usr/bin/passt" "$@"
END
}

once qemu-clone "$(key "$0" "$CLONE_SUITE")" make_qemu_clone 900
