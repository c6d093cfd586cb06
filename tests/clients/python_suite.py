"""unittest suites on a Python package, its own or one of ours in walks/, as tests of a report."""

import json
import os

import packages
from harness import Failure, Skip

HERE = os.path.dirname(os.path.abspath(__file__))
EACH = os.path.join(HERE, "unittest_each.py")
SUITE_SECONDS = 500


def own_tests(report, token, package, folder, differs, *, label="", only=None):
    """Runs the tests in `folder` of a package's source distribution, unmodified; or `only` some of them.

    `differs`: tests by their ids, with why and how the module fails them, or the reason to skip one as a plain text.
    """
    run_each(report, token, lambda python: packages.python_tests(python, package, folder), differs, label, only)


def walk(report, token, name):
    """Runs our own tests with a package: walks/`name`."""
    run_each(report, token, lambda python: os.path.join(HERE, "walks", name), {}, "walk: ", None)


def run_each(report, token, folder_for, differs, label, only):
    """Runs every test below a folder in a process of its own and reports each."""
    verdicts = []
    with report.test(f"{label}run the tests") as t:
        python = packages.python()
        # The suites talk on both streams; what follows a record separator is a result.
        said = t.run([python, "-B", EACH, folder_for(python), *(only or ())], seconds=SUITE_SECONDS, env=token.env).out
        verdicts += [json.loads(line.partition("\x1e")[2]) for line in said.split("\n") if "\x1e" in line]
        t.true("there are tests", verdicts)
        t.same("tests listed that are not there", set(only or differs) - {each["id"] for each in verdicts}, set())
    for each in verdicts:
        listed = differs.get(each["id"])
        skip = listed if isinstance(listed, str) else each["detail"] if each["outcome"] == "skipped" else None
        with report.test(label + each["id"], differs=None if skip else listed) as t:
            if skip:
                raise Skip(skip)
            t.note(each["detail"].rstrip())
            if each["outcome"] == "failed":
                raise Failure((each["detail"].strip().splitlines() or ["no reason given"])[-1][:200])
