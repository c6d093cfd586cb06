"""Keep-alive load on an HTTPS server: `python3 load.py PORT CA_FILE CONNECTIONS`, until the end of standard input.

Each connection asks again and again, and is replaced by a new one, with a whole new handshake, after some requests. It prints JSON:
`requests` answered, `handshakes`, `failures` (with what happened in `what`), `reopened` (a connection at rest that the server closed
just when the next request was on its way, which a client must answer by asking again: RFC 9110, 9.2.2), the seconds of the `slowest`
request, with its handshake where it needed one, and for each `X-Worker` that answered the handshakes it made in `workers`.
"""

import collections
import json
import socket
import ssl
import sys
import threading
import time

REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
REQUESTS_PER_CONNECTION = 25


class Closed(Exception):
    """The server closed the connection before the first byte of its answer."""


class Load:
    """What all connections have counted together."""

    def __init__(self, port, ca_file):
        self.port, self.context = port, ssl.create_default_context(cafile=ca_file)
        self.count = collections.Counter()
        self.workers, self.what = collections.Counter(), collections.Counter()
        self.slowest = 0.0
        self.lock, self.stop = threading.Lock(), threading.Event()

    def run(self):
        while not self.stop.is_set():
            try:
                self.connection()
            except Exception as error:  # whatever it is, a visitor has seen it
                with self.lock:
                    self.count["failures"] += 1
                    self.what[f"{type(error).__name__} {error}"] += 1
                self.stop.wait(0.01)

    def connection(self):
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), 20) as plain:
            with self.context.wrap_socket(plain, server_hostname="localhost") as tls:
                for number in range(REQUESTS_PER_CONNECTION):
                    begun = begun if number == 0 else time.monotonic()
                    try:
                        worker, last = answer(tls)
                    except Closed:
                        if number == 0:
                            raise
                        self.add(reopened=1)
                        return
                    if number == 0:
                        self.add(handshakes=1, worker=worker)
                    self.add(requests=1)
                    self.slowest = max(self.slowest, time.monotonic() - begun)
                    if last or self.stop.is_set():
                        return

    def add(self, worker=None, **counts):
        with self.lock:
            self.count.update(counts)
            if worker:
                self.workers[worker] += 1


def answer(tls):
    """One request; returns who answered and whether the server closes the connection now."""
    said = b""

    def more():
        nonlocal said
        try:
            got = tls.recv(65536)
        except (ConnectionError, ssl.SSLEOFError):
            got = b""
        if not got:
            raise OSError(f"an answer broke off after {len(said)} bytes") if said else Closed()
        said += got

    try:
        tls.sendall(REQUEST)
    except (ConnectionError, ssl.SSLEOFError):
        raise Closed() from None
    while b"\r\n\r\n" not in said:
        more()
    status, *lines = said.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if status.split()[1] != "200":
        raise OSError(status)
    while len(said.partition(b"\r\n\r\n")[2]) < int(fields["content-length"]):
        more()
    if not said.endswith(b"\r\n\r\nhello\n"):
        raise OSError(f"a wrong body: {said!r}")
    return fields.get("x-worker"), fields.get("connection", "").lower() == "close"


def main():
    port, ca_file, connections = sys.argv[1:]
    load = Load(int(port), ca_file)
    threads = [threading.Thread(target=load.run) for _ in range(int(connections))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    load.stop.set()
    for thread in threads:
        thread.join(30)
    if any(thread.is_alive() for thread in threads):
        load.count["failures"] += 1
        load.what["a request without an end"] += 1
    counts = {name: load.count[name] for name in ("requests", "handshakes", "failures", "reopened")}
    print(json.dumps({**counts, "slowest": load.slowest, "workers": load.workers, "what": load.what}), flush=True)


if __name__ == "__main__":
    main()
