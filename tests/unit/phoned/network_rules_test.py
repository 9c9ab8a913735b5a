#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The phone's firewall (toolchain/rootfs/host/usr/sbin/amphion-network) between real network stacks: phone, instances and
the outside are network namespaces, cables are veth pairs. Runs as root in name spaces of its own, which end with it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "toolchain" / "rootfs" / "host" / "usr" / "sbin" / "amphion-network"
BUSYBOX = pathlib.Path(os.environ.get("AMPHION_CACHE", pathlib.Path.home() / ".cache" / "amphion")) / "scx/bin/busybox"
OUTSIDE, UPLINK = "198.51.100.2", "198.51.100.1"
CONTROL_PORT = 7447

SERVE = """
import socket, sys, threading
kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((address, port))
if kind == "tcp": s.listen()
print("ready", flush=True)
while True:
    if kind == "tcp":
        c, peer = s.accept()
        c.sendall(peer[0].encode()); c.close()
    else:
        _, peer = s.recvfrom(100)
        s.sendto(peer[0].encode(), peer)
"""
ASK = """
import socket, sys
kind, address, port, source = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(0.7)
if source: s.bind((source, 0))
s.connect((address, port))
if kind == "udp": s.send(b"?")
print(s.recv(100).decode())
"""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


def inside(name, *words):
    return ("ip", "netns", "exec", name, *words) if name else words


