# SPDX-License-Identifier: Apache-2.0
"""The saved phone and cloud from which the tests start, made once a run: two instances at home, bounded to 64 MiB, the
session with the cloud up. `work` has been in the cloud once, so that both sides hold a copy of it; on its screen `cat`
takes what is typed."""

import atexit
import functools

import rig as rigs

TYPED = "/root/typed"  # what `cat` has taken; of it nothing was synced
TYPED_AT_HOME = "typed at home\n"
SYNCED = "/root/synced"
SYNCED_TEXT = "synced at home"
PID = "/tmp/pid"  # of a process; /tmp is in memory
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class SavedRig(rigs.Rig):
    def __init__(self):
        super().__init__()
        atexit.register(self.close)
        self.make_certificates()
        self.start_cloud()
        self.make_phone(rigs.small_config(self.cloud_port))
        self.start_phone()
        self.connected()
        self._use_work()
        self.first_dock = self.ask("dock", "work")
        self.ask("undock", "work")
        self.wait("a login of personal", lambda: "login:" in self._screen_of("personal"))
        self._screen_of("work")
        self.save()

    def _use_work(self):
        self._screen_of("work")
        self.log_in("work")
        self.type(f"cat >{TYPED}\n")
        with self.console("work") as console:
            self.wait("cat", lambda: console.run("pidof cat || true"))  # before, the shell would take the text without an echo
            self.type(TYPED_AT_HOME)
            self.wait("the text", lambda: console.run(f"cat {TYPED}") == TYPED_AT_HOME)
            console.run(f"sleep 100000 & echo $! >{PID}; echo {SYNCED_TEXT} >{SYNCED}; sync {SYNCED}")
            self.boot_id = console.run(f"cat {BOOT_ID}").strip()

    def _screen_of(self, name: str) -> str:
        self.amphion("switch", name)
        return self.screen()


@functools.cache
def saved_rig() -> SavedRig:
    return SavedRig()
