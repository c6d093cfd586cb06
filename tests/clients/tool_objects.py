"""pkcs11-tool: certificates, public keys and data on the token; renaming and deleting."""

from encoding import parse_objects, pick, public_der
from tokens import ready_token

APPLICATION = ("--application-label", "an application", "--application-id", "1.3.6.1.4.1.99999.1")


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    certificates(token, report)
    public_keys(token, report)
    data_objects(token, report)
    renaming(token, report)
    deleting(token, report)
    unique_ids(token, report)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def public_listing(token, t, kind):
    """What anybody sees without login."""
    return parse_objects(t.run(token.tool("--token-label", token.label, "-O", "--type", kind)).out)


def certificate_file(token, t, name, *key):
    """A self-signed certificate as DER; returns its path."""
    pem, path = token.path(name + ".pem"), token.path(name + ".der")
    key = key or ("rsa:2048",)
    words = ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-subj", f"/O=Test/CN={name}", "-days", "30"]
    t.run([*words, "-keyout", token.path(name + ".key"), "-out", pem])
    t.run(["openssl", "x509", "-in", pem, "-outform", "DER", "-out", path])
    return path


def certificates(token, report):
    with report.test("write a certificate, list and read it without login") as t:
        path = certificate_file(token, t, "first")
        t.run(token.user("--write-object", path, "--type", "cert", "--id", "a1", "--label", "first"), contains="Created certificate")
        found = pick(public_listing(token, t, "cert"), "Certificate Object", "a1")
        t.same("subject and label", (found["subject"], found["label"]), ("DN: O=Test, CN=first", "first"))
        read = token.path("read.der")
        t.run(token.tool("--token-label", token.label, "-r", "--type", "cert", "--id", "a1", "-o", read))
        t.same("certificate", content(read), content(path))
    with report.test("write a certificate with names taken from it (--attr-from)") as t:
        path = certificate_file(token, t, "second", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        words = ("--type", "cert", "--id", "a2", "--label", "second", "--attr-from", path)
        t.run(token.user("--write-object", path, *words), contains="Created certificate")
        pick(public_listing(token, t, "cert"), "Certificate Object", "a2")


def public_keys(token, report):
    kinds = (("b1", "RSA", "rsa_keygen_bits:3072"), ("b2", "EC", "ec_paramgen_curve:prime256v1"),
             ("b3", "EC", "ec_paramgen_curve:secp384r1"), ("b4", "EC", "ec_paramgen_curve:secp521r1"))
    for key_id, algorithm, option in kinds:
        with report.test(f"write a public key and read it back: {option}") as t:
            private, path = token.path(f"{key_id}.pem"), token.path(f"{key_id}.der")
            t.run(["openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", private])
            t.run(["openssl", "pkey", "-in", private, "-pubout", "-outform", "DER", "-out", path])
            t.run(token.user("--write-object", path, "--type", "pubkey", "--id", key_id, "--label", "mine"), contains="Created public key")
            t.same("public key", public_der(token, t, key_id), content(path))


def data_objects(token, report):
    path = token.path("data")
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 8)
    with report.test("write data with an application, find it by label, application and OID") as t:
        t.run(token.user("--write-object", path, "--type", "data", "--label", "a note", *APPLICATION), contains="Created Data Object")
        listing = public_listing(token, t, "data")
        t.same("objects", len(listing), 1)
        names = {key: listing[0][key].strip("'") for key in ("label", "application", "app_id")}
        t.same("names", names, {"label": "a note", "application": APPLICATION[1], "app_id": APPLICATION[3]})
        for search in (("--label", "a note"), APPLICATION[:2], APPLICATION[2:]):
            read = token.path("read.bin")
            t.run(token.tool("--token-label", token.label, "-r", "--type", "data", *search, "-o", read))
            t.same("data", content(read), content(path))
    with report.test("private data is seen after login only") as t:
        t.run(token.user("--write-object", path, "--type", "data", "--label", "secret note", "--private"))
        t.true("hidden", "secret note" not in t.run(token.tool("--token-label", token.label, "-O", "--type", "data")).out)
        t.run(token.user("-O", "--type", "data"), contains="secret note")
        read = token.path("private.bin")
        t.run(token.user("-r", "--type", "data", "--label", "secret note", "-o", read))
        t.same("data", content(read), content(path))
    with report.test("writing without login is refused") as t:
        words = ("--session-rw", "--write-object", path, "--type", "data", "--label", "nobody's", "--private")
        t.run(token.tool("--token-label", token.label, *words), code="bad")
        t.true("nothing written", "nobody's" not in t.run(token.user("-O", "--type", "data")).out)


