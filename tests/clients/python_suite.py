"""The unittest suite of a Python package, unmodified, as tests of ours."""

import json
import os

import packages
from harness import Failure, Skip

EACH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unittest_each.py")
SUITE_SECONDS = 500


def run_each(report, token, package, tests, differs, *, label="", only=None):
    """Runs every test of a package's `tests` directory, or `only` some of them, on a token.

    `differs`: why the module rightly fails a test, by the test's id; `label` tells two runs apart.
    """
    verdicts = []
    with report.test(f"{label}run the tests of {package}") as t:
        interpreter = packages.python()
        folder = packages.python_tests(interpreter, package, tests)
        # The suites talk on both streams; what follows a record separator is a result.
        said = t.run([interpreter, "-B", EACH, folder, *(only or ())], env=token.env, seconds=SUITE_SECONDS).out
        verdicts += [json.loads(line.partition("\x1e")[2]) for line in said.split("\n") if "\x1e" in line]
        t.true("there are tests", verdicts)
        missing = set(differs if only is None else only) - {each["id"] for each in verdicts}
        t.same("tests of the list that are not there", missing, set())
    for each in verdicts:
        with report.test(label + each["id"], differs=differs.get(each["id"])) as t:
            t.note(each["detail"].rstrip())
            if each["outcome"] == "skipped":
                raise Skip(each["detail"])
            if each["outcome"] == "failed":
                raise Failure((each["detail"].strip().splitlines() or ["no reason given"])[-1][:200])
