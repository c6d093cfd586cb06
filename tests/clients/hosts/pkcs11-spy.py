"""docs/hosts/pkcs11-spy.md, and that nothing changes when it stands before the module."""

from hosts import selftest
from machine import MODULE, ready_machine
from pages import Page

SPY = "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"
PROXY = "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so"
# The spy writes its own list into the interface that the module points it to.
INTERFACES = """
import ctypes, sys
module = ctypes.CDLL(sys.argv[1])
for version in (None, (2, 40), (3, 0), (3, 2)):
    asked = (ctypes.c_ubyte * 2)(*version) if version else None
    found = ctypes.POINTER(ctypes.c_void_p)()
    for _ in range(2):
        assert module.C_GetInterface(b"PKCS 11", asked, ctypes.byref(found), ctypes.c_ulong(0)) == 0
    functions = ctypes.cast(found[1], ctypes.POINTER(ctypes.c_void_p))
    assert not version or ctypes.string_at(found[1], 1)[0] == version[0]  # the spy's own list for 2.40 says 2.11
    call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
    initialize, finalize, info = call(functions[1]), call(functions[2]), call(functions[3])
    assert initialize(None) == 0 and info((ctypes.c_ubyte * 128)()) == 0 and finalize(None) == 0
    print(version, flush=True)
"""


def run(suite, report):
    page = Page(report, "pkcs11-spy")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        with report.test("OpenSC is there") as t:
            page.found(t, machine.inside("dpkg-query", "--show", "opensc"), r"opensc\s+([\d.]+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        with page.test("Trace a program that takes a path") as t:
            page.recipe(machine, t, "Trace a program that takes a path", contains=r"^ +\d+ Returned: +0 CKR_OK")
        spied = {"PKCS11SPY": MODULE, "PKCS11SPY_OUTPUT": machine.here("self.log")}
        with report.test("every interface of the module through it") as t:
            t.run(machine.inside("python3", "-c", INTERFACES, SPY), env=spied, contains=r"^\(3, 2\)$")
        with report.test("pkcs11-tool --test --login says the same through it") as t:
            selftest.keys(machine, t)
            selftest.compare(machine, t, SPY, spied)
        with page.test("Trace what uses p11-kit") as t:
            page.recipe(machine, t, "Trace what uses p11-kit", contains=("Key pair generated", "ok$", r"^1$"))
        with report.test("pkcs11-tool --test --login says the same through proxy and spy, which sees every call") as t:
            calls = seen(machine)
            selftest.compare(machine, t, PROXY, spied)
            t.true(f"calls seen: {seen(machine) - calls}", seen(machine) - calls > 200)
        page.finish()


def seen(machine):
    return machine.read(machine.here("self.log")).count("\nReturned:")
