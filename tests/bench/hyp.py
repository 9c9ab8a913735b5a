#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor costs, in instructions, beside Debian's Xen: writes build/bench/hyp.json and prints three tables.
tests/bench/README.md says what the figures mean.

QEMU counts: under icount with one physical CPU an instruction takes one nanosecond of the machine's clock, and a run
repeats to the byte. Caches, TLB misses and stage 2 walks cost nothing there.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion"))
QEMU = CACHE / "qemu-clone" / "bin" / "qemu-system-arm"
ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
KERNEL = CACHE / "kernel" / "zImage"
XEN = CACHE / "bench" / "xen"
VERSIONS = CACHE / "stamps" / "bench"  # of the packages that are measured or compared with
OUT = ROOT / "build" / "bench" / "hyp"
RESULT = ROOT / "build" / "bench" / "hyp.json"
GUESTS = ROOT / "build" / "hyp" / "tests" / "hyp"
IMAGE = ROOT / "build" / "hyp" / "hyp" / "amphion-hyp-qemu-virt.bin"

TREE = ROOT / "build" / "pc" / "tests" / "bench" / "hyp" / "hyp-tree"
GUEST_MIB = 128  # of every Linux that is measured
OTHER_MIB = (132, 136, 140, 144)  # other layouts of memory: the page allocator begins elsewhere
LAYOUTS = ["", *(f"-{mib}" for mib in OTHER_MIB)]  # as names of set-ups end
BOARD_MIB, HOST_MIB, GUESTS_MIB = 1024, 256, 2 * 192  # the board, of it the host (make-bundle), and figures.cpp's instances
START = 0x4020_0000  # where the bare machine's first instructions lie: behind QEMU's own device tree, below the kernel
XEN_MODULES = 0x7000_0000  # beside QEMU's tree and Xen itself: kernel and initramfs of Xen's domains

VIRT = "virt,gic-version=2,highmem=off,dtb-randomness=off"
DETERMINISTIC = ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
TICK_NS = 16  # of the board's counter, 62.5 MHz
GUEST_WORDS = "norandmaps panic=-1 cryptomgr.notests"
HOST_WORDS = f"console=ttyAMA0 quiet apparmor=0 audit=0 {GUEST_WORDS}"
LIMIT_S = 900  # says "it hangs", never "it is slow"

ALL = "operations,openssl,hackbench,sleep,kernel,serial,console"
QUIET_ALL = "operations,openssl,hackbench,sleep,kernel"  # no consoles: what stands beside says nothing either

