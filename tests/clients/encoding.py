"""The little DER that the tests need, and reading what `pkcs11-tool -O` prints."""

import re

OID_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")
OID_ED25519 = bytes.fromhex("06032b6570")


def der(tag, body):
    """One DER element."""
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def unwrap_octets(data):
    """The content of a DER OCTET STRING."""
    if data[:1] != b"\x04":
        raise ValueError("EC_POINT is not a DER OCTET STRING")
    if data[1] < 0x80:
        size, start = data[1], 2
    else:
        start = 2 + (data[1] & 0x7F)
        size = int.from_bytes(data[2:start], "big")
    if start + size != len(data):
        raise ValueError("EC_POINT has a wrong length")
    return data[start:]


def ec_spki(params, point):
    """SubjectPublicKeyInfo from CKA_EC_PARAMS and CKA_EC_POINT.

    pkcs11-tool 0.23 builds it from freed memory on OpenSSL 3 (P-384 nearly always fails) and cannot for Ed25519 at all,
    so the tests do it from the attributes that it prints.
    """
    octets = unwrap_octets(point)
    if params in (der(0x13, b"edwards25519"), OID_ED25519):
        algorithm = der(0x30, OID_ED25519)
    else:
        algorithm = der(0x30, OID_EC_PUBLIC_KEY + params)
    return der(0x30, algorithm + der(0x03, b"\x00" + octets))


def ecdsa_der(raw):
    """PKCS#11's r‖s as the DER SEQUENCE that OpenSSL reads."""
    half = len(raw) // 2

    def integer(octets):
        value = int.from_bytes(octets, "big")
        return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    return der(0x30, integer(raw[:half]) + integer(raw[half:]))


def parse_objects(text):
    """The objects of `-O`: a list of dictionaries with `head` (first line) and the printed fields in lower case."""
    found = []
    for line in text.splitlines():
        field = re.match(r"\s+([A-Za-z_ ]+?):\s*(.*?)\s*$", line)
        if field and found:
            found[-1][field.group(1).strip().lower()] = field.group(2)
        elif re.match(r"\S.*[Oo]bject", line):
            found.append({"head": line.strip()})
    return found


def pick(objects, head, key_id):
    """The one object whose first line begins with `head` and whose CKA_ID is `key_id` (`-O` itself ignores --id)."""
    fitting = [each for each in objects if each["head"].startswith(head) and each.get("id", "").lower() == key_id.lower()]
    if len(fitting) != 1:
        raise ValueError(f"{len(fitting)} objects are a {head} with ID {key_id}")
    return fitting[0]


def public_der(token, t, key_id):
    """The SubjectPublicKeyInfo of the public key with this ID, read without login."""
    listing = t.run(token.tool("--token-label", token.label, "-O", "--type", "pubkey")).out
    found = pick(parse_objects(listing), "Public Key Object", key_id)
    if "RSA" in found["head"]:
        target = token.path(f"public-{key_id}.der")
        t.run(token.tool("--token-label", token.label, "-r", "--type", "pubkey", "--id", key_id, "-o", target))
        with open(target, "rb") as file:
            return file.read()
    return ec_spki(*(bytes.fromhex(found[name].split()[0]) for name in ("ec_params", "ec_point")))


def public_pem(token, t, key_id):
    """The same as a PEM file; returns its path."""
    target = token.path(f"public-{key_id}.pem")
    t.run(["openssl", "pkey", "-pubin", "-inform", "DER", "-out", target], stdin=public_der(token, t, key_id))
    return target
