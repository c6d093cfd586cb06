"""docs/hosts/wpa_supplicant.md: EAP-TLS over a pair of virtual Ethernet devices, hostapd at the other end."""

import time

from certificates import Authority
from harness import Failure
from machine import ready_machine
from pages import Page
from tokens import write

PORT, SWITCH = "lan0", "switch0"
HOSTAPD = f"""
interface={SWITCH}
driver=wired
ieee8021x=1
use_pae_group_addr=1
eap_server=1
eap_user_file=users
ca_cert=ca.crt
server_cert=radius.crt
private_key=radius.key
"""


def run(suite, report):
    page = Page(report, "wpa_supplicant")
    with ready_machine(suite, report, network=True) as machine:
        if machine is None:
            return
        with page.test("Key and certificate") as t:
            page.found(t, machine.inside("wpa_supplicant", "-v"), r"wpa_supplicant v(\S+)")
            Authority(machine, t).issue(t, "radius", "extendedKeyUsage=serverAuth")
            page.recipe(machine, t, "Key and certificate", contains="Key pair generated")
        with report.test("a cable: two Ethernet devices, each the other's end") as t:
            t.run(machine.inside("ip", "link", "add", "name", PORT, "type", "veth", "peer", "name", SWITCH))
            for each in (PORT, SWITCH):
                t.run(machine.inside("ip", "link", "set", each, "up"))
        write(machine.here("users"), "* TLS\n")
        write(machine.here("hostapd.conf"), HOSTAPD)
        for section in ("Wired network", "Module by its path"):
            with page.test(section) as t, t.background(machine.inside("hostapd", "-t", "hostapd.conf")):
                machine.forget_calls()
                page.recipe(machine, t, section, contains="Successfully initialized wpa_supplicant")
                authenticated(machine, t)
                t.same("KMS calls", machine.calls(), {"Decrypt": 1})
                t.run(machine.inside("wpa_cli", "-p", "/run/wpa_supplicant", "-i", PORT, "terminate"), contains="OK")
        page.finish()


def authenticated(machine, t):
    """Waits until the port is."""
    for _ in range(50):
        status = t.run(machine.inside("wpa_cli", "-p", "/run/wpa_supplicant", "-i", PORT, "status")).out
        if "suppPortStatus=Authorized" in status and "selectedMethod=13 (EAP-TLS)" in status:
            return
        time.sleep(0.2)
    raise Failure("not authenticated within 10 s")