# name, unit, to reach, Xen and Xvisor as measured earlier (HYP-FACTS; None: not measured), what it is
FIGURES = [
    ("null_hypercall", "instructions", 300, 541, 469, "PSCI_VERSION by HVC, loop included"),
    ("gicd_read", "instructions", 400, 753, 773, "GICD_TYPER, loop included"),
    ("self_ipi", "instructions", 900, 1789, None, "irq_work in Debian's kernel: SGI sent, taken, ended"),
    ("vm_switch", "instructions", 2500, 9493, None, "half a round trip of two instances that give way to each other"),
    ("vm_switch_vfp", "instructions", 2500, None, None, "the same, both computing with VFP in between"),
    ("irq_delivery", "instructions", None, None, None, "a device's level: from the host's call to the instance's handler"),
    ("irq_whole", "instructions", None, None, None, "the same until the handler has acknowledged and ended it"),
    ("sleep_1ms_excess", "instructions", 2000, 12542, 6342, "nanosleep of 1 ms, mean of 200, above the bare machine"),
    ("sleep_1ms_contended_ms", "ms", 1.2, 4.150, None, "the same beside an instance that spins, mean"),
    ("ipi_wait_busy_ms", "ms", 2, 20.0, None, "smp_call_function_single(wait) to a busy vCPU on the same CPU, longest of 50"),
    ("pl011_line", "instructions", 50000, 117876, 162972, "64 bytes to the serial port, drained"),
    ("vconsole_line", "instructions", 25000, 24584, None, "64 bytes to the paravirtual console (Xen: dom0's)"),
    ("device_access", "instructions", 15000, None, None, "a register that the device model in the host's user space answers"),
    ("doorbell", "instructions", 500, None, None, "QueueNotify of a virtio device, cost to the guest, shortest batch of 20"),
    ("memory_kept_bytes", "bytes", (2 << 20) + (GUESTS_MIB << 20) // 400, 15488 << 10, None,
     "neither the host's nor free nor guests', with two populated instances of 192 MiB; tables of 0.25 % of them added"),
    ("image_bytes", "bytes", 131072, 884744, 1535836, "the flat image, zeros included"),
    ("code_lines", "lines", 8000, None, None, "hyp/, sched/core/ and board/, neither blank nor comment"),
    ("boot_ms", "ms", 10, 263.4, None, "reset to the host's first instruction, without checking and copying the bundle"),
    ("boot_whole_ms", "ms", None, None, None, "the same with both, bundle of the usual size"),
    ("operations", "number", None, None, None, "unprivileged operations, of which the next rows show the worst"),
    ("worst_ratio", "ratio", 1.005, None, None, "instance over bare machine; of each operation the median of five layouts of memory"),
    ("worst_ratio_one_layout", "ratio", 1.005, 1.096, 1.251, "the same in the first layout only, as of Xen's domU and of Xvisor"),
    ("worst_ratio_any_layout", "ratio", None, None, None, "the same, worst of the five layouts"),
    ("host_worst_ratio", "ratio", None, None, None, "host instance over bare machine, one layout (Xen: dom0's)"),
    ("shifted_worst_ratio", "ratio", None, None, None, "bare machine with other layouts of memory over bare machine, worst: what layout alone does"),
    ("not_repeated", "values", 0, None, None, "values of the two set-ups that were run twice and differ"),
]
# Part of the tables and not of worst_ratio: what a device, a kernel or another program adds.
PRIVILEGED = {"empty_loop", "read_MIDR", "read_ID_MMFR3", "cntvct_read", "gicd_read_TYPER", "gicd_read_ISENABLER1",
              "gicd_write_ISENABLER0_0", "psci_version", "self_ipi", "device_access", "doorbell", "pl011_line", "vconsole_line",
              "sleep_1ms_best", "ipi_wait_busy"}
PROGRAMS = {"openssl_sha256_1KiB", "openssl_aes128gcm_1KiB", "openssl_rsa2048_sign", "openssl_rsa2048_verify", "hackbench"}


class Failed(Exception):
    """A set-up did not give its values; the text says which and where to look."""


# ---- running ----

def bundle(out: pathlib.Path, kernel: pathlib.Path, initrd: pathlib.Path | str, bootargs: str) -> pathlib.Path:
    subprocess.run([ROOT / "board/qemu-virt/bundle.sh", out, "--kernel", kernel, "--initrd", initrd, "--cpus", "1",
                    "--bootargs", bootargs], check=True, stdout=subprocess.DEVNULL)
    return out


