#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the hypervisor costs, in instructions: writes build/bench/hyp.json and prints a table with the figures to reach
and those of Xen 4.17 and Xvisor, measured in the same way.

QEMU counts: under icount with one physical CPU an instruction takes one nanosecond of the machine's clock, and a run
repeats to the byte. Caches, TLB misses and stage 2 walks cost nothing there.
"""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion"))
QEMU = CACHE / "qemu-clone" / "bin" / "qemu-system-arm"
KERNEL = CACHE / "kernel" / "zImage"
OUT = ROOT / "build" / "bench" / "hyp"
RESULT = ROOT / "build" / "bench" / "hyp.json"
GUESTS = ROOT / "build" / "hyp" / "tests" / "hyp"
IMAGE = ROOT / "build" / "hyp" / "hyp" / "amphion-hyp-qemu-virt.bin"

TREE = ROOT / "build" / "pc" / "tests" / "bench" / "hyp" / "hyp-tree"
INSTANCE_MIB = 128  # as host-init has it
BOARD_MIB, HOST_MIB, GUESTS_MIB = 1024, 256, 2 * 192  # the board, of it the host (make-bundle), and figures.cpp's instances
START = 0x4020_0000  # where the bare machine's first instructions lie: behind QEMU's own device tree, below the kernel

DETERMINISTIC = ["-icount", "shift=0,sleep=off", "-seed", "1", "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
TICK_NS = 16  # of the board's counter, 62.5 MHz
QUIET = "console=ttyAMA0 quiet cryptomgr.notests apparmor=0 audit=0 panic=-1 norandmaps"
LOAD = "console=ttyAMA0 norandmaps panic=-1 cryptomgr.notests"
LIMIT_S = 900  # says "it hangs", never "it is slow"

# name, unit, to reach, Xen, Xvisor (None: not measured), what it is
FIGURES = [
    ("null_hypercall", "instructions", 300, 541, 469, "PSCI_VERSION by HVC, loop included"),
    ("gicd_read", "instructions", 400, 753, 773, "GICD_TYPER, loop included"),
    ("self_ipi", "instructions", 900, 1789, None, "irq_work in Debian's kernel: SGI sent, taken, ended"),
    ("vm_switch", "instructions", 2500, 9493, None, "half a round trip of two instances that give way to each other"),
    ("vm_switch_vfp", "instructions", 2500, None, None, "the same, both computing with VFP in between"),
    ("sleep_1ms_excess", "instructions", 2000, 12542, 6342, "nanosleep of 1 ms, mean of 200, above the bare machine"),
    ("sleep_1ms_contended_ms", "ms", 1.2, 4.150, None, "the same beside an instance that spins, mean"),
    ("ipi_wait_busy_ms", "ms", 2, 20.0, None, "smp_call_function_single(wait) to a busy vCPU on the same CPU, longest of 50"),
    ("pl011_line", "instructions", 50000, 117876, 162972, "64 bytes to the serial port, drained"),
    ("vconsole_line", "instructions", 25000, None, None, "64 bytes to the virtio console"),
    ("device_access", "instructions", 15000, None, None, "a register of the device model, read by Debian's kernel"),
    ("memory_kept_bytes", "bytes", (2 << 20) + (GUESTS_MIB << 20) // 400, 15488 << 10, None,
     "neither the host's nor free nor guests', with two populated instances of 192 MiB; tables of 0.25 % of them added"),
    ("image_bytes", "bytes", 131072, 884744, 1535836, "the flat image, zeros included"),
    ("code_lines", "lines", 8000, None, None, "hyp/ and board/, neither blank nor comment"),
    ("boot_ms", "ms", 10, 263.4, None, "reset to the host's first instruction, without checking and copying the bundle"),
    ("boot_whole_ms", "ms", None, None, None, "the same with both, bundle of the usual size"),
    ("worst_ratio", "ratio", 1.005, 1.096, 1.251, "unprivileged operations, instance over bare machine"),
]


NOT_UNPRIVILEGED = {"sleep_1ms_best", "sleep_1ms_mean", "self_ipi", "device_access", "pl011_line"}


def bundle(out: pathlib.Path, kernel: pathlib.Path, initrd: pathlib.Path | str, bootargs: str) -> pathlib.Path:
    subprocess.run([ROOT / "board/qemu-virt/bundle.sh", out, "--kernel", kernel, "--initrd", initrd, "--cpus", "1",
                    "--bootargs", bootargs], check=True, stdout=subprocess.DEVNULL)
    return out


def run(name: str, machine: str, *words) -> str:
    """Boots, waits for the machine to switch itself off, and returns what it said on its serial port."""
    log = OUT / f"{name}.log"
    print(f"[bench] {name}", file=sys.stderr, flush=True)
    with log.open("wb") as said:
        done = subprocess.run([QEMU, "-M", f"virt,gic-version=2,highmem=off,dtb-randomness=off,{machine}", "-cpu",
                               "cortex-a7", "-smp", "1", "-nodefaults", "-display", "none", "-serial", "stdio",
                               "-no-reboot", *DETERMINISTIC, *map(str, words)],
                              stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, timeout=LIMIT_S)
    text = log.read_text(errors="replace")
    if done.returncode != 0 or "panic" in text.lower().replace("panic=-1", ""):
        sys.exit(f"bench: {name} went wrong, see {log}")
    return text


def board(name: str, image: pathlib.Path) -> str:
    return run(name, "virtualization=on", "-m", str(BOARD_MIB), "-kernel", image)


def linux_values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"value (\w+) ([\d.]+)", text)}


def bare_guests() -> dict[str, float]:
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
            "boot_ms": found["boot_ticks"] / 1e6 - placed_us / 1e3, "boot_whole_ms": found["boot_ticks"] / 1e6,
            "memory_kept_bytes": kept}


def in_instance(name: str, load: str, beside: str = "", vcpus: int = 1) -> dict[str, float]:
    words = f"{QUIET} vcpus={vcpus} load={load}" + (f" beside={beside}" if beside else "")
    return linux_values(board(name, bundle(OUT / f"{name}.bundle", KERNEL, OUT / "host.cpio.lz4", words)))


def on_bare_machine(load: str) -> dict[str, float]:
    """The same device tree as an instance has, everything at the same addresses."""
    initrd, tree, start = OUT / "load.cpio", OUT / "machine.dtb", OUT / "start.bin"
    done = subprocess.run([TREE, str(INSTANCE_MIB), str(initrd.stat().st_size), f"{LOAD} bench={load}", tree], check=True,
                          capture_output=True, text=True)
    kernel_at, tree_at, initrd_at = map(int, done.stdout.split())
    # mov r0, #0; mvn r1, #0; ldr r2, =tree_at; ldr pc, =kernel_at
    start.write_bytes(struct.pack("<6I", 0xe3a00000, 0xe3e01000, 0xe59f2000, 0xe59ff000, tree_at, kernel_at))
    words = []
    for file, address in ((KERNEL, kernel_at), (tree, tree_at), (initrd, initrd_at)):
        words += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    words += ["-device", f"loader,file={start},addr={START:#x},cpu-num=0,force-raw=on"]
    return linux_values(run("bare", "virtualization=off", "-m", str(INSTANCE_MIB), *words))


def code_lines() -> int:
    count = 0
    for folder in ("hyp", "board"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".cpp", ".hpp", ".h", ".S", ".ld", ".sh", ".txt"):
                text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
                comment = "#" if path.suffix in (".sh", ".txt") else "//"
                count += sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith(comment))
    return count


def measure() -> tuple[dict[str, float], dict[str, float]]:
    values = bare_guests()
    parts = "operations,sleep,kernel,serial,console"
    bare, alone = on_bare_machine(parts), in_instance("alone", parts)
    ratios = {name: alone[name] / bare[name] for name in bare if name not in NOT_UNPRIVILEGED}
    values |= {name: alone[name] for name in ("self_ipi", "device_access", "pl011_line", "vconsole_line")}
    values["sleep_1ms_excess"] = alone["sleep_1ms_mean"] - bare["sleep_1ms_mean"]
    values["worst_ratio"] = max(ratios.values())
    values["sleep_1ms_contended_ms"] = in_instance("contended", "sleep", beside="spin")["sleep_1ms_mean"] / 1e6
    values["ipi_wait_busy_ms"] = in_instance("two", "kernel", vcpus=2)["ipi_wait_busy"] / 1e6
    values["image_bytes"] = IMAGE.stat().st_size
    values["code_lines"] = code_lines()
    return values, ratios


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}" if value < 100 else f"{value:,.0f}"


def main() -> int:
    subprocess.run([ROOT / "tests/bench/hyp/pack.sh", OUT], check=True)
    values, ratios = measure()
    RESULT.write_text(json.dumps([{"name": name, "value": values[name], "unit": unit, "how": how}
                                  for name, unit, _, _, _, how in FIGURES], indent=2) + "\n")
    print(f"{'':24}{'Amphion':>12} {'reach':>10} {'Xen':>12} {'Xvisor':>12}")
    for name, unit, reach, xen, xvisor, _ in FIGURES:
        missed = "  MISSED" if reach is not None and values[name] > reach else ""
        print(f"{name:24}{shown(values[name]):>12} {shown(reach):>10} {shown(xen):>12} {shown(xvisor):>12}  {unit}{missed}")
    worst = sorted(ratios.items(), key=lambda item: -item[1])[:5]
    print("worst ratios: " + ", ".join(f"{name} {ratio:.4f}" for name, ratio in worst))
    print(f"{RESULT.relative_to(ROOT)} written; doorbell is not measured: there is none yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
