"""Runs every test of a unittest suite in a process of its own; run by the Python of the suite, not by run.py.

    python unittest_each.py DIRECTORY [TEST ...]

Prints a line of JSON after a record separator for each test: {"id": ..., "outcome": "ok" | "skipped" | "failed", "detail": ...}.
A process each, because the suites keep one loaded module and its login for all tests: the first that fails would take
those after it along.
"""

import json
import os
import signal
import sys
import unittest

TEST_SECONDS = 120


def tests_of(suite):
    """All test cases below a suite, one by one."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from tests_of(item)
        else:
            yield item


def verdict(result):
    """(outcome, detail) of a result that holds one test."""
    for _, text in result.errors + result.failures:
        return "failed", text
    for test in result.unexpectedSuccesses:
        return "failed", f"{test} was expected to fail by its own suite"
    for _, text in result.expectedFailures:
        return "skipped", "its own suite expects it to fail"
    for _, reason in result.skipped:
        return "skipped", reason
    return "ok", ""


def run_apart(test):
    """Runs one test in a child and returns its outcome and detail."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(TEST_SECONDS)  # a test that hangs is killed, and reported so
        result = unittest.TestResult()
        unittest.TestSuite([test]).run(result)
        with os.fdopen(writer, "w", encoding="utf-8") as pipe:
            json.dump(verdict(result), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if said else ("failed", f"the process ended with {os.waitstatus_to_exitcode(status)}")


def main():
    start, *wanted = sys.argv[1:]
    top = os.path.dirname(start) if os.path.exists(os.path.join(start, "__init__.py")) else start
    for test in list(tests_of(unittest.defaultTestLoader.discover(start, top_level_dir=top))):
        if wanted and test.id() not in wanted:
            continue
        outcome, detail = run_apart(test)
        print("\x1e" + json.dumps({"id": test.id(), "outcome": outcome, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
