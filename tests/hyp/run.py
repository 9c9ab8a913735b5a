#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the hypervisor's test guests on the emulated board and prints one line a guest: see tests/hyp/README.md.

Usage: tests/hyp/run.py [--cpus N...] (default: 2 1). The exit code is 0 if every guest passed on every board. A board
that says nothing for a while has failed, whatever it does.
"""

import argparse
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = ROOT / "build" / "hyp" / "tests" / "hyp" / "tests-host.bin"
SUITE = ROOT / "tests" / "hyp" / "host" / "tests.suite"
CACHE = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion"))
# Debian 12's traps less than a Cortex-A7: it does not know HCR.TIDCP.
QEMU = CACHE / "qemu-clone" / "bin" / "qemu-system-arm"
# How the bundle says that a board's scheduler begins, by its number of CPUs, and what the hypervisor answers.
SCHED = {1: ("bal,threshold=0.5,latency=4,hand-over=off",
             "bal, threshold 512 of 1024, latency 4000 us, granularity 3000 us, hand-over off")}
SCHED_BY_ITSELF = ("", "sbco, threshold 683 of 1024, latency 6000 us, granularity 3000 us, hand-over on")
SILENCE_S = 30  # says "it hangs", never "it is slow"


def expected() -> dict[str, int]:
    """Every guest of the suite, and how many verdicts it gives: one an instance."""
    lines = re.findall(r"^GUEST\((\w+), (\d+),", SUITE.read_text(), re.MULTILINE)
    return {"hypercalls": 1, "scheduler": 1, "stacks": 1} | {name: int(instances) for name, instances in lines}


def require_built():
    if not HOST.exists():
        sys.exit(f"there is no {HOST}: build it first (toolchain/build.sh hyp)")


def boot(cpus: int, bundle: pathlib.Path, host: pathlib.Path = HOST, sched: str = "") -> subprocess.Popen:
    subprocess.run([ROOT / "board/qemu-virt/bundle.sh", bundle, "--kernel", host, "--initrd", "", "--cpus", str(cpus),
                    "--sched", sched],
                   check=True, stdout=subprocess.DEVNULL)
    return subprocess.Popen([QEMU, "-M", "virt,gic-version=2,virtualization=on,highmem=off", "-cpu",
                             "cortex-a7", "-smp", str(cpus), "-m", "1024", "-nodefaults", "-display", "none", "-serial",
                             "stdio", "-no-reboot", "-kernel", bundle],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def lines_of(board: subprocess.Popen, silence_s: int = SILENCE_S):
    """What the board says, line by line, until it ends or falls silent."""
    text = b""
    while select.select([board.stdout], [], [], silence_s)[0]:
        piece = board.stdout.read1()
        if not piece:
            return
        *whole, text = (text + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip()
    yield f"FAILED: the board has been silent for {silence_s} s"


def judge(cpus: int, name: str, end: str, said: list[str], wanted: int | None, seconds: float) -> bool:
    verdicts = [line for line in said if re.match(r"(\[[\w.]+\] )?passed ", line)]
    passed = end == "off" and len(verdicts) == wanted
    print(f"{cpus} CPU  {name:<14} {'ok    ' if passed else 'FAILED'} {seconds:5.1f} s", flush=True)
    if not passed:
        print("    " + "\n    ".join(said + [f"end: {end}"]))
    return passed


def run(cpus: int) -> bool:
    """All guests on one board."""
    wanted = expected()
    sched, begins = SCHED.get(cpus, SCHED_BY_ITSELF)
    with tempfile.TemporaryDirectory(prefix="amphion-hyp.") as folder:
        board = boot(cpus, pathlib.Path(folder) / "bundle", sched=sched)
        try:
            name, said, started = "boot", [], time.monotonic()
            for line in lines_of(board):
                if match := re.match(r"test (\w+)$", line):
                    name, said, started = match[1], [], time.monotonic()
                elif match := re.search(r"scheduling by (.*)", line):
                    judge(cpus, "scheduler", "off" if match[1] == begins else f"not {begins}", [line, "passed this"], 1, 0)
                    wanted.pop("scheduler" if match[1] == begins else "", None)
                elif match := re.search(r"deepest stack (\d+) of (\d+) bytes", line):  # the hypervisor's last words
                    room = "off" if 2 * int(match[1]) <= int(match[2]) else "a stack is more than half full"
                    judge(cpus, "stacks", room, [line, "passed this"], 1, 0) and wanted.pop("stacks")
                elif match := re.match(rf"end {name} (\w+)$", line):
                    if not judge(cpus, name, match[1], said, wanted.get(name), time.monotonic() - started):
                        continue
                    wanted.pop(name, None)
                    name, said = "", []
                else:
                    said.append(line)
        finally:
            board.kill()
            board.wait()
    if said and name:
        print(f"{cpus} CPU  {name} did not end:\n    " + "\n    ".join(said))
    for missing in wanted:
        print(f"{cpus} CPU  {missing:<14} FAILED")
    return not wanted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, nargs="+", default=[2, 1], help="boards to run on, by their number of CPUs")
    boards = parser.parse_args().cpus
    require_built()
    results = [run(cpus) for cpus in boards]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
