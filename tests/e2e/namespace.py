# SPDX-License-Identifier: Apache-2.0
"""A network of a test's own: this process and all that it starts see nothing but a loopback and a cable to an outside,
which is another network with a server in it."""

import contextlib
import ctypes
import os
import subprocess
import sys

HERE, OUTSIDE = "198.51.100.1", "198.51.100.2"
PORT = 7000
ANSWER = "outside"
CLONE_NEWNET = 0x40000000
SERVER = f"""
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"{ANSWER}\\n")
socketserver.TCPServer.allow_reuse_address = True
server = socketserver.TCPServer(("{OUTSIDE}", {PORT}), Handler)
print("ready", flush=True)
server.serve_forever()
"""
libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def own_network():
    """The calling thread, which should be the only one, and its children."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _check(libc.unshare(CLONE_NEWNET))
    outside = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"], stdout=subprocess.PIPE)
    server = None
    try:
        outside.stdout.readline()
        within = ["nsenter", "--target", str(outside.pid), "--net"]
        for command in (["ip", "link", "set", "lo", "up"],
                        ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(outside.pid)],
                        [*within, "ip", "addr", "add", f"{OUTSIDE}/24", "dev", "eth0"],
                        [*within, "ip", "link", "set", "eth0", "up"],
                        ["ip", "addr", "add", f"{HERE}/24", "dev", "eth0"],
                        ["ip", "link", "set", "eth0", "up"],
                        ["ip", "route", "add", "default", "via", OUTSIDE]):
            subprocess.run(command, check=True)
        server = subprocess.Popen([*within, sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
        server.stdout.readline()
        yield
    finally:
        for process in filter(None, (server, outside)):
            process.kill()
            process.wait()
            process.stdout.close()
        _check(libc.setns(before, CLONE_NEWNET))
        os.close(before)
