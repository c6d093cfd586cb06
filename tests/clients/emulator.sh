#!/usr/bin/env bash
# Runs client suites with KMS over the wire: on moto, which others wrote, started here on a free loopback port.
#   tests/clients/emulator.sh [suite ...]      (needs tests/emulators/install.sh to have run)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
emulators=$here/../emulators
python=${CARGO_TARGET_DIR:-$here/../../target}/emulators/bin/python
[ -x "$python" ] || { echo "run tests/emulators/install.sh first" >&2; exit 1; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# guarded.py ends the emulator when its standard input closes, so it cannot outlive this script; tail ends with it.
"$python" "$emulators/guarded.py" "$emulators/moto_dkp.py" -H 127.0.0.1 -p "$port" < <(tail -f /dev/null --pid=$$) >/dev/null 2>&1 &
moto=$!
trap 'kill "$moto" 2>/dev/null || true; wait "$moto" 2>/dev/null || true' EXIT
ready=
for _ in $(seq 300); do
    if python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/moto-api/', timeout=2)" 2>/dev/null; then
        ready=yes
        break
    fi
    sleep 0.2
done
[ -n "$ready" ] || { echo "moto is not ready after a minute" >&2; exit 1; }
PROFILE=emulator KMS_ENDPOINT_URL="http://127.0.0.1:$port" "$here/run.sh" "$@"
