#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a decision of the scheduler costs, in ARM instructions: build/bench/sched-cost.json and a table.

sched-cost (cost.cpp) runs in QEMU's user-mode emulation, which logs each instruction; the difference of two counts of
decisions is the cost. A count repeats exactly and knows no caches: the times beside it are the PC's.
"""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
ARM = ROOT / "build/phone/tests/bench/sched/sched-cost"
PC = ROOT / "build/pc/tests/bench/sched/sched-cost"
OUT = ROOT / "build/bench/sched-cost.json"
FEW, MANY = 400, 1600


def instructions(*arguments):
    """Instructions of a whole run."""
    command = ["qemu-arm-static", "-singlestep", "-d", "nochain,exec", "-D", "/dev/stdout", str(ARM)]
    with subprocess.Popen(command + [str(one) for one in arguments], stdout=subprocess.PIPE) as process:
        count = sum(block.count(b"\nTrace") for block in iter(lambda: process.stdout.read(1 << 20), b""))
    if process.returncode != 0:
        sys.exit(f"sched-cost {arguments} ended with {process.returncode}")
    return count


def per_decision(*what):
    return (instructions(*what, MANY) - instructions(*what, FEW)) / (MANY - FEW)


def measure():
    """name -> instructions, of every case."""
    found = {f"{policy} {length}": per_decision("run", policy, length)
             for policy in ("dft", "sbco") for length in (2, 12, 1000)}
    found["goes on"] = per_decision("look", "sbco", 2)
    return found


def entries(found, times):
    """What goes into the JSON file."""
    def entry(name, value, unit, how):
        return {"name": name, "value": round(value, 3), "unit": unit, "how": how}
    return [
        entry("pick_1000_over_12", found["sbco 1000"] / found["sbco 12"], "ratio",
              "ARM instructions of a decision of SBCO, 1000 and 12 vCPUs queued on each of four CPUs"),
        entry("pick_over_dft", found["sbco 12"] / found["dft 12"], "ratio", "SBCO over DFT, 12 queued"),
        entry("pick_over_dft_q2", found["sbco 2"] / found["dft 2"], "ratio", "the same, 2 queued"),
        entry("pick_over_dft_q1000", found["sbco 1000"] / found["dft 1000"], "ratio", "the same, 1000 queued"),
        *(entry(f"pick_instructions_q{length}", found[f"sbco {length}"], "instructions", "a decision of SBCO")
          for length in (2, 12, 1000)),
        entry("pick_goes_on", found["goes on"], "instructions", "a pick after which the same vCPU runs on"),
        *(dict(one, name=one["name"] + "_time", how=one["how"] + "; in time, on this PC") for one in times
          if one["unit"] == "ratio"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for program in (ARM, PC):
        if not program.exists():
            sys.exit(f"{program.relative_to(ROOT)} is missing: run toolchain/build.sh bench-sched-cost")
    times = json.loads(subprocess.run([PC], check=True, capture_output=True).stdout)
    rows = entries(measure(), times)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")
    for row in rows:
        print(f"{row['name']:26} {row['value']:10.2f} {row['unit']:13} {row['how']}")
    print(f"written: {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
