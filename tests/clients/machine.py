"""A machine of its own for one page of docs/hosts: the module is installed there as `make install` installs it.

It is a mount namespace: /etc, /usr, /var and /run are the real ones, with everything that is written there kept aside and
thrown away at the end. So a recipe runs exactly as it is printed, system paths included, and leaves nothing behind.
KMS is the embedded one, over the wire on a loopback port: its calls can be counted, and faults ordered.
With `network` the machine has a loopback network of its own too, so that servers can have the ports they are printed with.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

from harness import Failure, Skip, base_environment
from tokens import write

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TREES = ("etc", "usr", "var", "run")
MODULE = "/usr/lib/pkcs11/libdatakey_pkcs11.so"
LABEL, PIN, SO_PIN = "web", "123456", "12345678"

# Programs that run inside.
LOOPBACK_UP = """
import fcntl, socket, struct
probe = socket.socket()
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
"""
ASK_KMS = """
import sys, urllib.request
method, url, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, method=method)
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
    sys.stdout.buffer.write(answer.read())
"""

# Mounts the trees, says so, and holds the namespace until its standard input ends.
HOLD = r"""
for tree in {trees}; do
    mount -t overlay overlay -o "lowerdir=/$tree,upperdir=$1/up/$tree,workdir=$1/scratch/$tree" "/$tree" || exit 1
done
echo ready
exec cat >/dev/null
"""


class Machine:
    """Beside what a `Token` has: `inside` for commands, `recipe`-s by a `Page`, `here` for files, `calls` and `fault` for KMS."""

    label, pin, so_pin, module = LABEL, PIN, SO_PIN, MODULE

    def __init__(self, suite, login="pin", settings="", network=False):
        """`settings`: more lines of the token's configuration; `network`: one of its own, without a way out."""
        self.login, self.network = login, network
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
        try:
            self.end_daemons()
        finally:
            self._closing.close()

    def _enter(self):
        if os.geteuid() != 0:
            # In a user namespace too, what belongs to the real root cannot be written to.
            raise Skip("only root can have the system's folders to itself")
        for tree in TREES:
            os.makedirs(self.path("up", tree))
            os.makedirs(self.path("scratch", tree))
            shutil.copystat(f"/{tree}", self.path("up", tree))
        unshare = ["unshare", "--mount", "--propagation", "private", *(["--net"] if self.network else [])]
        words = [*unshare, "sh", "-c", HOLD.format(trees=" ".join(TREES)), "hold", self.root]
        self._holder = self._start(words)
        if self._holder.stdout.readline().strip() != b"ready":
            raise Skip("overlay mounts in a mount namespace of one's own are not permitted here")
        if self.network:
            self.check_call("python3", "-c", LOOPBACK_UP)
        tool = os.path.abspath(os.environ.get("TOOL", os.path.join(ROOT, "target", "debug", "datakey-pkcs11")))
        self._kms = self._start(self.inside(tool, "embedded-kms", "--keys", self.path("kms.json"), "--control"))
        self.kms_url = self._kms.stdout.readline().decode().strip()
        if not self.kms_url:
            raise Failure("the embedded KMS does not start: is TOOL built?")
        for source, target in (
            (self._suite.module, MODULE),
            (os.path.join(ROOT, "include", "datakey_pkcs11.h"), "/usr/include/datakey_pkcs11.h"),
            (os.path.join(ROOT, "packaging", "p11-kit", "datakey-pkcs11.module"), "/usr/share/p11-kit/modules/datakey-pkcs11.module"),
        ):
            self.check_call("install", "-D", "-m", "644", source, target)
        # Home, for programs that do not ask HOME.
        self.check_call("sed", "-i", rf"s|^\(root:.*\):[^:]*\(:[^:]*\)$|\1:{self.folder}\2|", "/etc/passwd")
        self.configure(self._settings)

    def configure(self, settings=""):
        """Writes the system's configuration file: one token, on a KMS endpoint that is on loopback."""
        lines = ["[[token]]", f'label = "{LABEL}"', 'kms_key_id = "alias/datakey-pkcs11"', 'region = "eu-central-1"']
        lines += [f'endpoint_url = "{self.kms_url}"', f'login = "{self.login}"', settings]
        if "timeouts" not in settings:
            # On a busy machine the embedded KMS takes its time for an RSA key.
            lines.append('timeouts = { attempt = "10s", total = "30s", generate_attempt = "60s", generate_total = "100s" }')
        self.put("/etc/datakey-pkcs11/datakey-pkcs11.toml", "\n".join(lines) + "\n")

    def _start(self, words):
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._closing.callback(end, process)
        return process

    def end_daemons(self):
        """Kills what recipes left running: every process of this mount namespace but the helpers of this class."""
        helpers = {process.pid for process in (self._holder, self._kms)}
        here = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if pid not in helpers and os.readlink(f"/proc/{pid}/ns/mnt") == here:
                    os.kill(pid, signal.SIGKILL)

    def path(self, *names):
        """A file of the test, outside the folder where recipes run."""
        return os.path.join(self.root, *names)

    def here(self, *names):
        """A file in the folder where recipes run."""
        return os.path.join(self.folder, *names)

    def inside(self, *argv):
        """The words of a command that is to run in this machine."""
        spaces = [f"--mount=/proc/{self._holder.pid}/ns/mnt"]
        if self.network:
            spaces.append(f"--net=/proc/{self._holder.pid}/ns/net")
        return ["nsenter", *spaces, f"--wd={self.folder}", "--", *map(str, argv)]

    def answers(self, port):
        """Whether somebody listens on a port of the loopback there; for the server this is one connection that ends at once."""
        return self.succeeds("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}")

    def succeeds(self, *argv):
        """Whether a command there ends with 0."""
        return subprocess.run(self.inside(*argv), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def check_call(self, *argv):
        """Runs one command of the set-up inside."""
        subprocess.run(self.inside(*argv), check=True, capture_output=True)

    def put(self, path, text, mode="644"):
        """Makes a file of the machine's; a relative path is in the folder where recipes run, which is `~` as well."""
        draft = self.path("draft")
        write(draft, text)
        self.check_call("install", "-D", "-m", mode, draft, os.path.join(self.folder, path.removeprefix("~/")))

    def read(self, path):
        """The text of a file of the machine's; empty if there is none."""
        return subprocess.run(self.inside("cat", path), capture_output=True, check=False).stdout.decode("utf-8", "replace")

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
        self._kms_control("POST", "faults", json.dumps(faults))

    def _kms_control(self, method, name, body=""):
        words = self.inside("python3", "-c", ASK_KMS, method, f"{self.kms_url}/_embedded/{name}", body)
        return subprocess.run(words, check=True, capture_output=True, timeout=30).stdout


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
