"""docs/hosts/rust.md."""

import os
import shutil

import packages
from machine import ready_machine
from pages import FOLDER, Page, parse


def run(suite, report):
    with ready_machine(suite, report) as machine:
        if machine is None:
            return
        # The caller's cargo, with what it has fetched; what it builds is kept between runs.
        report.env = machine.env | packages.cargo_environment() | {"CARGO_NET_OFFLINE": "true"}
        locked = []
        with report.test("the crates, and a key") as t:
            machine.generate(t, "EC:prime256v1", "01", "tls")
            with open(os.path.join(FOLDER, "rust.md"), encoding="utf-8") as file:
                (manifest,) = [text for _, name, text in parse(file.read())["Sign"] if name == "Cargo.toml"]
            locked.append(packages.cargo_lock(manifest))
        if not locked:
            return
        shutil.copy(locked[0], machine.here("Cargo.lock"))
        page = Page(report, "rust")
        page.version = f"cryptoki {packages.CRYPTOKI}"
        with page.test("Sign") as t:
            page.recipe(machine, t, "Sign", contains=r"^verified: Ok\(\(\)\)$", seconds=180)
        page.finish()
