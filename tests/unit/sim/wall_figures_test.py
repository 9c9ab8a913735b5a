#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tests/bench/sched/wall.py makes of its runs."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "bench" / "sched"))
import wall  # noqa: E402


def runs(workload: str, **seconds: list[float]) -> list[dict]:
    """The first of each policy's is of the round that warms up."""
    return [{"round": number, "policy": policy, "workload": workload, "seconds": took}
            for policy, times in seconds.items() for number, took in enumerate(times)]


def of(made: list[dict]) -> dict[str, dict]:
    return {entry["name"]: entry for entry in wall.figures(made)}


STEADY = [99.0] + [10.0 + 0.01 * number for number in range(10)]


def scaled(by: float) -> list[float]:
    return [by * took for took in STEADY]


class Figures(unittest.TestCase):
    def test_round_is_compared_with_its_own_round(self):
        # The PC slows down all the time; each round still says half.
        drifting = [float(1 + number) for number in range(11)]
        entry = of(runs("hackbench", sbco=[took / 2 for took in drifting], dft=drifting))["wall_lock_vs_dft"]
        self.assertEqual([entry[what] for what in ("value", "low", "high")], [0.5, 0.5, 0.5])

    def test_warming_up_does_not_count(self):
        made = runs("hackbench", sbco=STEADY, dft=STEADY)
        self.assertEqual(len(wall.values(made, "hackbench", "sbco")), 10)
        self.assertNotIn(99.0, wall.values(made, "hackbench", "sbco"))

    def test_ahead_of_dft_counts_outside_the_spread_only(self):
        self.assertTrue(of(runs("hackbench", sbco=scaled(0.98), dft=STEADY))["wall_lock_vs_dft"]["reached"])
        self.assertFalse(of(runs("hackbench", sbco=scaled(0.995), dft=STEADY))["wall_lock_vs_dft"]["reached"])
        self.assertFalse(of(runs("hackbench", sbco=scaled(1.1), dft=STEADY))["wall_lock_vs_dft"]["reached"])

    def test_two_percent_behind_bal_and_one_behind_dft_are_allowed(self):
        for workload, other, name, reach in (("hackbench", "bal", "wall_lock_vs_bal", 0.02), ("free", "dft", "wall_free_vs_dft", 0.01)):
            for behind, reached in ((reach - 0.001, True), (reach + 0.001, False)):
                self.assertEqual(of(runs(workload, sbco=scaled(1 + behind), **{other: STEADY}))[name]["reached"], reached)

    def test_policies_that_did_not_run_have_no_figure(self):
        self.assertEqual(set(of(runs("hackbench", sbco=STEADY, dft=STEADY))), {"wall_lock_vs_dft"})

    def test_the_interval_leaves_the_extremes_of_ten_out(self):
        entry = wall.middle([5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 100.0])
        self.assertEqual([entry[what] for what in ("value", "low", "high")], [5.5, 2.0, 9.0])

    def test_below_six_there_is_no_interval_and_no_verdict(self):
        self.assertEqual(wall.middle([1.0, 2.0, 3.0, 4.0, 6.0]), {"value": 3.0})
        self.assertEqual(wall.middle([1.0, 2.0, 3.0, 4.0, 5.0, 7.0]), {"value": 3.5, "low": 1.0, "high": 7.0})
        entry = of(runs("hackbench", sbco=scaled(0.9)[:6], dft=STEADY[:6]))["wall_lock_vs_dft"]
        self.assertEqual([entry["apart"], entry["reached"]], [None, None])


class Words(unittest.TestCase):
    def test_are_always_the_same(self):
        self.assertEqual(wall.words(1), wall.words(1))
        self.assertEqual(len(wall.words(1)), 1 << 20)


if __name__ == "__main__":
    unittest.main()
