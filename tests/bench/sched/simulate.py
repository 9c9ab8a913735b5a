#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The experiments of the dissertation's chapter 4 in the simulator: writes build/bench/sched.json, and plots of it beside
it. tests/bench/README.md says what the figures mean, sched/sim/README.md what the models are made of."""

import argparse
import concurrent.futures
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
SIMULATOR = ROOT / "build" / "pc" / "sched" / "sbco-sim"
MODELS = ROOT / "sched" / "sim" / "scenarios" / "models"
OUT = ROOT / "build" / "bench" / "sched"
RESULT = ROOT / "build" / "bench" / "sched.json"

POLICIES = ["dft", "bal", "procco", "cpuco", "sbco", "sbco-text"]
# Linux 2.6.34's defaults for 8 CPUs: 5 ms and 1 ms times 1 + log2(8). What a switch costs: sched/sim/README.md.
HOST = {"cpus": 4, "latency_ms": 20, "granularity_ms": 4, "switch_us": 3, "warm_up_us": 20, "ipi_us": 2,
        "sample_ms": 10, "limit_s": 600}


# ---- experiments ----

def model(name: str) -> dict:
    return json.loads((MODELS / f"{name}.json").read_text())


def instance(name: str, count: int = 1, measured: bool = False, workload: dict | None = None) -> dict:
    return {"name": name, "vcpus": 4, "count": count, "measured": measured, "workload": workload or model(name)}


def scenario(measured: str, *others: dict, hogs: int = 0, workload: dict | None = None, host: bool = True, **words) -> dict:
    tasks = [{"name": "daemon", "count": 8, "workload": model("host")}] if host else []
    if hogs:
        tasks.append({"name": "hog", "count": hogs, "workload": model("hog")})
    return HOST | words | {"instances": [instance(measured, 1, True, workload), *others], "host_tasks": tasks}


def with_locks(name: str, order: str = "any", number: int = 16, share: float = 1) -> dict:
    changed = model(name)
    changed["lock_order"] = order
    for lock in changed["locks"]:
        lock["number"] = number
        lock["share"] *= share
    return changed


PARSEC = ["dedup", "streamcluster", "x264", "facesim", "ferret"]
WAREHOUSES, DISTURBING = [8, 12, 16], [1, 3, 5]
SCALABILITY = [3, 5, 7, 9, 11]  # four-thread processes beside dedup: queues of 4 to 12
TICKET = [("kernbench_1vm", 1, 0), ("kernbench_3vm", 3, 0), ("dedup_q8", 3, 16), ("dedup_q12", 7, 16),
          *((f"scal_{n}", n, 0) for n in SCALABILITY)]
FAIR = HOST | {"sample_ms": 8, "duration_s": 300, "windows_s": [1, 5, 120], "instances": [instance("npb", 4)]}


def experiments() -> dict[str, tuple[dict, list[str]]]:
    """Name: scenario, policies."""
    pi, some = "superpi", ["dft", "bal", "sbco", "sbco-text"]
    made = {f"kernbench_{n}vm": (scenario("kernbench", instance(pi, n)), POLICIES) for n in (1, 3)}
    for name in PARSEC:
        made[f"{name}_q8"] = scenario(name, instance(pi, 3), hogs=16), POLICIES
    made["dedup_q12"] = scenario("dedup", instance(pi, 7), hogs=16), POLICIES
    for warehouses, others in itertools.product(WAREHOUSES, DISTURBING):
        made[f"jbb_{warehouses}_{others}vm"] = scenario(f"specjbb-{warehouses}", instance(pi, others), duration_s=10), POLICIES
    for others in SCALABILITY:
        made[f"scal_{others}"] = scenario("dedup", instance(pi, others)), POLICIES
    made["fairness"] = FAIR | {"host_tasks": scenario("npb")["host_tasks"]}, POLICIES
    made["fairness_quiet"] = FAIR, POLICIES
    # Calibration: what the dissertation measured of plain fair scheduling.
    for others in (1, 2):
        made[f"stacking_kernbench_{others + 1}vm"] = scenario("kernbench", instance(pi, others)), ["dft"]
        made[f"stacking_jbb_{others + 1}vm"] = scenario("specjbb-8", instance(pi, others), duration_s=12), ["dft"]
    for queue in (6, 10):
        made[f"distance_kernbench_q{queue}"] = scenario("kernbench", instance(pi, queue - 1)), ["dft"]
        for name in PARSEC:
            made[f"distance_{name}_q{queue}"] = scenario(name, instance(pi, queue - 1)), ["dft"]
    # What the open inputs decide: how many locks, how many of the holdings concern siblings; and guests whose locks are
    # served in order.
    for name, workload in {"1_lock": with_locks("kernbench", number=1), "128_locks": with_locks("kernbench", number=128),
                           "half_shared": with_locks("kernbench", share=0.5)}.items():
        made[f"kernbench_3vm_{name}"] = scenario("kernbench", instance(pi, 3), workload=workload), some
    for name, others, hogs in TICKET:
        made[f"{name}_ticket"] = scenario(name.split("_")[0].replace("scal", "dedup"), instance(pi, others), hogs=hogs, limit_s=7200,
                                          workload=with_locks(name.split("_")[0].replace("scal", "dedup"), order="ticket")), some
    return made


# ---- running ----

def run(name: str, policy: str, seeds: int) -> tuple[str, str, list[dict]]:
    done = subprocess.run([SIMULATOR, OUT / f"{name}.json", "--policy", policy, "--seeds", str(seeds), "--json"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench-sched: {name}, {policy}: {done.stderr.strip()}")
    (OUT / f"{name}-{policy}.json").write_text(done.stdout)
    return name, policy, json.loads(done.stdout)


def run_all(chosen: dict, seeds: int) -> dict[str, dict[str, list[dict]]]:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (made, _) in chosen.items():
        (OUT / f"{name}.json").write_text(json.dumps(made, indent=1))
    work = [(name, policy) for name, (_, policies) in chosen.items() for policy in policies]
    found: dict[str, dict[str, list[dict]]] = {name: {} for name in chosen}
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for count, job in enumerate(concurrent.futures.as_completed([pool.submit(run, *at, seeds) for at in work]), 1):
            name, policy, results = job.result()
            found[name][policy] = results
            print(f"[bench] {count}/{len(work)} {name} {policy}, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    return found


# ---- figures ----

def middle(values: list[float]) -> dict:
    """Median, and its 95 % interval from the order of the values: no interval below six, whose extremes are not that far."""
    ordered, n = sorted(values), len(values)
    rank, below = 0, 0.0
    while (below := below + math.comb(n, rank) * 0.5**n) <= 0.025:
        rank += 1
    return {"value": statistics.median(ordered)} | ({"low": ordered[rank - 1], "high": ordered[n - rank]} if rank else {})


def interval(at: dict, form: str) -> str:
    return f"{at['low']:{form}} .. {at['high']:{form}}" if "low" in at else ""


def measured(result: dict) -> dict:
    return result["instances"][0]


def seconds(result: dict) -> float:
    """Until the work was done; a run that was cut off at limit_s counts as that long."""
    return measured(result).get("completed_s", result["virtual_s"])


def rate(result: dict) -> float:
    return measured(result)["done_per_s"]


def all_rates(result: dict) -> float:
    return sum(instance["done_per_s"] for instance in result["instances"])


def lost(result: dict) -> float:
    return measured(result).get("lost_to_holder_s", 0) + measured(result).get("lost_to_waiter_s", 0)


def shorter(found: dict, name: str, other: str, our: str = "sbco") -> list[float]:
    """Fraction of completion time that our policy saves, seed by seed."""
    return [1 - seconds(ours) / seconds(theirs) for ours, theirs in zip(found[name][our], found[name][other])]


def faster(found: dict, names: list[str], other: str, our: str = "sbco") -> list[float]:
    """Throughput that our policy gains, seed by seed, mean of the set-ups."""
    gains = [[rate(ours) / rate(theirs) - 1 for ours, theirs in zip(found[name][our], found[name][other])] for name in names]
    return [statistics.mean(of_seed) for of_seed in zip(*gains)]


def lags(found: dict, name: str, policy: str, window: int, figure: str = "maximal_ms") -> list[float]:
    return [result["lags"][window][figure] for result in found[name][policy]]


def deviation(values: list[float]) -> float:
    """Relative standard deviation."""
    return statistics.stdev(values) / statistics.mean(values) if any(values) else 0.0


def figures(found: dict) -> list[dict]:
    out = []

    def add(name: str, values: list[float], reach: float | None, published: str, how: str, unit: str = "fraction", most: bool = False):
        entry = {"name": name, **middle(values), "unit": unit, "reach": reach}
        if reach is not None:
            entry |= {"relation": "at most" if most else "at least",
                      "reached": entry["value"] <= reach if most else entry["value"] >= reach}
        out.append(entry | {"reference": published, "how": how})

    add("kernbench_vs_dft", shorter(found, "kernbench_3vm", "dft"), 0.14, "dissertation: 0.14", "completion time, three SuperPI VMs beside it")
    add("kernbench_vs_bal", shorter(found, "kernbench_3vm", "bal"), 0.06, "dissertation: 0.06", "the same")
    add("kernbench_vs_dft_1vm", shorter(found, "kernbench_1vm", "dft"), None, "dissertation: 0.14 with one and three", "one SuperPI VM beside it")
    add("kernbench_vs_bal_1vm", shorter(found, "kernbench_1vm", "bal"), None, "dissertation: 0.06 with one and three", "one SuperPI VM beside it")
    add("dedup_vs_dft_q8", shorter(found, "dedup_q8", "dft"), 0.68, "dissertation: 0.68", "completion time, queue of 8")
    add("dedup_vs_dft_q12", shorter(found, "dedup_q12", "dft"), 0.70, "dissertation: up to 0.70", "completion time, queue of 12")
    add("dedup_vs_bal", shorter(found, "dedup_q8", "bal"), 0.07, "dissertation: 0.07", "completion time, queue of 8")
    add("sc_vs_bal", shorter(found, "streamcluster_q8", "bal"), 0.09, "dissertation: 0.09", "completion time, queue of 8")
    add("sc_vs_dft", shorter(found, "streamcluster_q8", "dft"), 0.52, "dissertation: 0.52", "completion time, queue of 8")
    light = [statistics.mean(of_seed) for of_seed in zip(*(shorter(found, f"{name}_q8", "bal") for name in PARSEC[2:]))]
    add("light_vs_bal", light, -0.01, "dissertation: about equal", "x264, facesim, ferret, mean of the three, queue of 8")
    jbb = [f"jbb_{w}_{n}vm" for w, n in itertools.product(WAREHOUSES, DISTURBING)]
    add("jbb_vs_procco", faster(found, jbb, "procco"), 0.06, "dissertation: about 0.06", "throughput, mean of 8, 12, 16 warehouses with 1, 3, 5 VMs")
    add("jbb_vs_bal", faster(found, jbb, "bal"), 0.04, "dissertation: about 0.04", "the same")
    for others in DISTURBING:
        names = [f"jbb_{w}_{others}vm" for w in WAREHOUSES]
        add(f"jbb_vs_bal_{others}vm", faster(found, names, "bal"), None, "dissertation: more with more disturbance", f"{others} disturbing VMs")
    add("switches_vs_dft", [1 - ours["switches"] / theirs["switches"] for ours, theirs in
                            zip(found["kernbench_3vm"]["sbco"], found["kernbench_3vm"]["dft"])],
        0.03, "dissertation: at least 0.03", "context switches of the whole host until kernbench has ended")
    by_length = {others: shorter(found, f"scal_{others}", "dft") for others in SCALABILITY}
    best = max(by_length, key=lambda others: statistics.median(by_length[others]))
    add("scal_vs_dft", by_length[best], 0.61, "dissertation: up to 0.61", f"dedup, best of queues of 4 to 12: {best + 1}")
    together = [name for name in found if "sbco" in found[name]]
    add("stacked", [max(at["stacked_with_free"] for name in together for at in found[name]["sbco"][seed]["instances"])
                    for seed in range(len(found["fairness"]["sbco"]))],
        0, "dissertation, DFT: 0.20 to 0.43",
        "worst instance of all runs under SBCO: share of samples with siblings on one CPU and another free of them", most=True)
    for name, experiment in (("", "fairness"), ("_quiet", "fairness_quiet")):
        reach = None if name else 25.0
        for policy in ("sbco", "dft"):
            worst = [max(at) for at in zip(*(lags(found, experiment, policy, window) for window in range(3)))]
            ours = policy == "sbco"
            add(f"lag_ms{name}" + ("" if ours else "_dft"), worst, reach if ours else None,
                "dissertation: 15 to 25" if ours else "dissertation: about 20",
                "largest difference of two VMs' run time in windows of 1, 5, 120 s, one begun each second" + (", a host without daemons" if name else ""),
                "ms", True)
        spread = max(deviation(at) for at in (lags(found, experiment, "sbco", window) for window in range(3)))
        add(f"lag_rsd{name}", [spread], None if name else 0.15, "dissertation: 0.07 to 0.14",
            "standard deviation over mean of that largest difference, over seeds, worst window", "ratio", True)
    for policy in ("sbco", "bal", "sbco-text"):
        add("lag_anywhere_ms" + ("" if policy == "sbco" else f"_{policy}"),
            [max(at) for at in zip(*(lags(found, "fairness", policy, window, "anywhere_ms") for window in range(3)))], None, "",
            "the same of windows that begin every 8 ms: the largest of 125 times as many", "ms", True)
    for our in ("sbco", "sbco-text"):
        for other in ("dft", "bal"):
            add(("" if our == "sbco" else "text_") + f"npb_vs_{other}",
                [all_rates(ours) / all_rates(theirs) - 1 for ours, theirs in zip(found["fairness"][our], found["fairness"][other])],
                None, "", "steps of all four VMs of the fairness run" + ("" if our == "sbco" else ", SBCO as the text has it"))
    in_order = "guests whose locks are served in order, as Linux has them from 2.6.25, and on ARM"
    for name, experiment, other, published in (
            ("kernbench_vs_dft", "kernbench_3vm", "dft", 0.14), ("kernbench_vs_bal", "kernbench_3vm", "bal", 0.06),
            ("kernbench_vs_dft_1vm", "kernbench_1vm", "dft", 0.14), ("kernbench_vs_bal_1vm", "kernbench_1vm", "bal", 0.06),
            ("dedup_vs_dft_q8", "dedup_q8", "dft", 0.68), ("dedup_vs_dft_q12", "dedup_q12", "dft", 0.70), ("dedup_vs_bal", "dedup_q8", "bal", 0.07)):
        add(f"{name}_ticket", shorter(found, f"{experiment}_ticket", other), None, f"dissertation: {published}", in_order)
    add("switches_vs_dft_ticket", [1 - ours["switches"] / theirs["switches"] for ours, theirs in
                                   zip(found["kernbench_3vm_ticket"]["sbco"], found["kernbench_3vm_ticket"]["dft"])],
        None, "dissertation: at least 0.03", in_order)
    by_length = {others: shorter(found, f"scal_{others}_ticket", "dft") for others in SCALABILITY}
    best = max(by_length, key=lambda others: statistics.median(by_length[others]))
    add("scal_vs_dft_ticket", by_length[best], None, "dissertation: up to 0.61", f"{in_order}; best of queues of 4 to 12: {best + 1}")
    for other in ("dft", "bal"):
        for name in ("kernbench_3vm", "dedup_q8", "dedup_q12", "streamcluster_q8"):
            add(f"text_{name}_vs_{other}", shorter(found, name, other, "sbco-text"), None, "", "SBCO as the text has it, in SBCO's place")
    add("text_jbb_vs_bal", faster(found, jbb, "bal", "sbco-text"), None, "", "SBCO as the text has it, in SBCO's place")
    add("text_lag_ms", [max(at) for at in zip(*(lags(found, "fairness", "sbco-text", window) for window in range(3)))], None, "",
        "SBCO as the text has it, in SBCO's place", "ms", True)
    return out


def calibration(found: dict) -> list[dict]:
    published = {"stacking_kernbench_2vm": 0.3319, "stacking_kernbench_3vm": 0.4284, "stacking_jbb_2vm": 0.2025, "stacking_jbb_3vm": 0.3163,
                 "distance_kernbench_q6": 0.4236, "distance_kernbench_q10": 0.4821, "distance_parsec_q6": 0.4075, "distance_parsec_q10": 0.4513}
    out = []
    for name, value in published.items():
        what = "stacked" if name.startswith("stacking") else "far"
        names = [name.replace("parsec", at) for at in PARSEC] if "parsec" in name else [name]
        seeds = range(len(found[names[0]]["dft"]))
        values = [statistics.mean(measured(found[at]["dft"][seed])[what] for at in names) for seed in seeds]
        mean, error = statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))
        out.append({"name": name, "value": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error, "published": value})
    return out


def summary(found: dict) -> dict:
    """Medians of every experiment under every policy."""
    def of(results: list[dict]) -> dict:
        rows = {"seconds": seconds, "switches": lambda at: at["switches"], "run_s": lambda at: measured(at)["run_s"],
                "lost_to_preemption_s": lost, "call_spin_s": lambda at: measured(at).get("call_spin_s", 0),
                "stacked": lambda at: measured(at)["stacked"], "far": lambda at: measured(at)["far"]}
        if "done_per_s" in measured(results[0]):
            rows["done_per_s"] = rate
        table = {row: middle([get(at) for at in results]) for row, get in rows.items()}
        table["unfinished"] = sum(not at["complete"] for at in results)
        table["distances"] = [sum(column) for column in itertools.zip_longest(*(measured(at)["distances"] for at in results), fillvalue=0)]
        if "lags" in results[0]:
            table["lags"] = {str(lag["window_s"]): middle([at["lags"][i]["maximal_ms"] for at in results])
                             for i, lag in enumerate(results[0]["lags"])}
        return table
    return {name: {policy: of(by_policy[policy]) for policy in POLICIES if policy in by_policy} for name, by_policy in found.items()}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seeds", type=int, default=20, help="runs of each experiment under each policy (default: %(default)s)")
    chosen = words.parse_args()
    if not SIMULATOR.exists():
        raise SystemExit(f"bench-sched: {SIMULATOR} is not built: toolchain/build.sh pc")
    write(run_all(experiments(), chosen.seeds), chosen.seeds)


def write(found: dict, seeds: int) -> None:
    result = {"seeds": seeds, "figures": figures(found), "calibration": calibration(found), "experiments": summary(found)}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'figure':<28} {'value':>9} {'95 % interval':>21} {'reach':>6}   reference (!: not reached)")
    for at in result["figures"]:
        reach = "" if at["reach"] is None else f"{at['reach']:g}"
        missed = "" if at.get("reached", True) else "!"
        print(f"{at['name']:<28} {at['value']:>9.4f} {interval(at, '.4f'):>21} {reach:>6} {missed:1} {at['reference']}")
    for at in result["calibration"]:
        print(f"{at['name']:<28} {at['value']:>9.4f} {interval(at, '.4f'):>21} published {at['published']}")
    print(f"bench-sched: {RESULT}")


if __name__ == "__main__":
    main()
