# make            build the module: target/release/libdatakey_pkcs11.so
# make tool       build the operator's tool: target/release/datakey-pkcs11
# make demo       show it at work, without AWS
# make test       run every check and test; the last line is "N passed, M failed"
# make aarch64    build for 64-bit ARM and try it under emulation (not part of make test)
# make test-hosts run the recipes of docs/hosts, which make test runs too
# make deny       check licences, sources and vulnerabilities of the dependencies
# make install    install module, tool if it was built, header, p11-kit entry and example configuration (DESTDIR, PREFIX)

# make FEATURES=nitro-enclaves builds module or tool with it.

CARGO    ?= cargo
FEATURES ?=
PREFIX   ?= /usr
# ssh-agent loads modules only from below /usr/lib* and /usr/local/lib*.
MODULEDIR ?= $(PREFIX)/lib/pkcs11
P11KITDIR ?= /usr/share/p11-kit/modules
BINDIR   ?= $(PREFIX)/bin
DOCDIR   ?= $(PREFIX)/share/doc/datakey-pkcs11

# Where cargo really builds, whatever CARGO_TARGET_DIR or its configuration say.
TARGET = $(or $(shell $(CARGO) metadata --format-version 1 --no-deps --locked 2>/dev/null | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'),target)
MODULE = $(TARGET)/release/libdatakey_pkcs11.so
TOOL   = $(TARGET)/release/datakey-pkcs11

.PHONY: module tool demo test test-hosts aarch64 deny install uninstall

module:
	@scripts/setup.sh build
	$(CARGO) build --release --locked --features "$(FEATURES)" -p datakey-pkcs11-module

tool:
	@scripts/setup.sh build
	$(CARGO) build --release --locked --features "$(FEATURES)" --bin datakey-pkcs11

demo: module
	@scripts/setup.sh demo
	@MODULE="$(MODULE)" demo/run.sh

test:
	@scripts/run-tests.sh

aarch64:
	@scripts/aarch64.sh

test-hosts: module
	@scripts/setup.sh hosts
	$(CARGO) build --locked --bin datakey-pkcs11
	@MODULE="$(MODULE)" TOOL="$(TARGET)/debug/datakey-pkcs11" tests/clients/run.sh hosts

deny:
	@scripts/deny.sh

# Depends on nothing, so that `sudo make install` builds nothing as root: run `make` first.
install:
	@test -e "$(MODULE)" || { echo "run make first" >&2; exit 1; }
	install -D -m 644 "$(MODULE)" "$(DESTDIR)$(MODULEDIR)/libdatakey_pkcs11.so"
	if test -e "$(TOOL)"; then install -D -m 755 "$(TOOL)" "$(DESTDIR)$(BINDIR)/datakey-pkcs11"; fi
	install -D -m 644 include/datakey_pkcs11.h "$(DESTDIR)$(PREFIX)/include/datakey_pkcs11.h"
	install -D -m 644 packaging/datakey-pkcs11.toml "$(DESTDIR)$(DOCDIR)/datakey-pkcs11.toml"
	install -d "$(DESTDIR)$(P11KITDIR)"
	sed 's|^module: .*|module: $(MODULEDIR)/libdatakey_pkcs11.so|' packaging/p11-kit/datakey-pkcs11.module \
		> "$(DESTDIR)$(P11KITDIR)/datakey-pkcs11.module"
	chmod 644 "$(DESTDIR)$(P11KITDIR)/datakey-pkcs11.module"

uninstall:
	rm -f "$(DESTDIR)$(MODULEDIR)/libdatakey_pkcs11.so" "$(DESTDIR)$(BINDIR)/datakey-pkcs11" "$(DESTDIR)$(PREFIX)/include/datakey_pkcs11.h" \
		"$(DESTDIR)$(DOCDIR)/datakey-pkcs11.toml" "$(DESTDIR)$(P11KITDIR)/datakey-pkcs11.module"
