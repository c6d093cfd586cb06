"""TLS with keys on the token: `openssl s_server` and `s_client` through libp11's engine, TLS 1.2 and 1.3."""

import socket

from openssl_engine import USE, configure
from tokens import ready_token

KEYS = (("rsa:2048", "10"), ("EC:prime256v1", "20"), ("EC:secp384r1", "21"), ("EC:secp521r1", "22"))
CA_ID = "01"
# Name, options of the client, key types that can do it. Not RSA key exchange: OpenSSL 3.0 cannot do that with an engine's key.
PROTOCOLS = (
    ("TLS 1.3", ("-tls1_3",), "rsa EC"),
    ("TLS 1.2", ("-tls1_2",), "rsa EC"),
    ("TLS 1.2 with PKCS#1 v1.5 signatures", ("-tls1_2", "-sigalgs", "RSA+SHA256"), "rsa"),
)
HANDSHAKES = 3


def run(suite, report):
    token = ready_token(suite, report)
    if token is None:
        return
    configure(token)
    report.begin(suite.name, token.env, token.root)
    with report.test("a certification authority and server certificates, all keys on the token") as t:
        token.generate(t, "rsa:2048", CA_ID, "ca")
        ca = ["openssl", "req", "-x509", "-new", *USE, "-key", token.uri("private", CA_ID), "-subj", "/CN=Test CA"]
        t.run([*ca, "-days", "30", "-extensions", "ca", "-out", token.path("ca.crt")])
        for kind, key_id in KEYS:
            token.generate(t, kind, key_id, kind)
            certify(token, t, key_id)
    for kind, key_id in KEYS:
        for protocol, options, types in PROTOCOLS:
            if kind.split(":")[0] in types.split():
                with report.test(f"server, {protocol}: {kind}") as t:
                    serve(token, t, key_id, options)
        with report.test(f"client certificate: {kind}") as t:
            client(token, t, key_id)


def certify(token, t, key_id):
    uri, request = token.uri("private", key_id), token.path(f"{key_id}.csr")
    t.run(["openssl", "req", "-new", *USE, "-key", uri, "-subj", "/CN=localhost", "-out", request])
    words = ["openssl", "x509", "-req", "-in", request, "-days", "30", "-CA", token.path("ca.crt"), "-CAcreateserial"]
    engine = ["-engine", "pkcs11", "-CAkeyform", "engine", "-CAkey", token.uri("private", CA_ID)]
    extensions = ["-extfile", token.path("openssl.cnf"), "-extensions", "server", "-out", token.path(f"{key_id}.crt")]
    t.run([*words, *engine, *extensions])
    t.run(["openssl", "verify", "-CAfile", token.path("ca.crt"), token.path(f"{key_id}.crt")], contains=": OK$")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    """Whether somebody listens; for the server this is one connection that ends at once."""
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


def request_page(token, t, port, options, lacks=()):
    """One verified handshake and an HTTP request, which `s_server -www` answers with a page about the connection."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-verify_hostname", "localhost"]
    checks = ["-CAfile", token.path("ca.crt"), "-verify_return_error", "-ign_eof"]
    expected = (r"Verify return code: 0 \(ok\)", "HTTP/1.0 200 ok", "SSL-Session:")
    t.run([*words, *checks, *options], stdin=b"GET / HTTP/1.0\r\n\r\n", contains=expected, lacks=lacks)


def serve(token, t, key_id, options):
    port = free_port()
    server = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", token.path(f"{key_id}.crt"), "-www"]
    # The server ends by itself after the last connection, so that its orderly exit with the engine is tested too.
    server += [*USE, "-key", token.uri("private", key_id), "-naccept", HANDSHAKES + 1]
    with t.background(server, ready=lambda: answers(port), ends=True):
        for _ in range(HANDSHAKES):
            request_page(token, t, port, options)


def client(token, t, key_id):
    """The key on the token authenticates a client to a server with a key in a file."""
    key, certificate, port = token.path("file.key"), token.path("file.crt"), free_port()
    t.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate])
    server = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, "-www", "-naccept", "3"]
    server += ["-Verify", "2", "-verify_return_error", "-CAfile", token.path("ca.crt")]
    mine = ["-cert", token.path(f"{key_id}.crt"), *USE, "-key", token.uri("private", key_id)]
    with t.background(server, ready=lambda: answers(port), ends=True):
        for version in ("-tls1_2", "-tls1_3"):
            words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile", certificate, "-ign_eof", *mine]
            t.run(words, stdin=b"GET / HTTP/1.0\r\n\r\n", contains=("HTTP/1.0 200 ok", "Client certificate"))
