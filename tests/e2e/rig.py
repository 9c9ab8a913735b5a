# SPDX-License-Identifier: Apache-2.0
"""An emulated phone and a cloud server for one test or scenario, driven only through their front doors: the emulated
board's keyboard and screen (amphion-emulator), the command line tool (amphion), the server's process (amphiond).

Everything lives in one folder that the rig makes and removes; every process is ended when the rig is closed. Ports are
chosen by the system. A rig can be saved and restored: phone and cloud go on from that moment, each time. Waiting is for
events (text on a screen or a console, an answer), each with a limit that ends in an error.
"""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import write_log

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion"))
BUILD = ROOT / "build" / "pc"
EMULATOR = BUILD / "emulator" / "amphion-emulator"
AMPHION = BUILD / "phone-side" / "cli" / "amphion"
AMPHIOND = BUILD / "cloud-side" / "amphiond" / "amphiond"
PKI = BUILD / "link" / "amphion-pki"
BUNDLE = ROOT / "build" / "qemu-virt.bundle"
CLONE_QEMU = CACHE / "qemu-clone" / "bin" / "qemu-system-arm"

# Every character on the emulated serial console is a trap to the device model, so the kernel is told to be quiet.
KERNEL_WORDS = "console=ttyAMA0 console=tty0 quiet cryptomgr.notests apparmor=0 audit=0"
# Of the shells on consoles: found again by the next who opens the console, and never part of an output.
PROMPT = "<shell>$ "
# What a terminal understands and a test does not; also one that has not arrived whole.
ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]?)?")

# Emulated machines are slow and this machine may be busy: a limit says "it hangs", never "it is slow".
LIMIT_S = 240

# Whoever ends a test ends what it has started, too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


