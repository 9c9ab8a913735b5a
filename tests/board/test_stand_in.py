# SPDX-License-Identifier: Apache-2.0
"""The Cubieboard2's own card on its stand-in: hypervisor, device tree and host are the product's, byte for byte; only the
firmware at 8 KiB is the stand-in's. It goes as far as the two SoCs are alike, which is to the host's /init.
(The stand-in's own card goes all the way: demo.py --board orangepi-pc.)
"""

import pathlib
import tempfile
import unittest

import test_image

rigs = test_image.rigs
FIRMWARE = rigs.CACHE / "boards" / "u-boot" / "orangepi_plus" / "u-boot-sunxi-with-spl.bin"
# In this order, on the serial console.
SAYS = (
    "Found U-Boot script /boot.scr",
    "amphion: hypervisor on cubieboard2",
    "amphion: 2 CPUs, 4 list registers, 767 MiB for phones",
    "amphion: starting the host instance",
    "Machine model: Cubietech Cubieboard2",
    "psci: Using PSCI v0.1 Function IDs from DT",
    "cp15 timer(s) running at 24.00MHz (virt)",
    "smp: Brought up 1 node, 2 CPUs",
    "ttyS0 at MMIO 0x1c28000",
    "Run /init as init process",
)


class CubieboardsCardOnItsStandIn(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="amphion-stand-in.")
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name)
        self.state = self.folder / "phone"

    def emulator(self, *words, check=True):
        return rigs.run(rigs.EMULATOR, "--state", self.state, *words, check=check)

    def test_it_comes_to_the_hosts_init(self):
        card = test_image.CardImage("cubieboard2", self.folder)
        rigs.run("dd", f"if={FIRMWARE}", f"of={card.path}", "bs=1K", "seek=8", "conv=notrunc")
        self.emulator("start", "--board", "orangepi-pc", "--data", card.path, "--pki", card.pki,
                      "--control-port", rigs.free_port())
        self.addCleanup(self.emulator, "power-off", check=False)
        self.emulator("wait", "--serial", SAYS[-1], "--seconds", rigs.LIMIT_S)
        log = (self.state / "serial.log").read_text(errors="replace")
        places = [log.find(words) for words in SAYS]
        self.assertNotIn(-1, places, dict(zip(SAYS, places)))
        self.assertEqual(places, sorted(places))


if __name__ == "__main__":
    unittest.main()