def run(name: str, machine: str, *words, until: str | None = None) -> str:
    """Boots, waits for the machine to switch itself off or to say `until`, and returns what its serial port said."""
    log = OUT / f"{name}.log"
    begin = time.monotonic()
    with log.open("wb") as said:
        board = subprocess.Popen([*ENDS_WITH_US, QEMU, "-M", f"{VIRT},{machine}", "-cpu", "cortex-a7", "-smp", "1", "-nodefaults",
                                  "-display", "none", "-serial", "stdio", "-no-reboot", *DETERMINISTIC,
                                  *map(str, words)], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        try:
            while board.poll() is None and not (until and until in log.read_text(errors="replace")):
                if time.monotonic() - begin > LIMIT_S:
                    raise Failed(f"{name} has not ended after {LIMIT_S} s, see {log}")
                time.sleep(0.2)
        finally:
            board.kill()
            board.wait()
    text = log.read_text(errors="replace")
    if re.search(r"panic(?!=)", text) or (board.returncode != 0 and not (until and until in text)):
        raise Failed(f"{name} went wrong, see {log}")
    print(f"[bench] {name:<14} {time.monotonic() - begin:5.0f} s", file=sys.stderr, flush=True)
    return text


def linux_values(name: str, text: str) -> dict[str, float]:
    if "bench ends" not in text:
        raise Failed(f"{name} has not come to its end, see {OUT / name}.log")
    return {name: float(value) for name, value in re.findall(r"value (\w+) ([\d.]+)", text)}


# ---- set-ups ----

def test_guests() -> dict[str, float]:
    """Guests without an operating system, under the bare host of tests/hyp."""
    # As large as the phone's usual bundle, for what is checked and copied takes its time.
    load = OUT / "usual-size"
    load.write_bytes(KERNEL.read_bytes() + (ROOT / "build/phone/host-qemu-virt.cpio.lz4").read_bytes())
    host = GUESTS / "bench-host.bin"
    text = board("guests", bundle(OUT / "guests.bundle", host, load, ""))
    found = {name: int(ticks) * TICK_NS / int(times)
             for name, ticks, times in re.findall(r"value (\w+) (\d+) (\d+)", text)}
    placed_us = int(re.search(r"checked and placed in (\d+) us", text)[1])
    kept = (BOARD_MIB - HOST_MIB - GUESTS_MIB << 20) - int(found["left_pages"] / TICK_NS) * 4096
    return {"null_hypercall": found["null_hypercall"], "gicd_read": found["gicd_read"],
            "vm_switch": found["vm_round_trip"] / 2, "vm_switch_vfp": found["vm_round_trip_vfp"] / 2,
            "irq_delivery": found["access_until_irq"] - found["access_until_done"],
            "irq_whole": found["access_and_irq"] - found["access"],
            "boot_ms": found["boot_ticks"] / 1e6 - placed_us / 1e3, "boot_whole_ms": found["boot_ticks"] / 1e6,
            "memory_kept_bytes": kept}


def board(name: str, image: pathlib.Path) -> str:
    return run(name, "virtualization=on", "-m", str(BOARD_MIB), "-kernel", image)


def on_bare_machine(name: str, load: str, mib: int = GUEST_MIB) -> dict[str, float]:
    """The same device tree as an instance has, everything at the same addresses."""
    initrd, tree, start = OUT / "load.cpio", OUT / f"{name}.dtb", OUT / f"{name}.start"
    done = subprocess.run([TREE, str(mib), str(initrd.stat().st_size), f"console=ttyAMA0 {GUEST_WORDS} bench={load}", tree],
                          check=True, capture_output=True, text=True)
    kernel_at, tree_at, initrd_at = map(int, done.stdout.split())
    # mov r0, #0; mvn r1, #0; ldr r2, =tree_at; ldr pc, =kernel_at
    start.write_bytes(struct.pack("<6I", 0xe3a00000, 0xe3e01000, 0xe59f2000, 0xe59ff000, tree_at, kernel_at))
    words = []
    for file, address in ((KERNEL, kernel_at), (tree, tree_at), (initrd, initrd_at)):
        words += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    words += ["-device", f"loader,file={start},addr={START:#x},cpu-num=0,force-raw=on"]
    return linux_values(name, run(name, "virtualization=off", "-m", str(mib), *words))


def in_host(name: str, load: str) -> dict[str, float]:
    """The host instance itself, in as much memory as the others have."""
    words = f"console=ttyAMA0 mem={GUEST_MIB}M {GUEST_WORDS} bench={load}"
    return linux_values(name, board(name, bundle(OUT / f"{name}.bundle", KERNEL, OUT / "load.cpio", words)))


def in_instance(name: str, load: str, beside: str = "", vcpus: int = 1, mib: int = GUEST_MIB) -> dict[str, float]:
    words = f"{HOST_WORDS} vcpus={vcpus} mib={mib} load={load}" + (f" beside={beside}" if beside else "")
    return linux_values(name, board(name, bundle(OUT / f"{name}.bundle", KERNEL, OUT / "host.cpio.lz4", words)))


def xen_domain(load: str, vcpus: int = 1) -> tuple[str, dict[str, str]]:
    """A domU as Xen's device tree describes it (docs/misc/arm/device-tree/booting.txt)."""
    return load, {"compatible": '"xen,domain"', "#address-cells": "<2>", "#size-cells": "<2>", "cpus": f"<{vcpus}>",
                  "memory": f"<0 {GUEST_MIB << 10:#x}>", "vpl011": ""}


def under_xen(name: str, dom0: str | None, *domains, until: str | None = None) -> dict[str, float]:
    """Xen with a dom0, or with domUs and none; each has the kernel and the initramfs that the others have."""
    initrd = OUT / "load.cpio"
    files = [("kernel", KERNEL, XEN_MODULES), ("ramdisk", initrd, XEN_MODULES + (16 << 20))]

    def modules(bootargs: str) -> str:
        return "".join(f'module@{at:x} {{ compatible = "multiboot,{kind}", "multiboot,module"; '
                       f"reg = <0 {at:#x} 0 {file.stat().st_size:#x}>; "
                       + (f'bootargs = "{bootargs}"; ' if kind == "kernel" else "") + "}; " for kind, file, at in files)

    xen_words = f"console=dtuart dtuart=/pl011@9000000 dom0_mem={GUEST_MIB}M dom0_max_vcpus=1"
    inside = f'#address-cells = <2>; #size-cells = <2>; xen,xen-bootargs = "{xen_words}"; '
    if dom0 is not None:
        inside += modules(f"console=hvc0 {GUEST_WORDS} bench={dom0}")
    for number, (load, properties) in enumerate(domains):
        words = f"console=ttyAMA0 {GUEST_WORDS} bench={load}"
        inside += (f"domU{number} {{ " + "".join(f"{key} = {value}; " if value else f"{key}; " for key, value in properties.items())
                   + modules(words) + "}; ")
    tree = OUT / f"{name}.dtb"
    subprocess.run([QEMU, "-M", f"{VIRT},virtualization=on,dumpdtb={tree}", "-cpu", "cortex-a7", "-smp", "1", "-m", "1024",
                    "-nodefaults", "-display", "none"], check=True, capture_output=True)
    source = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", tree], check=True, capture_output=True, text=True).stdout
    subprocess.run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", tree], check=True, text=True,
                   input=source + "/ { chosen { " + inside + "}; };")
    words = ["-m", "1024", "-kernel", XEN, "-dtb", tree]
    for _, file, at in files:
        words += ["-device", f"loader,file={file},addr={at:#x},force-raw=on"]
    return linux_values(name, run(name, "virtualization=on", *words, until=until))


