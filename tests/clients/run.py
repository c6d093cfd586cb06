"""Entry of the client tests: chooses module, profile and suites, runs them, prints the totals."""

import argparse
import collections
import importlib
import os
import shutil
import signal
import sys
import tempfile

import pages
import tokens
from harness import Report

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = (
    "tool_admin", "tool_sign", "tool_objects", "tool_selftest", "openssl_engine", "tls_engine", "p11kit", "java", "openssh",
    "cryptoki_crate", "python_pkcs11", "pykcs11",
)
# One for each page of docs/hosts, in hosts/; `hosts` means them all.
HOSTS = (
    "apache",
    "gnupg",
    "gnutls",
    "go",
    "java",
    "knot",
    "nginx",
    "node",
    "nss",
    "openssh",
    "openssl",
    "openvpn",
    "osslsigncode",
    "p11-kit",
    "pesign",
    "pkcs11-spy",
    "python",
    "rust",
    "sbsigntool",
    "strongswan",
    "systemd-cryptenroll",
    "wpa_supplicant",
)
# What a suite gets to know: its name, the profile, the module's path, a directory to put its tokens in.
Suite = collections.namedtuple("Suite", "name profile module parent")


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description="real PKCS#11 clients against the module")
    parser.add_argument("suites", nargs="*", metavar="suite", help="default: all of " + " ".join(SUITES))
    parser.add_argument("--write-table", action="store_true", help="write what the hosts can into docs/hosts/README.md")
    arguments = parser.parse_args()
    known = [*SUITES, *(f"hosts.{name}" for name in HOSTS)]
    names = []
    for name in arguments.suites or SUITES:
        if name != "hosts" and name not in known:
            parser.error(f"no suite {name}; there are {', '.join(known)}, and hosts for all of these")
        names += [name] if name != "hosts" else known[len(SUITES):]
    profile = os.environ.get("PROFILE", "embedded")
    if profile not in ("softhsm", "embedded", "emulator"):
        parser.error("PROFILE is softhsm, embedded or emulator")
    default = os.path.join(HERE, "..", "..", "target", "release", "libdatakey_pkcs11.so")
    module = tokens.softhsm_module() if profile == "softhsm" else os.path.abspath(os.environ.get("MODULE", default))
    if module is None or not os.path.exists(module):
        parser.error(f"no module at {module}: set MODULE, or build it first")
    if profile == "emulator" and "KMS_ENDPOINT_URL" not in os.environ:
        parser.error("PROFILE=emulator needs KMS_ENDPOINT_URL (and KMS_KEY_ID, unless the emulator lets us make a key)")
    # Short, because the paths of sockets below it may have 107 bytes at most.
    parent = tempfile.mkdtemp(prefix="clients-", dir="/tmp")
    # Asked to stop, leave through the clean-up: module files and temporary directories must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(on_softhsm=profile == "softhsm")
    try:
        for name in names:
            importlib.import_module(name).run(Suite(name, profile, module, parent), report)
        if {page.name for page in report.pages} == set(HOSTS):
            pages.check_table(report, arguments.write_table)
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    return 0 if report.finish() else 1


if __name__ == "__main__":
    sys.exit(main())
