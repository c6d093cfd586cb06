"""The pages of docs/hosts as programs: their recipes are run exactly as they are printed.

A page has a section (`## …`) for each recipe. Of its fenced blocks, `sh` is what a reader types; any other is a file, whose
name is the last `code span` before it, and which is written before the commands that follow. No block has more than ten lines.
"""

import contextlib
import os
import re

from harness import Failure, Skip
from machine import ROOT

FOLDER = os.path.join(ROOT, "docs", "hosts")
LONGEST = 10


class Page:
    """One page. `test` is a test of a section, `recipe` runs it, `finish` sees that none was left out."""

    def __init__(self, report, name):
        """`name`: of the file, without `.md`."""
        with open(os.path.join(FOLDER, name + ".md"), encoding="utf-8") as file:
            text = file.read()
        self.name, self.title, self.sections = name, re.match(r"# (.*)", text)[1], parse(text)
        self.version, self.works = "", []
        self._report = report
        report.pages.append(self)

    def found(self, t, argv, pattern):
        """Keeps the host's version for the table: the first group of `pattern` in what `argv` prints."""
        said = t.run(argv, code=None).text
        match = re.search(pattern, said)
        t.true(f"a version in {said[:200]!r}", match)
        self.version = match[1]

    @contextlib.contextmanager
    def test(self, section):
        """A test named as the section; if it passes, the section works."""
        before = self._report.passed
        with self._report.test(section) as t:
            if section not in self.sections:
                raise Failure(f"the page has no section {section!r}")
            yield t
        if self._report.passed > before:
            self.works.append(section)

    def recipe(self, machine, t, section, *, shell="bash", **checks):
        """Writes the section's files and runs its commands, all of them in one shell that stops at the first error.

        Returns what `Test.run` returns; `checks` are its.
        """
        commands = []
        for language, name, text in self.sections[section]:
            if language == "sh":
                commands.append(text)
            else:
                machine.put(name, text)
                t.note(f"[wrote {name}]\n{text}")
        script = machine.path("recipe.sh")
        with open(script, "w", encoding="utf-8") as file:
            # What a recipe that failed left in the background would keep its output open.
            ending = "trap '[ $? -eq 0 ] || kill $(jobs -p) 2>/dev/null || :' EXIT"
            file.write(f"set -euo pipefail\n{ending}\n" + "".join(commands))
        t.note("".join(commands))
        return t.run(machine.inside(shell, script), **checks)

    def finish(self):
        """A test that every section with a recipe was run and worked."""
        with self._report.test("every recipe of the page works") as t:
            t.same("sections that do not", [each for each in self.sections if each not in self.works], [])


def table(pages):
    """The table of docs/hosts/README.md."""
    rows = ["| host | version | what works |", "| --- | --- | --- |"]
    for page in sorted(pages, key=lambda page: page.title.lower()):
        rows.append(f"| [{page.title}]({page.name}.md) | {page.version} | {'; '.join(page.works)} |")
    return "\n".join(rows) + "\n"


def check_table(report, write):
    """The table in docs/hosts/README.md says what this run found, whatever the versions; or it is written."""
    path = os.path.join(FOLDER, "README.md")
    with open(path, encoding="utf-8") as file:
        before, begin, rest = file.read().partition("<!-- table -->\n")
        there, end, after = rest.partition("<!-- end of the table -->\n")
    now = table(report.pages)
    if write:
        with open(path, "w", encoding="utf-8") as file:
            file.write(before + begin + now + end + after)
        return
    report.begin("hosts", {}, FOLDER)
    with report.test("the table of docs/hosts is what was found (run.sh --write-table)") as t:
        if any(name.startswith("hosts.") for name in report.skipped):
            raise Skip("not every page was run")
        without_version = lambda text: [(row.split(" | ")[0], row.split(" | ")[2:]) for row in text.splitlines()]
        t.same("table", without_version(there), without_version(now))


def parse(text):
    """{section: [(language, file name or None, text)]} of the sections that have blocks."""
    sections, title, name, block, language = {}, None, None, None, None
    for line in text.splitlines():
        fence = re.fullmatch(r"\s*```(\w*)", line)
        if block is not None and fence:
            if len(block) > LONGEST:
                raise Failure(f"a block of {len(block)} lines under {title!r}")
            sections.setdefault(title, []).append((language, name, "".join(each + "\n" for each in block)))
            block = None
        elif block is not None:
            block.append(line)
        elif fence:
            block, language = [], fence[1]
        elif line.startswith("## "):
            title, name = line[3:].strip(), None
        else:
            name = (re.findall(r"`([^`]+)`", line) or [name])[-1]
    return sections
