# SPDX-License-Identifier: Apache-2.0
"""The instances' network on the whole phone and in the cloud, in a network of the test's own: leases, the way to the
outside, and what is out of reach."""

import unittest

import namespace
import saved_rig as saved


class Network(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rig = saved.saved_rig()  # made in the network of all
        cls.enterClassContext(namespace.own_network())
        cls.addClassCleanup(cls.rig.end)
        cls.rig.restore()

    def test_personal_and_work_reach_the_outside_but_neither_each_other_nor_the_phone(self):
        with self.rig.console("personal") as personal, self.rig.console("work") as work:
            addresses = [self._leased(console) for console in (personal, work)]
            self.assertEqual(addresses, ["10.67.1.15", "10.67.2.15"])
            self._reaches_the_outside(personal)
            work.run("nc -ll -p 5000 -e echo here >/dev/null 2>&1 &")
            work.run("until netstat -ltn | grep -q ':5000 '; do sleep 0.1; done")
            self.assertEqual(work.run("nc -w 10 10.67.2.15 5000 </dev/null").strip(), "here")
            for address, port in (("10.67.2.15", 5000), ("10.67.1.2", 7447), ("10.67.2.2", 7447), ("10.0.2.15", 7447)):
                personal.run(f"! nc -w 2 {address} {port} </dev/null")

    def test_work_keeps_its_address_and_its_way_to_the_outside_in_the_cloud_and_back(self):
        with self.rig.console("work") as console:
            address = self._leased(console)
            self._reaches_the_outside(console)
        for command in ("dock", "undock"):
            self.rig.ask(command, "work")
            with self.rig.console("work") as console:
                self.assertEqual(self._leased(console), address)
                self._reaches_the_outside(console)
                console.run("udhcpc -nq -i eth0 -s /bin/true")
                self.assertEqual(self._leased(console), address)

    def _leased(self, console) -> str:
        return console.run("until ifconfig eth0 | grep -q inet.addr; do sleep 0.1; done; "
                           "ifconfig eth0 | sed -n 's/.*inet addr:\\([0-9.]*\\) .*/\\1/p'").strip()

    def _reaches_the_outside(self, console):
        answer = console.run(f"nc -w 10 {namespace.OUTSIDE} {namespace.PORT} </dev/null")
        self.assertEqual(answer.strip(), namespace.ANSWER)


if __name__ == "__main__":
    unittest.main()