def renaming(token, report):
    message = token.path("data")
    for kind, key_id, mechanism in (("rsa:2048", "c1", "SHA256-RSA-PKCS"), ("EC:prime256v1", "c2", "ECDSA")):
        with report.test(f"set-id of a key pair, a signature under the new ID: {kind}") as t:
            token.generate(t, kind, key_id, "moving")
            before = public_der(token, t, key_id)
            new = "d" + key_id[1:]
            for half in ("privkey", "pubkey"):
                t.run(token.user("--set-id", new, "--type", half, "--id", key_id), lacks="error")
            t.same("public key", public_der(token, t, new), before)
            data = message if kind.startswith("rsa") else token.path("digest")
            t.run(["openssl", "dgst", "-sha256", "-binary", "-out", token.path("digest"), message])
            t.run(token.user("--sign", "-m", mechanism, "--id", new, "-i", data, "-o", token.path("sig")), lacks="error")
            old = ("--sign", "-m", mechanism, "--id", key_id, "-i", data, "-o", token.path("sig"))
            t.run(token.user(*old), code="bad", contains="not found")
    with report.test("set-id of a certificate") as t:
        t.run(token.user("--set-id", "e1", "--type", "cert", "--id", "a1"))
        t.same("label", pick(public_listing(token, t, "cert"), "Certificate", "e1")["label"], "first")


def deleting(token, report):
    # Type, how it is found, and a label or ID that must then be gone.
    for kind, search in (("cert", ("--id", "e1")), ("cert", ("--label", "second")), ("pubkey", ("--id", "b1")),
                         ("pubkey", ("--id", "b2")), ("data", ("--label", "a note")), ("data", ("--label", "secret note")),
                         ("privkey", ("--id", "d1")), ("pubkey", ("--id", "d1"))):
        with report.test(f"delete-object {kind} {search[1]}") as t:
            before = parse_objects(t.run(token.user("-O", "--type", kind)).out)
            t.run(token.user("--delete-object", "--type", kind, *search), lacks="error")
            after = parse_objects(t.run(token.user("-O", "--type", kind)).out)
            t.same("objects left", len(after), len(before) - 1)
            t.run(token.user("--delete-object", "--type", kind, *search), code="bad", contains="not found")
    # Tool 0.23 sends CKA_DESTROYABLE with certificates only, and has no name for CKR_ACTION_PROHIBITED (0x1b).
    with report.test("an undestroyable certificate stays") as t:
        path = token.path("first.der")
        t.run(token.user("--write-object", path, "--type", "cert", "--id", "f1", "--label", "stays", "--undestroyable"))
        t.run(token.user("--delete-object", "--type", "cert", "--id", "f1"), code="bad", contains=r"C_DestroyObject.*\(0x1b\)")
        pick(public_listing(token, t, "cert"), "Certificate", "f1")


def unique_ids(token, report):
    with report.test("each object has a unique ID of its own", "no CKA_UNIQUE_ID") as t:
        token.generate(t, "rsa:2048", "f2", "more")
        listing = parse_objects(t.run(token.user("-O")).out)
        found = [each for each in listing if not each["head"].startswith("Data")]  # not asked for by tool 0.23
        names = [each.get("unique id") for each in found]
        t.true("several objects, all with one", len(names) > 4 and all(names))
        t.same("distinct", len(set(names)), len(found))
