//! Where private keys are in the memory of a host that has them by attestation. This module is built without the
//! allocator of the real one, which wipes what is freed: nothing depends on it here, since no buffer of the SDK, of HTTP
//! or of JSON ever holds a plaintext.

use crate::host::steps::{command, run, say};
use crate::host::{Kind, Module, call};
use crate::hosts::keys::add_private_key;
use crate::hosts::proxy::Proxy;
use crate::hosts::scan::{Needles, Trace, describe, scan};
use cryptoki_sys::*;
use datakey::kms::embedded::Server;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

pub(crate) const MAKE: &str = "make";
pub(crate) const LIVE: &str = "live";
const KINDS: [(&str, Kind); 3] = [("p256", Kind::P256), ("rsa2048", Kind::Rsa(2048)), ("ed25519", Kind::Ed25519)];

/// A host that makes keys.
pub(crate) fn make() {
    let module = Module::start_step();
    let session = module.enter();
    for (name, kind) in KINDS {
        module.generate(session, kind, name.as_bytes());
    }
    module.finalise();
}

/// A host that makes a key and uses all, logs out, and ends; it waits for a line after each.
pub(crate) fn live() {
    let module = Module::start_step();
    let session = module.enter();
    module.generate(session, Kind::P384, b"p384");
    for (name, kind) in KINDS {
        let key = module.private_key(session, name.as_bytes());
        module.sign(session, key, kind.signs(), b"data").unwrap();
    }
    let wait = |what: &str| {
        say(what);
        std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    };
    wait("used");
    assert_eq!(call!(module, C_Logout, session), CKR_OK);
    wait("logged out");
    module.enter();
    for (name, kind) in KINDS {
        let key = module.private_key(session, name.as_bytes());
        module.sign(session, key, kind.signs(), b"data").unwrap();
    }
    module.finalise();
    wait("finalised");
}

/// Stops a child of this process meanwhile, all its threads.
fn standing_still<T>(pid: u32, look: impl FnOnce() -> T) -> T {
    let pid = pid as libc::pid_t;
    let mut status = 0;
    // SAFETY: signals to a child, which is waited for below and nowhere else before it ends.
    unsafe {
        assert_eq!(libc::kill(pid, libc::SIGSTOP), 0);
        assert_eq!(libc::waitpid(pid, &mut status, libc::WUNTRACED), pid);
    }
    assert!(libc::WIFSTOPPED(status), "{status:x}");
    let seen = look();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGCONT) }, 0);
    seen
}

/// Makes keys, learns their plaintexts by way of a host without attestation, and looks for them in one with it.
pub(crate) fn watch(test: &str, configuration: &Path, server: &Server) {
    run(test, MAKE, configuration);
    let [plain, attested] = [false, true].map(|attested| {
        let proxy = Proxy::to(server.address());
        let mut kept = vec!["[[token]]", "label", "store"];
        kept.extend(attested.then_some("attestation"));
        let text = std::fs::read_to_string(configuration).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| kept.iter().any(|kept| line.starts_with(kept))).collect();
        let file = configuration.with_file_name(format!("attested-{attested}.toml"));
        std::fs::write(&file, format!("{}\n{}\n", lines.join("\n"), proxy.configuration())).unwrap();
        (proxy, file)
    });
    let mut host = command(test, LIVE, &plain.1).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    assert!(host.wait().unwrap().success());
    let mut needles = Needles::default();
    let plaintexts = plain.0.plaintexts();
    // The new key, and then each as it was used first.
    for ((name, _), pkcs8) in KINDS.iter().zip(&plaintexts[1..]) {
        add_private_key(&mut needles, name, pkcs8);
    }

    let mut host = command(test, LIVE, &attested.1).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, output) = (host.stdin.take().unwrap(), BufReader::new(host.stdout.take().unwrap()));
    let mut stages = Vec::new();
    for line in output.lines() {
        let line = line.unwrap();
        let Some(stage) = line.strip_prefix("says: ") else { continue };
        stages.push(stage.to_owned());
        let traces = standing_still(host.id(), || scan(host.id(), &needles));
        if stage == "used" {
            for (name, _) in KINDS {
                assert!(traces.iter().any(|trace| trace.needle.key == name), "the scan does not see the {name} key");
            }
        }
        let is_outside = |trace: &&Trace| !["dd", "wf", "lo"].iter().all(|flag| trace.mapping.has(flag));
        let none = traces.iter().filter(|trace| stage != "used" || is_outside(trace)).count() == 0;
        assert!(none, "{stage}:\n{}", describe(&traces));
        writeln!(input, "go on").unwrap();
    }
    assert!(host.wait().unwrap().success());
    assert_eq!(stages, ["used", "logged out", "finalised"]);
    // On the way there was none, and so no reason to end the connection that it would have come by: only logging out,
    // and the end, do that.
    assert_eq!((plain.0.plaintexts().len(), attested.0.plaintexts().len()), (4, 0));
    assert_eq!((plain.0.connections(), attested.0.connections()), (7, 2));
}
