"""docs/hosts/openvpn.md: a client with its key on the token, and a server of our own on loopback. No network device is made."""

from certificates import Authority
from machine import PIN, ready_machine
from pages import Page
from tokens import write

CTRL_C = "\x03"
BOTH = "dev null\nproto udp\nca ca.crt\nverb 3\n"


def run(suite, report):
    page = Page(report, "openvpn")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        write(machine.here("server.conf"), f"{BOTH}tls-server\ndh none\nlocal 127.0.0.1\ncert server.crt\nkey server.key\n")
        write(machine.here("client.conf"), f"{BOTH}tls-client\nremote-cert-tls server\nremote 127.0.0.1\nnobind\n")
        with page.test("Key and certificate") as t:
            page.found(t, machine.inside("openvpn", "--version"), r"OpenVPN (\S+)")
            authority = Authority(machine, t)
            authority.issue(t, "server", "extendedKeyUsage=serverAuth\nkeyUsage=digitalSignature")
            page.recipe(machine, t, "Key and certificate", contains="DN: *CN=client")
        with page.test("Connect") as t:
            connect(machine, page, t)
        with report.test("the same with an RSA key") as t:
            t.run(machine.user("--delete-object", "--type", "cert", "--id", "51"))
            machine.generate(t, "rsa:2048", "52", "rsa")
            authority.certify(t, "rsa", "52")
            connect(machine, page, t)
        page.finish()


def connect(machine, page, t):
    """Runs the recipe with either version of TLS: what the key has to sign is different."""
    for version in ("1.3", "1.2"):
        with t.background(machine.inside("openvpn", "--config", "server.conf", "--tls-version-max", version)):
            machine.forget_calls()
            typed = [("Enter web token Password:", PIN), ("Initialization Sequence Completed", CTRL_C)]
            contains = [f"Control Channel: TLSv{version}", "process exiting"]
            page.recipe(machine, t, "Connect", typed=typed, contains=contains)
            t.same("KMS calls", machine.calls(), {"Decrypt": 1})
