"""docs/hosts/p11-kit.md, managed modules, and the whole self test through the proxy and through the socket."""

import os
import re
import signal

from hosts import selftest
from machine import ROOT, ready_machine
from pages import Page

PROXY = "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so"
CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
SOCKET = "/run/test.sock"
# Through the socket a random number of no bytes cannot be asked for; SoftHSM's call fails there as well.
ZERO_BYTES = (
    ("No errors", "1 errors"),
    ("  seems to be OK", "  ERR: C_GenerateRandom(buf1,0) failed: CKR_BUFFER_TOO_SMALL (0x150)"),
)
MANAGED = os.path.join(ROOT, "tests", "clients", "managed.py")


def run(suite, report):
    page = Page(report, "p11-kit")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with report.test("p11-kit is there") as t:
            page.found(t, machine.inside("dpkg-query", "--show", "p11-kit"), r"p11-kit\s+([\d.]+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        with page.test("Modules, tokens and objects") as t:
            said = ("^datakey-pkcs11: ", "^    token: web$", "token=web$")
            page.recipe(machine, t, "Modules, tokens and objects", contains=said)
        with page.test("Proxy") as t:
            page.recipe(machine, t, "Proxy", contains=("Private Key Object; EC", "verify OK", "^ecdsa-sha2-nistp256 "))
        beyond(machine, report)
        with page.test("Through a socket") as t:
            said = ("RSA-PKCS-OAEP: ", "^1 errors$", re.escape(ZERO_BYTES[1][1]))
            page.recipe(machine, t, "Through a socket", contains=said, seconds=120)
        with page.test("In a process of its own") as t:
            page.recipe(machine, t, "In a process of its own", contains="ok$")
        with page.test("For some programs only") as t:
            page.recipe(machine, t, "For some programs only", contains="token=web")
        page.finish()


def beyond(machine, report):
    with report.test("managed modules: two users in one process, a child, and again") as t:
        machine.generate(t, "EC:prime256v1", "b1", "managed")
        words = ("python3", MANAGED, machine.label, machine.pin, "managed")
        t.run(machine.inside(*words), contains=("both sign", "initialised again"))
    with report.test("pkcs11-tool --test --login says the same through the proxy") as t:
        selftest.keys(machine, t)
        selftest.compare(machine, t, PROXY)
    with report.test("pkcs11-tool --test --login says the same through the socket") as t:
        words = ("--foreground", "--provider", machine.module, "-n", SOCKET, f"pkcs11:token={machine.label}")
        server = machine.inside("p11-kit", "server", *words)
        there = lambda: machine.succeeds("test", "-S", SOCKET)
        # p11-kit 0.24 answers SIGTERM with 255.
        with t.background(server, ready=there, codes=(0, 255, -signal.SIGTERM)):
            selftest.compare(machine, t, CLIENT, {"P11_KIT_SERVER_ADDRESS": f"unix:path={SOCKET}"}, ZERO_BYTES)
