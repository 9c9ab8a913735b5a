#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SBCO for Linux hosts in a virtual machine with Debian's next kernel, four CPUs in software emulation: see README.md.

Usage: tests/scx/run.py [--keep FILE]   --keep: what the machine has said goes there. The machine does what guest-init says, in
one boot; the tests judge its answers. Needs toolchain/scx.sh and toolchain/build.sh scx-tests; about two minutes.
"""

import collections
import gzip
import json
import lzma
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
BUILD = ROOT / "build" / "pc"
SCX = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion")) / "scx"
PROGRAMS = [BUILD / "sched/scx/amphion-scx", BUILD / "tests/scx/scx-load", BUILD / "tests/scx/scx-kvm"]
AMPHIOND = BUILD / "cloud-side/amphiond/amphiond"
CLONE_QEMU = SCX.parent / "qemu-clone"
MODULES = ["virt/lib/irqbypass", "arch/x86/kvm/kvm", "arch/x86/kvm/kvm-amd"]
SILENCE_S = 60  # says "it hangs", never "it is slow"
CPUS = 4
CLONES, VCPUS = 3, 4


def copy(file: str, to: pathlib.Path):
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-L", file, to], check=True)


def cloud(tree: pathlib.Path):
    """amphiond with its libraries, the clones' QEMU from its prefix with what it needs of that, certificates, and docked instances."""
    listed = subprocess.run(["ldd", AMPHIOND], check=True, capture_output=True, text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listed):
        copy(library, tree / library.lstrip("/"))
    copy(AMPHIOND, tree / "bin" / "amphiond")
    prefix = CLONE_QEMU / "prefix"
    libraries = prefix / "usr/lib/x86_64-linux-gnu"
    qemu = prefix / "usr/bin/qemu-system-arm"
    listed = subprocess.run([libraries / "ld-linux-x86-64.so.2", "--library-path", libraries, "--list", qemu],
                            check=True, capture_output=True, text=True).stdout
    for file in [str(libraries / "ld-linux-x86-64.so.2"), str(qemu), *re.findall(rf"({libraries}\S+) \(0x", listed)]:
        copy(file, tree / "qemu" / pathlib.Path(file).relative_to(CLONE_QEMU))
    copy(CLONE_QEMU / "bin/qemu-system-arm", tree / "qemu/bin/qemu-system-arm")
    (tree / "qemu/prefix/usr/share/qemu").mkdir(parents=True)
    subprocess.run([BUILD / "link/amphion-pki", "create", tree / "pki"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([BUILD / "tests/scx/scx-docked", tree / "data", str(CLONES), str(VCPUS)], check=True)


def initramfs(to: pathlib.Path):
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        for name in ("bin", "lib", "proc", "sys", "dev", "tmp"):
            (tree / name).mkdir()
        for program in [*PROGRAMS, SCX / "bin" / "busybox"]:
            subprocess.run(["cp", program, tree / "bin"], check=True)
        (tree / "bin" / "sh").symlink_to("busybox")
        for module in MODULES:
            packed = SCX / "kernel-modules" / "kernel" / f"{module}.ko.xz"
            (tree / "lib" / f"{packed.stem}").write_bytes(lzma.decompress(packed.read_bytes()))
        cloud(tree)
        subprocess.run(["cp", HERE / "guest-init", tree / "init"], check=True)
        (tree / "init").chmod(0o755)
        names = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True).stdout
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, check=True, capture_output=True)
        to.write_bytes(gzip.compress(archive.stdout, 1))


