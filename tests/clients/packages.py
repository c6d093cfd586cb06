"""Client libraries that come from package registries, by name and version, kept under target/clients/ between runs.

The ordinary clients (pip, cargo, npm) fetch them with the caller's own environment, so mirrors and proxies are the caller's affair.
"""

import hashlib
import json
import os
import shutil
import sys
import tarfile

from harness import Failure, Skip, execute

WORK = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target", "clients"))
# `cryptography`, `parameterized` and `asn1crypto` are what the test suites of the two import.
PYTHON_PACKAGES = (
    "python-pkcs11==0.10.1", "PyKCS11==1.5.20", "cryptography==50.0.2", "parameterized==0.9.0", "asn1crypto==1.5.1",
)
NODE_PACKAGES = ("graphene-pk11@2.3.6", "pkcs11js@2.1.7")
CRYPTOKI = "0.12.1"
FETCH_SECONDS = 240
BUILD_SECONDS = 500


def fetch(argv, cwd):
    """Runs pip, cargo or npm. What cannot be had is a reason to skip: it says nothing about the module."""
    result = execute([str(word) for word in argv], dict(os.environ), cwd, seconds=FETCH_SECONDS)
    if result.code != 0:
        said = result.text.strip().splitlines() or ["no answer"]
        raise Skip(f"{os.path.basename(argv[0])} cannot fetch it: {said[-1][:200]}")
    return result.out


def once(path, make):
    """Calls `make` unless an earlier run finished it; what an interrupted run left is made anew."""
    stamp = os.path.join(path, "complete")
    if not os.path.exists(stamp):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        make(path)
        with open(stamp, "w", encoding="utf-8"):
            pass
    return path


def python():
    """The interpreter of a virtual environment that has PYTHON_PACKAGES."""
    version = f"python-{sys.version_info.major}.{sys.version_info.minor}"

    def make(path):
        fetch([sys.executable, "-m", "venv", path], WORK)
        # Wheels only: to build one of them takes SWIG or Cython and minutes.
        pip = os.path.join(path, "bin", "pip")
        fetch([pip, "install", "--quiet", "--only-binary", ":all:", *PYTHON_PACKAGES], WORK)

    return os.path.join(once(folder(version), make), "bin", "python")


def python_tests(interpreter, package, tests):
    """The directory `tests` of a package's source distribution, unpacked without the rest of it.

    Without the rest, because a package's source beside its tests would be imported in place of the installed package.
    """
    requirement = next(line for line in PYTHON_PACKAGES if line.startswith(package + "=="))

    def make(path):
        fetch([interpreter, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package, requirement], path)
        (archive,) = [name for name in os.listdir(path) if name.endswith(".tar.gz")]
        with tarfile.open(os.path.join(path, archive)) as source:
            for member in source.getmembers():
                _, _, inner = member.name.partition("/")
                if member.isfile() and os.path.dirname(inner) == tests:
                    os.makedirs(os.path.join(path, tests), exist_ok=True)
                    with open(os.path.join(path, inner), "wb") as file:
                        shutil.copyfileobj(source.extractfile(member), file)

    return os.path.join(once(os.path.join(WORK, requirement.replace("==", "-")), make), tests)


def node():
    """The `node_modules` that has NODE_PACKAGES. Node's headers are those of the system: npm would download them."""

    def make(path):
        words = ["--no-audit", "--no-fund", "--no-save", "--nodedir=/usr", "--prefix", path]
        fetch(["npm", "install", *words, *NODE_PACKAGES], path)

    return os.path.join(once(folder("node"), make), "node_modules")


def folder(name):
    """A folder of what is kept between runs."""
    os.makedirs(WORK, exist_ok=True)
    return os.path.join(WORK, name)


def cargo_environment():
    """What cargo needs to work as the caller's does, in another home."""
    home = os.path.expanduser("~")
    return {
        "PATH": os.environ["PATH"],
        "CARGO_HOME": os.environ.get("CARGO_HOME", os.path.join(home, ".cargo")),
        "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", os.path.join(home, ".rustup")),
        "CARGO_TARGET_DIR": folder("rust"),
    }


def cargo_lock(manifest):
    """The lock file of a package with this manifest and CRYPTOKI, whose crates are fetched then."""

    def make(path):
        write(os.path.join(path, "Cargo.toml"), manifest)
        write(os.path.join(path, "src", "main.rs"), "fn main() {}\n")
        # A workspace of its own, else cargo takes it for a forgotten member of ours.
        with open(os.path.join(path, "Cargo.toml"), "a", encoding="utf-8") as file:
            file.write("\n[workspace]\n")
        fetch(["cargo", "update", "--quiet", "cryptoki", "--precise", CRYPTOKI], path)
        fetch(["cargo", "fetch", "--quiet", "--locked"], path)

    name = f"rust-{CRYPTOKI}-{hashlib.sha256(manifest.encode()).hexdigest()[:8]}"
    return os.path.join(once(folder(name), make), "Cargo.lock")


def cryptoki_tests():
    """The test programs of the cryptoki crate, built by cargo from the registry's source: {name: path}."""

    def make(path):
        manifest = '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
        write(os.path.join(path, "fetch", "Cargo.toml"), manifest + f'cryptoki = "={CRYPTOKI}"\n')
        write(os.path.join(path, "fetch", "src", "lib.rs"), "")
        metadata = json.loads(fetch(["cargo", "metadata", "--format-version", "1"], os.path.join(path, "fetch")))
        (manifest,) = [each["manifest_path"] for each in metadata["packages"] if each["name"] == "cryptoki"]
        source = os.path.join(path, "source")
        shutil.copytree(os.path.dirname(manifest), source)
        # A workspace of its own, else cargo takes it for a forgotten member of ours. Nothing else is changed.
        with open(os.path.join(source, "Cargo.toml"), "a", encoding="utf-8") as file:
            file.write("\n[workspace]\n")

    path = once(folder(f"cryptoki-{CRYPTOKI}"), make)
    source = os.path.join(path, "source")
    fetch(["cargo", "fetch", "--quiet", "--locked"], source)
    words = ["--quiet", "--locked", "--offline", "--tests", "--no-run", "--message-format=json"]
    words += ["--target-dir", os.path.join(path, "built")]
    built = execute(["cargo", "test", *words], dict(os.environ), source, seconds=BUILD_SECONDS)
    if built.code != 0:
        raise Failure(f"the crate's tests do not build: {built.err.strip()[-2000:]}")
    return {
        each["target"]["name"]: each["executable"]
        for each in map(json.loads, built.out.splitlines())
        if each["reason"] == "compiler-artifact" and each.get("executable") and "test" in each["target"]["kind"]
    }


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
