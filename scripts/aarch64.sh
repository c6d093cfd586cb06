#!/bin/sh
# Builds the module for 64-bit ARM and has it make and use keys under emulation. It builds everything a second
# time, so `make test` does not run it: `make aarch64`. Without optimisation, but for what makes RSA keys.
set -eu
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
scripts/setup.sh aarch64
rustup target list --installed 2>/dev/null | grep -qx "$target" || rustup target add "$target"

export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
cargo build --locked -p datakey-pkcs11-module --target "$target" --target-dir target/cross \
    --config 'profile.dev.opt-level=0' --config 'profile.dev.debug=false' --config 'profile.dev.package."*".opt-level=0' \
    --config 'profile.dev.package.crypto-bigint.opt-level=2' --config 'profile.dev.package.rsa.opt-level=2'
module=target/cross/$target/debug/libdatakey_pkcs11.so

# What needs a newer glibc, or another library, than on x86-64.
versions=$(aarch64-linux-gnu-objdump -T "$module" | grep -o 'GLIBC_2\.[0-9]*' | sort -u -t. -k2n)
newest=$(printf '%s\n' "$versions" | tail -n 1)
[ "${newest#GLIBC_2.}" -le 28 ] || { echo "aarch64: $newest is needed" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
aarch64-linux-gnu-gcc -std=gnu11 -O1 -pthread -o "$folder/host" tests/hosts/host.c -ldl
cat > "$folder/datakey-pkcs11.toml" <<END
[[token]]
label = "arm"
login = "none"
pin_hash = { memory = "1M", passes = 1 }
store = "sqlite:$folder/token.db"
kms = "embedded:$folder/kms.json"
END
keys="rsa2048 p256 p384 p521 secp256k1 ed25519"
commands() {
    echo initialise
    echo init-token 12345678
    echo open
    for key in $keys; do
        echo "generate $key $key"
        echo "use $key $key"
    done
    echo decrypt rsa2048
    echo list
    echo random
    echo finalise
    echo initialise
    echo open
    for key in $keys; do echo "use $key $key"; done
    echo finalise
}
commands > "$folder/commands"
DATAKEY_PKCS11_CONF="$folder/datakey-pkcs11.toml" timeout 300 \
    qemu-aarch64 -L /usr/aarch64-linux-gnu "$folder/host" "$module" < "$folder/commands" > "$folder/answers"
# Each answer ends with what the function returned.
bad=$(grep -vc ' 0$' "$folder/answers" || true)
if [ "$bad" -ne 0 ] || [ "$(wc -l < "$folder/answers")" -ne "$(wc -l < "$folder/commands")" ]; then
    paste -d: "$folder/commands" "$folder/answers" >&2
    exit 1
fi
echo "aarch64: $(wc -l < "$folder/answers") calls under emulation, all well; newest version needed: $newest"
