#!/bin/sh
# Checks licences, sources, duplicates and known vulnerabilities of all dependencies (deny.toml).
# Installs cargo-deny into target/tools if there is none: some minutes, once.
set -eu
cd "$(dirname "$0")/.."

version=0.20.2
PATH="$PWD/target/tools/bin:$PATH"
if ! command -v cargo-deny >/dev/null; then
    echo "deny: installing cargo-deny $version"
    cargo install --quiet --locked --root target/tools "cargo-deny@$version"
fi

cargo deny --locked check bans licenses sources
# The list of vulnerabilities is a git repository elsewhere. Without a way to it there is nothing to check
# against, and that is said, not counted as good.
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --locked check advisories
else
    echo "deny: advisories NOT CHECKED: their database cannot be fetched from here"
fi
