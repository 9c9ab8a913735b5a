#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long Linux guests take for their work under each policy of the hypervisor's scheduler, in wall-clock time on an
emulated board with two CPUs: writes build/bench/sched-wall.json. tests/bench/README.md says what the figures mean."""

import argparse
import hashlib
import json
import os
import pathlib
import random
import shutil
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import rig as rigs  # noqa: E402
from simulate import interval, middle  # noqa: E402

PROGRAMS = rigs.CACHE / "bench-wall"
VERSIONS = rigs.CACHE / "stamps" / "bench-wall"
DISK = rigs.CACHE / "rootfs" / "guest-disk.ext4"
RESULT = ROOT / "build" / "bench" / "sched-wall.json"

POLICIES = ["dft", "bal", "procco", "cpuco", "sbco"]
CPUS, VCPUS, MEASURED, HOGS = 2, 4, "measured", ["hog1", "hog2", "hog3"]
SHAPE = {"vcpus": VCPUS, "vcpus_allowed": VCPUS, "memory_mib": 128, "bound_mib": 128, "network": "none"}
WORDS_MIB = 1
SETTLE_S = 1  # under a new policy before anything is measured: forty rounds of a queue of 8
LIMIT_S = 900  # says "it hangs", never "it is slow"
QUIET, QUIET_RUN = 0.02, 0.1  # share of the PC's CPUs that others may take, on average and in a run, before the table says that they did

PACK = "for n in $(seq {}); do cat /dev/shm/words; done | pigz -nm -p 4 -c"
LOOPS = 4
# A line of shell, and how often its work is done in one run: five to six seconds beside the hogs where the PC is quiet.
WORKLOADS = {
    # Eight senders and eight receivers, messages of 100 bytes over sockets: 16 processes that wake one another. Several times,
    # since one time takes twice as long as another, by how often they sleep.
    "hackbench": ("for n in $(seq {}); do hackbench -g 1 -f 8 -l 8 >/dev/null && echo done; done", 5),
    # One reads, four compress, one puts in order and writes, one digests, with short queues in between.
    "pipeline": (f"{PACK} | md5sum", 5),
    # Four processes that share nothing and call nobody.
    "free": (f"for n in $(seq {LOOPS}); do (i=0; while [ $i -lt {{}}000 ]; do i=$((i+1)); done; echo done) & done; wait", 12),
}


def tell(text: str):
    print(f"[bench] {text}", file=sys.stderr, flush=True)


# ---- the board ----

def words(mib: int) -> bytes:
    """Text of made-up words, always the same: pigz makes less than half of it."""
    dice = random.Random(1)
    vocabulary = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz", k=dice.randint(2, 10))) for _ in range(4096)]
    some = " ".join(dice.choices(vocabulary, k=(mib << 20) // 4)).encode()
    return some[:mib << 20]


def make_disk(folder: pathlib.Path) -> pathlib.Path:
    """The instances' usual disk with the programs and the text."""
    disk, text = folder / "guest-disk.ext4", folder / "words"
    shutil.copyfile(DISK, disk)
    disk.chmod(0o600)
    text.write_bytes(words(WORDS_MIB))
    places = {PROGRAMS / "hackbench": "/usr/bin/hackbench", PROGRAMS / "pigz": "/usr/bin/pigz",
              PROGRAMS / "libz.so.1": "/lib/arm-linux-gnueabihf/libz.so.1", text: "/root/words"}
    for file, place in places.items():
        for request in (f"write {file} {place}", f"set_inode_field {place} mode 0100755"):
            said = rigs.run("debugfs", "-w", "-R", request, disk).stderr
            if len(said.splitlines()) > 1:  # its version is the first line; it has no exit code
                raise rigs.RigError(f"debugfs, {request}: {said}")
    return disk


def boot(rig: rigs.Rig):
    rig.make_certificates()
    config = rigs.configuration(rig.cloud_port, dict.fromkeys([MEASURED, *HOGS], SHAPE)) | {"cloud": ""}
    for one in config["instances"]:
        one["cmdline"] = one["cmdline"].replace("console=tty0 ", "")  # nobody looks at a screen
    rig.make_phone(config, guest_disk=make_disk(rig.folder))
    rig.start_phone(CPUS)


