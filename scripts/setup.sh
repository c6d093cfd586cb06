#!/bin/sh
# Installs by name what is missing for one purpose, on Debian and its like:
#
#     scripts/setup.sh build | demo | test | hosts | aarch64
#
# It asks each thing for itself, not the package manager, so that what came by another way counts too.
# When nothing is missing it does nothing and needs neither root nor network.
set -eu

# package, and a command that succeeds where it is there
build='
make              command -v make
gcc               command -v cc
libc6-dev         test -e /usr/include/stdio.h
'
demo='
opensc            command -v pkcs11-tool
openssl           command -v openssl
'
test='
softhsm2          command -v softhsm2-util
p11-kit           command -v p11-kit
postgresql        ls /usr/lib/postgresql/*/bin/postgres
libp11-kit-dev    test -e /usr/include/p11-kit-1/p11-kit/pkcs11.h
gnutls-bin        command -v p11tool
openssh-client    command -v ssh-keygen
binutils          command -v nm
iproute2          test -e /usr/sbin/ip -o -e /sbin/ip
util-linux        command -v nsenter
python3           command -v python3
python3-venv      python3 -c "import ensurepip, venv"
openjdk-17-jdk-headless command -v javac && command -v keytool && command -v jarsigner
libengine-pkcs11-openssl test -e "$(openssl version -e 2>/dev/null | cut -d\" -f2)/pkcs11.so"
libssl3           has_library libcrypto.so.3
libsqlite3-0      has_library libsqlite3.so.0
libjemalloc2      has_library libjemalloc.so.2
'
aarch64='
gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
qemu-user         command -v qemu-aarch64
'

hosts='
apache2           command -v apache2
cryptsetup-bin    test -e /usr/sbin/cryptsetup
g++               command -v c++
gnupg-pkcs11-scd  command -v gnupg-pkcs11-scd
gnutls-bin        command -v gnutls-serv
golang-github-thalesignite-crypto11-dev test -e /usr/share/gocode/src/github.com/ThalesIgnite/crypto11/crypto11.go
golang-go         command -v go
gpg               command -v gpg
gpg-agent         command -v gpg-agent
gpgsm             command -v gpgsm
hostapd           test -e /usr/sbin/hostapd
iproute2          test -e /usr/sbin/ip -o -e /sbin/ip
knot              test -e /usr/sbin/keymgr
knot-dnssecutils  command -v kzonesign
ldnsutils         command -v ldns-verify-zone
libengine-pkcs11-openssl test -e "$(openssl version -e 2>/dev/null | cut -d\" -f2)/pkcs11.so"
libnode-dev       test -e /usr/include/node/node.h
libnss3-tools     command -v certutil && command -v cmsutil && command -v signtool && command -v selfserv
libstrongswan-extra-plugins test -e /usr/lib/ipsec/plugins/libstrongswan-pkcs11.so
libstrongswan-standard-plugins test -e /usr/lib/ipsec/plugins/libstrongswan-openssl.so
nginx-light       command -v nginx
nodejs            command -v node
npm               command -v npm
openjdk-17-jdk-headless command -v javac && command -v keytool && command -v jarsigner
openssh-client    command -v ssh
openssh-server    test -e /usr/sbin/sshd
openvpn           test -e /usr/sbin/openvpn
osslsigncode      command -v osslsigncode
p11-kit           command -v p11-kit
p11-kit-modules   ls /usr/lib/*/pkcs11/p11-kit-client.so
pesign            command -v pesign
python3           command -v python3
python3-venv      python3 -c "import ensurepip, venv"
sbsigntool        command -v sbsign
strongswan-charon test -e /usr/lib/ipsec/charon
strongswan-pki    command -v pki
strongswan-swanctl test -e /usr/sbin/swanctl
systemd           command -v systemd-cryptenroll
util-linux        command -v nsenter
wpasupplicant     test -e /usr/sbin/wpa_supplicant -o -e /sbin/wpa_supplicant
'

case "${1:-}" in
build) wanted=$build ;;
demo) wanted=$build$demo ;;
test) wanted=$build$demo$test ;;
hosts) wanted=$build$demo$hosts ;;
aarch64) wanted=$build$aarch64 ;;
*) echo "usage: $0 build | demo | test | hosts | aarch64" >&2; exit 2 ;;
esac

# Whether programs find a library, with no file of it for compilers.
has_library() {
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -q "$1"
}

missing=$(printf '%s' "$wanted" | while read -r package probe; do
    if [ -n "$package" ] && ! eval "$probe" </dev/null >/dev/null 2>&1; then printf '%s ' "$package"; fi
done)

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing; install Rust 1.95 or newer (https://rustup.rs)" >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "setup: install what Debian calls: $missing" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    if ! command -v sudo >/dev/null; then
        echo "setup: as root, run: apt-get install $missing" >&2
        exit 1
    fi
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    # RUNLEVEL: what is installed for tests is not to start as a service.
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1
}

echo "setup: installing $missing"
# Containers come without lists, and old lists name packages that are gone.
# shellcheck disable=SC2086  # a list of words on purpose
if ! { ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 && apt install -y --no-install-recommends $missing; }; then
    apt update || { cat "$log" >&2; exit 1; }
    apt install -y --no-install-recommends $missing || { cat "$log" >&2; exit 1; }
fi
