"""pkcs11-tool's self test through something that stands before the module, beside the same test without it."""

import collections
import re

# What pkcs11-tool tests; --allow-sw, or it would leave out signatures where no hardware makes them.
WHOLE = ("--test", "--allow-sw", "--login")


def keys(machine, t):
    """What the self test needs: RSA keys to sign and decrypt with, and others to pass over."""
    for kind, key_id in (("rsa:2048", "a1"), ("rsa:2048", "a2"), ("EC:prime256v1", "a3")):
        machine.generate(t, kind, key_id, f"test {key_id}")


def compare(machine, t, through, env=None, differs=()):
    """Runs the test both ways; what is said must be the same, but for what `differs`: pairs of what is said directly and so."""
    words = ("--token-label", machine.label, *WHOLE, "--pin", machine.pin)
    direct = t.run(machine.tool(*words), contains=("^No errors$", "RSA-PKCS-OAEP: "), seconds=120)
    other = t.run(machine.inside("pkcs11-tool", "--module", through, *words), env=env, seconds=120)
    for text in (direct.text, other.text):
        t.true("it says a lot", len(re.findall("OK$", text, re.MULTILINE)) >= 12)
    expected = lines(direct.text)
    for here, there in differs:
        t.true(f"said directly: {here!r}", here in expected)
        expected = [there if line == here else line for line in expected]
    # Standard output and error are not in one order; all that is said counts.
    said, expected = collections.Counter(lines(other.text)), collections.Counter(filter(None, expected))
    t.same("what is said too often, and what too seldom", (dict(said - expected), dict(expected - said)), ({}, {}))


def lines(text):
    """What was said, without the numbers of slots, and without a line for each mechanism that is left out: p11-kit lets those pass
    only whose parameters it knows."""
    text = re.sub(r"[Ss]lot \w+( \(0x[0-9a-f]+\))?", "slot", text)
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.endswith("can't be used to decrypt, skipping")]
