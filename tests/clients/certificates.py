"""A certification authority in files, for the other side of a connection whose near side has its key on the token."""

from machine import MODULE
from tokens import write

ENGINE = ["-engine", "pkcs11", "-keyform", "engine"]
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority:
    """Its files lie in the machine's folder, `ca.crt` and `ca.key` unless it has another name."""

    def __init__(self, machine, t, name="ca"):
        self.machine, self.name = machine, name
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
        self._openssl(t, "req", "-x509", *EC, *files, "-days", "30", "-subj", f"/CN={name}")

    def issue(self, t, name, extensions):
        """Makes `name`.key and `name`.crt. `extensions`: lines of an OpenSSL configuration."""
        self._openssl(t, "req", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}.example")
        write(self.machine.here(f"{name}.ext"), extensions + "\n")
        self._sign(t, name, "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def certify(self, t, label, key_id):
        """Puts a certificate of a key of the token beside it."""
        key = f"pkcs11:token={self.machine.label};object={label};type=private?pin-value={self.machine.pin}"
        request = ("-key", key, "-out", f"{label}.csr", "-subj", f"/CN={label}.example")
        t.run(self.machine.inside("env", f"PKCS11_MODULE_PATH={MODULE}", "openssl", "req", "-new", *ENGINE, *request))
        self._sign(t, label, "-outform", "DER", "-out", f"{label}.der")
        t.run(self.machine.user("--write-object", f"{label}.der", "--type", "cert", "--id", key_id, "--label", label))

    def _sign(self, t, name, *words):
        by = ("-CA", f"{self.name}.crt", "-CAkey", f"{self.name}.key", "-days", "30")
        self._openssl(t, "x509", "-req", "-in", f"{name}.csr", *by, *words)

    def _openssl(self, t, *words):
        t.run(self.machine.inside("openssl", *words))