class Rules(unittest.TestCase):
    def setUp(self):
        self.addCleanup(run, SCRIPT, "stop")
        self.servers = []
        self.addCleanup(lambda: [(server.kill(), server.wait(), server.stdout.close()) for server in self.servers])
        run(SCRIPT, "start", OUTSIDE)
        run("ip", "netns", "add", "outside")
        self.addCleanup(run, "ip", "netns", "del", "outside")
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "outside")
        self.addCleanup(self.unplug, "eth0")
        run("ip", "addr", "add", f"{UPLINK}/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run(*inside("outside", "ip", "addr", "add", f"{OUTSIDE}/24", "dev", "eth0"))
        run(*inside("outside", "ip", "link", "set", "eth0", "up"))
        run(*inside("outside", "ip", "route", "add", "10.67.0.0/16", "via", UPLINK))
        self.serve("outside", "tcp", OUTSIDE, 80)

    def unplug(self, link):
        """At once: a name space that is removed takes its links along later. The script may have removed it."""
        subprocess.run(("ip", "link", "del", link), capture_output=True)

    def serve(self, where, kind, address, port):
        server = subprocess.Popen(inside(where, sys.executable, "-c", SERVE, kind, address, str(port)), stdout=subprocess.PIPE)
        self.servers.append(server)
        self.assertEqual(server.stdout.readline(), b"ready\n")

    def ask(self, where, address, port=80, kind="tcp", source=""):
        """What the server says, the address that it sees; None: no way."""
        done = subprocess.run(inside(where, sys.executable, "-c", ASK, kind, address, str(port), source), capture_output=True,
                              text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    def cable(self, number, kind):
        guest, tap, mac = f"guest{number}", f"amphion{number}", f"02:00:00:00:00:{number:02x}"
        run("ip", "netns", "add", guest)
        self.addCleanup(run, "ip", "netns", "del", guest)
        run("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", guest)
        self.addCleanup(self.unplug, tap)
        run(*inside(guest, "ip", "link", "set", "eth0", "address", mac, "up"))
        run(SCRIPT, "attach", tap, mac, number, kind)
        return guest

    def translated(self, number):
        guest = self.cable(number, "nat")
        run(*inside(guest, "ip", "addr", "add", f"10.67.{number}.15/24", "dev", "eth0"))
        run(*inside(guest, "ip", "route", "add", "default", "via", f"10.67.{number}.2"))
        return guest

    def bridge(self):
        run("ip", "link", "add", "lan", "address", "02:00:00:00:01:00", "type", "bridge")
        self.addCleanup(run, "ip", "link", "del", "lan")
        run("ip", "addr", "flush", "dev", "eth0")
        run("ip", "link", "set", "eth0", "master", "lan")
        run("ip", "addr", "add", f"{UPLINK}/24", "dev", "lan")
        run("ip", "link", "set", "lan", "up")
        self.wait_forwarding("eth0")

    def wait_forwarding(self, port):
        """The bridge hears of a cable with some delay."""
        state = pathlib.Path(f"/sys/class/net/{port}/brport/state")
        while state.read_text() != "3\n":
            time.sleep(0.01)

    def bridged(self, number):
        guest = self.cable(number, "bridged")
        self.wait_forwarding(f"amphion{number}")
        run(*inside(guest, "ip", "addr", "add", f"198.51.100.{number}/24", "dev", "eth0"))
        run(*inside(guest, "ip", "route", "add", "10.67.0.0/16", "via", UPLINK))
        return guest

    def test_an_instance_reaches_the_outside_as_the_phone_and_is_reached_by_nobody(self):
        guest = self.translated(1)
        self.serve(guest, "tcp", "10.67.1.15", 80)
        self.assertEqual(self.ask(guest, OUTSIDE), UPLINK)
        self.assertIsNone(self.ask("outside", "10.67.1.15"))

    def test_names_are_asked_for_at_its_own_network_s_server(self):
        self.serve("outside", "udp", OUTSIDE, 53)
        self.serve("outside", "udp", OUTSIDE, 54)
        guest = self.translated(7)
        self.assertEqual(self.ask(guest, "10.67.7.3", 53, "udp"), UPLINK)
        self.assertIsNone(self.ask(guest, "10.67.7.3", 54, "udp"))

    def test_the_host_s_services_are_out_of_reach(self):
        guest = self.translated(1)
        self.serve("", "tcp", "0.0.0.0", CONTROL_PORT)
        self.serve("", "udp", "0.0.0.0", CONTROL_PORT)
        self.assertEqual(self.ask("outside", UPLINK, CONTROL_PORT), OUTSIDE)
        for address in ("10.67.1.2", "10.67.1.3", UPLINK):
            self.assertIsNone(self.ask(guest, address, CONTROL_PORT), address)
            self.assertIsNone(self.ask(guest, address, CONTROL_PORT, "udp"), address)

    def test_siblings_are_apart_until_both_are_opened(self):
        one, two, three = (self.translated(number) for number in (1, 2, 3))
        for number, guest in ((1, one), (2, two), (3, three)):
            self.serve(guest, "tcp", f"10.67.{number}.15", 80)
        self.assertIsNone(self.ask(one, "10.67.2.15"))
        run(SCRIPT, "open", "amphion1", "amphion2")
        self.assertEqual(self.ask(one, "10.67.2.15"), "10.67.1.15")
        self.assertEqual(self.ask(two, "10.67.1.15"), "10.67.2.15")
        self.assertIsNone(self.ask(one, "10.67.3.15"))
        run(SCRIPT, "detach", "amphion2", "amphion1")
        self.assertNotIn("amphion2", run("nft", "list", "ruleset"))
        self.assertIn("amphion3", run("nft", "list", "ruleset"))

    def test_an_instance_speaks_for_itself_only(self):
        guest = self.translated(1)
        run(*inside(guest, "ip", "addr", "add", "10.67.1.16/24", "dev", "eth0"))
        self.assertIsNone(self.ask(guest, OUTSIDE, source="10.67.1.16"))
        self.assertEqual(self.ask(guest, OUTSIDE, source="10.67.1.15"), UPLINK)
        run(*inside(guest, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"))
        self.assertIsNone(self.ask(guest, OUTSIDE, source="10.67.1.15"))

    def test_one_that_opens_connections_without_end_has_its_share(self):
        guest, other = self.translated(1), self.translated(2)
        many = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1100): s.sendto(b"x", ("{OUTSIDE}", 1000 + port))
"""
        run(*inside(guest, sys.executable, "-c", many))
        self.assertIsNone(self.ask(guest, OUTSIDE))
        self.assertEqual(self.ask(other, OUTSIDE), UPLINK)

    def test_a_bridged_one_has_the_outside_but_neither_host_nor_siblings(self):
        self.bridge()
        one, two, translated = self.bridged(11), self.bridged(12), self.translated(1)
        self.serve(one, "tcp", "198.51.100.11", 80)
        self.serve("", "tcp", "0.0.0.0", CONTROL_PORT)
        self.assertEqual(self.ask(one, OUTSIDE), "198.51.100.11")
        self.assertEqual(self.ask("outside", "198.51.100.11"), OUTSIDE)
        self.assertIsNone(self.ask(one, UPLINK, CONTROL_PORT))
        self.assertIsNone(self.ask(two, "198.51.100.11"))
        self.assertEqual(self.ask(translated, OUTSIDE), UPLINK)
        self.assertIsNone(self.ask(translated, "198.51.100.11"))
        self.assertIsNone(self.ask(one, "10.67.1.15"))
        run(*inside(two, "ip", "neigh", "flush", "all"))
        run(SCRIPT, "open", "amphion11", "amphion12")
        self.assertEqual(self.ask(two, "198.51.100.11"), "198.51.100.12")
        run(*inside(one, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"))
        self.assertIsNone(self.ask(one, OUTSIDE))

    def test_a_new_start_leaves_nothing_of_an_earlier_one_and_a_stop_nothing(self):
        self.translated(1)
        run(SCRIPT, "start")
        self.assertNotIn("amphion1", run("nft", "list", "ruleset"))
        run(SCRIPT, "stop")
        self.assertEqual(run("nft", "list", "ruleset"), "")


def main():
    if os.environ.get("AMPHION_RULES") != "inside":
        os.environ["AMPHION_RULES"] = "inside"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    run("mount", "-t", "tmpfs", "run", "/run")
    run("mount", "-t", "sysfs", "sys", "/sys")  # of this network
    run("ip", "link", "set", "lo", "up")
    tools = tempfile.mkdtemp(dir="/run")
    if not BUSYBOX.exists():
        sys.exit(f"there is no {BUSYBOX}: run toolchain/scx.sh")
    for applet in ("ifconfig", "brctl"):
        os.symlink(BUSYBOX, f"{tools}/{applet}")
    os.symlink("/bin/true", f"{tools}/udhcpd")  # leases are the whole phone's tests'
    os.environ["PATH"] = f"{tools}:/usr/sbin:/sbin:{os.environ['PATH']}"
    unittest.main()


if __name__ == "__main__":
    main()
