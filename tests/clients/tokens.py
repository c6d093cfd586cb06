"""A fresh token for each suite, in a directory of its own, on the module under test or on SoftHSM."""

import json
import os
import tempfile
import urllib.request

from harness import Failure, base_environment

SOFTHSM_PATHS = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
LABEL, PIN, SO_PIN = "test", "654321", "12345678"


def softhsm_module():
    """The path of SoftHSM's library, or None."""
    return next((path for path in SOFTHSM_PATHS if os.path.exists(path)), None)


def prepare(profile, module, root, login):
    """Writes what the module needs to offer one uninitialised token under `root`; returns (module path, environment)."""
    if profile == "softhsm":
        store = os.path.join(root, "tokens")
        os.mkdir(store)
        conf = os.path.join(root, "softhsm2.conf")
        # reset_on_fork: without it SoftHSM cannot be initialised in a forked child, which the tests demand.
        text = f"directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\nlibrary.reset_on_fork = true\n"
        write(conf, text)
        return softhsm_module(), {"SOFTHSM2_CONF": conf}
    conf = os.path.join(root, "datakey-pkcs11.toml")
    lines = ["[[token]]", f'label = "{LABEL}"', f'store = "sqlite:{root}/test.db"', f'login = "{login}"']
    env = {"DATAKEY_PKCS11_CONF": conf}
    if profile == "embedded":
        lines.append(f'kms = "embedded:{root}/kms.json"')
    else:
        endpoint = os.environ["KMS_ENDPOINT_URL"]
        lines += [f'kms_key_id = "{emulator_key(endpoint)}"', 'region = "eu-central-1"', f'endpoint_url = "{endpoint}"']
        env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    write(conf, "\n".join(lines) + "\n")
    return module, env


def write(path, text):
    # Configuration that others may write is refused, whatever the caller's umask.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def emulator_key(endpoint):
    """KMS_KEY_ID, or a key made now. Emulators do not check signatures, so the request carries a nominal one."""
    if key := os.environ.get("KMS_KEY_ID"):
        return key
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "TrentService.CreateKey",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/kms/aws4_request, "
        "SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(endpoint, b"{}", headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return json.load(answer)["KeyMetadata"]["KeyId"]


class Token:
    """A token that programs can use: `module`, `env`, `pin`, `label`, `root` (a directory for files of the test)."""

    def __init__(self, profile, module, parent, login="pin", pin=PIN, so_pin=SO_PIN):
        self.profile, self.login = profile, login
        self.label, self.pin, self.so_pin = LABEL, pin, so_pin
        self.root = tempfile.mkdtemp(prefix="token-", dir=parent)
        self.module, settings = prepare(profile, module, self.root, login)
        self.env = base_environment(self.root) | settings

    @property
    def on_softhsm(self):
        return self.profile == "softhsm"

    def path(self, name):
        return os.path.join(self.root, name)

    def tool(self, *args):
        """The words of a pkcs11-tool call without login."""
        return ["pkcs11-tool", "--module", self.module, *args]

    def user(self, *args):
        """The words of a pkcs11-tool call on this token, logged in as the user where the token has PINs."""
        login = ["--login", "--pin", self.pin] if self.login == "pin" else []
        return self.tool("--token-label", self.label, *login, *args)

    def initialise(self, t):
        """C_InitToken and C_InitPIN through pkcs11-tool, as an administrator does."""
        t.run(self.tool("--init-token", "--label", self.label, "--so-pin", self.so_pin), contains="successfully initialized")
        if self.login == "pin":
            so = ["--login", "--login-type", "so", "--so-pin", self.so_pin]
            t.run(
                self.tool("--token-label", self.label, *so, "--init-pin", "--pin", self.pin),
                contains="PIN successfully initialized",
            )

    def generate(self, t, kind, key_id, label, *options):
        """C_GenerateKeyPair by pkcs11-tool; returns what it printed about the new objects."""
        words = ("--keypairgen", "--key-type", kind, "--id", key_id, "--label", label, *options)
        return t.run(self.user(*words), contains="Key pair generated", seconds=120).out

    def uri(self, kind, key_id, with_pin=True):
        """The RFC 7512 URI of an object; `kind` is private, public or cert; `key_id` hexadecimal."""
        octets = "".join(f"%{key_id[i:i + 2]}" for i in range(0, len(key_id), 2))
        pin = f"?pin-value={self.pin}" if with_pin and self.login == "pin" else ""
        return f"pkcs11:token={self.label};id={octets};type={kind}{pin}"


def ready_token(suite, report, login="pin", **pins):
    """A token that is set up, or None: then the failed set-up has been reported and the suite is over."""
    token = Token(suite.profile, suite.module, suite.parent, login, **pins)
    report.begin(suite.name, token.env, token.root)
    done = []
    with report.test("set up a token") as t:
        if token.module is None or not os.path.exists(token.module):
            raise Failure(f"no such module: {token.module}")
        token.initialise(t)
        done.append(True)
    return token if done else None