def boot(image: pathlib.Path) -> str:
    # One thread for all CPUs: with more, QEMU 7.2 makes kernels panic while schedulers come and go.
    # Where the PC is busy a CPU may stand still for longer than the kernel expects by itself, and it would end SBCO for that.
    machine = subprocess.Popen(
        ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", str(CPUS), "-m", "2G",
         "-display", "none", "-nodefaults", "-serial", "stdio", "-no-reboot", "-kernel", SCX / "vmlinux", "-initrd", image,
         "-append", "console=ttyS0 panic=-1 quiet watchdog_thresh=60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b""
    try:
        while select.select([machine.stdout], [], [], SILENCE_S)[0]:
            piece = machine.stdout.read1()
            if not piece:
                return said.decode(errors="replace")
            said += piece
        return said.decode(errors="replace") + f"\nthe machine has been silent for {SILENCE_S} s"
    finally:
        machine.kill()
        machine.wait()


def answers(said: str) -> dict[str, dict[str, list[str]]]:
    """Step -> name -> the values that were given."""
    steps: dict[str, dict[str, list[str]]] = {}
    step = steps.setdefault("", collections.defaultdict(list))
    for line in said.splitlines():
        line = line.strip("\r")
        if opened := re.match(r"@ (.+)$", line):
            step = steps.setdefault(opened[1], collections.defaultdict(list))
        elif answer := re.match(r"= (\S+) ?(.*)$", line):
            step[answer[1]].append(answer[2])
    return steps


def stacked(vcpus: list[dict]) -> list[tuple]:
    """Processes with two vCPUs that are ready on one CPU."""
    ready = collections.Counter((one["process"], one["cpu"]) for one in vcpus if one["state"] in ("queued", "running"))
    return [place for place, count in ready.items() if count > 1]


class Scheduler(unittest.TestCase):
    steps: dict[str, dict[str, list[str]]] = {}
    said = ""

    def step(self, name: str) -> dict[str, list[str]]:
        if name not in self.steps:
            self.fail(f"the machine did not get as far as '{name}'; it said last:\n{self.said[-1000:]}")
        return self.steps[name]

    def counted(self, name: str) -> dict:
        step = self.step(name)
        self.assertTrue(step["after"], f"{name}: no statistics")
        return json.loads(step["after"][-1])

    def test_before_it_is_loaded(self):
        self.assertEqual(self.step("before")["check"], ["SBCO can be loaded here"])
        self.assertIn("does not run here", self.step("before")["stats"][0])

    def test_loads_once(self):
        loaded = self.step("loaded")
        self.assertEqual(loaded["said"], ["SBCO schedules this machine"])
        self.assertEqual(loaded["state"], ["enabled"])
        self.assertIn("another scheduler is loaded (sbco", loaded["again"][0])

    def samples(self, name: str, vcpus: int) -> list[dict]:
        """What was counted while the load ran: several times, and each time with all of its vCPUs."""
        found = [json.loads(sample) for sample in self.step(name)["during"]]
        self.assertGreater(len(found), 1, f"{name}: not enough samples")
        self.assertEqual({len(sample["vcpus"]) for sample in found}, {vcpus}, f"{name}: vCPUs in the samples")
        return found

    def check_debts(self, name: str, vcpus: int, ended: int):
        after = self.counted(name)
        self.assertEqual(after["far"], after["successors"])
        self.assertEqual(after["far"], after["debts_applied"] + after["debts_void"])
        self.assertLessEqual(after["debts_void"], ended, "a debt is void only if its vCPU has ended")
        for now in self.samples(name, vcpus):
            self.assertGreaterEqual(now["far"] - now["debts_applied"] - now["debts_void"], -1)
            self.assertLessEqual(now["far"] - now["debts_applied"] - now["debts_void"], len(now["vcpus"]) + 1)

    def check_apart(self, name: str, vcpus: int):
        """In no two samples in a row does a VM have two ready vCPUs on one CPU: one may catch a vCPU between two queues."""
        before = set()
        for sample in self.samples(name, vcpus):
            now = set(stacked(sample["vcpus"]))
            self.assertFalse(before & now, f"{name}: siblings on one CPU: {sample}")
            before = now
        self.assertEqual(self.counted(name)["stacked"], 0)

    def test_every_far_detection_is_one_debt_applied_once(self):
        self.assertEqual(self.step("hogs")["exit"], ["0"])
        self.assertEqual(self.counted("hogs")["vcpus_found"], 24)
        self.assertGreater(self.counted("hogs")["far"], 0)
        self.check_debts("hogs", 24, ended=24)
        self.check_debts("sleepers", 15, ended=24 + 15)

    def test_vcpus_join_siblings_that_run_and_nobody_starves(self):
        self.assertGreater(self.counted("hogs")["joined"], 0)
        for name in ("hogs", "sleepers", "surplus"):
            after = self.counted(name)
            self.assertLessEqual(after["joined"] + after["far"], after["decisions"], "who joins lends nothing")
        least, most = map(int, self.step("hogs")["ran"][0].split())
        self.assertGreater(least, most / 4, "of threads that all compute, ms")

    def test_siblings_stand_on_different_cpus(self):
        self.check_apart("hogs", 24)
        self.check_apart("sleepers", 15)
        self.assertGreater(self.counted("sleepers")["stackings_avoided"], 0)

    def test_more_vcpus_than_cpus_run_all(self):
        self.assertEqual(self.step("surplus")["exit"], ["0"])
        self.check_debts("surplus", 12, ended=24 + 15 + 12)

    def test_ordinary_tasks_run_beside_and_are_no_vcpus(self):
        self.assertEqual(self.step("ordinary")["ordinary"], ["0"])
        self.assertEqual(self.counted("ordinary")["vcpus_found"] - self.counted("surplus")["vcpus_found"], 12)
        self.check_apart("ordinary", 12)

    def test_affinity_may_change_at_any_time(self):
        self.assertEqual(self.step("affinity")["exit"], ["0"])
        self.assertEqual(self.step("affinity")["state"], ["enabled"])

    def test_begins_anew_when_cpus_come_or_go(self):
        self.assertEqual(self.step("hotplug")["exit"], ["0"])
        self.assertEqual(self.step("hotplug")["state"], ["enabled"])
        self.check_apart("hotplug", 6)
        for sample in self.samples("hotplug", 6):
            self.assertNotIn(3, [one["cpu"] for one in sample["vcpus"]])

    def test_real_kvm_vcpus(self):
        self.assertEqual(self.step("kvm")["exit"], ["0"], "scx-kvm: see its messages with --keep")
        self.check_apart("kvm", 12)

    def test_the_kernel_goes_on_when_the_loader_is_killed(self):
        killed = self.step("killed")
        self.assertEqual(killed["state"], ["disabled"])
        self.assertEqual(killed["exit"], ["0"])
        self.assertIn("does not run here", killed["stats"][0])

    def bound(self, name: str) -> dict[str, list[str]]:
        """Process -> where each of its vCPUs may run."""
        bound = collections.defaultdict(list)
        for one in self.step(name)["bound"][0].split():
            who, cpus = one.split(":")
            bound[who.split(",")[0]].append(cpus)
        return bound

    def test_amphiond_has_its_clones_scheduled(self):
        clones = self.step("clones")
        self.assertEqual(clones["status"][0], "clones' vCPUs are scheduled by SBCO (sched_ext)")
        self.assertEqual(len([line for line in clones["status"] if "its clone is process" in line]), CLONES)
        vcpus = self.samples("clones", CLONES * VCPUS)[-1]["vcpus"]
        self.assertEqual(collections.Counter(collections.Counter(one["process"] for one in vcpus).values()), {VCPUS: CLONES})
        self.assertEqual([one for one in vcpus if one["state"] == "asleep"], [])
        self.check_apart("clones", CLONES * VCPUS)
        self.check_debts("clones", CLONES * VCPUS, ended=CLONES * VCPUS)
        self.assertEqual(list(self.bound("clones").values()), [["0-3"] * VCPUS] * CLONES)

    def test_amphiond_keeps_siblings_apart_when_sbco_has_ended(self):
        left = self.step("clones without SBCO")
        self.assertIn("kept apart by processor affinity; SBCO has ended", left["status"][0])
        for cpus in self.bound("clones without SBCO").values():
            self.assertEqual(sorted(cpus), ["0", "1", "2", "3"])
        self.assertEqual(left["exit"], ["0"])
        self.assertIn("SBCO schedules clones' vCPUs", "".join(left["log"]))
        self.assertIn("3 clones go on running", "".join(left["log"]))

    def test_amphiond_takes_sbco_again_when_it_starts_anew(self):
        again = self.step("clones again")
        self.assertEqual(again["status"][0], "clones' vCPUs are scheduled by SBCO (sched_ext)")
        self.assertEqual(list(self.bound("clones again").values()), [["0-3"] * VCPUS] * CLONES)

    def test_amphiond_says_why_the_kernel_has_ended_sbco(self):
        name = "clones, SBCO ended by the kernel"
        ended = self.step(name)
        self.assertRegex(ended["status"][0], "kept apart by processor affinity; SBCO has ended: the kernel has ended SBCO .*: .*sysrq")
        for cpus in self.bound(name).values():
            self.assertEqual(sorted(cpus), ["0", "1", "2", "3"])
        self.assertEqual(ended["exit"], ["0"])
        self.assertRegex("".join(ended["log"]), "SBCO has ended .the kernel has ended SBCO")

    def test_the_loader_says_when_the_kernel_has_ended_it(self):
        ended = self.step("ended by the kernel")
        self.assertEqual(ended["exit"], ["1"])
        self.assertIn("the kernel has ended SBCO and schedules itself", ended["said"][0])
        self.assertEqual(ended["state"], ["disabled"])

    def test_the_watchdog_ends_a_scheduler_that_leaves_tasks_waiting(self):
        ended = self.step("ended by the watchdog")
        self.assertEqual(ended["exit"], ["1"])
        # The one that waits may be the watchdog's own worker.
        self.assertRegex(ended["said"][0], r"the kernel has ended SBCO and schedules itself: runnable task stall: "
                                           r"(.* failed to run for|watchdog failed to check in for)")
        self.assertEqual(ended["occupant"], ["0"])
        self.assertEqual(ended["state"], ["disabled"])
        self.assertEqual(ended["load"], ["0"], "its tasks go on under the kernel's own scheduler")

    def test_stops_in_order(self):
        stopped = self.step("stopped")
        self.assertEqual(stopped["exit"], ["0"])
        self.assertIn("the kernel's own scheduler goes on", stopped["said"][0])
        self.assertEqual(stopped["state"], ["disabled"])

    def test_the_kernel_does_not_complain(self):
        self.assertEqual(self.step("kernel")["complaint"], [])
        self.step("end")


def main():
    for needed in [*PROGRAMS, AMPHIOND, BUILD / "tests/scx/scx-docked", SCX / "vmlinux", CLONE_QEMU / "version"]:
        if not needed.exists():
            sys.exit(f"there is no {needed}: run toolchain/scx.sh and toolchain/build.sh scx-tests")
    keep = None
    if "--keep" in sys.argv:
        at = sys.argv.index("--keep")
        keep = pathlib.Path(sys.argv[at + 1])
        del sys.argv[at : at + 2]
    with tempfile.TemporaryDirectory() as folder:
        image = pathlib.Path(folder) / "initramfs.gz"
        initramfs(image)
        Scheduler.said = boot(image)
    Scheduler.steps = answers(Scheduler.said)
    if keep:
        keep.write_text(Scheduler.said)
    unittest.main(verbosity=2)


if __name__ == "__main__":
    main()