# Without a dom0 nobody switches the board off when a domain has ended.
ENDED = "reboot: Power down"
SETUPS = {
    "guests": test_guests,
    "bare": lambda: on_bare_machine("bare", ALL),
    "host": lambda: in_host("host", ALL),
    "alone": lambda: in_instance("alone", ALL),
    "idle": lambda: in_instance("idle", QUIET_ALL, beside="idle"),
    "busy": lambda: in_instance("busy", QUIET_ALL, beside="spin"),
    "two": lambda: in_instance("two", "kernel", vcpus=2),
    "dom0": lambda: under_xen("dom0", ALL),
    "domU": lambda: under_xen("domU", None, xen_domain(ALL), until=ENDED),
    "domU-busy": lambda: under_xen("domU-busy", None, xen_domain("sleep"), xen_domain("spin"), until=ENDED),
    "domU-yield": lambda: under_xen("domU-yield", None, xen_domain("yield"), xen_domain("yielding"), until=ENDED),
    "domU-two": lambda: under_xen("domU-two", None, xen_domain("kernel", 2), until=ENDED),
    "bare-again": lambda: on_bare_machine("bare-again", ALL),
    "alone-again": lambda: in_instance("alone-again", ALL),
}
for other in OTHER_MIB:
    SETUPS[f"bare-{other}"] = lambda mib=other: on_bare_machine(f"bare-{mib}", ALL, mib)
    SETUPS[f"alone-{other}"] = lambda mib=other: in_instance(f"alone-{mib}", ALL, mib=mib)
OVER_LAYOUTS = {"shifted": max, "median": statistics.median}  # columns that are of all layouts
COLUMNS = [*OVER_LAYOUTS, "alone", "host", "idle", "busy", "dom0", "domU"]  # as ratios to bare


# ---- figures ----

def code_lines() -> int:
    count = 0
    for folder in ("hyp", "sched/core", "board"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".cpp", ".hpp", ".h", ".S", ".ld", ".sh", ".txt"):
                text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
                comment = "#" if path.suffix in (".sh", ".txt") else "//"
                count += sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith(comment))
    return count


