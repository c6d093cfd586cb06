#!/bin/sh
# Installs the emulators of KMS and DynamoDB that the contract tests run against, in target/emulators.
#
# Pinned: a test that passes today must run against the same emulator tomorrow. Does nothing where they are
# installed already. Needs Python 3.10 or newer with venv (Debian: apt install python3-venv).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${CARGO_TARGET_DIR:-$here/../../target}/emulators
packages='moto[server,kms,dynamodb]==5.2.5 ministack==1.5.33 cryptography==50.0.2'
stamp=$root/installed

if [ "$(cat "$stamp" 2>/dev/null)" = "$packages" ] && "$root/bin/python" -c 'import moto, ministack, cryptography' 2>/dev/null; then
    exit 0
fi

rm -rf "$root"
mkdir -p "$root"
if ! python3 -m venv "$root"; then
    # Without ensurepip (Debian splits it off) a bare environment and another pip still do.
    rm -rf "$root"
    python3 -m venv --without-pip "$root" || {
        echo "install.sh: python3 -m venv does not work here; install python3-venv" >&2
        exit 1
    }
    if ! python3 -m pip --version >/dev/null 2>&1; then
        echo "install.sh: neither ensurepip nor pip is here; install python3-venv or python3-pip" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    python3 -m pip --python "$root/bin/python" install --quiet $packages
else
    # shellcheck disable=SC2086
    "$root/bin/python" -m pip install --quiet $packages
fi
printf '%s\n' "$packages" >"$stamp"
