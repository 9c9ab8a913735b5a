#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lock-holder preemption on the hypervisor itself, counted from lock words, and the same scenarios in the simulator: writes
build/bench/sched-hyp.json and prints a table. tests/bench/README.md says how it counts and what the figures mean.

The board is QEMU's Orange Pi PC with counted instructions: every run of the same plan gives the same values.
"""

import argparse
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import random
import re
import statistics
import struct
import subprocess
import sys
import time

from simulate import SIMULATOR, interval, middle

ROOT = pathlib.Path(__file__).resolve().parents[3]
CACHE = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion"))
QEMU = "/usr/bin/qemu-system-arm"  # the system's: require_qemu()
BOARD = ["-M", "orangepi-pc", "-cpu", "cortex-a7,cntfrq=24000000", "-icount", "shift=0,sleep=off", "-m", "1024", "-nic", "none",
         "-nodefaults", "-display", "none", "-no-reboot"]
ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
HYPERVISOR = ROOT / "build/hyp/hyp/amphion-hyp-orangepi-pc-icount.bin"
HOST = ROOT / "build/hyp/tests/hyp/contend-host.bin"
MAKE_BUNDLE = ROOT / "build/pc/emulator/make-bundle"
TREE = CACHE / "boards/dtb/sun8i-h3-orangepi-pc.dtb"
OUT = ROOT / "build/bench/sched-hyp"
RESULT = ROOT / "build/bench/sched-hyp.json"
SILENCE_S = 300  # says "it hangs", never "it is slow"

POLICIES = ["dft", "bal", "procco", "cpuco", "sbco"]  # by their numbers in the hypervisor's ABI
QUEUES = [4, 8, 12]
MACHINE_VCPUS = 4
INSTRUCTIONS_PER_US = 250  # of a CPU: four share the 1000 that the board executes
TICK_NS = 41  # of the board's counter: QEMU takes whole nanoseconds
TICKS_PER_US = 24  # as the guests reckon

# Time is a sixteenth of the simulator's experiments, where latency is 20 ms, granularity 4 ms, and 8 tasks of the host
# compute for 2 ms every 50 ms. What a lock holding lasts and its share of the time are kernbench's.
LATENCY_US, GRANULARITY_US, THRESHOLD = 1250, 250, 683
WARM_UP_US, MEASURED_US = 20_000, 100_000
SETTLE_US = 1_000_000  # before the first experiment under DFT, which leaves siblings where chance puts them
DAEMONS = {"instances": 2, "run_us": 125, "sleep_us": 3000}
LOCKS = [{"name": "spin_lock", "share": 0.0805, "holding_us": 0.650, "number": 16}]


def workers(*steps: dict) -> list[dict]:
    return [{"name": "worker", "count": 4, "bound": True, "steps": [*steps, {"done": True}]}]


def stage(number: int, last: int = 3) -> dict:
    before = [{"pop": f"pipe{number - 1}"}] if number else []
    behind = [{"push": f"pipe{number}"}] if number != last else [{"done": True}]
    return {"name": f"stage{number}", "count": 1, "bound": True, "steps": [*before, {"compute_us": 30, "spread": "exponential"}, *behind]}


# As the simulator reads them.
MODELS = {
    "lock": {"locks": LOCKS, "lock_order": "any", "threads": workers({"compute_us": 20})},
    "ticket": {"locks": LOCKS, "lock_order": "ticket", "threads": workers({"compute_us": 20})},
    "pipeline": {"locks": LOCKS, "lock_order": "any", "pipes": [{"name": f"pipe{n}", "capacity": 16} for n in range(3)],
                 "threads": [stage(n) for n in range(4)]},
    "barrier": {"barriers": [{"name": "phase", "parties": 4, "spin": True}],
                "threads": workers({"compute_us": 62}, {"compute_us": 6, "spread": "exponential"}, {"barrier": "phase"})},
}
WORKLOADS = list(MODELS)  # by their numbers in tests/hyp/runtime/experiment.hpp
LOCKING = ["lock", "ticket", "pipeline"]
# Of the hypervisor, for the simulator: a switch with its timer interrupt and decision, measured with hogs only; an SGI.
SIMULATED = {"cpus": 4, "latency_ms": LATENCY_US / 1000, "granularity_ms": GRANULARITY_US / 1000, "switch_us": 7, "ipi_us": 4,
             "sample_ms": 1, "count_from_s": (SETTLE_US + WARM_UP_US) / 1e6, "duration_s": (SETTLE_US + WARM_UP_US) / 1e6 + 2}

Key = tuple[str, int, str]  # workload, queue, policy


class Failed(Exception):
    """A run did not give its values; the text says which and where to look."""


# ---- the board ----

def compute_us(workload: str) -> float:
    """Of a step, on average; of all stages for an item."""
    steps = [step for group in MODELS[workload]["threads"] for step in group["steps"] if "compute_us" in step]
    return sum(step["compute_us"] for step in steps)


def words_of(number: int, key: Key, seed: int, measured_us: int) -> bytes:
    """struct Experiment of tests/hyp/runtime/experiment.hpp."""
    workload, queue, policy = key
    model = MODELS[workload]
    parts = [step for step in model["threads"][-1]["steps"] if "compute_us" in step]
    step, more = (sum(part["compute_us"] for part in parts if (part.get("spread") == "exponential") == spread) for spread in (False, True))
    lock = model.get("locks", [{"share": 0.5, "holding_us": 0, "number": 0}])[0]
    free_us = lock["holding_us"] * (1 - lock["share"]) / lock["share"]
    instructions = [round(us * INSTRUCTIONS_PER_US) for us in (step, more)]
    locks = [lock["number"], round(free_us * INSTRUCTIONS_PER_US), round(lock["holding_us"] * INSTRUCTIONS_PER_US)]
    hogs, daemons = (queue - 1, DAEMONS["instances"]) if queue > 1 else (0, 0)
    return struct.pack("<19I", number, POLICIES.index(policy), THRESHOLD, LATENCY_US, GRANULARITY_US, hogs, daemons, seed,
                       WARM_UP_US, measured_us, WORKLOADS.index(workload), *instructions, *locks,
                       model.get("pipes", [{"capacity": 0}])[0]["capacity"],
                       DAEMONS["run_us"] * INSTRUCTIONS_PER_US, DAEMONS["sleep_us"])


def bundle(name: str, keys: list[Key], seed: int, measured_us: int, settle: bool) -> pathlib.Path:
    OUT.mkdir(parents=True, exist_ok=True)
    plan, out = OUT / f"{name}.plan", OUT / f"{name}.bundle"
    experiments = [words_of(n, key, seed, measured_us) for n, key in enumerate(keys)]
    if settle:
        first = next(n for n, (_, _, policy) in enumerate(keys) if policy == "dft")
        experiments.insert(first, words_of(len(keys), ("lock", 8, "dft"), seed, SETTLE_US))
    plan.write_bytes(struct.pack("<4sI", b"PLAN", len(experiments)) + b"".join(experiments))
    subprocess.run([MAKE_BUNDLE, "--board", "orangepi-pc", "--hyp", HYPERVISOR, "--kernel", HOST, "--initrd", plan, "--board-dtb", TREE,
                    "--bootargs", "", "--out", out], check=True, stdout=subprocess.DEVNULL)
    return out


def is_whole(text: str) -> bool:
    return "\nplan done" in text


def boot(name: str, image: pathlib.Path, log: pathlib.Path) -> str:
    """Until the plan is done, or the board says nothing for long."""
    with (log.with_suffix(".err").open("wb") as errors,
          subprocess.Popen([*ENDS_WITH_US, QEMU, *BOARD, "-serial", f"file:{log}", "-kernel", image], stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=errors) as board):
        try:
            size, heard = 0, time.monotonic()
            while True:
                text = log.read_text(errors="replace") if log.exists() else ""
                if is_whole(text):
                    return text
                if len(text) != size:
                    size, heard = len(text), time.monotonic()
                if board.poll() is not None or "FAILED" in text or "panic" in text or time.monotonic() - heard > SILENCE_S:
                    raise Failed(f"{name} went wrong, see {log} and {errors.name}")
                time.sleep(0.2)
        finally:
            board.kill()


def values_of(text: str, keys: list[Key]) -> dict[Key, dict[str, int]]:
    found = {}
    for number, said in re.findall(r"^experiment (\d+)$(.*?)^end \1$", text, re.MULTILINE | re.DOTALL):
        if int(number) < len(keys):
            found[keys[int(number)]] = {name: int(value) for name, value in re.findall(r"^ (\w+)=(\d+)$", said, re.MULTILINE)}
    if len(found) != len(keys):
        raise Failed(f"{len(found)} of {len(keys)} experiments have values")
    for key, said in found.items():
        if said["lost"] + said["lost_to_next"] > said["spun"]:
            raise Failed(f"{key}: {said['lost']} and {said['lost_to_next']} ticks lost of {said['spun']} spun: the guest counts wrongly")
    return found


def run(name: str, keys: list[Key], seed: int, measured_us: int, settle: bool = False, keep: bool = False) -> dict[Key, dict[str, int]]:
    """`keep`: a whole log of exactly this bundle, of a run that was interrupted later, is not made again."""
    image = bundle(name, keys, seed, measured_us, settle)
    log = OUT / f"{name}-{hashlib.sha256(image.read_bytes()).hexdigest()[:12]}.log"
    if not keep or not log.exists() or not is_whole(log.read_text(errors="replace")):
        log.unlink(missing_ok=True)
        boot(name, image, log)
    image.unlink()
    return values_of(log.read_text(errors="replace"), keys)


def require_qemu() -> str:
    version = subprocess.run([QEMU, "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    if not re.search(r"version [78]\.", version):
        sys.exit(f"bench-sched-hyp: {QEMU} is {version or 'not there'}; it must be Debian 12's (7.2): CPUs' turns are unequal from 10 on")
    return version


# ---- the simulator ----

def scenario(workload: str, queue: int) -> dict:
    daemon = {"threads": [{"name": "daemon", "count": 4, "bound": True, "steps": [
        {"sleep_us": DAEMONS["sleep_us"], "spread": "exponential"}, {"compute_us": DAEMONS["run_us"], "spread": "exponential"}]}]}
    hog = {"threads": [{"name": "hog", "count": 4, "bound": True, "steps": [{"compute_us": 1000}]}]}
    return SIMULATED | {"instances": [
        {"name": workload, "vcpus": 4, "measured": True, "workload": MODELS[workload]},
        {"name": "hog", "vcpus": 4, "count": queue - 1, "workload": hog},
        {"name": "daemon", "vcpus": 4, "count": DAEMONS["instances"], "workload": daemon}]}


def simulate(workload: str, queue: int, seeds: int) -> dict[Key, list[dict]]:
    file = OUT / f"{workload}_q{queue}.json"
    file.write_text(json.dumps(scenario(workload, queue), indent=1))
    done = subprocess.run([SIMULATOR, file, "--policy", ",".join(POLICIES), "--seeds", str(seeds), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"the simulator, {file}: {done.stderr.strip()}")
    found: dict[Key, list[dict]] = {(workload, queue, policy): [] for policy in POLICIES}
    for result in json.loads(done.stdout):
        found[workload, queue, result["policy"]].append(result)
    return found


# ---- both in the same terms: for a second of work done ----

def of_board(key: Key, said: dict[str, int]) -> dict[str, float]:
    work_s = said["steps"] * compute_us(key[0]) / 1e6
    ticks = {name: said[name] * TICK_NS / 1e9 / work_s for name in ("lost", "lost_to_next", "spun", "barrier")}
    return ticks | {"preempted": said["preempted"] / work_s, "seconds": MEASURED_US * TICKS_PER_US * TICK_NS / 1e9 / work_s, "moves": said["moves"] / work_s,
                    "lends": said["lends"] / work_s}


def of_simulator(key: Key, result: dict) -> dict[str, float]:
    measured = result["instances"][0]
    work_s = measured["done"] * compute_us(key[0]) / 1e6
    names = {"lost": "lost_to_holder_s", "lost_to_next": "lost_to_waiter_s", "spun": "lock_spin_s", "barrier": "barrier_spin_s",
             "preempted": "holders_preempted"}
    return {ours: measured.get(theirs, 0) / work_s for ours, theirs in names.items()} | {
        "seconds": result["virtual_s"] / work_s, "moves": result["moves"] / work_s, "lends": result["far_detections"] / work_s}


def all_lost(rates: dict[str, float]) -> float:
    return rates["lost"] + rates["lost_to_next"]


def saved(found: dict[Key, list[dict]], other: str, workloads: list[str], queues: list[int], rate) -> list[float]:
    """1 - t_SBCO / t_other, seed by seed. Each workload counts by what it takes under DFT, in the middle of the seeds."""
    def together(policy: str, seed: int) -> float:
        return sum(sum(rate(found[workload, queue, policy][seed]) for queue in queues) / weight[workload] for workload in workloads)

    seeds = range(len(next(iter(found.values()))))
    weight = {workload: statistics.median(sum(rate(found[workload, queue, "dft"][seed]) for queue in queues) for seed in seeds) or 1
              for workload in workloads}
    pairs = [(together("sbco", seed), together(other, seed)) for seed in seeds]
    return [1 - ours / theirs if theirs else 0.0 if not ours else -1.0 for ours, theirs in pairs]


def figures(board: dict[Key, list[dict]], simulator: dict[Key, list[dict]], checks: dict[str, int]) -> list[dict]:
    out = []

    def add(name: str, values: list[float], modelled: list[float], reach: float | None, how: str):
        entry = {"name": name, **middle(values), "unit": "fraction", "reach": reach}
        if reach is not None:
            entry |= {"relation": "at least", "reached": entry["value"] >= reach}
        out.append(entry | {"simulator": middle(modelled), "how": how})

    def both(name: str, other: str, workloads: list[str], queues: list[int], rate, reach: float | None, how: str):
        add(name, saved(board, other, workloads, queues, rate), saved(simulator, other, workloads, queues, rate), reach, how)

    for other, reach in (("bal", 0.30), ("dft", 0.60)):
        both(f"lhp_vs_{other}", other, LOCKING, [8, 12], all_lost, reach,
             "waiters' time lost to a holder, or next in line, that does not run; lock, ticket and pipeline, queues of 8 and 12")
        both(f"lhp_vs_{other}_holder", other, LOCKING, [8, 12], lambda at: at["lost"], None, "of it, to holders only")
        for workload, queue in itertools.product(LOCKING, QUEUES):
            both(f"lhp_vs_{other}_{workload}_q{queue}", other, [workload], [queue], all_lost, None, f"{workload}, queue of {queue}")
        for workload, queue in itertools.product(WORKLOADS, QUEUES):
            both(f"time_vs_{other}_{workload}_q{queue}", other, [workload], [queue], lambda at: at["seconds"], None,
                 f"time for the same work, {workload}, queue of {queue}")
    hows = {"alone_preempted": "holders found preempted with one vCPU on each CPU", "not_repeated": "values of a run made twice that differ"}
    for name, value in checks.items():
        out.append({"name": name, "value": value, "unit": "values", "reach": 0, "relation": "at most",
                    "reached": value == 0, "how": hows[name]})
    return out


def summary(found: dict[Key, list[dict]]) -> dict:
    return {f"{workload}_q{queue}": {policy: {name: middle([at[name] for at in found[workload, queue, policy]])
                                              for name in found[workload, queue, policy][0]} for policy in POLICIES}
            for workload, queue in itertools.product(WORKLOADS, QUEUES)}


# ---- all ----

def check_measure() -> dict[str, int]:
    """What is known beforehand: alone nobody is preempted; the same run gives the same values."""
    alone = [(workload, 1, "sbco") for workload in WORKLOADS]
    crowd = [("ticket", 8, policy) for policy in POLICIES]
    first, second = (run(f"check-{n}", alone + crowd, 1, 20_000) for n in (1, 2))
    return {"alone_preempted": sum(first[key]["preempted"] + first[key]["handed"] for key in alone),
            "not_repeated": sum(first[key][name] != second[key][name] for key in first for name in first[key])}


def measure(seeds: int, keep: bool, workers: int) -> dict[Key, list[dict]]:
    """Policies follow one another in another order with each seed: where a policy stands, and what the one before it leaves
    behind, meets all alike."""
    def one(seed: int) -> dict[Key, dict[str, int]]:
        order = random.Random(seed).sample(POLICIES, len(POLICIES))
        keys = [(workload, queue, policy) for policy in order for workload in WORKLOADS for queue in QUEUES]
        return run(f"seed-{seed}", keys, seed, MEASURED_US, settle=True, keep=keep)

    begin = time.monotonic()
    found: dict[int, dict[Key, dict[str, int]]] = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(one, seed): seed for seed in range(1, seeds + 1)}
        for count, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            found[jobs[job]] = job.result()
            print(f"[bench] {count}/{seeds} seeds, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return {key: [of_board(key, found[seed][key]) for seed in sorted(found)] for key in itertools.product(WORKLOADS, QUEUES, POLICIES)}


def model(seeds: int, workers: int) -> dict[Key, list[dict]]:
    found: dict[Key, list[dict]] = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for part in pool.map(lambda at: simulate(*at, seeds), itertools.product(WORKLOADS, QUEUES)):
            found |= {key: [of_simulator(key, result) for result in results] for key, results in part.items()}
    return found


def print_tables(result: dict):
    print(f"{'for a second of work':<22} {'holders preempted':>24} {'lost to them, s':>20} {'to next in line, s':>20} {'takes, s':>20}")
    print(f"{'':<22} {'board':>14} {'sim':>9} {'board':>10} {'sim':>9} {'board':>10} {'sim':>9} {'board':>10} {'sim':>9}")
    for name, by_policy in result["board"].items():
        for policy in POLICIES:
            ours, theirs = by_policy[policy], result["simulator"][name][policy]
            cells = [f"{at[what]['value']:>{width}.{digits}f}" for what, digits, first in
                     (("preempted", 0, 14), ("lost", 3, 10), ("lost_to_next", 3, 10), ("seconds", 2, 10)) for at, width in ((ours, first), (theirs, 9))]
            print(f"{name + ' ' + policy:<22} {' '.join(cells)}")
    print(f"\n{'SBCO saves':<30} {'board':>9} {'95 % interval':>21} {'reach':>6}   simulator (!: not reached)")
    for at in result["figures"]:
        reach = "" if at["reach"] is None else f"{at['reach']:g}"
        modelled = f"{at['simulator']['value']:.3f} {interval(at['simulator'], '.3f')}" if "simulator" in at else ""
        print(f"{at['name']:<30} {at['value']:>9.3f} {interval(at, '.3f'):>21} {reach:>6} {'' if at.get('reached', True) else '!':1} {modelled}")
    print(f"bench-sched-hyp: {RESULT}")


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", type=int, default=30, help="runs of each experiment under each policy (default: %(default)s)")
    words.add_argument("--jobs", type=int, default=os.cpu_count(), help="boards at a time (default: one a CPU)")
    words.add_argument("--keep", action="store_true", help="go on where a run of the same programs was interrupted")
    chosen = words.parse_args()
    if min(chosen.seeds, chosen.jobs) < 1:
        words.error("--seeds and --jobs: at least 1")
    for file in (HYPERVISOR, HOST, MAKE_BUNDLE, SIMULATOR):
        if not file.exists():
            sys.exit(f"bench-sched-hyp: there is no {file}: build it first (toolchain/build.sh bench-sched-hyp)")
    version = require_qemu()
    try:
        checks = check_measure()
        simulator = model(chosen.seeds, chosen.jobs)
        board = measure(chosen.seeds, chosen.keep, chosen.jobs)
    except Failed as error:
        sys.exit(f"bench-sched-hyp: {error}")
    result = {"seeds": chosen.seeds, "qemu": version, "figures": figures(board, simulator, checks), "board": summary(board), "simulator": summary(simulator)}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print_tables(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