def start_hogs(rig: rigs.Rig):
    """Each instance that is not measured computes on all of its vCPUs, for ever. The shells wait until all are there, so that
    none has to log in beside others that compute."""
    consoles = [rig.console(name) for name in HOGS]
    for console in consoles:
        console.run(f"for n in $(seq {VCPUS}); do sh -c 'while :; do :; done' & done")
    for console in consoles:
        console.close()


# ---- one run ----

def of_pc(pid: int) -> dict[str, float]:
    """CPU seconds since boot: of all programs, of the emulator, and stolen by the host of this machine if it is a virtual one."""
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    own = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    emulator = int(own[11]) + int(own[12])
    return {"emulator_s": emulator / tick, "others_s": (user + nice + system + irq + softirq - emulator) / tick,
            "steal_s": steal / tick}


def of_scheduler(rig: rigs.Rig) -> dict[str, float]:
    """Since boot: what all CPUs did, and the time of the measured instance's vCPUs and of the others'."""
    stats = rig.told_on_phone("amphion sched stats --json")
    counts = {key: sum(cpu[key] for cpu in stats["cpus"]) for key in ("switches", "moves", "lends", "debts", "stackings_avoided")}
    mine = [one for one in stats["vcpus"] if one["instance"] == MEASURED]
    hogs = [one for one in stats["vcpus"] if one["instance"] != MEASURED]
    return counts | {"run_s": sum(one["run_ns"] for one in mine) / 1e9, "wait_s": sum(one["wait_ns"] for one in mine) / 1e9,
                     "hogs_run_s": sum(one["run_ns"] for one in hogs) / 1e9}


def between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {key: round(after[key] - before[key], 6) for key in before}


class Bench:
    """Runs workloads under one policy after the other. The scheduler's counts are asked for between two runs."""

    def __init__(self, rig: rigs.Rig, console: rigs.Console, sizes: dict[str, int]):
        self.rig, self.console, self.sizes = rig, console, sizes
        self.pid = int((rig.phone_state / "pid").read_text())
        self.counts: dict[str, float] = {}
        console.run("set +m; cp /root/words /dev/shm/words")
        self.printed = {"hackbench": ["done"] * sizes["hackbench"], "pipeline": [self.packed(sizes["pipeline"])],
                        "free": ["done"] * LOOPS}

    def packed(self, times: int) -> str:
        """The digest of what pigz makes of the text, which must be all of the text again when it is unpacked."""
        said = self.console.run(PACK.format(times) + " >/dev/shm/packed; md5sum </dev/shm/packed; pigz -dc </dev/shm/packed | md5sum; "
                                "rm /dev/shm/packed", LIMIT_S)
        packed, unpacked = said.strip().splitlines()
        wanted = hashlib.md5(words(WORDS_MIB) * times).hexdigest()
        if unpacked.split()[0] != wanted:
            raise rigs.RigError(f"pigz in the instance does not give back the text, whose digest is {wanted}; it printed: {said}")
        return packed

    def choose(self, policy: str):
        now = self.rig.told_on_phone(f"amphion sched --policy {policy} --hand-over off --json")
        if now["policy"] != policy or now["hand_over"]:
            raise rigs.RigError(f"the phone was asked for {policy} without hand-over and has {now}")
        time.sleep(SETTLE_S)
        self.counts = of_scheduler(self.rig)

    def run(self, workload: str) -> dict[str, float]:
        """Its time by the instance's clock; by the PC's it includes the console's way."""
        line = WORKLOADS[workload][0].format(self.sizes[workload])
        pc, begin = of_pc(self.pid), time.monotonic()
        said = self.console.run(f"read from idle </proc/uptime; {line}; read to idle </proc/uptime; echo $from $to", LIMIT_S)
        by_pc = time.monotonic() - begin
        pc = between(pc, of_pc(self.pid))
        *printed, times = said.strip().splitlines()
        if printed != self.printed[workload]:
            raise rigs.RigError(f"{workload} has not done its work: it should print {self.printed[workload]} and printed: {said}")
        first, last = map(float, times.split())
        before, self.counts = self.counts, of_scheduler(self.rig)
        return {"seconds": round(last - first, 2), "seconds_by_pc": round(by_pc, 3)} | between(before, self.counts) | pc