def of_layouts(found: dict, name: str, column: str) -> list[float]:
    """An operation's ratios: of `alone` to the bare machine, each in its layout, or (`shifted`) of the bare machine in the other
    layouts to its first one. None at all unless every layout was measured."""
    bare, alone = ([found[f"{setup}{layout}"].get(name) for layout in LAYOUTS] for setup in ("bare", "alone"))
    above, below = (bare[1:], bare[:1] * len(OTHER_MIB)) if column == "shifted" else (alone, bare)
    return [one / base for one, base in zip(above, below)] if all(above) and all(below) else []


def ratio(found: dict, column: str, name: str) -> float | None:
    """To the bare machine: in the first layout, or over all layouts."""
    if column in OVER_LAYOUTS:
        of_all = of_layouts(found, name, column)
        return OVER_LAYOUTS[column](of_all) if of_all else None
    return found[column][name] / found["bare"][name] if name in found[column] else None


def unprivileged(found: dict) -> set[str]:
    return found["bare"].keys() - PRIVILEGED - PROGRAMS


def worst(ratios: Iterable[float | None]) -> float | None:
    """None if one is missing: it could be the worst."""
    known = list(ratios)
    return max(known) if known and all(known) else None


def worst_of(found: dict, column: str) -> float | None:
    return worst(ratio(found, column, name) for name in unprivileged(found))


def excess(found: dict, setup: str) -> float | None:
    both = [found[one].get("sleep_1ms_mean") for one in (setup, "bare")]
    return both[0] - both[1] if all(both) else None


def scaled(value: float | None, by: float) -> float | None:
    return None if value is None else value / by


def ours(found: dict) -> dict[str, float | None]:
    alone = found["alone"]
    values = dict(found["guests"]) | {name: alone.get(name) for name in ("self_ipi", "device_access", "pl011_line",
                                                                        "vconsole_line", "doorbell")}
    values["sleep_1ms_excess"] = excess(found, "alone")
    values["sleep_1ms_contended_ms"] = scaled(found["busy"].get("sleep_1ms_mean"), 1e6)
    values["ipi_wait_busy_ms"] = scaled(found["two"].get("ipi_wait_busy"), 1e6)
    values["image_bytes"] = IMAGE.stat().st_size
    values["code_lines"] = code_lines()
    values["operations"] = len(unprivileged(found)) or None
    for name, column in (("worst_ratio", "median"), ("worst_ratio_one_layout", "alone"), ("host_worst_ratio", "host"),
                         ("shifted_worst_ratio", "shifted")):
        values[name] = worst_of(found, column)
    values["worst_ratio_any_layout"] = worst(max(of_layouts(found, name, "alone"), default=None) for name in unprivileged(found))
    twice = [(found[one], found[f"{one}-again"]) for one in ("bare", "alone")]
    if all(first and again for first, again in twice):
        values["not_repeated"] = sum(first.get(name) != again.get(name) for first, again in twice
                                     for name in first.keys() | again.keys())
    return values


def xens(found: dict) -> dict[str, float | None]:
    """What is measured of it in this run; of a domU, but for the paravirtual console."""
    guest = found["domU"]
    values = {"null_hypercall": guest.get("psci_version"), "gicd_read": guest.get("gicd_read_TYPER"),
              "self_ipi": guest.get("self_ipi"), "vm_switch": scaled(found["domU-yield"].get("xen_yield"), 2),
              "sleep_1ms_excess": excess(found, "domU"),
              "sleep_1ms_contended_ms": scaled(found["domU-busy"].get("sleep_1ms_mean"), 1e6),
              "ipi_wait_busy_ms": scaled(found["domU-two"].get("ipi_wait_busy"), 1e6),
              "pl011_line": guest.get("pl011_line"), "vconsole_line": found["dom0"].get("vconsole_line"),
              "worst_ratio_one_layout": worst_of(found, "domU"), "host_worst_ratio": worst_of(found, "dom0")}
    return {name: value for name, value in values.items() if value is not None}


# ---- what is told ----

def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or isinstance(value, int) else f"{value:,.3f}"


def to_reach(name: str, reach: float | None, values: dict) -> float | None:
    """One layout over one cannot be asked to be less than what layout alone does; a median of layouts can."""
    return max(reach, values["shifted_worst_ratio"] or 0) if name == "worst_ratio_one_layout" else reach


