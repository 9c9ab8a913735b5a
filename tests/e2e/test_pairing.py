# SPDX-License-Identifier: Apache-2.0
"""A fresh phone, with no certificate and no owner: an owner comes in by a code, phone and cloud are paired by another, an
instance docks and comes home, they part, and who kept a copy of the certificate stays out. And a phone whose clock is in
2040: what its programs, its kernel and its libraries make of it."""

import socket
import ssl
import threading
import unittest

import rig as rigs

IN_2040 = 2213956800  # 2040-02-27 12:00 UTC


class Pairing(unittest.TestCase):
    def setUp(self):
        self.rig = rigs.Rig()
        self.addCleanup(self.rig.close)
        self.cloud_pki = self.rig.folder / "cloud-pki"
        rigs.run(rigs.PKI, "create", self.cloud_pki)
        self.rig.start_cloud(self.cloud_pki)
        config = rigs.small_config(self.rig.cloud_port) | {"cloud": ""}
        self.rig.make_phone(config, pki="")
        self.rig.power_on()

    def error_of(self, *words) -> str:
        done = self.rig.amphion(*words, check=False)
        self.assertEqual((done.returncode, len(done.stderr.strip().splitlines())), (1, 1), done.stdout + done.stderr)
        return done.stderr

    def restart_phoned(self):
        self.rig.on_phone("kill $(pidof phoned)")
        self.rig.wait("phoned to begin anew", lambda: self.rig.amphion("list", check=False).returncode == 0)

    def test_from_a_fresh_phone_to_a_stranger(self):
        rig = self.rig
        rig.wait("phoned", lambda: "phoned info: ready" in rig.phone_log(), seen=rig.phone_log)
        self.assertNotEqual(rig.amphion("list", check=False).returncode, 0, "nobody commands a fresh phone from afar")
        code = rig.told_on_phone("amphion invite --json")["code"]
        rigs.run(rigs.AMPHION, "join", f"{code}@127.0.0.1:{rig.control_port}", "--pki", rig.pki)
        again = rigs.run(rigs.AMPHION, "join", f"{code}@127.0.0.1:{rig.control_port}", "--pki", rig.folder / "x", check=False)
        self.assertIn("nobody waits for a one-time code", again.stderr)

        self.assertIn("paired with no cloud", self.error_of("unpair"))
        _, place = rig.cloud_code().split("@")
        self.assertIn("not the one that is waited for", self.error_of("pair", f"0000-0000-0000-0000@{place}"))
        answer = rig.ask("pair", rig.cloud_code())
        self.assertTrue(answer["connected"], answer)
        rig.connected()
        self.assertIn("is paired with the cloud at", self.error_of("pair", rig.cloud_code()))

        rig.ask("dock", "work")
        self.assertIn("work is not at home", self.error_of("unpair"))
        self.assertTrue(rig.ask("status")["cloud"]["connected"])
        rig.ask("undock", "work")
        doctor = rig.ask("doctor")
        self.assertTrue(doctor["healthy"], doctor)
        rig.on_phone("cp /data/pairing /data/stolen")
        self.assertEqual(rig.ask("unpair")["told"], True)
        self.assertEqual(rig.ask("status")["cloud"]["address"], "")
        self.assertEqual(rig.places()["work"], "phone")

        rig.on_phone("mv /data/stolen /data/pairing")
        self.restart_phoned()
        rig.wait("the cloud's refusal", lambda: "has been unpaired" in rig.ask("status")["cloud"].get("error", ""),
                 seen=lambda: rig.ask("status"))
        self.assertIn("refused: this phone has been unpaired", rig.cloud_log())
        self.assertEqual(rig.ask("unpair")["told"], True)  # whom the cloud has forgotten need not be told
        self.assertTrue(rig.ask("pair", rig.cloud_code())["connected"])


class AfterThe32BitsEnd(unittest.TestCase):
    """The phone's programs have a time of 64 bits; its libraries have not."""

    def test_a_phone_in_2040(self):
        rig = rigs.Rig()
        self.addCleanup(rig.close)
        rigs.run(rigs.PKI, "create", rig.pki, "--at", IN_2040)
        peers, cloud = [], self.cloud(rig)
        self.addCleanup(cloud.close)
        threading.Thread(target=self.accept, args=(cloud, peers), daemon=True).start()
        rig.make_phone(rigs.small_config(rig.cloud_port, names=("work",)))
        rigs.run("debugfs", "-w", "-f", "-", rig.data_image, input=f"rm clock\nwrite {self.clock(rig)} clock\n")
        rig.power_on()
        rig.wait("a hand-shake", lambda: peers, seen=rig.phone_log)
        self.assertIn("phone", str(peers[0]["subject"]))
        self.assertRegex(rig.phone_log(), r"2040-02-27 12:\d\d:\d\d UTC phoned warning: time: the clock is set from .* to 2040-02-27")
        status = rig.told_on_phone("amphion status --json")
        self.assertGreaterEqual(status["time"]["clock_s"], IN_2040)
        self.assertEqual(status["instances"][0]["state"], "running", status)
        # Once more, with files that are of 2040, and certificates that are judged then.
        handshakes = len(peers)
        rig.on_phone("kill $(pidof phoned)")
        rig.wait("another hand-shake", lambda: len(peers) > handshakes, seen=rig.phone_log)
        rig.wait("phoned's end of starting", lambda: rig.phone_log().count("phoned info: ready") == 2, seen=rig.phone_log)
        doctor = rig.told_on_phone("amphion doctor --json")
        bad = [check for check in doctor["checks"] if check["health"] == "bad" and check["name"] != "cloud"]
        self.assertEqual(bad, [])

    def clock(self, rig):
        file = rig.folder / "clock"
        file.write_text(f"{IN_2040}\n")
        return file

    def cloud(self, rig) -> ssl.SSLSocket:
        """A TLS server of 2040's authority on this machine, whose clock is another: it judges no time, the phone does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(rig.pki / "cloud.crt", rig.pki / "cloud.key")
        context.load_verify_locations(rig.pki / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
        listener = socket.create_server(("127.0.0.1", rig.cloud_port))
        return context.wrap_socket(listener, server_side=True)

    def accept(self, cloud: ssl.SSLSocket, peers: list):
        while True:
            try:
                peer, _ = cloud.accept()
            except ssl.SSLError:
                continue
            except OSError:
                return
            peers.append(peer.getpeercert())
            peer.close()


if __name__ == "__main__":
    unittest.main()
