"""docs/hosts/strongswan.md: `pki`, and two `charon`s that authenticate each other over loopback, one with its key on the token.

They agree on keys for themselves and no more (a childless IKE SA), which needs nothing of the kernel.
"""

from certificates import Authority
from machine import PIN, ready_machine
from pages import Page

ASKED = ("Smartcard PIN: ", PIN)
CHARON = "/usr/lib/ipsec/charon"
# The peer's `charon`, and the page's, which leaves it the standard ports.
PEER = "charon {\n load_modular = yes\n plugins {\n include /etc/strongswan.d/charon/*.conf\n }\n}\n"
# What else the plugin can have a token do. Not `use_dh`: 5.9.8 then points to the peer's public value after that is gone.
EVERYTHING = """
libstrongswan {
    plugins {
        pkcs11 {
            use_ecc = yes
            use_hasher = yes
            use_pubkey = yes
            use_rng = yes
        }
    }
}
"""
OTHER_PORTS = "charon {\n port = 0\n port_nat_t = 0\n}\n"
CONNECTION = """
connections {
    loopback {
        version = 2
        childless = force
        %s
        local {
            certs = %s.crt
            id = %s.example
        }
        remote {
            id = %s.example
        }
    }
}
"""


def run(suite, report):
    page = Page(report, "strongswan")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        with page.test("Module") as t:
            page.found(t, machine.inside("swanctl", "--version"), r"strongSwan (\S+)")
            contains = ["loaded PKCS#11 v[0-9.]* library 'datakey'", "BEGIN PUBLIC KEY"]
            page.recipe(machine, t, "Module", typed=[ASKED], contains=contains)
        with page.test("Certification authority") as t:
            machine.forget_calls()
            page.recipe(machine, t, "Certification authority", typed=[ASKED] * 3, contains="certificate trusted")
            t.run(machine.inside("openssl", "verify", "-CAfile", "ca.crt", "gateway.crt"), contains="gateway.crt: OK")
            t.same("KMS calls, one for each process that signed", machine.calls(), {"Decrypt": 3})
        with page.test("IKE") as t:
            peer = Peer(machine, t)
            peer.authenticates(page, t)
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        with report.test("IKE, with random numbers, digests and verification by the token too") as t:
            machine.put("/etc/strongswan.d/everything.conf", EVERYTHING)
            peer.authenticates(page, t)
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
        page.finish()


class Peer:
    """A `charon` that has its key in a file, for the page's daemon, which has its own on the token."""

    def __init__(self, machine, t):
        self.machine = machine
        Authority(machine, t, "peer-ca").issue(t, "peer", "subjectAltName=DNS:peer.example")
        # The peer has everything in a folder of its own, even /run, where a daemon's PID file is.
        for source, target in (("peer.crt", "x509"), ("peer.key", "private"), ("peer-ca.crt", "x509ca"), ("ca.crt", "x509ca")):
            machine.check_call("install", "-D", "-t", f"peer/swanctl/{target}", source)
        machine.put("peer/swanctl/swanctl.conf", CONNECTION % ("", "peer", "peer", "gateway"))
        machine.put("peer/strongswan.conf", PEER)
        machine.check_call("mkdir", "peer/run")
        machine.put("/etc/strongswan.d/other-ports.conf", OTHER_PORTS)
        machine.put("/etc/swanctl/conf.d/loopback.conf", CONNECTION % ("remote_addrs = 127.0.0.1", "gateway", "gateway", "peer"))
        machine.check_call("install", "-m", "644", "peer-ca.crt", "/etc/swanctl/x509ca/peer-ca.crt")

    def authenticates(self, page, t):
        """Runs both daemons, the page's recipe, and a handshake, for which alone KMS is called."""
        machine, socket = self.machine, self.machine.here("peer", "run", "charon.vici")
        env = {"STRONGSWAN_CONF": machine.here("peer", "strongswan.conf"), "SWANCTL_DIR": machine.here("peer", "swanctl")}
        words = ["unshare", "--mount", "sh", "-c", f"mount --bind peer/run /run && exec {CHARON}"]
        with t.background(machine.inside(*words), env=env, ready=self._listens(socket)):
            t.run(machine.inside("swanctl", "--load-all", "--uri", f"unix://{socket}"), env=env)
            with t.background(machine.inside(CHARON), ready=self._listens("/run/charon.vici")):
                page.recipe(machine, t, "IKE", contains=["loaded key token", "loaded connection 'loopback'"])
                machine.forget_calls()
                t.run(machine.inside("swanctl", "--initiate", "--ike", "loopback"), contains="initiate completed successfully")
                t.run(machine.inside("swanctl", "--list-sas"), contains="loopback: #1, ESTABLISHED")

    def _listens(self, socket):
        return lambda: self.machine.succeeds("swanctl", "--stats", "--uri", f"unix://{socket}")
