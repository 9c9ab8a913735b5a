#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of a hand-over, measured on the emulated phone and a cloud on this machine. Writes build/bench/handoff.json
(a list of objects with name, value, unit, how, and with min, max and runs where value is the median of several) and prints a
table. Called by `make bench`; `--runs N` boots N phones (default 3).

Times are wall clock on an emulated board: they compare steps of one run, they say nothing about silicon.
"""

import argparse
import json
import pathlib
import re
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import rig as rigs  # noqa: E402

OUT = rigs.ROOT / "build" / "bench" / "handoff.json"
HYPERVISOR = rigs.ROOT / "build" / "hyp" / "hyp" / "amphion-hyp-qemu-virt.bin"
PAGE_OF_TEXT = "all work and no play makes jack a dull boy, again and again.\n" * 30
INSTANCE = {"vcpus": 4, "vcpus_allowed": 2, "memory_mib": 512, "bound_mib": 160}
INSTANCES = ("personal", "work")
SHA_MIB = 128
CLOUD_REPORT = re.compile(r"work: dock of generation \d+ committed after .* \(stopped ([0-9.]+) s\)")


class Figures:
    """Samples by name, in the order in which they were first taken."""

    def __init__(self):
        self.samples: dict[str, list[float]] = {}
        self.facts: dict[str, tuple[str, str]] = {}

    def add(self, name: str, value: float, unit: str, how: str):
        self.samples.setdefault(name, []).append(value)
        self.facts[name] = (unit, how)

    def rows(self) -> list[dict]:
        out = []
        for name, values in self.samples.items():
            unit, how = self.facts[name]
            row = {"name": name, "value": round(statistics.median(values), 3), "unit": unit, "how": how}
            if len(values) > 1:
                row |= {"min": round(min(values), 3), "max": round(max(values), 3), "runs": len(values)}
            out.append(row)
        return out


class Phone:
    """One phone from its reset through two docks and undocks."""

    def __init__(self, rig: rigs.Rig, figures: Figures):
        self.rig = rig
        self.add = figures.add
        self.docks = 0

    def logged(self, text: str, limit_s: float = rigs.LIMIT_S):
        end = time.monotonic() + limit_s
        while text not in self.rig.phone_log():
            if time.monotonic() > end:
                raise rigs.RigError(f"the phone's console does not say '{text}'")
            time.sleep(0.005)

    def boot(self):
        begin = time.monotonic()
        self.rig.power_on()
        how = "wall clock from the start of the board's QEMU, which resets the board, until {}"
        self.logged("starting the host instance")
        self.add("reset_to_host_instruction", time.monotonic() - begin, "s",
                 how.format("the hypervisor says on the console that it starts the host instance"))
        for name in INSTANCES:
            self.logged(f"{name}: starts,")
            self.add(f"reset_to_first_instruction_{name}", time.monotonic() - begin, "s",
                     how.format("phoned says on the console that the instance runs"))
        self.rig.wait_for_phoned()
        for name in INSTANCES:
            self.rig.amphion("switch", name)
            self.rig.wait_screen(f"{name} login:")
            self.add(f"reset_to_login_{name}", time.monotonic() - begin, "s",
                     how.format("its login is on the screen, looked at one instance after the other"))

    def compute(self) -> float:
        with self.rig.console("work") as console:
            begin = float(console.run("cut -d' ' -f1 /proc/uptime"))
            console.run(f"dd if=/dev/zero bs=1M count={SHA_MIB} 2>/dev/null | openssl dgst -sha256 >/dev/null")
            return float(console.run("cut -d' ' -f1 /proc/uptime")) - begin

    def move(self, command: str, name: str):
        answer = self.rig.ask(command, "work")
        how = f"amphion {command} work --json: "
        self.add(f"{name}_total", answer["total_ms"] / 1000, "s", how + "total_ms")
        if command == "dock":
            self.docks += 1
            reports = self.rig.wait("amphiond's report", self._reports)
            self.add(f"{name}_stopped", float(reports[-1]), "s", "amphiond's log: from the order to stop until the clone runs")
        else:
            self.add(f"{name}_stopped", answer["stopped_ms"] / 1000, "s",
                     how + "from the order to stop until the instance runs on the phone")
        self.add(f"{name}_raw", answer["raw_bytes"], "bytes", how + "contents before compression, blocks of zeros excluded")
        self.add(f"{name}_sent", answer["sent_bytes"], "bytes", how + "messages as encoded, before TLS")

    def _reports(self) -> list[str]:
        """Of all docks, or nothing: amphiond answers the phone before the clone runs, and logs after it."""
        reports = CLOUD_REPORT.findall(self.rig.cloud_log())
        return reports if len(reports) == self.docks else []

    def type_a_page(self):
        self.rig.amphion("switch", "work")
        for word, answer in (("root", "assword:"), ("amphion", r"work:.*[#$]"), ("cat >/root/page", "cat >/root/page")):
            self.rig.type(word + "\n")
            self.rig.wait_screen(answer)
        self.rig.type(PAGE_OF_TEXT)
        self.rig.key("ctrl-d")
        with self.rig.console("work") as console:
            self.rig.wait("the page in its file", lambda: int(console.run("wc -c </root/page")) == len(PAGE_OF_TEXT))

    def run(self):
        self.boot()
        self.rig.connected()
        at_home = self.compute()
        self.move("dock", "first_dock")
        in_cloud = self.compute()
        self.move("undock", "undock")
        self.type_a_page()
        self.move("dock", "second_dock")
        self.move("undock", "second_undock")
        both = f"openssl SHA-256 of {SHA_MIB} MiB, by the instance's clock; phone and clone are both emulated here"
        self.add("compute_phone", at_home, "s", both)
        self.add("compute_clone", in_cloud, "s", both)
        self.add("gain", at_home / in_cloud, "ratio", "compute_phone / compute_clone: " + both)


def measure_image(figures: Figures):
    figures.add("hypervisor_image", HYPERVISOR.stat().st_size, "bytes", "the raw image in the bundle")
    sources = sorted(file for file in (rigs.ROOT / "hyp").rglob("*") if file.suffix in (".cpp", ".hpp", ".h", ".S"))
    lines = sum(is_code(line) for source in sources for line in source.read_text().splitlines())
    figures.add("hypervisor_code", lines, "lines", "hyp/**/*.{cpp,hpp,h,S}, neither blank nor only a comment")


def is_code(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith(("//", "/*", "*"))


def print_table(rows: list[dict]):
    for row in rows:
        spread = f"({row['min']:,} to {row['max']:,}, {row['runs']} runs)" if "runs" in row else ""
        print(f"{row['name']:36} {row['value']:>14,} {row['unit']:6} {spread}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="phones booted one after the other")
    runs = parser.parse_args().runs
    figures = Figures()
    for run in range(runs):
        print(f"phone {run + 1} of {runs} ...", flush=True)
        with rigs.Rig() as rig:
            rig.make_certificates()
            rig.start_cloud()
            rig.make_phone(rigs.configuration(rig.cloud_port, dict.fromkeys(INSTANCES, INSTANCE)))
            Phone(rig, figures).run()
    measure_image(figures)
    rows = figures.rows()
    print_table(rows)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")
    print(f"how each was measured stands with it in {OUT.relative_to(rigs.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
