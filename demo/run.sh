#!/usr/bin/env bash
# What the module does, shown with the tools that everybody has: OpenSC's pkcs11-tool and OpenSSL.
#
# Each command is printed as you would type it, then run. Every result is checked; the first that is not
# as it should be ends the demonstration with status 1. Nothing outside a temporary directory is touched,
# and nothing goes to the network: the token's KMS is the embedded one.
#
# MODULE names the module. (OAEP=SHA-1 is for modules that know no other hash, to try this script with.)
set -euo pipefail

MODULE=${MODULE:-$(dirname "$0")/../target/release/libdatakey_pkcs11.so}
MODULE=$(realpath "$MODULE")
OAEP=${OAEP:-SHA256}
[ -e "$MODULE" ] || { echo "demo: there is no $MODULE; run make" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
note() { printf '%s  # %s%s\n' "$dim" "$1" "$plain"; }

# run COMMAND: prints a line of shell and runs it. Its output is shown, indented.
run() {
    printf '  $ %s\n' "$1"
    local status=0
    eval "$1" >output 2>&1 || status=$?
    sed 's/^/    /' output
    [ "$status" -eq 0 ] || fail "that command failed with status $status"
}

fail() {
    printf '\ndemo: FAILED: %s\n' "$1" >&2
    exit 1
}

# expect TEXT: what the last command must have printed.
expect() { grep -qF -- "$1" output || fail "\"$1\" was expected here"; }

title 'A configuration: one token, whose keys an embedded stand-in for AWS KMS wraps'
cat >datakey-pkcs11.toml <<EOF
[[token]]
label = "demo"
kms = "embedded"
login = "pin"
store = "sqlite:$work/demo.db"
EOF
run 'cat datakey-pkcs11.toml'
export DATAKEY_PKCS11_CONF="$work/datakey-pkcs11.toml"
printf '  $ export DATAKEY_PKCS11_CONF=$PWD/datakey-pkcs11.toml MODULE=%s\n' "$MODULE"

title 'A token with PINs'
run 'pkcs11-tool --module $MODULE --slot-index 0 --init-token --label demo --so-pin 12345678'
expect 'Token successfully initialized'
run 'pkcs11-tool --module $MODULE --token-label demo --login --login-type so --so-pin 12345678 --init-pin --new-pin 123456'
expect 'User PIN successfully initialized'
printf '  $ T="--module $MODULE --token-label demo"\n'
export T="--module $MODULE --token-label demo"

title 'Two key pairs'
note 'One KMS call each, GenerateDataKeyPair. What is stored is the private key as KMS encrypted it.'
run 'pkcs11-tool $T --login --pin 123456 --keypairgen --key-type rsa:2048 --id 01 --label demo-rsa'
expect 'Key pair generated'
run 'pkcs11-tool $T --login --pin 123456 --keypairgen --key-type EC:prime256v1 --id 02 --label demo-ec'
expect 'Key pair generated'
note 'Listing, logging in and reading attributes call nothing.'
run 'pkcs11-tool $T --login --pin 123456 --list-objects'
expect 'Private Key Object; RSA'
expect 'Private Key Object; EC'
run 'pkcs11-tool $T --read-object --type pubkey --id 01 --output-file rsa.der'
run 'pkcs11-tool $T --read-object --type pubkey --id 02 --output-file ec.der'

title 'Sign with the token, verify with OpenSSL'
echo 'the plaintext private key is never on disk' >message.txt
note 'The first use in a process: one KMS call, Decrypt. Then the module computes by itself.'
run 'pkcs11-tool $T --login --pin 123456 --sign --mechanism SHA256-RSA-PKCS --id 01 --input-file message.txt --output-file rsa.sig'
run 'openssl dgst -sha256 -verify rsa.der -keyform DER -signature rsa.sig message.txt'
expect 'Verified OK'
run 'openssl dgst -sha256 -binary -out digest message.txt'
run 'pkcs11-tool $T --login --pin 123456 --sign --mechanism ECDSA --signature-format openssl --id 02 --input-file digest --output-file ec.sig'
run 'openssl dgst -sha256 -verify ec.der -keyform DER -signature ec.sig message.txt'
expect 'Verified OK'
note 'Another message must not verify:'
echo 'the plaintext private key is on disk' >other.txt
run '! openssl dgst -sha256 -verify rsa.der -keyform DER -signature rsa.sig other.txt'
expect 'Verification failure'

title 'Encrypt with OpenSSL, decrypt with the token'
hash=$(printf '%s' "$OAEP" | tr -d - | tr '[:upper:]' '[:lower:]')
run "openssl pkeyutl -encrypt -pubin -keyform DER -inkey rsa.der -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:$hash -in message.txt -out secret"
run "pkcs11-tool \$T --login --pin 123456 --decrypt --mechanism RSA-PKCS-OAEP --hash-algorithm $OAEP --id 01 --input-file secret --output-file opened.txt"
run 'cmp message.txt opened.txt && cat opened.txt'
expect 'never on disk'

title 'The same on AWS'
cat <<'EOF'
  Put the name of a symmetric KMS key in the place of kms = "embedded":

    [[token]]
    label = "web"
    kms_key_id = "alias/pkcs11"      # key id, ARN, alias or alias ARN
    region = "eu-central-1"

  in /etc/datakey-pkcs11/datakey-pkcs11.toml or ~/.config/datakey-pkcs11/datakey-pkcs11.toml. The role needs
  kms:GenerateDataKeyPair and kms:Decrypt on that key: docs/iam/token-with-pin.json. README.md says the rest.
EOF
title 'All of it worked.'
