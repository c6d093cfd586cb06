"""A small library for client tests: run a program, state what is expected, keep everything it said.

One `Report` counts results. `report.test(name)` is a context manager around the steps of one test:

    with report.test("random: 32 bytes") as t:
        t.run(["pkcs11-tool", ...], contains="...")

A step that disappoints raises `Failure`; the test is then printed as FAIL together with the transcript of its
steps, and the next test goes on.
"""

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import subprocess
import termios
import time

STEP_SECONDS = 60
SHOWN_CHARACTERS = 4000  # of each output in a transcript; the end says most

# What a client prints when something went wrong. The exit code of pkcs11-tool says little (0.23 answers 0 after most
# failed self tests), so the text is searched as well.
COMPLAINT = re.compile(
    r"error|warn|fail|abort|invalid|cannot|could not|unable|unexpected|mismatch|ERR[:.]|CKR_(?!OK\b)"
    r"|not implemented|panicked|segmentation|assert|did not|bad ",
    re.IGNORECASE,
)
# Lines that match COMPLAINT but report health.
HARMLESS = re.compile(r"^No errors$|0 errors|RSA_F_FAILED_OK", re.IGNORECASE)


class Failure(Exception):
    """A step did not do what the test demands."""


class Skip(Exception):
    """The test cannot run here; the reason is printed and it is not counted as passed."""


class Differs:
    """Why the module rightly fails a test that a client brought along, and a regular expression for how it fails it."""

    def __init__(self, why, pattern):
        self.why, self.pattern = why, pattern


class Result:
    """What a finished program left behind: exit code, standard output as bytes and text, standard error as text."""

    def __init__(self, code, out, err):
        self.code = code
        self.raw = out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    @property
    def text(self):
        return self.out + self.err


def complaints(text):
    """The lines of `text` that report trouble."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if COMPLAINT.search(line) and not HARMLESS.search(line)]


def base_environment(home):
    """The environment of every program: nothing of the caller's but the search path; a home of its own; no proxy."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "NO_PROXY": "*",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A caller's RUST_BACKTRACE helps to read a panic; nothing else is let through.
        **({"RUST_BACKTRACE": os.environ["RUST_BACKTRACE"]} if "RUST_BACKTRACE" in os.environ else {}),
    }


class Test:
    """The steps of one test and the transcript of what was run."""

    def __init__(self, name, env, cwd):
        self.name, self.env, self.cwd = name, dict(env), cwd
        self.transcript = []

    def note(self, text):
        self.transcript.append(text)

    def run(self, argv, *, code=0, contains=(), lacks=(), quiet=False, stdin=b"", typed=None, env=None, seconds=STEP_SECONDS):
        """Runs one program to its end and checks it.

        `code`: the exit code demanded, None for any, "bad" for any but 0. `contains`, `lacks`: regular expressions for the
        text of both streams. `quiet`: nothing in the output may look like a complaint. `typed`: the program runs on a terminal,
        and at each prompt in this list of (regular expression, answer) somebody types the answer; each must be asked for.
        """
        argv = [str(word) for word in argv]
        self.note("$ " + shlex.join(argv))
        env = {**self.env, **(env or {})}
        if typed is None:
            result, unasked = execute(argv, env, self.cwd, stdin, seconds), []
        else:
            result, unasked = execute_on_terminal(argv, env, self.cwd, typed, seconds)
        for stream in (result.out, result.err):
            if stream.strip():
                self.note(stream.rstrip()[-SHOWN_CHARACTERS:])
        self.note(f"[exit {result.code}]")
        if result.code is None:
            raise Failure(f"still running after {seconds} s")
        if unasked:
            raise Failure(f"did not ask: {unasked[0]}")
        if result.code < 0:
            raise Failure(f"killed by {signal.Signals(-result.code).name}")
        if code == "bad" and result.code == 0:
            raise Failure("succeeded, and must not")
        if isinstance(code, int) and result.code != code:
            raise Failure(f"exit code {result.code} instead of {code}")
        for pattern in [contains] if isinstance(contains, str) else contains:
            if not re.search(pattern, result.text, re.MULTILINE):
                raise Failure(f"output lacks: {pattern}")
        for pattern in [lacks] if isinstance(lacks, str) else lacks:
            if re.search(pattern, result.text, re.MULTILINE):
                raise Failure(f"output has: {pattern}")
        if quiet and complaints(result.text):
            raise Failure("complaint: " + " | ".join(complaints(result.text)))
        return result

    def same(self, what, got, wanted):
        """Fails unless both values are equal."""
        if got != wanted:
            raise Failure(f"{what}: got {got!r}, wanted {wanted!r}")

    def true(self, what, condition):
        """Fails unless the condition holds."""
        if not condition:
            raise Failure(what)

    @contextlib.contextmanager
    def background(self, argv, *, env=None, ready=None, ends=False, codes=(0, -signal.SIGTERM), seconds=20):
        """A server for the length of a `with` block. `ready` is a callable asked until it says yes.

        Yields the process. At the end of the block it gets SIGTERM and must then end with one of `codes`, or with `ends`
        is to stop by itself with exit code 0; it must be gone within the time, else the test fails.
        """
        argv = [str(word) for word in argv]
        self.note("$ " + shlex.join(argv) + " &")
        log_path = os.path.join(self.cwd, f"background-{time.monotonic_ns()}.log")
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                argv, env={**self.env, **(env or {})}, cwd=self.cwd, stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
        try:
            end = time.monotonic() + seconds
            while ready is not None and not ready():
                if process.poll() is not None:
                    raise Failure(f"the server ended early with {process.returncode}")
                if time.monotonic() > end:
                    raise Failure(f"the server was not ready within {seconds} s")
                time.sleep(0.05)
            yield process
            if process.poll() is None and not ends:
                process.terminate()
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise Failure(f"the server did not stop within {seconds} s") from None
            if process.returncode not in ((0,) if ends else codes):
                raise Failure(f"the server ended with {process.returncode}")
        finally:
            if process.poll() is None:
                kill_group(process)
            process.stdin.close()
            with open(log_path, encoding="utf-8", errors="replace") as log:
                self.note("[server] " + log.read().strip())


