# SPDX-License-Identifier: Apache-2.0
"""The SD card images of the boards: what the boot ROM, U-Boot and the host instance look for is where they look for it,
and nothing is on the card that should not leave the PC. Read without mounts, with the tools of e2fsprogs.
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import rig as rigs  # noqa: E402

SECTOR = 512
FIRMWARE_AT = 8 * 1024
# The boot ROM's header (U-Boot include/sunxi_image.h): a jump, the magic, the checksum, the length.
EGON = struct.Struct("<I8sII")
EGON_MAGIC, EGON_STAMP = b"eGON.BT0", 0x5F0A6C39
# A legacy image (U-Boot include/image.h), of which the type is byte 30.
LEGACY_MAGIC, LEGACY_SCRIPT, LEGACY_BYTES = 0x27051956, 6, 64
ZIMAGE_MAGIC = 0x016F2818
OWNERS_CLOUD = "192.0.2.1:7448"


class CardImage:
    """Made whole, read in parts."""

    def __init__(self, board: str, folder: pathlib.Path):
        self.board, self.folder = board, folder
        self.path = folder / f"{board}.img"
        self.pki = folder / "pki"
        config = folder / "phoned.json"
        config.write_text(rigs.run(rigs.ROOT / "emulator" / "phone-config.sh", OWNERS_CLOUD).stdout)
        self.config = config.read_text()
        if not self.pki.exists():
            rigs.run(rigs.PKI, "create", self.pki)
        rigs.run(rigs.ROOT / "board" / "allwinner" / "image.sh", board, self.path, config, self.pki)

    def bytes_at(self, offset: int, count: int) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(count)

    def partitions(self) -> list[tuple[int, int, int, int]]:
        """(flag, type, first sector, sectors) of each partition that is used."""
        entries = (struct.unpack("<B3xB3xII", self.bytes_at(446 + 16 * i, 16)) for i in range(4))
        return [entry for entry in entries if entry[1] != 0]

    def partition_file(self, index: int) -> pathlib.Path:
        """The partition by itself, sparse."""
        path = self.folder / f"{self.board}.{index}"
        _, _, first, count = self.partitions()[index]
        if not path.exists():
            rigs.run("dd", f"if={self.path}", f"of={path}", f"bs={SECTOR * 2048}", f"skip={first // 2048}",
                     f"count={count // 2048}", "conv=sparse")
        return path

    def debugfs(self, index: int, request: str) -> str:
        return rigs.run("debugfs", "-R", request, self.partition_file(index)).stdout

    def names(self, index: int, folder: str) -> set[str]:
        lines = self.debugfs(index, f"ls -p {folder}").split()
        return {line.split("/")[5] for line in lines if line.count("/") >= 6} - {".", "..", "lost+found"}

    def read(self, index: int, file: str) -> bytes:
        out = self.folder / "dumped"
        self.debugfs(index, f"dump {file} {out}")
        return out.read_bytes()


class DeviceTree:
    """One of a board's, by fdtget."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def text(self, node: str, name: str) -> list[str]:
        return rigs.run("fdtget", "-d", "", "-t", "s", self.path, node, name).stdout.split()

    def devices(self) -> list[str]:
        """Paths of the devices on the SoC that are in use."""
        nodes = (f"/soc/{name}" for name in rigs.run("fdtget", "-l", self.path, "/soc").stdout.split())
        return [node for node in nodes if self.text(node, "status") in ([], ["okay"])]


def drivers_of(compatible: str) -> set[str]:
    """Modules of the phone's kernel that say they drive it."""
    version = (rigs.CACHE / "kernel" / "version").read_text().strip()
    aliases = (rigs.CACHE / "kernel" / "modules" / "lib" / "modules" / version / "modules.alias").read_text()
    return {name.replace("-", "_") for name in re.findall(rf"C{re.escape(compatible)}\*? (\S+)$", aliases, re.MULTILINE)}


