"""pkcs11-tool's self test through something that stands before the module, beside the same test without it."""

import re

# What pkcs11-tool tests; --allow-sw, or it would leave out signatures where no hardware makes them.
WHOLE = ("--test", "--allow-sw", "--login")


def keys(machine, t):
    """What the self test needs: RSA keys to sign and decrypt with, and others to pass over."""
    for kind, key_id in (("rsa:2048", "a1"), ("rsa:3072", "a2"), ("EC:prime256v1", "a3")):
        machine.generate(t, kind, key_id, f"test {key_id}")


def compare(machine, t, through, env=None, known=()):
    """Runs the test both ways; what is said must be the same. `known`: patterns of lines that rightly differ."""
    words = ("--token-label", machine.label, *WHOLE, "--pin", machine.pin)
    direct = t.run(machine.tool(*words), contains=("^No errors$", "RSA-PKCS-OAEP: "), seconds=120)
    other = t.run(machine.inside("pkcs11-tool", "--module", through, *words), env=env, contains="^No errors$", seconds=120)
    t.same("what the test says", lines(other.text, known), lines(direct.text, known))
    t.true("it says a lot", len(lines(direct.text, known)) > 20)


def lines(text, known):
    """What was said, without the numbers of slots and what is known to differ."""
    text = re.sub(r"[Ss]lot \w+( \(0x[0-9a-f]+\))?", "slot", text)
    return [line.rstrip() for line in text.splitlines() if not any(re.search(each, line) for each in known)]