def measure(bench: Bench, policies: list[str], rounds: int, workloads: list[str], order: random.Random) -> list[dict]:
    """Round 0 warms up. Policies follow one another in another order in each round, so that what the PC does meanwhile meets
    them alike."""
    found, begin = [], time.monotonic()
    for number in range(rounds + 1):
        for policy in order.sample(policies, len(policies)):
            bench.choose(policy)
            for workload in workloads:
                found.append({"round": number, "policy": policy, "workload": workload} | bench.run(workload))
                told = f"round {number} of {rounds}" if number else "warming up"
                tell(f"{told}, {policy}, {workload}: {found[-1]['seconds']:.2f} s; {time.monotonic() - begin:.0f} s in all")
    return found


# ---- figures ----

def values(runs: list[dict], workload: str, policy: str, what: str = "seconds") -> list[float]:
    """In the order of the rounds, without the one that warmed up."""
    return [run[what] for run in runs if run["workload"] == workload and run["policy"] == policy and run["round"] > 0]


def saved(runs: list[dict], workload: str, ours: str, theirs: str) -> list[float]:
    """The fraction of completion time that our policy saves, round by round."""
    return [1 - a / b for a, b in zip(values(runs, workload, ours), values(runs, workload, theirs))]


def apart(runs: list[dict], workload: str, ours: str, theirs: str) -> bool | None:
    """Whether our median is ahead and the medians' intervals do not meet. None: too few runs for intervals."""
    mine, other = (middle(values(runs, workload, policy)) for policy in (ours, theirs))
    return mine["high"] < other["low"] if "high" in mine and "low" in other else None


def figures(runs: list[dict]) -> list[dict]:
    wanted = [("wall_lock_vs_dft", "hackbench", "dft", 0.0), ("wall_lock_vs_bal", "hackbench", "bal", -0.02),
              ("wall_free_vs_dft", "free", "dft", -0.01), ("wall_pipeline_vs_dft", "pipeline", "dft", None),
              ("wall_pipeline_vs_bal", "pipeline", "bal", None), ("wall_free_vs_bal", "free", "bal", None)]
    out = []
    for name, workload, other, reach in wanted:
        if not (values(runs, workload, "sbco") and values(runs, workload, other)):
            continue
        entry = {"name": name, **middle(saved(runs, workload, "sbco", other)), "unit": "fraction", "reach": reach,
                 "apart": apart(runs, workload, "sbco", other)}
        if reach is not None:
            entry["relation"] = "above, and the medians' intervals apart" if name == "wall_lock_vs_dft" else "at least"
            entry["reached"] = entry["apart"] if name == "wall_lock_vs_dft" else entry["value"] >= reach
        out.append(entry | {"how": f"completion time of {workload} under SBCO against {other.upper()}, two CPUs"})
    return out


def summary(runs: list[dict]) -> dict:
    """Of each workload under each policy: medians with their intervals, and the extremes."""
    whats = [key for key in runs[0] if key not in ("round", "policy", "workload")]
    out: dict = {}
    for workload, policy in dict.fromkeys((run["workload"], run["policy"]) for run in runs):
        of_whats = {what: values(runs, workload, policy, what) for what in whats}
        out.setdefault(workload, {})[policy] = {what: middle(these) | {"least": min(these), "most": max(these)}
                                                for what, these in of_whats.items()}
    return out


def disturbed(runs: list[dict]) -> dict:
    """What else the PC did, as a share of its CPUs' time, and in how many runs that was much."""
    shares = {what: [run[what] / run["seconds_by_pc"] / os.cpu_count() for run in runs] for what in ("others_s", "steal_s", "emulator_s")}
    taken = map(sum, zip(shares["others_s"], shares["steal_s"]))
    return ({what.removesuffix("_s"): {"mean": statistics.mean(these), "most": max(these)} for what, these in shares.items()}
            | {"disturbed_runs": sum(one > QUIET_RUN for one in taken)})


