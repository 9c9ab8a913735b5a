#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the hypervisor on the emulated board, and parsers, devices and the hypervisor's libraries on the PC.

Usage: tests/fuzz/run.py [--minutes M] [--seed S]    new seeds, a line each few seconds; about half of the time is the board's
       tests/fuzz/run.py --short                     fixed seeds, a step of tests/run.sh

Each failure prints how to repeat it, and stays in build/fuzz/. The exit code is 0 if nothing failed. See tests/fuzz/README.md.
"""

import argparse
import dataclasses
import itertools
import pathlib
import random
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.fuzz import board  # noqa: E402

KEPT = ROOT / "build" / "fuzz"
PC = ROOT / "build" / "pc-sanitize"
PROGRAM = PC / "tests" / "fuzz" / "amphion-fuzz"
MODELS = PC / "tests" / "unit" / "hyp" / "hyp_unit_tests"
MODEL_TESTS = "*VgicRandom*:Stage2Random.*:PagePool*:PageTable*"
# Target and its executions in a short run: about a second each.
TARGETS = {"devices": 60, "states": 300, "link-messages": 10000, "link-files": 6000, "control": 5000, "qemu-stream": 1200,
           "hyp-bundle": 60000, "hyp-devices": 8000, "hyp-gic": 800, "hyp-gic-threads": 300}
BOARD_ROUNDS, SHORT_ROUNDS, ROUND_MS = 8, 3, 1000
SLICE_S = 5
SEEDS, GTEST_SEEDS = 1 << 31, 100000


@dataclasses.dataclass
class Tally:
    executions: int = 0
    seconds: float = 0
    failures: list[str] = dataclasses.field(default_factory=list)


class Run:
    """What was done, target by target. A target that has failed is left alone."""

    def __init__(self):
        self.tallies: dict[str, Tally] = {}

    def add(self, name: str, executions: int, seconds: float):
        tally = self.tallies.setdefault(name, Tally())
        tally.executions += executions
        tally.seconds += seconds

    def fail(self, name: str, seed: int, repeat: str, said: str):
        KEPT.mkdir(parents=True, exist_ok=True)
        kept = KEPT / f"{name}-{seed}.txt"
        kept.write_text(f"repeat: {repeat}\n\n{said}")
        print(f"{name}: FAILED\n{said}\n{name}: repeat it with: {repeat}\n{name}: kept in {kept.relative_to(ROOT)}", flush=True)
        self.tallies.setdefault(name, Tally()).failures.append(str(kept.relative_to(ROOT)))

    def failed(self, name: str) -> bool:
        return name in self.tallies and bool(self.tallies[name].failures)

    def board(self, seed: int, rounds: int, cpus: int):
        name, begin = f"board-{cpus}", time.monotonic()
        if self.failed(name):
            return
        operations, wrong = board.run(seed, rounds, ROUND_MS, cpus, tell=lambda *_, **__: None)
        self.add(name, operations, time.monotonic() - begin)
        print(f"{name}: {rounds} rounds from seed {seed}, {operations} operations and calls", flush=True)
        if wrong:
            repeat = f"tests/fuzz/board.py --seed {seed} --rounds {rounds} --round-ms {ROUND_MS} --cpus {cpus}"
            self.fail(name, seed, repeat, "\n".join(wrong))

    def target(self, name: str, seed: int, *bound: str):
        begin = time.monotonic()
        if self.failed(name):
            return
        done = subprocess.run([PROGRAM, name, "--seed", str(seed), *bound], text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        match = re.search(r": (\d+) executions", done.stdout)
        self.add(name, int(match[1]) if match else 0, time.monotonic() - begin)
        if done.returncode == 0:
            return print(done.stdout.strip(), flush=True)
        repeat = re.search(r"repeat it with (.*)", done.stdout)
        self.fail(name, seed, repeat[1] if repeat else f"{PROGRAM.relative_to(ROOT)} {name} --seed {seed}", done.stdout)

    def models(self, seed: int):
        name, begin = "hyp-models", time.monotonic()
        if self.failed(name):
            return
        options = [f"--gtest_filter={MODEL_TESTS}", "--gtest_shuffle", f"--gtest_random_seed={seed}"]
        done = subprocess.run([MODELS, *options], text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        match = re.search(r"(\d+) tests? from .* ran", done.stdout)
        self.add(name, int(match[1]) if match else 0, time.monotonic() - begin)
        print(f"{name}: tests with seed {seed}", flush=True)
        if done.returncode != 0:
            self.fail(name, seed, " ".join([str(MODELS.relative_to(ROOT)), *options]), done.stdout)

    def summary(self) -> int:
        for name, tally in self.tallies.items():
            verdict = f"FAILED: {' '.join(tally.failures)}" if tally.failures else "ok"
            print(f"{name:<16} {tally.executions:>10} in {tally.seconds:5.0f} s  {verdict}")
        return 1 if any(tally.failures for tally in self.tallies.values()) else 0


def run_short() -> int:
    run = Run()
    run.board(1, SHORT_ROUNDS, 2)
    for name, executions in TARGETS.items():
        run.target(name, 1, "--executions", str(executions), "--seconds", "600")
    return run.summary()


def run_long(minutes: float, seed: int) -> int:
    run, noise = Run(), random.Random(seed)
    begin = time.monotonic()
    print(f"fuzzing for {minutes:g} minutes from seed {seed}", flush=True)
    boards, others = itertools.cycle([2, 2, 1]), itertools.cycle([*TARGETS, None])
    on_board = 0.0
    while (passed := time.monotonic() - begin) < minutes * 60:
        if 2 * on_board <= passed:
            run.board(noise.randrange(SEEDS), BOARD_ROUNDS, next(boards))
            on_board += time.monotonic() - begin - passed
        elif (name := next(others)) is not None:
            run.target(name, noise.randrange(SEEDS), "--seconds", str(SLICE_S))
        else:
            run.models(noise.randrange(1, GTEST_SEEDS))
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes from seed {seed}:")
    return run.summary()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="in all (default: 10)")
    parser.add_argument("--seed", type=int, help="of the seeds (default: a new one)")
    parser.add_argument("--short", action="store_true", help="fixed seeds, some 15 s")
    args = parser.parse_args()
    for path in (board.HOST, PROGRAM, MODELS):
        if not path.exists():
            sys.exit(f"there is no {path}: build it first (toolchain/build.sh hyp pc pc-sanitize)")
    if args.short:
        return run_short()
    return run_long(args.minutes, random.SystemRandom().randrange(SEEDS) if args.seed is None else args.seed)


if __name__ == "__main__":
    sys.exit(main())
