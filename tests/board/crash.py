# SPDX-License-Identifier: Apache-2.0
"""A board that hangs or crashes comes back by itself, and tells what it said last. The images are the product's, changed
by nothing but the test's hand: phoned is stopped by a signal, the host's kernel is told to panic, and an instruction of
the running hypervisor is overwritten through QEMU's debugger port.

The card runs on the newer QEMU of the clones, because Debian 12's emulates no watchdog.
"""

import json
import pathlib
import re
import select
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import test_image  # noqa: E402

rigs = test_image.rigs
BREAK = bytes.fromhex("f000f0e7")  # UDF #0, of ARM
PANIC_LIMIT_S = 30
PASSWORD = b"set at first login\n"
KEPT = "what it said last is in"


class Debugger:
    """QEMU's port for gdb: physical memory only (the remote serial protocol, and Qqemu.PhyMemMode of QEMU's gdbstub)."""

    def __init__(self, path: pathlib.Path):
        self.port = socket.socket(socket.AF_UNIX)
        self.port.settimeout(rigs.LIMIT_S)
        self.port.connect(str(path))
        self.ask("?")
        self.ask("Qqemu.PhyMemMode:1")

    def ask(self, words: str) -> str:
        self.port.sendall(f"${words}#{sum(words.encode()) % 256:02x}".encode())
        answer = b""
        while not (match := re.search(rb"\$([^#]*)#..", answer)):
            piece = self.port.recv(4096)
            if not piece:
                raise rigs.RigError(f"the debugger port ended at '{words}'")
            answer += piece
        self.port.sendall(b"+")
        return match[1].decode()

    def overwrite(self, address: int, contents: bytes):
        if (answer := self.ask(f"M{address:x},{len(contents):x}:{contents.hex()}")) != "OK":
            raise rigs.RigError(f"memory at {address:#x} was not written: {answer}")

    def let_go(self):
        self.ask("D")
        self.port.close()


def address_of(symbol: str, board: str) -> int:
    image = rigs.ROOT / "build" / "hyp" / "hyp" / f"amphion-hyp-{board}.elf"
    match = re.search(rf"^([0-9a-f]+) \w {symbol}$", rigs.run("nm", image).stdout, re.MULTILINE)
    return int(match[1], 16)


class Phone:
    """An emulated board, used by the shell of its serial console."""

    def __init__(self, board: str, folder: pathlib.Path):
        self.board, self.folder, self.state = board, folder, folder / "phone"
        self.seen = 0
        self.has_password = False  # of root on a card: the first login sets it

    def emulator(self, *words, check=True):
        return rigs.run(rigs.EMULATOR, "--state", self.state, *words, check=check)

    def start(self):
        data, pki, config = self.folder / "data", self.folder / "pki", self.folder / "phoned.json"
        words = ["--data", data, "--control-port", rigs.free_port(), "--qemu", rigs.CLONE_QEMU]
        if self.board == "orangepi-pc":
            card = test_image.CardImage(self.board, self.folder)
            words[1] = card.path
            words += ["--board", self.board, "--pki", card.pki]
        else:
            rigs.run(rigs.PKI, "create", pki)
            config.write_text(rigs.run(rigs.ROOT / "emulator" / "phone-config.sh", test_image.OWNERS_CLOUD).stdout)
            rigs.run(rigs.ROOT / "emulator" / "data-image.sh", data, config, pki)
            words += ["--bundle", rigs.BUNDLE]
        self.emulator("start", *words)

    def log(self) -> str:
        return (self.state / "serial.log").read_text(errors="replace")[self.seen:]

    def expect(self, words: str, limit_s=rigs.LIMIT_S, console: socket.socket | None = None) -> str:
        """In what the console has said since the last match; returns what stood before it."""
        end = time.monotonic() + limit_s
        while (at := self.log().find(words)) < 0:
            if time.monotonic() > end:
                raise rigs.RigError(f"{self.board}: no '{words}' in\n{self.log()[-3000:]}")
            if console and select.select([console], [], [], 0.2)[0]:
                console.recv(4096)  # the board waits for a client that does not read
            elif not console:
                time.sleep(0.2)
        before = self.log()[:at]
        self.seen += at + len(words)
        return before

    def type(self, line: str):
        """QEMU drops what the board has not taken when the client goes: it stays until the line was echoed."""
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.state / "serial.sock"))
            console.sendall(b"\n")
            if self.board == "orangepi-pc":
                self.log_in(console)
            self.expect("# ", console=console)
            console.sendall(f"{line}\n".encode())
            self.expect(line, console=console)

    def log_in(self, console: socket.socket):
        self.expect("login: ", console=console)
        console.sendall(b"root\n")
        for prompt in ("Password: ",) if self.has_password else ("New password: ", "The same again: ", "Password: "):
            self.expect(prompt, console=console)
            console.sendall(PASSWORD)
        self.has_password = True

    def kept_log(self) -> str:
        """The latest, of which phoned speaks at its start."""
        self.expect(KEPT)
        self.expect("phoned info: ready")
        self.type("echo begin''-log; cat \"$(ls -d /data/crashes/* | tail -n 1)\"; echo end''-log")
        self.expect("begin-log")
        return self.expect("end-log")

    def overwrite(self, symbol: str):
        port = self.state / "debugger.sock"
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.state / "qmp.sock"))
            lines = monitor.makefile("r")
            for command in ({"execute": "qmp_capabilities"},
                            {"execute": "human-monitor-command",
                             "arguments": {"command-line": f"gdbserver unix:{port},server=on,wait=off"}}):
                monitor.sendall(json.dumps(command).encode() + b"\n")
                while "return" not in json.loads(lines.readline()):
                    pass  # the greeting, events
        debugger = Debugger(port)
        debugger.overwrite(address_of(symbol, self.board), BREAK)
        debugger.let_go()


class CrashTest(unittest.TestCase):
    def phone(self, board: str) -> Phone:
        scratch = tempfile.TemporaryDirectory(prefix="amphion-crash.")
        self.addCleanup(scratch.cleanup)
        phone = Phone(board, pathlib.Path(scratch.name))
        self.addCleanup(phone.emulator, "power-off", check=False)
        phone.start()
        return phone

    def test_the_watchdog_restarts_a_hung_board_and_the_hypervisor_a_broken_one(self):
        phone = self.phone("orangepi-pc")
        phone.expect("the watchdog resets the board after 16 s")
        phone.type("kill -STOP $(pidof phoned)")
        phone.expect("U-Boot SPL")
        log = phone.kept_log()
        self.assertIn("amphion: starting the host instance", log)
        self.assertNotIn("panic", log)
        phone.overwrite("guest_trap")
        phone.expect("amphion: panic on CPU", PANIC_LIMIT_S)
        phone.expect("U-Boot SPL")
        log = phone.kept_log()
        self.assertIn(f"ELR 0x{address_of('guest_trap', phone.board):08x}", log)
        self.assertRegex(log, r"panic on CPU \d: see the registers above\s+amphion: called from( 0x[0-9a-f]{8})+")

    def test_a_panic_of_the_hosts_kernel_is_told_and_an_end_in_order_is_not(self):
        phone = self.phone("qemu-virt")
        phone.expect("phoned info: ready")
        phone.type("echo c >/proc/sysrq-trigger")
        phone.expect("amphion: hypervisor on")
        log = phone.kept_log()
        self.assertIn("Kernel panic - not syncing: sysrq triggered crash", log)
        phone.type("reboot")
        phone.expect("amphion: hypervisor on")
        self.assertNotIn(KEPT, phone.expect("phoned info: ready"))


if __name__ == "__main__":
    unittest.main()