def packed_modules(initramfs: pathlib.Path) -> set[str]:
    with subprocess.Popen(["lz4", "-dc", initramfs], stdout=subprocess.PIPE) as unpacked:
        names = rigs.run("cpio", "--quiet", "-t", "modules/*.ko", stdin=unpacked.stdout).stdout
    return {pathlib.Path(name).stem.replace("-", "_") for name in names.split()}


class ImageOfABoard:
    board: str
    tree: str

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="amphion-image.")
        cls.image = CardImage(cls.board, pathlib.Path(cls.scratch.name))
        cls.bundle = (rigs.ROOT / "build" / f"{cls.board}.bundle").read_bytes()

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_the_boot_rom_finds_the_spl(self):
        _, magic, checksum, length = EGON.unpack(self.image.bytes_at(FIRMWARE_AT, EGON.size))
        self.assertEqual(magic, EGON_MAGIC)
        words = struct.unpack(f"<{length // 4}I", self.image.bytes_at(FIRMWARE_AT, length))
        self.assertEqual((sum(words) - checksum + EGON_STAMP) % (1 << 32), checksum)

    def test_partitions_fill_the_card_behind_the_firmware(self):
        self.assertEqual(self.image.bytes_at(510, 2), b"\x55\xaa")
        boot, data = self.image.partitions()
        self.assertEqual((boot[0], data[0]), (0x80, 0), "U-Boot looks for boot.scr on the bootable partition")
        self.assertEqual((boot[1], data[1]), (0x83, 0x83))
        self.assertEqual(boot[2] * SECTOR, 1 << 20)
        self.assertEqual(boot[2] + boot[3], data[2])
        self.assertEqual((data[2] + data[3]) * SECTOR, self.image.path.stat().st_size)
        size = self.image.path.stat().st_size
        self.assertEqual(size & (size - 1), 0, "QEMU takes no other card")

    def test_file_systems_are_whole_and_named(self):
        for index, label in enumerate(("amphion-boot", "amphion-data")):
            rigs.run("e2fsck", "-fn", self.image.partition_file(index))
            self.assertIn(f"Filesystem volume name:   {label}\n", self.image.debugfs(index, "show_super_stats -h"))

    def test_u_boot_can_read_the_first_partition(self):
        features = self.image.debugfs(0, "features")
        self.assertNotIn("metadata_csum", features)
        self.assertNotIn("64bit", features)
        self.assertEqual(self.image.names(0, "/"), {"boot.scr", "amphion.bundle"})
        self.assertEqual(self.image.read(0, "/amphion.bundle"), self.bundle)

    def test_the_script_loads_the_bundle_where_it_runs(self):
        script = self.image.read(0, "/boot.scr")
        self.assertEqual(struct.unpack(">I", script[:4])[0], LEGACY_MAGIC)
        self.assertEqual(script[30], LEGACY_SCRIPT)
        text = script[LEGACY_BYTES + 8:].decode()
        magic, start = struct.unpack("<II", self.bundle[0x24:0x2C])
        self.assertEqual(magic, ZIMAGE_MAGIC)
        self.assertEqual(set(re.findall(r"0x[0-9a-f]{8}", text)), {f"0x{start:08x}"})
        self.assertRegex(text, r"bootz 0x[0-9a-f]{8} - ")

    def test_the_data_partition_has_what_the_phone_needs_and_no_other_key(self):
        self.assertEqual(self.image.names(1, "/"), {"phoned.json", "pki", "images", "clock"})
        self.assertEqual(self.image.read(1, "/phoned.json").decode(), self.image.config)
        self.assertEqual(self.image.names(1, "/pki"), {"ca.crt", "phone.crt", "phone.key"})
        self.assertEqual(self.image.names(1, "/images"), {"zImage", "guest-initramfs.cpio.gz", "guest-disk.ext4"})

    def test_nobody_gets_in_without_having_set_a_password(self):
        """Neither into the host instance nor into the instances: no password comes with the image, and no shell without."""
        host = pathlib.Path(self.scratch.name) / f"{self.board}.host"
        with subprocess.Popen(["lz4", "-dc", rigs.ROOT / "build" / "phone" / f"host-{self.board}.cpio.lz4"],
                              stdout=subprocess.PIPE) as unpacked:
            host.mkdir()
            rigs.run("cpio", "--quiet", "-idm", "etc/*", "bin/login", cwd=host, stdin=unpacked.stdout)
        disk = self.image.folder / "guest-disk"
        disk.write_bytes(self.image.read(1, "/images/guest-disk.ext4"))
        rigs.run("e2fsck", "-fn", disk)
        readers = {"host": lambda file: (host / file).read_text(),
                   "instance": lambda file: rigs.run("debugfs", "-R", f"cat /{file}", disk).stdout}
        ours = (rigs.ROOT / "toolchain" / "rootfs" / "card" / "bin" / "login").read_text()
        for name, read in readers.items():
            with self.subTest(name):
                for line in read("etc/shadow").splitlines():
                    self.assertRegex(line, r"^[a-z]+:[*!]", "a password, or none, comes with the image")
                users = [line.split(":") for line in read("etc/passwd").splitlines()]
                self.assertEqual([user[:2] for user in users], [["root", "x"]])
                self.assertEqual(read("bin/login"), ours)
                started = [line for line in read("etc/inittab").splitlines() if not line.startswith("#")]
                for line in started:
                    self.assertNotRegex(line, r"/bin/(ba|da|a)?sh\b|askfirst|getty.* (-n|-l|--autologin)", "a shell without a login")
                self.assertTrue(any("getty" in line for line in started))

    def test_the_phones_clock_is_not_before_the_image(self):
        self.assertLess(abs(int(self.image.read(1, "/clock")) - self.image.path.stat().st_mtime), 3600)

    def test_the_host_has_drivers_for_its_devices(self):
        tree = DeviceTree(rigs.CACHE / "boards" / "dtb" / self.tree)
        packed = packed_modules(rigs.ROOT / "build" / "phone" / f"host-{self.board}.cpio.lz4")
        needed = [node for node in tree.devices()
                  if re.match(r"/soc/(ethernet|mmc|usb|phy|hdmi|watchdog|i2c)@", node)]
        self.assertIn(tree.text("/aliases", "ethernet0"), [[node] for node in needed])
        for node in needed:
            candidates = set().union(*map(drivers_of, tree.text(node, "compatible")))
            with self.subTest(node):
                self.assertTrue(candidates & packed or node in self.without, f"one of {candidates} is not packed")

    def test_it_can_be_made_to_be_paired_later(self):
        fresh = self.image.folder / "fresh.img"
        rigs.run(rigs.ROOT / "board" / "allwinner" / "image.sh", self.board, fresh, self.image.folder / "phoned.json", "", 1024)
        size = 1024 << 20
        self.assertEqual(fresh.stat().st_size, size)
        data = self.image.folder / "fresh.data"
        rigs.run("dd", f"if={fresh}", f"of={data}", "bs=1M", "skip=64", "conv=sparse")
        self.assertEqual(rigs.run("debugfs", "-R", "ls -p /pki", data).stdout.count("crt"), 0)

    def test_what_is_there_is_not_written_over(self):
        again = subprocess.run([rigs.ROOT / "board" / "allwinner" / "image.sh", self.board, self.image.path,
                                self.image.folder / "phoned.json", self.image.pki], capture_output=True, text=True)
        self.assertEqual(again.returncode, 1)
        self.assertIn("is there already", again.stderr)


class Cubieboard2(ImageOfABoard, unittest.TestCase):
    board = "cubieboard2"
    tree = "sun7i-a20-cubieboard2.dtb"
    without = {"/soc/usb@1c13000"}  # the OTG port: power only


class OrangePiPc(ImageOfABoard, unittest.TestCase):
    board = "orangepi-pc"
    tree = "sun8i-h3-orangepi-pc.dtb"
    without = {"/soc/usb@1c19000"}  # the OTG port: not used


if __name__ == "__main__":
    unittest.main()
