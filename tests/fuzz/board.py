#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hypervisor between hostile guests and a careless host, on the emulated board: see tests/fuzz/README.md.

A failure is repeated with the seed that it prints: tests/fuzz/board.py --seed SEED --rounds ROUNDS. The exit code is 0
if the hypervisor neither panicked nor lost a page, every call was answered, and no victim was hurt.
"""

import argparse
import pathlib
import random
import re
import struct
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.hyp import run as board  # noqa: E402

HOST = ROOT / "build" / "hyp" / "tests" / "hyp" / "fuzz-host.bin"
MARK = b"AMPHION FUZZ 01\n"
EMULATOR = re.compile(r"qemu-system-arm: .*Assertion")
WRONG = re.compile(r"FAILED|panic|exception")  # of the host and of the hypervisor
KEPT_LINES = 40


def image_with(seed: int, rounds: int, round_ms: int) -> bytes:
    """The host's image, with its order (struct Order of tests/hyp/host/fuzz.cpp) filled in."""
    image = bytearray(HOST.read_bytes())
    if image.count(MARK) != 1:
        sys.exit(f"{HOST} has no place for a seed: build it again (toolchain/build.sh hyp)")
    struct.pack_into("<III", image, image.index(MARK) + len(MARK), seed, rounds, round_ms)
    return bytes(image)


def run(seed: int, rounds: int, round_ms: int, cpus: int, tell=print) -> tuple[int, list[str]]:
    """One boot. Returns how many operations were tried, and what was said if that was wrong."""
    operations, said = 0, []
    with tempfile.TemporaryDirectory(prefix="amphion-fuzz.") as folder:
        host = pathlib.Path(folder) / "host.bin"
        host.write_bytes(image_with(seed, rounds, round_ms))
        machine = board.boot(cpus, pathlib.Path(folder) / "bundle", host)
        try:
            for line in board.lines_of(machine):
                said = (said + [line])[-KEPT_LINES:]
                if done := re.match(r"round (\d+): (\d+) operations, (\d+) calls$", line):
                    operations += int(done[2]) + int(done[3])
                    tell(f"board: {cpus} CPU, seed {seed}, {line}", flush=True)
                if EMULATOR.match(line):
                    print(f"board: seed {seed} ended the emulator, which is not the hypervisor's fault: {line}", flush=True)
                    return operations, []
                if WRONG.search(line):
                    return operations, said + rest_of(machine)
                if line == "fuzz over":
                    return operations, []
        finally:
            machine.kill()
            machine.wait()
    return operations, said + ["the board ended before the last round did"]


def rest_of(machine) -> list[str]:
    """What is said in the second after something went wrong: registers, the second line of a check."""
    end, said = time.monotonic() + 1, []
    for line in board.lines_of(machine, 1):
        said.append(line)
        if time.monotonic() > end:
            break
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31), help="default: a new one")
    parser.add_argument("--rounds", type=int, default=10, help="one after the other, each with a victim of its own")
    parser.add_argument("--round-ms", type=int, default=1000, help="how long each attack lasts, by the board's clock")
    parser.add_argument("--cpus", type=int, default=2, help="of the board")
    args = parser.parse_args()
    if not HOST.exists():
        sys.exit(f"there is no {HOST}: build it first (toolchain/build.sh hyp pc)")
    operations, wrong = run(args.seed, args.rounds, args.round_ms, args.cpus)
    print(f"board: {operations} operations and calls, " + ("FAILED:" if wrong else "ok"))
    print("".join(f"    {line}\n" for line in wrong), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
