"""docs/hosts/go.md, with the packages of Debian: the proxy for Go modules is not asked."""

import packages
from machine import ready_machine
from pages import Page


def run(suite, report):
    page = Page(report, "go")
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        # The packages are compiled once; what go keeps of them is kept between runs.
        report.env = machine.env | {"GOCACHE": packages.folder("go"), "GOPROXY": "off", "GOFLAGS": ""}
        with report.test("a key") as t:
            page.found(t, machine.inside("go", "version"), r"go version go(\S+)")
            machine.generate(t, "EC:prime256v1", "01", "tls")
        with page.test("Sign") as t:
            page.recipe(machine, t, "Sign", contains="^verified: true$", seconds=180)
        with page.test("New key and certificate request") as t:
            page.recipe(machine, t, "New key and certificate request", contains="verify OK", seconds=180)
    page.finish()
