# SPDX-License-Identifier: Apache-2.0
"""An owner's day with a third instance, on the emulated phone: created, started, changed, kept as a snapshot and brought
back, stopped over a reboot of the phone, started again, removed."""

import unittest

import rig as rigs
from test_phone import RigTest


class OwnersDay(RigTest):
    def test_an_owners_day(self):
        self.assertEqual(self.rig.ask("create", "notes")["state"], "stopped")
        self.assertEqual(self.rig.instances()["notes"]["number"], 3)
        self.rig.ask("start", "notes")
        with self.rig.console("notes") as console:
            self.assertEqual(console.run("hostname").strip(), "notes")
            console.run("echo then >/root/file; echo then >/tmp/memory; sleep 100000 & echo $! >/tmp/pid; sync")
            self._share(console)
            self._schedule(console)
        taken = self.rig.ask("snapshot", "notes", "before")
        self.assertEqual(taken["label"], "before")
        with self.rig.console("notes") as console:
            console.run("kill $(cat /tmp/pid); echo now >/root/file; echo now >/tmp/memory; sync")
        self.assertIn("say --yes", self.refused("snapshot", "notes", "--restore", "before"))
        self.rig.amphion("snapshot", "notes", "--restore", "before", "--yes")
        with self.rig.console("notes") as console:
            self._is_as_then(console)
        log = self.rig.amphion("logs", "notes").stdout
        self.assertIn("notes login:", log, "of its serial port")
        self.assertIn("notes: goes back to snapshot before", log, "phoned's own words")
        self.assertEqual(self.rig.ask("stop", "notes")["state"], "stopped")
        self.assertRegex(self.refused("console", "notes"), "notes is stopped; amphion start notes")
        self._reboot()
        self.assertEqual(self.rig.instances()["notes"]["state"], "stopped")
        self.assertEqual(self.rig.ask("sched"), self.scheduling, "as it was made to begin")
        self.rig.ask("start", "notes")
        with self.rig.console("notes") as console:
            self.assertEqual(console.run("cat /root/file").strip(), "then")
        self.assertRegex(self.refused("remove", "notes", "--yes"), "notes runs; amphion stop notes")
        self.rig.ask("remove", "notes", "--yes", "--force")
        self.assertEqual(list(self.rig.instances()), ["personal", "work"])

    def _share(self, console):
        self.assertEqual(self.rig.ask("set", "notes", "--cpus", "1")["vcpus_online"], 1)
        self.assertEqual(self._cpus(console), 1)
        self.assertEqual(self.rig.ask("set", "notes", "--cpus", "2")["vcpus_online"], 2)
        self.assertEqual(self._cpus(console), 2)
        self.assertTrue(self.rig.ask("set", "notes", "--memory", "72M")["next_start"])
        self.assertRegex(self.refused("set", "notes", "--memory", "100G"), "--memory: must be .* MiB")

    def _schedule(self, console):
        self.scheduling = self.rig.ask("sched")
        self.assertEqual(self.scheduling["policy"], "sbco")
        self.assertIn("policy       bal", self.rig.amphion("sched", "--policy", "bal", "--latency", "4").stdout)
        self.assertEqual(self.rig.ask("sched"), self.scheduling | {"policy": "bal", "latency_ms": 4.0})
        self.assertIn("--policy: fifo not in {", self.refused("sched", "--policy", "fifo"))
        self.assertEqual(self.rig.ask("sched")["policy"], "bal")
        before = self.rig.ask("sched", "stats")
        console.run("for i in $(seq 2000); do :; done")
        after = self.rig.ask("sched", "stats")
        self.assertEqual(after["policy"], "bal")
        for then, now in zip(before["cpus"], after["cpus"], strict=True):
            self.assertGreater(now["decisions"], then["decisions"])
            self.assertGreater(now["run_ns"], then["run_ns"])
            self.assertGreaterEqual(now["idle_ns"], then["idle_ns"])
            self.assertGreaterEqual(now["wait_ns"], then["wait_ns"])
        self.assertGreater(self._run_ns(after, "notes"), self._run_ns(before, "notes"))
        self.assertGreater(self._run_ns(after, "host"), self._run_ns(before, "host"))
        up_ns = [one["run_ns"] + one["idle_ns"] for one in after["cpus"]]
        self.assertLess(max(up_ns) - min(up_ns), min(up_ns) // 10, "since boot, on each CPU")
        self.assertLessEqual(sum(one["run_ns"] for one in before["vcpus"]), sum(one["run_ns"] for one in after["cpus"]))
        table = self.rig.amphion("sched", "stats").stdout
        for row in ("host             0 ", "host             1 ", "notes            0 "):
            self.assertIn(row, table)
        self.assertLessEqual(max(map(len, table.splitlines())), 100, table)
        self.assertIn("host is the phone's own Linux", self.refused("create", "host"))

    def _run_ns(self, stats: dict, name: str) -> int:
        return sum(one["run_ns"] for one in stats["vcpus"] if one["instance"] == name)

    def _is_as_then(self, console):
        self.assertEqual(console.run("cat /root/file /tmp/memory").split(), ["then", "then"])
        console.run("kill -0 $(cat /tmp/pid)")
        console.run("echo 3 >/proc/sys/vm/drop_caches")
        self.assertEqual(console.run("cat /root/file").strip(), "then", "read from the disk")

    def _cpus(self, console) -> int:
        return int(console.run("grep -c ^processor /proc/cpuinfo"))

    def _reboot(self):
        rigs.run(rigs.EMULATOR, "--state", self.rig.phone_state, "stop", "--seconds", "120")
        self.rig.start_phone()


