"""What the suites of the two web servers share: load from two clients, and what they counted."""

import contextlib
import json
import os
import subprocess
import time

from harness import Failure, kill_group
from machine import ROOT

CLIENTS, CONNECTIONS = 2, 3
LOAD = os.path.join(ROOT, "tests", "clients", "load.py")


class Counted:
    """The sums of what the clients of one load counted."""

    requests = handshakes = failures = reopened = 0

    def __init__(self):
        self.workers, self.what, self.slowest, self.seconds = set(), [], 0.0, 0.0

    def add(self, one):
        for name in ("requests", "handshakes", "failures", "reopened"):
            setattr(self, name, getattr(self, name) + one[name])
        self.workers |= set(one["workers"])
        self.what += one["what"]
        self.slowest = max(self.slowest, one["slowest"])

    def __str__(self):
        return (f"{self.requests} requests in {self.seconds:.1f} s on {self.handshakes} connections to {len(self.workers)} workers, "
                f"{self.failures} failures, {self.reopened} idle connections closed, slowest {self.slowest * 1000:.0f} ms")


@contextlib.contextmanager
def load(machine, t, port, ca_file, seconds=30):
    """Two clients with keep-alive connections for the length of a `with`, which yields what they will have counted."""
    counted, clients = Counted(), []
    words = machine.inside("python3", LOAD, port, ca_file, CONNECTIONS)
    try:
        for _ in range(CLIENTS):
            clients.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True))
        begun = time.monotonic()
        time.sleep(0.5)
        yield counted
        counted.seconds = time.monotonic() - begun
        for client in clients:
            client.stdin.close()
        for client in clients:
            with client.stdout:
                counted.add(json.loads(client.stdout.read()))
            client.wait(seconds)
        t.note(f"[load] {counted} {counted.what}")
    finally:
        for client in clients:
            if client.poll() is None:
                kill_group(client)


def until(what, condition, seconds=20):
    """Waits until something is so, and answers what `condition` then says."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return found


def children(pid):
    """The processes whose parent is `pid`."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}
    return set()


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
