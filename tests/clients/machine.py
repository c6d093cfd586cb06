"""A machine of its own for one page of docs/hosts: the module is installed there as `make install` installs it.

It is a mount namespace: /etc, /usr, /var and /run are the real ones, with everything that is written there kept aside and
thrown away at the end. So a recipe runs exactly as it is printed, system paths included, and leaves nothing behind.
KMS is the embedded one, over the wire on a loopback port: its calls can be counted, and faults ordered.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from harness import Failure, Skip, base_environment
from tokens import write

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TREES = ("etc", "usr", "var", "run")
MODULE = "/usr/lib/pkcs11/libdatakey_pkcs11.so"
LABEL, PIN, SO_PIN = "web", "123456", "12345678"

# Mounts the trees, says so, and holds the namespace until its standard input ends.
HOLD = r"""
for tree in {trees}; do
    mount -t overlay overlay -o "lowerdir=/$tree,upperdir=$1/up/$tree,workdir=$1/work/$tree" "/$tree" || exit 1
done
echo ready
exec cat >/dev/null
"""


class Machine:
    """Beside what a `Token` has: `inside` for commands, `recipe`-s by a `Page`, `here` for files, `calls` and `fault` for KMS."""

    label, pin, so_pin, module = LABEL, PIN, SO_PIN, MODULE

    def __init__(self, suite, login="pin", settings=""):
        """`settings`: more lines of the token's configuration."""
        self.login = login
        self.root = tempfile.mkdtemp(prefix="machine-", dir=suite.parent)
        self.folder = self.path("here")  # where recipes run
        os.mkdir(self.folder)
        for path in (suite.parent, self.root, self.folder):  # daemons that drop their rights must get in
            os.chmod(path, 0o755)
        self.env = base_environment(self.folder) | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._suite, self._settings = suite, settings
        self._closing = contextlib.ExitStack()

    def __enter__(self):
        try:
            self._enter()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_):
        self._closing.close()

    def _enter(self):
        for tree in TREES:
            os.makedirs(self.path("up", tree))
            os.makedirs(self.path("work", tree))
            shutil.copystat(f"/{tree}", self.path("up", tree))
        unshare = ["unshare", "--mount", "--propagation", "private"]
        if os.geteuid() != 0:
            unshare += ["--user", "--map-root-user"]
        words = [*unshare, "sh", "-c", HOLD.format(trees=" ".join(TREES)), "hold", self.root]
        self._holder = self._start(words)
        if self._holder.stdout.readline().strip() != b"ready":
            raise Skip("overlay mounts in a mount namespace of one's own are not permitted here")
        self._kms = self._start([os.environ.get("TOOL", os.path.join(ROOT, "target", "debug", "datakey-pkcs11")),
                                 "embedded-kms", "--keys", self.path("kms.json"), "--control"])
        self.kms_url = self._kms.stdout.readline().decode().strip()
        if not self.kms_url:
            raise Failure("the embedded KMS does not start: is TOOL built?")
        for source, target in (
            (self._suite.module, MODULE),
            (os.path.join(ROOT, "include", "datakey_pkcs11.h"), "/usr/include/datakey_pkcs11.h"),
            (os.path.join(ROOT, "packaging", "p11-kit", "datakey-pkcs11.module"), "/usr/share/p11-kit/modules/datakey-pkcs11.module"),
        ):
            self.check_call("install", "-D", "-m", "644", source, target)
        self.configure(self._settings)

    def configure(self, settings=""):
        """Writes the system's configuration file: one token, on a KMS endpoint that is on loopback."""
        lines = ["[[token]]", f'label = "{LABEL}"', 'kms_key_id = "alias/datakey-pkcs11"', 'region = "eu-central-1"']
        lines += [f'endpoint_url = "{self.kms_url}"', f'login = "{self.login}"', settings]
        draft = self.path("datakey-pkcs11.toml")
        write(draft, "\n".join(lines) + "\n")
        self.check_call("install", "-D", "-m", "644", draft, "/etc/datakey-pkcs11/datakey-pkcs11.toml")

    def _start(self, words):
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._closing.callback(end, process)
        return process

    def path(self, *names):
        """A file of the test, outside the folder where recipes run."""
        return os.path.join(self.root, *names)

    def here(self, *names):
        """A file in the folder where recipes run."""
        return os.path.join(self.folder, *names)

    def inside(self, *argv):
        """The words of a command that is to run in this machine."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={self.folder}", "--", *map(str, argv)]

    def check_call(self, *argv):
        """Runs one command of the set-up inside."""
        subprocess.run(self.inside(*argv), check=True, capture_output=True)

    def tool(self, *args):
        """The words of a pkcs11-tool call without login."""
        return self.inside("pkcs11-tool", "--module", MODULE, *args)

    def user(self, *args):
        """The words of a pkcs11-tool call on the token, logged in as the user where it has PINs."""
        login = ["--login", "--pin", PIN] if self.login == "pin" else []
        return self.tool("--token-label", LABEL, *login, *args)

    def initialise(self, t):
        """The README's first steps."""
        words = ["--slot-index", "0", "--init-token", "--label", LABEL, "--so-pin", SO_PIN]
        t.run(self.tool(*words), contains="successfully initialized")
        if self.login == "pin":
            words = ["--login", "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--new-pin", PIN]
            t.run(self.tool(*words), contains="PIN successfully initialized")

    def generate(self, t, kind, key_id, label):
        """A key pair, by pkcs11-tool."""
        words = ("--keypairgen", "--key-type", kind, "--id", key_id, "--label", label)
        return t.run(self.user(*words), contains="Key pair generated", seconds=120).out

    def calls(self):
        """How often each operation of KMS was called since the last `forget_calls`."""
        return json.loads(self._kms_control("GET", "calls"))

    def forget_calls(self):
        """Counts from zero; faults that were ordered are gone as well."""
        self._kms_control("POST", "reset")

    def fault(self, *faults):
        """Orders faults: dictionaries as src/kms/embedded/control.rs reads them."""
        self._kms_control("POST", "faults", json.dumps(faults).encode())

    def _kms_control(self, method, name, body=None):
        request = urllib.request.Request(f"{self.kms_url}/_embedded/{name}", body, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.read()


def end(process):
    """Lets a helper end by the end of its input, or kills it."""
    process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@contextlib.contextmanager
def ready_machine(suite, report, **options):
    """A machine whose token is set up, for the length of a `with`; None if it cannot be, which has then been reported."""
    machine = Machine(suite, **options)
    report.begin(suite.name, machine.env, machine.folder)
    with contextlib.ExitStack() as stack:
        done = []
        with report.test("set up a token") as t:
            stack.enter_context(machine)
            machine.initialise(t)
            done.append(machine)
        yield done[0] if done else None
