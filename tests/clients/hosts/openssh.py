"""docs/hosts/openssh.md: `ssh` and its company, with a loopback `sshd` of our own to log in to."""

import contextlib
import os

from machine import MODULE, PIN, ready_machine
from pages import Page
from tokens import write

# What a key is for pkcs11-tool, its id, its label.
P256 = ("EC:prime256v1", "21", "login")  # made by the page
KEYS = (("rsa:2048", "11", "rsa"), ("EC:secp384r1", "12", "p384"), ("EC:secp521r1", "13", "p521"))
LABELS = [label for _, _, label in (P256, *KEYS)]
ENTER_PIN = ("Enter (PIN|passphrase) for .*:", PIN)


def run(suite, report):
    page = Page(report, "openssh")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        with_pins(machine, page, report)
    with ready_machine(suite, report, login="none", network=True) as machine:
        if machine is None:
            return
        with page.test("Without a PIN") as t:
            server = Server(machine)
            machine.generate(t, *P256)
            authorize(machine, t, "login")
            with server.running(t):
                machine.forget_calls()
                page.recipe(machine, t, "Without a PIN", contains="^logged in$")
                # The token key, and the key to log in with.
                t.same("KMS calls", machine.calls(), {"Decrypt": 2})
            agent = ["sh", "-c", f'eval "$(ssh-agent)"; ssh-add -s {MODULE}; ssh-add -l; ssh-agent -k']
            t.run(machine.inside(*agent), typed=[(ENTER_PIN[0], "")], contains="login .ECDSA")
    page.finish()


def with_pins(machine, page, report):
    with page.test("A key to log in with") as t:
        page.found(t, machine.inside("ssh", "-V"), r"OpenSSH_([^ ,]+)")
        server = Server(machine)
        page.recipe(machine, t, "A key to log in with", contains="Key pair generated")
        for each in KEYS:
            machine.generate(t, *each)
        # Passed over by releases before 10.1, and no obstacle to the rest.
        machine.generate(t, "EC:edwards25519", "14", "ed25519")
        listed = t.run(machine.inside("ssh-keygen", "-D", MODULE)).out
        t.same("not listed", set(LABELS) - {line.split()[-1] for line in listed.splitlines()}, set())
    with page.test("Log in") as t, server.running(t) as log:
        for label in LABELS:
            authorize(machine, t, label)
            fingerprint = t.run(machine.inside("ssh-keygen", "-l", "-f", ".ssh/authorized_keys")).out.split()[1]
            machine.forget_calls()
            page.recipe(machine, t, "Log in", typed=[ENTER_PIN], contains="^logged in$")
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
            accepted = [line.split()[-1] for line in log().splitlines() if line.startswith("Accepted publickey for root ")]
            t.same("key accepted last", accepted[-1], fingerprint)
    with page.test("Agent") as t, server.running(t):
        machine.forget_calls()
        contains = ["login .ECDSA", "^logged in$", "Card removed"]
        page.recipe(machine, t, "Agent", typed=[ENTER_PIN], contains=contains)
        t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        page.recipe(machine, t, "Agent", env=asking(machine, PIN), contains=contains)
    with page.test("User certificates") as t:
        page.recipe(machine, t, "User certificates", typed=[ENTER_PIN], contains="Signed user key")
        os.remove(machine.here(".ssh", "authorized_keys"))
        with server.running(t) as log:
            t.run(machine.inside("ssh", "web.example", "echo", "logged in"), contains="^logged in$")
            t.true("by the certificate", "ED25519-CERT" in log() and "ID alice" in log())
    with page.test("Host key") as t:
        page.recipe(machine, t, "Host key", typed=[ENTER_PIN])
        machine.forget_calls()
        with server.running(t, "host.pub", own_key=False):
            t.run(machine.inside("ssh", "web.example", "echo", "logged in"), contains="^logged in$")
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
    with report.test("a wrong PIN does not lock the token, which ssh tries for each key") as t, server.running(t):
        authorize(machine, t, *LABELS)
        env = asking(machine, "000000")
        words = machine.inside("ssh", "-o", "IdentityFile=none", "-I", MODULE, "web.example", "true")
        t.run(words, code=255, env=env, contains="Permission denied")
        t.same("times asked", machine.read("asked"), "asked\n" * len(LABELS))
        t.run(machine.tool("-L"), contains="login required", lacks="PIN locked|final PIN try")
        page.recipe(machine, t, "Log in", typed=[ENTER_PIN], contains="^logged in$")
    with report.test("the agent loads nothing from elsewhere") as t:
        machine.check_call("cp", MODULE, machine.here("elsewhere.so"))
        agent = ["sh", "-c", f'eval "$(ssh-agent)"; ssh-add -s {machine.here("elsewhere.so")}; ssh-agent -k']
        t.run(machine.inside(*agent), typed=[ENTER_PIN], contains="agent refused operation")


def asking(machine, pin):
    """The environment in which a program of ours is asked for the PIN, not the terminal; it notes in `asked` that it was."""
    machine.put("askpass", f"#!/bin/sh\necho asked >>~/asked\necho {pin}\n", "755")
    machine.check_call("rm", "-f", "asked")
    return {"SSH_ASKPASS": machine.here("askpass"), "SSH_ASKPASS_REQUIRE": "force"}


def authorize(machine, t, *labels):
    """Lets these keys of the token in, and none other."""
    listed = t.run(machine.inside("ssh-keygen", "-D", MODULE)).out
    os.makedirs(machine.here(".ssh"), 0o700, exist_ok=True)
    lines = [line + "\n" for line in listed.splitlines() if line.split()[-1] in labels]
    write(machine.here(".ssh", "authorized_keys"), "".join(lines))


class Server:
    """An `sshd` that `ssh web.example` reaches."""

    CONFIGURATION = """
Include /etc/ssh/sshd_config.d/*.conf
ListenAddress 127.0.0.1
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""

    def __init__(self, machine):
        self.machine = machine
        machine.put("/etc/ssh/sshd_config", self.CONFIGURATION)
        machine.put("/etc/hosts", "127.0.0.1 localhost web.example\n")
        machine.check_call("mkdir", "-p", "/run/sshd")
        machine.check_call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/own_key")

    @contextlib.contextmanager
    def running(self, t, known="own_key.pub", own_key=True):
        """`known`: the host key that `ssh` expects. Yields a callable for what the server logged so far."""
        self.machine.put("/etc/ssh/ssh_known_hosts", "web.example " + self.machine.read(f"/etc/ssh/{known}"))
        log = self.machine.here("sshd.log")
        words = ["/usr/sbin/sshd", "-D", "-E", log, *(["-h", "/etc/ssh/own_key"] if own_key else [])]
        with t.background(self.machine.inside(*words), ready=lambda: self.machine.answers(22)):
            try:
                yield lambda: self.machine.read(log)
            finally:
                t.note(self.machine.read(log))
