#!/bin/sh
# Runs real PKCS#11 programs against the module. See README.md in this folder.
#   MODULE=/path/lib.so PROFILE=softhsm|embedded|emulator  tests/clients/run.sh [suite ...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# The whole run is bounded: a client that hangs in spite of its own limit must not hang the caller.
exec timeout --kill-after=20 "${CLIENTS_TIMEOUT:-1800}" python3 -B "$here/run.py" "$@"
