# SPDX-License-Identifier: Apache-2.0
"""The phone's power is cut before, at and after the commit of a hand-over, both ways; what its disk had not flushed is lost.
When phone and cloud have spoken again, the instance is in one place by the word of both, with everything that it must have."""

import unittest

import rig as rigs
import saved_rig as saved

TYPED_IN_THE_CLOUD = "typed in the cloud\n"
TYPED_LAST = "typed just before the undock\n"
TYPED_AFTERWARDS = "typed afterwards\n"
EVENTS_A_KEY = 4  # press and release, each with its end of frame


class PowerOff(unittest.TestCase):
    def setUp(self):
        self.rig = saved.saved_rig()
        self.addCleanup(self.rig.end)
        self.rig.restore(list_writes=True)
        self.typed = saved.TYPED_AT_HOME

    # ---- the six ----

    def test_dock_before_the_commit(self):
        self._cut("dock", "copying")
        self.assertEqual(self._settle(), "phone")
        self._check_cold_boot("work is on the phone, and its memory went with the power")

    def test_dock_at_the_commit(self):
        self._cut("dock", "committing")
        if self._settle() == "cloud":
            self._check_alive()
        else:
            self._check_cold_boot("the commit was not durable")

    def test_dock_after_the_commit(self):
        self._cut("dock", "answer")
        self.assertEqual(self._settle(), "cloud")
        self._check_alive()

    def test_undock_before_the_commit(self):
        self._work_in_the_cloud()
        self._cut("undock", "copying")
        self.assertEqual(self._settle(), "cloud")
        self._check_alive()

    def test_undock_at_the_commit(self):
        self._work_in_the_cloud()
        self._cut("undock", "committing")
        self._settle()
        self._check_alive()

    def test_undock_after_the_commit(self):
        self._work_in_the_cloud()
        self._cut("undock", "answer")
        self.assertEqual(self._settle(), "phone")
        self._check_cold_boot("work ran on the phone when the power went")
        with self.rig.console("work") as console:
            typed = console.run(f"cat {saved.TYPED}")
            self.assertEqual(typed[: len(self.synced)], self.synced, "what was synced in the cloud came home")

    # ---- steps ----

    def _work_in_the_cloud(self):
        """Typed text in the clone's file, synced, and some more that is journaled and on its way."""
        self.rig.ask("dock", "work")
        self._type(TYPED_IN_THE_CLOUD)
        with self.rig.console("work") as console:
            self._wait_typed(console)
            console.run("sync")
        self.synced = self.typed
        self._type(TYPED_LAST)

    def _type(self, text: str):
        """Returns when the keys are journaled."""
        journaled = self._journaled() + EVENTS_A_KEY * len(text)
        self.rig.type(text)
        self.typed += text
        self.rig.wait("the keys in the journal", lambda: self._journaled() >= journaled)

    def _journaled(self) -> int:
        return self.rig.instances()["work"]["journal"]["last"]

    def _cut(self, command: str, step: str):
        for now in self.rig.move(command, "work"):
            if now == step:
                self.rig.power_off()
                return
        self.fail(f"{command} ended without the step '{step}'")

    def _settle(self) -> str:
        """Power again; where work is when phone and cloud agree."""
        self.rig.start_phone()
        self.rig.connected()
        return self.rig.wait("phone and cloud to agree", self._agreed,
                             seen=lambda: f"{self.rig.instances()['work']}\n{self.rig.cloud_instances()['work']}")

    def _agreed(self) -> str | None:
        phone, cloud = self.rig.instances()["work"], self.rig.cloud_instances()["work"]
        same = all(phone[key] == cloud[key] for key in ("place", "generation"))
        at_rest = phone["state"] in ("running", "docked") and cloud["state"] in ("running", "on the phone")
        clones = 1 if phone["place"] == "cloud" else 0
        agreed = same and at_rest and not cloud["prepared"] and len(self.rig.clone_pids()) == clones
        return phone["place"] if agreed else None

    # ---- what must be so ----

    def _check_alive(self):
        """Never booted anew: the process, and every key once, in order; also after the next hand-over."""
        self._check_processes()
        self._move()
        self._check_processes()
        self.rig.amphion("switch", "work")
        self.rig.type(TYPED_AFTERWARDS)
        self.typed += TYPED_AFTERWARDS
        with self.rig.console("work") as console:
            self._wait_typed(console)

    def _check_processes(self):
        with self.rig.console("work") as console:
            self.assertEqual(console.run(f"cat {saved.BOOT_ID}").strip(), self.rig.boot_id)
            console.run(f"kill -0 $(cat {saved.PID})")

    def _check_cold_boot(self, why: str):
        with self.rig.console("work") as console:
            self.assertNotEqual(console.run(f"cat {saved.BOOT_ID}").strip(), self.rig.boot_id, why)
            self.assertEqual(console.run(f"cat {saved.SYNCED}").strip(), saved.SYNCED_TEXT)
            boot_id = console.run(f"cat {saved.BOOT_ID}").strip()
        self._move()
        with self.rig.console("work") as console:
            self.assertEqual(console.run(f"cat {saved.BOOT_ID}").strip(), boot_id)

    def _move(self):
        home = self.rig.places()["work"] == "phone"
        self.rig.ask("dock" if home else "undock", "work")
        self.rig.wait("phone and cloud to agree", self._agreed)
        self.assertEqual(self.rig.places()["work"], "cloud" if home else "phone")

    def _wait_typed(self, console: rigs.Console):
        self.rig.wait("what was typed, once and in order", lambda: console.run(f"cat {saved.TYPED}") == self.typed,
                      seen=lambda: f"{console.run(f'cat {saved.TYPED}')!r} is not {self.typed!r}")


if __name__ == "__main__":
    unittest.main()