# ---- what is told ----

def report(result: dict):
    print(f"{result['vcpus']} vCPUs on {CPUS} emulated CPUs of a PC with {os.cpu_count()}; medians of {result['runs']} runs and their 95 % intervals\n")
    columns = ["run_s", "wait_s", "hogs_run_s", "switches", "moves", "lends"]
    print(f"{'':17}{'seconds':>8}{'95 % interval':>18}{'extremes':>18}" + "".join(f"{what:>11}" for what in columns))
    for workload, by_policy in result["workloads"].items():
        for policy in (one for one in POLICIES if one in by_policy):
            row = by_policy[policy]
            took = row["seconds"]
            print(f"{workload:10} {policy:6}{took['value']:8.2f}{interval(took, '.2f'):>18}{took['least']:9.2f} ..{took['most']:6.2f}"
                  + "".join(f"{row[what]['value']:11,.{2 if what.endswith('_s') else 0}f}" for what in columns))
    print(f"\n{'SBCO saves':22}{'value':>9}{'95 % interval':>22}{'reach':>8}")
    for at in result["figures"]:
        verdict = {True: "reached", False: "NOT REACHED", None: ""}[at.get("reached")]
        reach = "" if at["reach"] is None else "apart" if "apart" in at.get("relation", "") else f"{at['reach']:g}"
        print(f"{at['name']:22}{at['value']:9.4f}{interval(at, '.4f'):>22}{reach:>8}  {verdict}")
    pc = result["pc"]
    print(f"\nof the PC's CPUs others took {pc['others']['mean']:.1%} (at most {pc['others']['most']:.1%} in a run), its own host "
          f"{pc['steal']['mean']:.1%} ({pc['steal']['most']:.1%}); {pc['disturbed_runs']} runs lost more than {QUIET_RUN:.0%}"
          + (": IT WAS NOT QUIET, these figures say little"
             if pc["disturbed_runs"] or pc["others"]["mean"] + pc["steal"]["mean"] > QUIET else ""))


def write(runs: list[dict], alone: dict, rounds: int):
    measured = [run for run in runs if run["round"] > 0]
    result = {"cpus": CPUS, "vcpus": VCPUS * (1 + len(HOGS)), "runs": rounds, "figures": figures(runs), "workloads": summary(runs),
              "alone": alone, "pc": disturbed(measured), "versions": dict(line.split(" ", 1) for line in VERSIONS.read_text().splitlines()[1:]),
              "every_run": runs}
    report(result)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"bench-sched-wall: {RESULT.relative_to(ROOT)}")


def main():
    words_of = argparse.ArgumentParser(description=__doc__)
    words_of.add_argument("--runs", type=int, default=10, help="of each workload under each policy (default: %(default)s)")
    words_of.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES, metavar="POLICY", help=f"of {', '.join(POLICIES)} (default: all)")
    words_of.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} (default: all)")
    words_of.add_argument("--short", action="store_true", help="little work a run, to see that it works")
    chosen = words_of.parse_args()
    if not PROGRAMS.exists():
        raise SystemExit("bench-sched-wall: its programs are not there: toolchain/bench-wall.sh")
    sizes = {name: 1 if chosen.short else size for name, (_, size) in WORKLOADS.items()}
    with rigs.Rig() as rig:
        tell("the board boots with four instances")
        boot(rig)
        with rig.console(MEASURED) as console:
            bench = Bench(rig, console, sizes)
            bench.choose("dft")
            tell("each workload alone, then the instances that compute beside it begin")
            alone = {workload: bench.run(workload) for workload in chosen.workloads}
            start_hogs(rig)
            runs = measure(bench, chosen.policies, chosen.runs, chosen.workloads, random.Random(1))
    write(runs, alone, chosen.runs)


if __name__ == "__main__":
    main()
