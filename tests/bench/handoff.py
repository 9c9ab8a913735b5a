#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of a hand-over, measured on the emulated phone and a cloud on this machine. Writes build/bench/handoff.json
(a list of objects with name, value, unit, how) and prints a table. Called by `make bench`.

Times are wall clock on an emulated board: they compare steps of one run, they say nothing about silicon.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import rig as rigs  # noqa: E402

OUT = rigs.ROOT / "build" / "bench" / "handoff.json"
HYPERVISOR = rigs.ROOT / "build" / "hyp" / "hyp" / "amphion-hyp-qemu-virt.bin"
PAGE_OF_TEXT = "\n".join(["All work and no play makes Jack a dull boy, again and again."] * 30) + "\n"
INSTANCE = {"vcpus": 4, "vcpus_allowed": 2, "memory_mib": 512, "bound_mib": 160}


class Bench:
    def __init__(self, rig: rigs.Rig):
        self.rig = rig
        self.rows: list[dict] = []

    def add(self, name: str, value: float, unit: str, how: str):
        self.rows.append({"name": name, "value": round(value, 3), "unit": unit, "how": how})
        print(f"{name:38} {round(value, 3):>14,} {unit:6} {how}", flush=True)

    def boot(self):
        begin = time.monotonic()
        self.rig.power_on()
        how = "wall clock from the start of the board's QEMU until {}"
        for name in ("personal", "work"):
            # phoned logs this line when the hypervisor has been told to run the instance.
            self.rig.wait(f"{name} to start", lambda: f"{name}: starts," in self.rig.phone_log())
            self.add(f"reset_to_first_instruction_{name}", time.monotonic() - begin, "s",
                     how.format("phoned logs that the instance runs"))
        self.rig.wait_for_phoned()
        for name in ("personal", "work"):
            self.rig.amphion("switch", name)
            self.rig.wait_screen(f"{name} login:")
            self.add(f"reset_to_login_{name}", time.monotonic() - begin, "s", how.format("the login is on its screen"))

    def compute(self, console: rigs.Console) -> float:
        begin = float(console.run("cut -d' ' -f1 /proc/uptime"))
        console.run("dd if=/dev/zero bs=1M count=128 2>/dev/null | openssl dgst -sha256 >/dev/null")
        return float(console.run("cut -d' ' -f1 /proc/uptime")) - begin

    def move(self, command: str, name: str):
        answer = self.rig.ask(command, "work")
        how = f"amphion {command} work --json"
        self.add(f"{name}_total", answer["total_ms"] / 1000, "s", how)
        self.add(f"{name}_stopped", answer["stopped_ms"] / 1000, "s", how + ": from the order to stop to the commit")
        self.add(f"{name}_raw", answer["raw_bytes"], "bytes", how + ": contents before compression, zeros excluded")
        self.add(f"{name}_sent", answer["sent_bytes"], "bytes", how + ": messages as encoded, before TLS")

    def run(self):
        self.boot()
        self.rig.connected()
        with self.rig.console("work") as console:
            at_home = self.compute(console)
        self.move("dock", "first_dock")
        with self.rig.console("work") as console:
            in_cloud = self.compute(console)
        self.move("undock", "undock")
        with self.rig.console("work") as console:
            for line in PAGE_OF_TEXT.splitlines():
                console.run(f"echo '{line}' >>/root/page")
        self.move("dock", "second_dock")
        self.rig.ask("undock", "work")
        both = "openssl SHA-256 of 128 MiB by the instance's clock; both are emulated here"
        self.add("compute_phone", at_home, "s", both)
        self.add("compute_clone", in_cloud, "s", both)
        self.add("gain", at_home / in_cloud, "ratio", "compute_phone / compute_clone; " + both)
        self.add("hypervisor_image", HYPERVISOR.stat().st_size, "bytes", "raw image")
        sources = sorted((rigs.ROOT / "hyp").glob("*.[hcS]*"))
        lines = sum(is_code(line) for source in sources for line in source.read_text().splitlines())
        self.add("hypervisor_code", lines, "lines", "hyp/*, neither blank nor only a comment")


def is_code(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("//")


def main() -> int:
    with rigs.Rig() as rig:
        bench = Bench(rig)
        rig.make_certificates()
        rig.start_cloud()
        rig.make_phone(rigs.configuration(rig.cloud_port, {"personal": INSTANCE, "work": INSTANCE}))
        bench.run()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(bench.rows, indent=2) + "\n")
    print(f"written: {OUT.relative_to(rigs.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