def print_operations(found: dict):
    print(f"\n{'instructions an operation':26}{'bare':>11}  ratio to the bare machine:" + "\n" + " " * 37
          + "".join(f"{column:>9}" for column in COLUMNS))
    for name, bare in found["bare"].items():
        if name in PRIVILEGED:
            continue
        ratios = (ratio(found, column, name) for column in COLUMNS)
        print(f"{name:26}{shown(bare):>11}" + "".join(f"{one:9.3f}" if one else f"{'-':>9}" for one in ratios))
    columns = ["bare", *(column for column in COLUMNS if column not in OVER_LAYOUTS)]
    print(f"\n{'instructions':26}" + "".join(f"{column:>11}" for column in columns))
    for name in sorted(PRIVILEGED, key=lambda one: found["alone"].get(one, 0)):
        if any(name in found[column] for column in columns):
            print(f"{name:26}" + "".join(f"{shown(found[column].get(name)):>11}" for column in columns))


def print_figures(values: dict, xen_now: dict):
    print(f"\n{'':24}{'Amphion':>12} {'reach':>10} {'Xen':>12} {'Xvisor':>12}")
    for name, unit, reach, xen, xvisor, _ in FIGURES:
        value, limit = values.get(name), to_reach(name, reach, values)
        verdict = "  NOT MEASURED" if value is None else "  MISSED" if limit is not None and value > limit else ""
        earlier = "" if name in xen_now or xen is None else "*"
        print(f"{name:24}{shown(value):>12} {shown(limit):>10} {shown(xen_now.get(name, xen)) + earlier:>12} "
              f"{shown(xvisor) + ('' if xvisor is None else '*'):>12}  {unit}{verdict}")
    print("* measured earlier, in the same way; what has none is of this run\n")
    print(f"{shown(values.get('worst_ratio'))} of the bare machine in the worst of {shown(values.get('operations'))} operations; in one layout "
          f"{shown(values.get('worst_ratio_one_layout'))}, Xen {shown(xen_now.get('worst_ratio_one_layout'))}; "
          f"image of {values['image_bytes'] / 1024:.0f} KiB, {shown(values['code_lines'])} lines of code")


def entries(found: dict, values: dict, xen_now: dict) -> list[dict]:
    told = [{"name": name, "value": values.get(name), "unit": unit, "how": how, "reach": to_reach(name, reach, values),
             "xen": xen_now.get(name, xen), "xen_measured": "in this run" if name in xen_now else "earlier" if xen else None,
             "xvisor": xvisor} for name, unit, reach, xen, xvisor, how in FIGURES]
    told += [{"name": f"{setup}.{name}", "value": value, "unit": "instructions", "how": "one operation, middle batch"}
             for setup, operations in found.items() if setup != "guests" for name, value in operations.items()]
    versions = dict(line.split(" ", 1) for line in VERSIONS.read_text().splitlines()[1:])
    return told + [{"name": f"version.{package}", "value": version, "unit": "Debian package", "how": "what was measured"}
                   for package, version in versions.items()]


def measure(names: list[str], jobs: int) -> tuple[dict[str, dict], list[str]]:
    """Machines that run at the same time do not feel one another: they count instructions."""
    found, failures = {name: {} for name in SETUPS}, []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {name: pool.submit(SETUPS[name]) for name in names}
        for name, result in running.items():
            try:
                found[name] = result.result()
            except (Failed, subprocess.CalledProcessError, KeyError) as error:
                failures.append(f"{name}: {error}")
    return found, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setups", nargs="*", metavar="SETUP", help=f"only bare and these, of: {' '.join(SETUPS)}")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="machines at a time (%(default)s)")
    arguments = parser.parse_args()
    if unknown := set(arguments.setups) - SETUPS.keys():
        parser.error(f"no set-up is called {', '.join(sorted(unknown))}")
    subprocess.run([ROOT / "tests/bench/hyp/pack.sh", OUT], check=True)
    names = ["bare", *(name for name in arguments.setups if name != "bare")] if arguments.setups else list(SETUPS)
    print(f"[bench] {len(names)} set-ups, {arguments.jobs} at a time", file=sys.stderr, flush=True)
    found, failures = measure(names, arguments.jobs)
    values, xen_now = ours(found), xens(found)
    print_operations(found)
    print_figures(values, xen_now)
    if not arguments.setups:
        RESULT.write_text(json.dumps(entries(found, values, xen_now), indent=2) + "\n")
        print(f"{RESULT.relative_to(ROOT)} written")
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
