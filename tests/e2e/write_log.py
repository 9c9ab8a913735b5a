# SPDX-License-Identifier: Apache-2.0
"""What a disk is sure to hold after a power cut: the image of before with the writes up to the last flush, and none after.

Reads the log that QEMU's blklogwrites keeps (the format of Linux's dm-log-writes): a superblock, then entries of one
sector each, followed by what they write. The superblock counts the entries up to the last flush."""

import pathlib
import struct

MAGIC = 0x6A736677736872
SUPERBLOCK = struct.Struct("<QQQI")  # magic, version, entries, bytes a sector
ENTRY = struct.Struct("<QQQQ")  # first sector, sectors, flags, bytes of data
FLUSH, DISCARD = 1, 4


def replay_to_last_flush(log_file: pathlib.Path, image_file: pathlib.Path) -> int:
    """Returns how many writes were applied; the image is that of the moment at which the log began."""
    with open(log_file, "rb") as log, open(image_file, "r+b") as image:
        magic, _, entries, sector_bytes = SUPERBLOCK.unpack(log.read(SUPERBLOCK.size))
        if magic != MAGIC:
            raise ValueError(f"{log_file} is no log of writes")
        log.seek(sector_bytes)
        applied, unflushed = 0, []
        for _ in range(entries):
            first, sectors, flags, _ = ENTRY.unpack(log.read(sector_bytes)[: ENTRY.size])
            if flags & FLUSH:
                for offset, place, size in unflushed:
                    _copy(log, place, image, offset, size)
                applied += len(unflushed)
                unflushed = []
            if sectors and not flags & DISCARD:
                unflushed.append((first * sector_bytes, log.tell(), sectors * sector_bytes))
                log.seek(sectors * sector_bytes, 1)
        return applied


def _copy(log, place: int, image, offset: int, size: int):
    here = log.tell()
    log.seek(place)
    image.seek(offset)
    image.write(log.read(size))
    log.seek(here)
