#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The measure of tests/bench/sched/hyp.py, held against what is known beforehand: vCPUs that have a CPU each are never
preempted with a lock; in queues of four some are, and what their waiters lose lies within what holders were absent."""

import contextlib
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench" / "sched"))
import hyp  # noqa: E402

LOCKING = ["lock", "ticket", "pipeline"]
OTHERS = hyp.MACHINE_VCPUS - 1


class CountedLocks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        keys = [(workload, queue, "bal") for queue in (1, 4) for workload in hyp.WORKLOADS]
        cls.said = hyp.run("test", keys, seed=1, measured_us=60_000)

    def test_alone(self):
        for workload in hyp.WORKLOADS:
            said = self.said[workload, 1, "bal"]
            self.assertGreater(said["steps"], 0, workload)
            self.assertEqual(said["preempted"] + said["handed"] + said["lost"] + said["lost_to_next"], 0, workload)

    def test_in_queues(self):
        for workload in LOCKING:
            said = self.said[workload, 4, "bal"]
            self.assertGreater(said["preempted"], 0, workload)
            self.assertGreater(said["lost"], 0, workload)
            self.assertLessEqual(said["lost"], OTHERS * said["absent"], workload)
            self.assertLess(said["steps"], self.said[workload, 1, "bal"]["steps"] / 2, workload)
        self.assertGreater(self.said["ticket", 4, "bal"]["handed"], 0)
        self.assertEqual(self.said["lock", 4, "bal"]["handed"], 0)

    def test_more_lost_than_spun_is_refused(self):
        for spun, refused in ((5, False), (4, True)):
            said = f"experiment 0\n lost=3\n lost_to_next=2\n spun={spun}\nend 0\n"
            with self.assertRaises(hyp.Failed) if refused else contextlib.nullcontext():
                hyp.values_of(said, [("ticket", 4, "bal")])


if __name__ == "__main__":
    unittest.main()