class RigError(AssertionError):
    """Something did not happen; the text says what, and what was seen instead."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, check=True, limit_s=LIMIT_S, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=limit_s, **options)
    if check and done.returncode != 0:
        raise RigError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def small_config(cloud_port: int, names=("personal", "work"), **overrides) -> dict:
    """Instances bounded to 64 MiB, as the tests use them."""
    shape = {"vcpus": 4, "vcpus_allowed": 2, "memory_mib": 256, "bound_mib": 64} | overrides
    return configuration(cloud_port, {name: shape for name in names})


def configuration(cloud_port: int, instances: dict) -> dict:
    images = {"kernel": "/data/images/zImage", "initrd": "/data/images/guest-initramfs.cpio.gz",
              "disk": "/data/images/guest-disk.ext4"}
    return {"cloud": f"10.0.2.2:{cloud_port}", "instances": [
        {"name": name, "cmdline": f"{KERNEL_WORDS} amphion.name={name}"} | images | shape
        for name, shape in instances.items()],
        "template": {"cmdline": f"{KERNEL_WORDS} amphion.name={{name}}"} | images | next(iter(instances.values()))}


class Rig(contextlib.AbstractContextManager):
    def __init__(self, folder: pathlib.Path | None = None, board: str = "qemu-virt"):
        self.board = board  # orangepi-pc boots all of it from an SD card, which is then the data image
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="amphion-rig."))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pki = self.folder / "pki"
        self.phone_state = self.folder / "phone"
        self.data_image = self.phone_state / "data.img"
        self.bundle = self.folder / "bundle"  # a copy: a build may go on meanwhile
        self.saved = self.folder / "saved"
        self.writes: pathlib.Path | None = None  # the data disk's writes since the phone was restored, if asked for
        self.control_port = free_port()
        self.cloud_port = free_port()
        self.cloud_process: subprocess.Popen | None = None
        self.consoles: list[Console] = []

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.end()
        if self.own_folder and not os.environ.get("AMPHION_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def end(self):
        """Phone, cloud and clones, whatever of them runs."""
        for console in list(self.consoles):
            console.close()
        if self.phone_state.exists():
            run(EMULATOR, "--state", self.phone_state, "power-off", check=False)
        self.stop_cloud(clones_too=True)

    # ---- saved ----

    def save(self):
        """Phone and cloud end; all instances must be on the phone."""
        for console in list(self.consoles):
            console.close()
        self.stop_cloud()
        self.wait("the phone to see that the cloud is gone", lambda: not self.ask("status")["cloud"]["connected"])
        run(EMULATOR, "--state", self.phone_state, "save", self.saved / "phone")
        self._copy(self.cloud_data, self.saved / "cloud")

    def restore(self, list_writes=False):
        """Phone and cloud go on from where they were saved, with a new session between them."""
        self.clear_cloud()
        self._copy(f"{self.saved / 'cloud'}/.", self.cloud_data)
        self.start_cloud()
        self.restore_phone(list_writes)
        self.connected()

    def clear_cloud(self):
        """All ends; the cloud's data folder is empty."""
        self.end()
        shutil.rmtree(self.cloud_data, ignore_errors=True)
        self.cloud_data.mkdir()

    def restore_phone(self, list_writes=False):
        self.data_image.unlink(missing_ok=True)
        self.writes = self.folder / "writes" if list_writes else None
        run(EMULATOR, "--state", self.phone_state, "start", "--bundle", self.bundle, "--data", self.data_image,
            "--from", self.saved / "phone", *(["--write-log", self.writes] if self.writes else []))
        self.wait_for_phoned()

    def _copy(self, source: pathlib.Path | str, target: pathlib.Path):
        run("cp", "--archive", "--sparse=always", "--reflink=auto", source, target)

    # ---- certificates ----

    def make_certificates(self):
        run(PKI, "create", self.pki)

    # ---- the cloud ----

    @property
    def cloud_data(self) -> pathlib.Path:
        return self.folder / "cloud"

    def start_cloud(self, pki: pathlib.Path | None = None):
        log = open(self.folder / "amphiond.log", "ab")
        # A cloud is another machine: here it gives way, or its clones would take the emulated board's CPUs.
        self.cloud_process = subprocess.Popen(
            ["nice", "-n", "10", AMPHIOND, "--data", self.cloud_data, "--pki", pki or self.pki, "--listen", f"127.0.0.1:{self.cloud_port}",
             "--qemu", CLONE_QEMU], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        self.wait("the cloud server to listen", self._cloud_listens)

    def _cloud_listens(self) -> bool:
        if self.cloud_process.poll() is not None:
            raise RigError("amphiond ended: " + self.cloud_log()[-2000:])
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.cloud_port)) == 0

    def cloud_log(self) -> str:
        return (self.folder / "amphiond.log").read_text(errors="replace")

    def cloud_code(self) -> str:
        """A one-time code of the cloud's, with its place as the phone sees it."""
        shown = run(AMPHIOND, "pair", "--data", self.cloud_data).stdout
        return re.search(r"amphion pair ([0-9A-Z-]+)@", shown).group(1) + f"@10.0.2.2:{self.cloud_port}"

    def kill_cloud(self):
        """As a crash would: the clones go on."""
        self.cloud_process.kill()
        self.cloud_process.wait()
        self.cloud_process = None

    def stop_cloud(self, clones_too=False):
        if self.cloud_process is not None:
            self.cloud_process.send_signal(signal.SIGTERM)
            try:
                self.cloud_process.wait(30)
            except subprocess.TimeoutExpired:
                self.cloud_process.kill()
                self.cloud_process.wait()
            self.cloud_process = None
        if clones_too:
            for pid in self.clone_pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def cloud_devices(self) -> list:
        """As amphiond's admin socket tells it."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.cloud_data / "admin.sock"))
            admin.sendall(b'{"do":"list"}\n')
            return json.loads(admin.makefile().readline())["devices"]

    def cloud_instances(self) -> dict:
        """By name, as the cloud tells it."""
        return {one["instance"]: one for device in self.cloud_devices() for one in device["instances"]}

    def clone_pids(self) -> list[int]:
        """Clones of this rig: processes whose command line names a file of an instance in this rig's data folder."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                line = entry.read_bytes()
                if f"{self.cloud_data}/devices/".encode() in line and b"\0-pidfile\0" in line:
                    found.append(int(entry.parent.name))
        return found

    # ---- the phone ----

    def make_phone(self, config: dict, pki: pathlib.Path | str | None = None, guest_disk: pathlib.Path | None = None):
        self.phone_state.mkdir(parents=True, exist_ok=True)
        config_file = self.folder / "phoned.json"
        config_file.write_text(json.dumps(config))
        if self.board == "qemu-virt":
            shutil.copyfile(BUNDLE, self.bundle)
            run(ROOT / "emulator" / "data-image.sh", self.data_image, config_file, self.pki if pki is None else pki,
                *([1536, guest_disk] if guest_disk else []))
        else:
            run(ROOT / "board" / "allwinner" / "image.sh", self.board, self.data_image, config_file, pki or self.pki)

    def start_phone(self, cpus=2):
        self.power_on(cpus)
        self.wait_for_phoned()

    def wait_for_phoned(self):
        self.wait("phoned to answer", lambda: self.amphion("list", check=False).returncode == 0)

    def power_on(self, cpus=2):
        machine = ["--bundle", self.bundle, "--cpus", cpus] if self.board == "qemu-virt" else ["--pki", self.pki]
        run(EMULATOR, "--state", self.phone_state, "start", "--board", self.board, "--data", self.data_image,
            "--control-port", self.control_port, *machine)

    def power_off(self):
        """As pulling the battery. If the writes are listed, those after the last flush are lost; else the PC keeps them."""
        run(EMULATOR, "--state", self.phone_state, "power-off")
        for console in list(self.consoles):
            console.close()
        if self.writes:
            self._copy(self.saved / "phone" / "data.img", self.data_image)
            write_log.replay_to_last_flush(self.writes, self.data_image)
            self.writes = None

    def phone_log(self) -> str:
        return (self.phone_state / "serial.log").read_text(errors="replace")

    def on_phone(self, command: str) -> str:
        """Runs a line of shell as root in the host instance, on the board's serial console; what it printed, and the log's
        lines that came meanwhile."""
        mark = secrets.token_hex(6)
        with socket.socket(socket.AF_UNIX) as serial:
            serial.settimeout(LIMIT_S)
            serial.connect(str(self.phone_state / "serial.sock"))
            # The console asks for Enter first; the mark is in two parts for the sake of the echo.
            serial.sendall(f"\n{command}\necho \"<$?-\"{mark}\">\"\n".encode())
            seen = ""
            while not (match := re.search(rf"<(\d+)-{mark}>", seen)):
                seen += serial.recv(4096).decode(errors="replace")
        if match.group(1) != "0":
            raise RigError(f"phone: '{command}' ended with {match.group(1)}: {seen}")
        return seen

    def told_on_phone(self, command: str) -> dict:
        """The JSON that a command prints there."""
        mark = secrets.token_hex(6)  # in two parts, as above
        seen = self.on_phone(f"echo; echo '{mark[:6]}''{mark[6:]}' \"$({command})\"")
        try:
            return json.loads(re.search(rf"^{mark} (.*)$", seen.replace("\r", ""), re.MULTILINE).group(1))
        except (AttributeError, json.JSONDecodeError):
            raise RigError(f"phone: '{command}' printed no JSON: {seen}") from None

    def type(self, text: str):
        run(EMULATOR, "--state", self.phone_state, "type", text)

    def key(self, combination: str):
        run(EMULATOR, "--state", self.phone_state, "key", combination)

    @property
    def password(self) -> str:
        """Of root in the instances; on a card there is none until the first login sets one."""
        return "amphion" if self.board == "qemu-virt" else "set at first login"

    def log_in(self, name: str):
        """On its screen, which has the focus."""
        self.wait_screen(rf"{name} login:")
        self.type("root\n")
        if self.board != "qemu-virt":
            for prompt in ("New password: *$", "The same again: *$"):
                self.wait_screen(prompt)
                self.type(f"{self.password}\n")
        self.wait_screen("^Password: *$")
        self.type(f"{self.password}\n")
        self.wait_screen(rf"{name}:.*[#$] *$")

    def screen(self) -> str:
        return run(EMULATOR, "--state", self.phone_state, "screen").stdout

    def wait_screen(self, pattern: str, limit_s=LIMIT_S) -> str:
        return self.wait(f"'{pattern}' on the screen", lambda: self._on_screen(pattern), limit_s, self.screen)

    def _on_screen(self, pattern: str) -> str | None:
        screen = self.screen()
        return screen if re.search(pattern, screen, re.MULTILINE) else None

    # ---- the command line tool ----

    def amphion(self, *words, check=True, limit_s=LIMIT_S) -> subprocess.CompletedProcess:
        command = [AMPHION, "--phone", f"127.0.0.1:{self.control_port}", "--pki", self.pki, *words]
        try:
            return run(*command, check=check, limit_s=limit_s)
        except RigError as error:
            raise RigError(f"{error}\n{self.last_words()}") from None

    def ask(self, *words, limit_s=LIMIT_S) -> dict:
        """The last line of a command's --json output."""
        return json.loads(self.amphion(*words, "--json", limit_s=limit_s).stdout.strip().splitlines()[-1])

    def instances(self) -> dict:
        """By name, as the phone tells it."""
        return {one["name"]: one for one in self.ask("list")["instances"]}

    def places(self) -> dict:
        return {name: one["place"] for name, one in self.instances().items()}

    def connected(self):
        """Waits until phone and cloud have their session, by the word of both: one may believe in a session that is gone."""
        self.wait("the cloud's session with the phone", lambda: any(one["connected"] for one in self.cloud_devices()))
        self.wait("the phone's session with the cloud", lambda: self.ask("status")["cloud"]["connected"])

    def move(self, command: str, name: str):
        """Dock or undock; yields the name of each step as it begins, and at last "answer"."""
        with subprocess.Popen([AMPHION, "--phone", f"127.0.0.1:{self.control_port}", "--pki", self.pki, command, name, "--json"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            line = ""
            for line in process.stdout:
                answer = json.loads(line)
                yield answer["progress"]["step"] if "progress" in answer else "answer"
            if process.wait() != 0:
                raise RigError(f"{command} {name}: {line}{process.stderr.read()}\n{self.last_words()}")

    def console(self, name: str) -> "Console":
        return Console(self, name)

    # ---- waiting ----

    def wait(self, what: str, ready, limit_s=LIMIT_S, seen=lambda: ""):
        end = time.monotonic() + limit_s
        while True:
            answer = ready()
            if answer:
                return answer
            if time.monotonic() > end:
                raise RigError(f"waited {limit_s} s for {what}\n{seen()}\n{self.last_words()}")
            time.sleep(0.1)  # between two looks, not for an event

    def last_words(self) -> str:
        """The end of what phone and cloud have said."""
        words = []
        for who, log in (("phone", self.phone_log), ("cloud", self.cloud_log)):
            with contextlib.suppress(OSError):
                words += [f"--- {who} ---", *log().splitlines()[-40:]]
        return "\n".join(words)


class Console(contextlib.AbstractContextManager):
    """A shell on an instance's console (hvc0), through `amphion console`, wherever the instance is."""

    def __init__(self, rig: Rig, name: str):
        self.rig, self.name = rig, name
        self.raw, self.text = "", ""
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            [AMPHION, "--phone", f"127.0.0.1:{rig.control_port}", "--pki", rig.pki, "console", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        rig.consoles.append(self)
        self._log_in()

    def _read(self):
        while chunk := self.process.stdout.read1(4096):
            with self.changed:
                self.raw += chunk.decode(errors="replace")
                self.text = ESCAPE_SEQUENCE.sub("", self.raw)
                self.changed.notify_all()

    def send(self, text: str):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def expect(self, pattern: str, limit_s=LIMIT_S, start=0) -> re.Match:
        end = time.monotonic() + limit_s
        with self.changed:
            while True:
                if match := re.compile(pattern, re.MULTILINE).search(self.text, start):
                    return match
                left = end - time.monotonic()
                if left <= 0 or not self.reader.is_alive():
                    raise RigError(f"console of {self.name}: no '{pattern}' in\n{self.text[start:][-2000:]}")
                self.changed.wait(min(left, 1))

    def _log_in(self):
        """The console may show a login prompt or a shell from an earlier login."""
        self.send("\n")
        match = self.expect(r"login: ?$|[#$] $")
        if "login" in match.group(0):
            start = len(self.text)
            self.send("root\n")
            while "#" not in (asked := self.expect(r"^(New password|The same again|Password): ?$|[#$] $", start=start)).group(0):
                start = asked.end()
                self.send(f"{self.rig.password}\n")
        self.run(f"stty -echo; PS1='{PROMPT}'; PS2=")

    def run(self, command: str, limit_s=LIMIT_S) -> str:
        """Runs one line in the shell and returns what it printed; a non-zero exit code is an error."""
        start, mark = len(self.text), secrets.token_hex(6)
        # The mark is written in two parts so that an echo of the command is not taken for its end.
        self.send(f"{command}\necho \"<$?-\"{mark}\">\"\n")
        # With the line's end: what comes after it would be taken for the next command's output.
        match = self.expect(rf"<(\d+)-{mark}>\r?\n", limit_s, start)
        printed = self.text[start:match.start()].replace("\r", "").replace(PROMPT, "")
        if match.group(1) != "0":
            raise RigError(f"{self.name}: '{command}' ended with {match.group(1)}: {printed[-500:]}")
        return printed

    def close(self):
        if self in self.rig.consoles:
            self.rig.consoles.remove(self)
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()

    def __exit__(self, *_):
        self.close()
