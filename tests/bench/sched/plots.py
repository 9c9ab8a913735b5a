#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws build/bench/sched.json: PNG and SVG beside it, each with a text that says by how much and why it differs from what
the dissertation published."""

import json
import pathlib
import textwrap

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

OUT = pathlib.Path(__file__).resolve().parents[3] / "build" / "bench"
COLOURS = {"dft": "#8c8c8c", "bal": "#4c72b0", "procco": "#dd8452", "cpuco": "#c44e52", "sbco": "#55a868", "sbco-text": "#8172b3"}

# Why; by how much is put before it from the values. Each names what it was seen from.
WHY = {
    "published": "Why: among those about equal SBCO lets who has a running sibling go first; siblings overlap, as far as a lag of 25 ms allows. "
                 "Lending alone brings a far pair of siblings towards the middle of their queues and no further. Overlap costs short turns, "
                 "hence more switches. Where locks are handed over in order (light), waiting is so dear that every overlap counts.",
    "completion": "Why: in dedup every unmapping waits until all siblings have run, so overlap decides; SBCO as the text has it (sbco-text) only "
                  "lends, which makes the longest of these waits longer. DFT loses next to nothing by stacking, because our DFT evens out the "
                  "queues at the end of every turn. The two co-schedulers, which force siblings on, gain most, and lag most.",
    "locks": "Why: where locks are served in order, one is handed to a waiter that does not run, and all others spin until it does. Linux has "
             "such locks from 2.6.25, and on ARM; CentOS 5.4, which the dissertation names, comes with 2.6.18. How many locks there are and how "
             "many holdings concern siblings changes little beside that.",
    "jbb": "Why: SPECjbb's kernel locks are held for 0.05 % of the time, and our model of its Java machine stops the world five times a second: "
           "scheduling has next to nothing to lose or to win. What else its threads waited for the dissertation does not say.",
    "scalability": "Why: as dedup with a queue of 8: what a call to all siblings costs grows with the queue; SBCO lets more siblings run at once.",
    "calibration": "These are inputs. How much else runs on the host was fitted to kernbench's stacking; the rest follows.",
    "distance": "Lending (sbco-text) makes far pairs rarer; joining running siblings (sbco) and the co-schedulers bring siblings near each other.",
    "lag": "Why: under DFT, siblings that stack by chance stay so and share their queues with other daemons, which adds up in a long window; "
           "about 20 ms would need queues that nothing disturbs. The co-schedulers pay for their overlap with twice the lag of SBCO.",
}


def errors(values: list[dict]) -> list[list[float]]:
    """Of bars; none where there are too few runs for an interval."""
    return [[abs(at["value"] - at.get(end, at["value"])) for at in values] for end in ("low", "high")]


def save(figure, name: str, text: str) -> None:
    figure.text(0.02, -0.02, textwrap.fill(text, 125 if figure.get_figwidth() > 9 else 100), va="top", fontsize=8)
    for kind in ("png", "svg"):
        figure.savefig(OUT / f"sched-{name}.{kind}", bbox_inches="tight", dpi=110, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def difference(figures: dict, names: dict[str, float]) -> str:
    return "; ".join(f"{name} {figures[name]['value']:+.1%} (published {value:+.0%})" for name, value in names.items()) + ". "


def published_figures(data: dict, figures: dict) -> None:
    names = {"kernbench_vs_dft": 0.14, "kernbench_vs_bal": 0.06, "dedup_vs_dft_q8": 0.68, "dedup_vs_dft_q12": 0.70, "dedup_vs_bal": 0.07,
             "sc_vs_dft": 0.52, "sc_vs_bal": 0.09, "light_vs_bal": 0.0, "jbb_vs_procco": 0.06, "jbb_vs_bal": 0.04, "switches_vs_dft": 0.03,
             "scal_vs_dft": 0.61}
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    at = range(len(names))
    axes.bar([x - 0.27 for x in at], list(names.values()), 0.27, label="dissertation", color="#cccccc")
    for shift, suffix, label, colour in ((0, "", "simulator", "#55a868"), (0.27, "_ticket", "simulator, guests with locks in order", "#a8d5b5")):
        there = [(x + shift, figures[name + suffix]) for x, name in enumerate(names) if name + suffix in figures]
        axes.bar([x for x, _ in there], [v["value"] for _, v in there], 0.27, label=label, color=colour,
                 yerr=errors([v for _, v in there]))
    axes.set_xticks(list(at), list(names), rotation=35, ha="right")
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_ylabel("improvement by SBCO, fraction")
    axes.legend(loc="upper center")
    save(figure, "published", difference(figures, names) + WHY["published"])


def completion(data: dict, figures: dict) -> None:
    names = ["kernbench_1vm", "kernbench_3vm", "dedup_q8", "dedup_q12", "streamcluster_q8", "x264_q8", "facesim_q8", "ferret_q8"]
    relative(data, names, "seconds", "completion time, DFT = 1", "completion",
             difference(figures, {"dedup_vs_bal": 0.07, "sc_vs_bal": 0.09, "light_vs_bal": 0.0}) + WHY["completion"])


def relative(data: dict, names: list[str], what: str, label: str, name: str, text: str) -> None:
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    for i, policy in enumerate(COLOURS):
        there = [(x, {end: value / data["experiments"][n]["dft"][what]["value"] for end, value in data["experiments"][n][policy][what].items()})
                 for x, n in enumerate(names) if policy in data["experiments"][n]]
        axes.bar([x + (i - 2.5) * 0.14 for x, _ in there], [v["value"] for _, v in there], 0.14, label=policy, color=COLOURS[policy],
                 yerr=errors([v for _, v in there]))
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    axes.set_ylabel(label)
    axes.legend(ncols=6, fontsize=8)
    save(figure, name, text)


def scalability(data: dict, figures: dict) -> None:
    figure, (any_order, in_order) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    queues = [n for n in range(32) if f"scal_{n}" in data["experiments"]]
    for axes, suffix, title in ((any_order, "", "locks in any order"), (in_order, "_ticket", "locks in order")):
        for policy, colour in COLOURS.items():
            runs = [data["experiments"][f"scal_{n}{suffix}"].get(policy) for n in queues]
            if all(runs):
                axes.plot([n + 1 for n in queues], [run["seconds"]["value"] for run in runs], marker="o", label=policy, color=colour)
        axes.set_title(title)
        axes.set_xlabel("length of the queues")
        axes.set_ylabel("dedup, s")
        axes.set_yscale("log")
        axes.legend(fontsize=8)
    save(figure, "scalability", difference(figures, {"scal_vs_dft": 0.61, "scal_vs_dft_ticket": 0.61}) + WHY["scalability"])


def calibration(data: dict) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    rows = data["calibration"]
    axes.bar([x - 0.2 for x in range(len(rows))], [row["published"] for row in rows], 0.4, label="dissertation", color="#cccccc")
    axes.bar([x + 0.2 for x in range(len(rows))], [row["value"] for row in rows], 0.4, label="simulator, DFT", color=COLOURS["dft"],
             yerr=errors(rows))
    axes.set_xticks(range(len(rows)), [row["name"] for row in rows], rotation=35, ha="right")
    axes.set_ylabel("probability")
    axes.legend()
    values = "; ".join(f"{row['name']} {row['value']:.2f} (published {row['published']:.2f})" for row in rows)
    save(figure, "calibration", values + ". " + WHY["calibration"])


def distances(data: dict) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for policy in COLOURS:
        counts = data["experiments"]["dedup_q8"][policy]["distances"]
        axes.plot(range(len(counts)), [count / sum(counts) for count in counts], marker="o", label=policy, color=COLOURS[policy])
    axes.set_xlabel("scheduling distance of dedup's vCPUs, queues of 8")
    axes.set_ylabel("share of samples")
    axes.legend()
    save(figure, "distance", WHY["distance"])


def lag(data: dict, figures: dict) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for i, policy in enumerate(COLOURS):
        found = data["experiments"]["fairness"][policy]["lags"]
        axes.bar([x + (i - 2.5) * 0.14 for x in range(len(found))], [v["value"] for v in found.values()], 0.14, label=policy, color=COLOURS[policy])
    axes.axhspan(15, 25, color="#cccccc", alpha=0.5, label="dissertation")
    axes.set_xticks(range(3), ["1 s", "5 s", "120 s"])
    axes.set_yscale("log")
    axes.set_ylabel("largest lag between two VMs, ms")
    axes.legend(ncols=3, fontsize=8)
    ours, theirs = figures["lag_ms"]["value"], figures["lag_ms_dft"]["value"]
    save(figure, "lag", f"SBCO {ours:.1f} ms (published 15 to 25), DFT {theirs:.0f} ms (published about 20). " + WHY["lag"])


def main() -> None:
    data = json.loads((OUT / "sched.json").read_text())
    figures = {figure["name"]: figure for figure in data["figures"]}
    published_figures(data, figures)
    completion(data, figures)
    relative(data, ["kernbench_3vm", "kernbench_3vm_ticket", "kernbench_3vm_1_lock", "kernbench_3vm_128_locks", "kernbench_3vm_half_shared",
                    "dedup_q8_ticket", "dedup_q12_ticket"], "seconds", "completion time, DFT = 1", "locks",
             difference(figures, {"kernbench_vs_dft_ticket": 0.14, "kernbench_vs_bal_ticket": 0.06, "dedup_vs_dft_q8_ticket": 0.68,
                                  "dedup_vs_dft_q12_ticket": 0.70, "dedup_vs_bal_ticket": 0.07}) + WHY["locks"])
    relative(data, [name for name in data["experiments"] if name.startswith("jbb_")], "done_per_s", "throughput, DFT = 1", "jbb",
             difference(figures, {"jbb_vs_procco": 0.06, "jbb_vs_bal": 0.04}) + WHY["jbb"])
    scalability(data, figures)
    calibration(data)
    distances(data)
    lag(data, figures)
    print(f"bench-sched: plots in {OUT}/sched-*.png and .svg")


if __name__ == "__main__":
    main()
