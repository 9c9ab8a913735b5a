# SPDX-License-Identifier: Apache-2.0
"""The emulated phone and the cloud through their front doors, from the saved phone on. One phone serves all tests of a
class; each test begins with both instances on the phone."""

import base64
import hashlib
import subprocess
import unittest

import rig as rigs
import saved_rig as saved

PROBE = rigs.ROOT / "build" / "modules" / "tests" / "guest" / "hypercall_probe.ko"


class RigTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = saved.saved_rig()
        cls.addClassCleanup(cls.rig.end)
        cls.start()

    @classmethod
    def start(cls):
        cls.rig.restore()

    def setUp(self):
        self.rig.connected()
        if set(self.rig.places().values()) != {"phone"}:  # a test before this one failed; this one shall speak for itself
            self.start()

    def refused(self, *words) -> str:
        """The one line that a refused command says."""
        done = self.rig.amphion(*words, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        lines = [line for line in done.stderr.splitlines() if line]
        self.assertEqual(len(lines), 1, done.stderr)
        return lines[0]


class Docking(RigTest):
    def test_dock_undock_keeps_processes_memory_and_disk(self):
        with self.rig.console("work") as console:
            console.run("head -c 100000 /dev/urandom >/root/disk; cp /root/disk /tmp/memory; sync")
            console.run("sleep 100000 & echo $! >/tmp/pid")
            digest = console.run("openssl dgst -sha256 -r /root/disk").split()[0]
        docked = self.rig.ask("dock", "work")
        first = self.rig.first_dock["sent_bytes"]
        self.assertLess(docked["sent_bytes"], first / 2, "a second dock sends a fraction of the first")
        self.assertEqual(self.rig.places()["work"], "cloud")
        self._check(digest)
        self.rig.ask("undock", "work")
        self.assertEqual(self.rig.places()["work"], "phone")
        self._check(digest)

    def _check(self, digest: str):
        with self.rig.console("work") as console:
            self.assertEqual(console.run("cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c").split(),
                             ["virtio_rng.0", "64"])
            console.run("kill -0 $(cat /tmp/pid)")
            for file in ("/root/disk", "/tmp/memory"):
                self.assertEqual(console.run(f"openssl dgst -sha256 -r {file}").split()[0], digest, file)
            console.run("echo 3 >/proc/sys/vm/drop_caches")
            self.assertEqual(console.run("openssl dgst -sha256 -r /root/disk").split()[0], digest, "read from the disk")

    def test_grows_in_the_cloud_and_shrinks_at_home(self):
        with self.rig.console("work") as console:
            self.assertEqual(self._cpus(console), 2)
            memory_at_home = self._memory(console)
        self.rig.ask("dock", "work")
        with self.rig.console("work") as console:
            self.rig.wait("four CPUs", lambda: self._cpus(console) == 4)
            self.rig.wait("twice the memory", lambda: self._memory(console) >= 2 * memory_at_home)
        self.rig.ask("undock", "work")
        with self.rig.console("work") as console:
            self.assertEqual(self._cpus(console), 2)
            self.assertLessEqual(self._memory(console), memory_at_home * 1.1)

    def _cpus(self, console) -> int:
        return int(console.run("grep -c ^processor /proc/cpuinfo"))

    def _memory(self, console) -> int:
        return int(console.run("grep MemTotal /proc/meminfo").split()[1])

    def test_undock_is_refused_with_figures_when_it_needs_more_than_the_bound(self):
        self.rig.ask("dock", "work")
        with self.rig.console("work") as console:
            self.rig.wait("its memory", lambda: self._memory(console) > 200 * 1024)
            console.run("mount -t tmpfs -o size=150m none /mnt && head -c 140m /dev/urandom >/mnt/fill")
        line = self.refused("undock", "work")
        self.assertRegex(line, r"work uses \d+ MiB, this phone gives it 64 MiB")
        self.assertEqual(self.rig.places()["work"], "cloud")
        with self.rig.console("work") as console:
            console.run("umount /mnt")
        self.rig.ask("undock", "work")
        self.assertEqual(self.rig.places()["work"], "phone")

    def test_clone_is_adopted_after_the_cloud_server_was_killed(self):
        with self.rig.console("work") as console:
            console.run("sleep 100000 & echo $! >/tmp/pid")
        self.rig.ask("dock", "work")
        with self.rig.console("work") as console:  # the cloud confirms before the clone runs
            console.run("true")
        clones = self.rig.clone_pids()
        self.assertEqual(len(clones), 1)
        self.rig.kill_cloud()
        self.rig.start_cloud()
        self.rig.connected()
        self.assertEqual(self.rig.clone_pids(), clones)
        with self.rig.console("work") as console:
            console.run("kill -0 $(cat /tmp/pid)")
        self.rig.ask("undock", "work")
        with self.rig.console("work") as console:
            console.run("kill -0 $(cat /tmp/pid)")

    def test_keys_reach_the_focused_instance_only_and_follow_it_to_the_cloud(self):
        self.rig.amphion("switch", "work")
        self.rig.wait_screen("^" + saved.TYPED_AT_HOME.strip())
        self.rig.type("on the phone\n")
        self.rig.wait_screen("^on the phone")
        self.rig.key("alt-f1")
        self.assertNotIn("on the phone", self.rig.wait_screen("personal login:"))
        self.rig.key("alt-f2")
        self.rig.wait_screen("^on the phone")
        self.rig.ask("dock", "work")
        text = "".join(f"line {number} while docked, quickly\n" for number in range(20))
        self.rig.type(text)
        self.rig.key("ctrl-d")
        want = hashlib.sha256(f"{saved.TYPED_AT_HOME}on the phone\n{text}".encode()).hexdigest()
        with self.rig.console("work") as console:
            self.rig.wait("every key, once and in order, in the clone", lambda: self._typed(console) == want,
                          seen=lambda: console.run(f"cat {saved.TYPED}"))
        self.rig.ask("undock", "work")
        self.rig.type("exit\n")
        self.rig.wait_screen("work login:")
        with self.rig.console("work") as console:
            self.assertEqual(self._typed(console), want)

    def _typed(self, console) -> str:
        return console.run(f"openssl dgst -sha256 -r {saved.TYPED}").split()[0]

    # ---- bad input ----

    def test_commands_say_in_one_line_what_is_wrong(self):
        self.assertRegex(self.refused("dock", "nobody"), r'unknown instance "nobody"; there are: personal, work')
        self.assertRegex(self.refused("undock", "work"), "work is .*on (this|the) phone")
        nowhere = subprocess.run([rigs.AMPHION, "--phone", f"127.0.0.1:{rigs.free_port()}", "--pki", self.rig.pki, "list"],
                                 capture_output=True, text=True, timeout=60)
        self.assertEqual(nowhere.returncode, 1)
        self.assertRegex(nowhere.stderr, "no phone answers at 127.0.0.1")
        self.assertEqual(len(nowhere.stderr.strip().splitlines()), 1)
        self.rig.ask("dock", "work")
        self.assertRegex(self.refused("dock", "work"), "work is already docked")
        self.rig.ask("undock", "work")

    def test_without_a_cloud_server_docking_is_refused_and_the_instance_goes_on(self):
        self.rig.stop_cloud()
        try:
            self.assertRegex(self.refused("dock", "work"), "cloud")
            with self.rig.console("work") as console:
                console.run("true")
        finally:
            self.rig.start_cloud()

    # ---- hostile guest ----

    def test_touching_an_address_of_nobody_faults_the_guest_that_did_it_alone(self):
        with self.rig.console("work") as console, self.rig.console("personal") as other:
            for address in ("0x00000000", "0x05000000", "0x08030000", "0xf0000000"):
                # devmem dies of a bus error (128 + SIGBUS), its shell goes on.
                console.run(f"devmem {address} 32; test $? -eq 135")
            console.run("true")
            other.run("true")

    def test_management_hypercalls_are_denied_to_a_phone_instance(self):
        with self.rig.console("work") as console, self.rig.console("personal") as other:
            module = base64.b64encode(PROBE.read_bytes()).decode()
            console.run("rm -f /tmp/probe.b64")
            for start in range(0, len(module), 500):
                console.run(f"echo {module[start:start + 500]} >>/tmp/probe.b64")
            console.run("base64 -d </tmp/probe.b64 >/tmp/probe.ko; insmod /tmp/probe.ko; true")
            self.assertRegex(console.run("dmesg | grep probe: | tail -n 1"), "19 of 19 denied, unknown answered -1")
            other.run("true")


class WithoutGrowService(RigTest):
    def test_docks_all_the_same_and_keeps_its_cpu_count(self):
        with self.rig.console("work") as console:
            console.run("sed -i /amphion-grow/d /etc/inittab && kill -HUP 1 && killall amphion-grow")
        self.rig.ask("dock", "work")
        with self.rig.console("work") as console:
            console.run(f"kill -0 $(cat {saved.PID})")
            self.assertEqual(self._cpus(console), 2)
        self.rig.ask("undock", "work")
        with self.rig.console("work") as console:
            self.assertEqual(self._cpus(console), 2)

    def _cpus(self, console) -> int:
        return int(console.run("grep -c ^processor /proc/cpuinfo"))


class DeviceModels(RigTest):
    def test_one_that_dies_ends_its_instance_alone(self):
        self.rig.on_phone("kill -9 $(pidof amphion-instance | cut -d' ' -f1)")
        self.rig.wait("an instance to fail", lambda: self._in("failed"))
        self.assertEqual([len(self._in("failed")), len(self._in("running"))], [1, 1])
        failed, other = self._in("failed")[0], self._in("running")[0]
        self.assertIn("device model", self.rig.instances()[failed]["note"])
        self.rig.amphion("switch", failed)
        self.rig.wait_screen("device model")
        with self.rig.console(other) as console:
            console.run("true")

    def _in(self, state: str) -> list:
        return [name for name, one in self.rig.instances().items() if one["state"] == state]


class FullDiskInTheCloud(RigTest):
    """The cloud's data folder is a small file system of the test's own."""

    @classmethod
    def start(cls):
        rig = cls.rig
        rig.clear_cloud()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "amphion-test", rig.cloud_data], check=True)
        cls.addClassCleanup(subprocess.run, ["umount", rig.cloud_data], check=True)
        cls.addClassCleanup(rig.end)
        rig.start_cloud()
        rig.restore_phone()

    def test_docking_is_refused_with_a_clear_error_and_the_instance_goes_on(self):
        with self.rig.console("work") as console:
            console.run("echo kept >/tmp/file")
        self.assertRegex(self.refused("dock", "work"), "space|full")
        self.assertEqual(self.rig.places()["work"], "phone")
        with self.rig.console("work") as console:
            self.assertEqual(console.run("cat /tmp/file").strip(), "kept")
        self.assertEqual(self.rig.clone_pids(), [])


class SavedPhone(unittest.TestCase):
    def test_another_bundle_or_a_disk_that_is_there_is_refused(self):
        rig = saved.saved_rig()
        self.addCleanup(rig.end)
        other, image, there = (rig.folder / name for name in ("other-bundle", "image", "image-that-is-there"))
        other.write_bytes(rig.bundle.read_bytes() + b" ")
        there.touch()
        for bundle, data, why in ((other, image, "was saved with another bundle"), (rig.bundle, there, "is there already")):
            done = rigs.run(rigs.EMULATOR, "--state", rig.phone_state, "start", "--bundle", bundle, "--data", data,
                            "--from", rig.saved / "phone", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^amphion-emulator: .*{why}[^\n]*\n$")
        self.assertFalse(image.exists())


if __name__ == "__main__":
    unittest.main()
