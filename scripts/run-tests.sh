#!/usr/bin/env bash
# Everything that must hold before a change goes in. The last line is "N passed, M failed": every test of
# cargo and of the client suite counts, and each other step counts as one. Logs are in target/test-logs.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=target/test-logs
mkdir -p "$logs"
passed=0
failed=0
broken=()

count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
}

# step NAME COMMAND… : runs it, with its output here and in the log. A status that is lost is a failure.
step() {
    local name=$1
    shift
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name.log"
    local status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || broken+=("$name")
    return "$status"
}

# A step that is one test.
check() {
    if step "$@"; then count 1 0; else count 0 1; fi
}

# A step that says itself what passed and failed. If it ends badly without saying what failed (it did not
# compile, it was killed), or says nothing at all, that is one failure.
suite() {
    local summarise=$1 status=0 good bad
    shift
    step "$@" || status=$?
    read -r good bad < <("$summarise" "$logs/$1.log")
    if [ "$bad" -eq 0 ] && { [ "$status" -ne 0 ] || [ "$good" -eq 0 ]; }; then bad=1; fi
    count "$good" "$bad"
}

# "test result: ok. 12 passed; 0 failed; …", once for each test binary
cargo_summary() {
    awk '/^test result: / { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } }
         END { print p + 0, f + 0 }' "$1"
}

# The client suite ends with "clients: N passed, M failed".
clients_summary() {
    awk '/^clients: [0-9]+ passed, [0-9]+ failed$/ { p = $2; f = $4 } END { print p + 0, f + 0 }' "$1"
}

check setup scripts/setup.sh test
check format cargo fmt --all --check
# The tests are built with the features that are off by default, and clippy reads the rest again without; the module
# that they load is as it is shipped.
check clippy cargo clippy --locked --workspace --all-targets --features nitro-enclaves -- -D warnings
check clippy-without-features cargo clippy --locked --workspace -- -D warnings
check emulators tests/emulators/install.sh
check module make --no-print-directory module
suite cargo_summary cargo-test cargo test --locked --workspace --features nitro-enclaves --no-fail-fast
suite clients_summary clients tests/clients/run.sh
suite clients_summary hosts make --no-print-directory test-hosts
suite clients_summary clients-over-the-wire tests/clients/emulator.sh tool_admin tool_sign tool_objects tool_selftest
check deny scripts/deny.sh

echo
if [ "${#broken[@]}" -ne 0 ]; then
    echo "failed steps: ${broken[*]} (logs in $logs)"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
