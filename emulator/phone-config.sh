#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints phoned's configuration for two instances, personal and work, with the images that data-image.sh puts on the disk,
# and the template that `amphion create` begins with.
# Usage: emulator/phone-config.sh [CLOUD]   (HOST:PORT as the phone sees it; none: nothing can dock)
set -euo pipefail

machine() {  # what stands in amphion.name
  cat <<END
"vcpus": 4, "vcpus_allowed": 2, "memory_mib": 512, "bound_mib": 160,
      "kernel": "/data/images/zImage", "initrd": "/data/images/guest-initramfs.cpio.gz",
      "disk": "/data/images/guest-disk.ext4", "cmdline": "console=ttyAMA0 console=tty0 quiet loglevel=3 cryptomgr.notests apparmor=0 audit=0 amphion.name=$1"
END
}

cat <<END
{
  "cloud": "${1:-}",
  "instances": [
    { "name": "personal", $(machine personal) },
    { "name": "work", $(machine work) }
  ],
  "template": { $(machine '{name}') }
}
END