def kill_group(process):
    """Ends a program of ours and whatever it started (each runs in a session of its own)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def execute(argv, env, cwd, stdin=b"", seconds=STEP_SECONDS):
    """Runs a program; `Result.code` is None when it had to be killed."""
    try:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Failure(f"not installed: {argv[0]}") from None
    try:
        out, err = process.communicate(stdin, timeout=seconds)
        return Result(process.returncode, out, err)
    except subprocess.TimeoutExpired:
        kill_group(process)
        out, err = process.communicate()
        return Result(None, out, err)


def execute_on_terminal(argv, env, cwd, typed, seconds):
    """Runs a program on a terminal of its own, see `Test.run`; returns the `Result` and the prompts that did not come."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # programs that want a PIN open /dev/tty
        )
    except FileNotFoundError:
        os.close(ours)
        raise Failure(f"not installed: {argv[0]}") from None
    finally:
        os.close(theirs)
    said, answered, prompts, code = b"", 0, list(typed), None
    end = time.monotonic() + seconds
    try:
        # A program that ended may leave one behind that holds the terminal, so its end is waited for as well.
        while (gone := process.poll()) is None or select.select([ours], [], [], 0)[0]:
            if time.monotonic() > end:
                break
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                said += os.read(ours, 65536)
            except OSError:  # nobody has the terminal open any more
                gone = process.wait(max(0.1, end - time.monotonic()))
                break
            if prompts and (found := re.search(prompts[0][0].encode(), said[answered:])):
                answered += found.end()
                # Some programs ask first, and then turn the echo off and forget what was typed.
                hasty = time.monotonic() + 0.5
                while termios.tcgetattr(ours)[3] & termios.ECHO and time.monotonic() < hasty:
                    time.sleep(0.01)
                os.write(ours, prompts.pop(0)[1].encode() + b"\n")
        code = gone
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            kill_group(process)
        os.close(ours)
    return Result(code, said.replace(b"\r\n", b"\n"), b""), [pattern for pattern, _ in prompts]


class Report:
    """Counts and prints results.

    Told apart are tests known to fail on SoftHSM (`reference_lacks`), and tests that clients bring along and that demand what
    the module rightly does not do (`differs`).
    """

    def __init__(self, on_softhsm):
        self.on_softhsm = on_softhsm
        self.passed = self.failed = 0
        self.skipped, self.lacking, self.differing = [], [], []
        self.suite = self.env = self.cwd = None
        self.pages = []  # of docs/hosts, those that this run is about

    def begin(self, suite, env, cwd):
        self.suite, self.env, self.cwd = suite, env, cwd

    @contextlib.contextmanager
    def test(self, name, reference_lacks=None, differs=None):
        """One test. `reference_lacks`: why SoftHSM 2.6.1 fails it; `differs`: how and why the module fails a test not of ours.

        It must then fail there, so the lists stay true.
        """
        name = f"{self.suite}: {name}"
        if self.on_softhsm:
            expected_failure = Differs(reference_lacks, "") if reference_lacks else None
        else:
            expected_failure = differs
        test = Test(name, self.env, self.cwd)
        try:
            yield test
        except Skip as reason:
            self.skipped.append(name)
            print(f"skipped {name}: {reason}", flush=True)
        except Failure as failure:
            self._failed(test, failure, expected_failure)
        except Exception as crash:  # a test that trips over unexpected output is a failed test, not the end of the run
            self._failed(test, Failure(f"{type(crash).__name__}: {crash}"), expected_failure)
        else:
            if expected_failure:
                self._failed(test, Failure(f"passes, yet is said to fail: {expected_failure.why}"), None)
            else:
                self.passed += 1
                print(f"ok {name}", flush=True)

    def _failed(self, test, failure, expected_failure):
        if expected_failure and re.search(expected_failure.pattern, "\n".join([str(failure), *test.transcript])):
            known, word = (self.lacking, "lacks") if self.on_softhsm else (self.differing, "differs")
            known.append(test.name)
            print(f"{word} {test.name}: {expected_failure.why} [{failure}]", flush=True)
            return
        self.failed += 1
        print(f"FAIL {test.name}\n    {failure}", flush=True)
        for line in "\n".join(test.transcript).splitlines():
            print("    | " + line[:400], flush=True)

    def finish(self):
        """Prints the totals; True when nothing failed."""
        if self.skipped:
            print(f"skipped, not counted: {len(self.skipped)}")
        if self.lacking:
            print(f"not in SoftHSM itself, not counted: {len(self.lacking)}")
        if self.differing:
            print(f"demanded by a client's own tests, rightly not done, not counted: {len(self.differing)}")
        print(f"clients: {self.passed} passed, {self.failed} failed", flush=True)
        return self.failed == 0
