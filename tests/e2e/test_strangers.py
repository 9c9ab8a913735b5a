# SPDX-License-Identifier: Apache-2.0
"""Phone and cloud refuse whom they must, and say why: the phone by `amphion status`, the cloud in amphiond's log."""

import re
import shutil
import unittest

import rig as rigs
import saved_rig as saved

FOREIGN = "issued by another authority"
EXPIRED = "has expired"
PEER = "the peer's certificate (was )?"
OWN = "the peer refused this side's certificate: it (was )?"


class Strangers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = saved.saved_rig()
        cls.addClassCleanup(cls.rig.end)
        cls.rig.restore()
        cls.foreign = cls.rig.folder / "foreign"
        cls.expired = cls.rig.folder / "expired"
        rigs.run(rigs.PKI, "create", cls.foreign)
        shutil.copytree(cls.rig.pki, cls.expired)
        for role in ("cloud", "phone"):
            for ending in ("crt", "key"):
                (cls.expired / f"{role}.{ending}").unlink()
            rigs.run(rigs.PKI, "issue", cls.expired, "--role", role, "--name", role, "--expired")
        shutil.copy(cls.rig.pki / "ca.crt", cls.foreign / "ca.crt")  # it trusts us: only its own certificate is strange

    def test_a_cloud_of_another_authority(self):
        self._cloud_is(self.foreign)
        self._refused(PEER + FOREIGN, OWN + FOREIGN)

    def test_a_cloud_whose_certificate_has_expired(self):
        self._cloud_is(self.expired)
        self._refused(PEER + EXPIRED, OWN + EXPIRED)

    def test_a_phone_of_another_authority(self):
        self._phone_is(self.foreign)
        self._refused(OWN + FOREIGN, PEER + FOREIGN)

    def test_a_phone_whose_certificate_has_expired(self):
        self._phone_is(self.expired)
        self._refused(OWN + EXPIRED, PEER + EXPIRED)

    def _cloud_is(self, pki):
        self.rig.stop_cloud()
        self.log_before = len(self.rig.cloud_log())
        self.rig.start_cloud(pki)
        self.addCleanup(self._cloud_is_ours)

    def _cloud_is_ours(self):
        self.rig.stop_cloud()
        self.rig.start_cloud()
        self.rig.connected()

    def _phone_is(self, pki):
        self._give_phone(pki)
        self.rig.stop_cloud()
        self.log_before = len(self.rig.cloud_log())
        self.addCleanup(self._phone_is_ours)
        self.rig.start_cloud()

    def _phone_is_ours(self):
        self._give_phone(self.rig.pki)
        self.rig.connected()

    def _give_phone(self, pki):
        for name in ("phone.crt", "phone.key"):
            self.rig.on_phone(f"cat >/data/pki/{name} <<'END'\n{(pki / name).read_text()}END")

    def _refused(self, phone_says: str, cloud_says: str):
        self.rig.wait("the phone's reason", lambda: self._matches(phone_says, self.rig.ask("status")["cloud"].get("error", "")),
                      seen=lambda: self.rig.ask("status"))
        self.assertFalse(self.rig.ask("status")["cloud"]["connected"])
        self.rig.wait("the cloud's reason",
                      lambda: self._matches("refused: " + cloud_says, self.rig.cloud_log()[self.log_before:]),
                      seen=self.rig.cloud_log)
        self.assertNotIn("has connected", self.rig.cloud_log()[self.log_before:])
        done = self.rig.amphion("dock", "work", check=False)
        self.assertEqual((done.returncode, len(done.stderr.strip().splitlines())), (1, 1), done.stderr)

    def _matches(self, pattern: str, text: str) -> bool:
        return re.search(pattern, text) is not None


if __name__ == "__main__":
    unittest.main()
