//! A token of SoftHSM2 with objects of every kind, to be moved from.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, CertificateType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const FROM_PIN: &str = "other-pin-1";

/// What tells a process what to make, and in which token.
const FURNISH: &str = "DATAKEY_TEST_FURNISH";
const TOKEN: &str = "DATAKEY_TEST_TOKEN";

const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
const ED25519: &[u8] = &[0x13, 12, b'e', b'd', b'w', b'a', b'r', b'd', b's', b'2', b'5', b'5', b'1', b'9'];

/// A token of SoftHSM2 in a folder of its own.
pub(crate) struct Other {
    configuration: PathBuf,
    label: String,
}

impl Other {
    /// A new token in the folder, in which there may be others.
    pub(crate) fn new(folder: &Path, label: &str) -> Self {
        let (tokens, configuration) = (folder.join("tokens"), folder.join("softhsm2.conf"));
        std::fs::create_dir_all(&tokens).unwrap();
        std::fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--pin", FROM_PIN, "--so-pin", "12345678"])
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .expect("softhsm2-util");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { configuration, label: label.to_owned() }
    }

    pub(crate) fn configuration(&self) -> &str {
        self.configuration.to_str().unwrap()
    }

    /// Has a process make the objects: SoftHSM2 reads its configuration's name from the environment.
    pub(crate) fn furnish(&self, what: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "furnish", "--nocapture"])
            .env("SOFTHSM2_CONF", &self.configuration)
            .env(FURNISH, what)
            .env(TOKEN, &self.label)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Makes the objects that the environment tells.
pub(crate) fn furnish_if_told() {
    let Ok(what) = std::env::var(FURNISH) else { return };
    let module = Pkcs11::new(MODULE).expect("SoftHSM2");
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let label = std::env::var(TOKEN).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap().into_iter();
    let slot = slot.into_iter().find(|slot| module.get_token_info(*slot).unwrap().label() == label).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&FROM_PIN.to_owned().into())).unwrap();
    match what.as_str() {
        "everything" => everything(&session),
        "twelve" => (1..=12).for_each(|number| pair(&session, &format!("key {number}"), &[number], Pair::EC, OPEN)),
        _ => {}
    }
}

/// How a key pair is made.
#[derive(Clone, Copy)]
enum Pair {
    Rsa,
    Ec(&'static [u8]),
    Edwards,
}

impl Pair {
    const EC: Self = Self::Ec(P256);
}

/// Whether a key is sensitive, and whether it is extractable.
type Guard = (bool, bool);
const OPEN: Guard = (false, true);
const WRAPPED: Guard = (true, true);
const STUCK: Guard = (true, false);

fn guarded((sensitive, extractable): Guard) -> [Attribute; 2] {
    [Attribute::Sensitive(sensitive), Attribute::Extractable(extractable)]
}

fn names(label: &str, id: &[u8]) -> Vec<Attribute> {
    vec![Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id.to_vec())]
}

fn pair(session: &Session, label: &str, id: &[u8], kind: Pair, guard: Guard) {
    let (mechanism, own) = match kind {
        Pair::Rsa => {
            let (bits, exponent) = (Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1]));
            (Mechanism::RsaPkcsKeyPairGen, vec![bits, exponent])
        }
        Pair::Ec(curve) => (Mechanism::EccKeyPairGen, vec![Attribute::EcParams(curve.to_vec())]),
        Pair::Edwards => (Mechanism::EccEdwardsKeyPairGen, vec![Attribute::EcParams(ED25519.to_vec())]),
    };
    let public = [names(label, id), own, vec![Attribute::Verify(true)]].concat();
    // What it may do is to come along.
    let usage = [Attribute::Sign(true), Attribute::Decrypt(false), Attribute::Unwrap(false), Attribute::Derive(false)];
    let usage = [&usage[..], &[Attribute::SignRecover(false), Attribute::Private(true)]].concat();
    let private = [names(label, id), guarded(guard).to_vec(), usage].concat();
    session.generate_key_pair(&mechanism, &public, &private).unwrap();
}

fn secret(session: &Session, label: &str, id: u8, kind: KeyType, value: Vec<u8>, guard: Guard) {
    let own = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(kind), Attribute::Value(value)];
    let usage = [Attribute::Private(true), Attribute::Encrypt(true), Attribute::Decrypt(true)];
    let given = [names(label, &[id]), own.to_vec(), guarded(guard).to_vec(), usage.to_vec()].concat();
    session.create_object(&given).unwrap();
}

fn everything(session: &Session) {
    pair(session, "rsa wrapped", &[1], Pair::Rsa, WRAPPED);
    pair(session, "p256 wrapped", &[2], Pair::EC, WRAPPED);
    pair(session, "p384 open", &[3], Pair::Ec(P384), OPEN);
    pair(session, "ed25519 open", &[4], Pair::Edwards, OPEN);
    pair(session, "ed25519 wrapped", &[5], Pair::Edwards, WRAPPED);
    pair(session, "stuck", &[6], Pair::Rsa, STUCK);
    pair(session, "no id", &[], Pair::EC, OPEN);
    // Its public key has gone, and another has its names.
    pair(session, "impostor", &[7], Pair::EC, OPEN);
    let of = |class, label: &str| [Attribute::Class(class), Attribute::Label(label.into())];
    let own = session.find_objects(&of(ObjectClass::PUBLIC_KEY, "impostor")).unwrap();
    own.into_iter().for_each(|public| session.destroy_object(public).unwrap());
    pair(session, "other", &[8], Pair::EC, OPEN);
    let other = session.find_objects(&of(ObjectClass::PUBLIC_KEY, "other")).unwrap()[0];
    session.update_attributes(other, &[Attribute::Label(b"impostor".to_vec()), Attribute::Id(vec![7])]).unwrap();
    let others = session.find_objects(&of(ObjectClass::PRIVATE_KEY, "other")).unwrap();
    others.into_iter().for_each(|private| session.destroy_object(private).unwrap());
    // Without its private key, as it was given to somebody.
    pair(session, "lonely", &[9], Pair::EC, OPEN);
    let lonely = session.find_objects(&of(ObjectClass::PRIVATE_KEY, "lonely")).unwrap();
    lonely.into_iter().for_each(|private| session.destroy_object(private).unwrap());

    secret(session, "aes wrapped", 0x11, KeyType::AES, vec![5; 16], WRAPPED);
    secret(session, "aes open", 0x12, KeyType::AES, vec![7; 32], OPEN);
    // Not a whole number of half blocks.
    secret(session, "20 bytes", 0x13, KeyType::GENERIC_SECRET, vec![0x14; 20], WRAPPED);
    secret(session, "3des", 0x14, KeyType::DES3, vec![0x23; 24], OPEN);
    let value = certificate();
    let own = [Attribute::Class(ObjectClass::CERTIFICATE), Attribute::CertificateType(CertificateType::X_509)];
    let own = [own.to_vec(), vec![Attribute::Value(value), Attribute::Subject(vec![0x30, 0])]].concat();
    session.create_object(&[names("p384 open", &[3]), own].concat()).unwrap();
    let own = [Attribute::Class(ObjectClass::DATA), Attribute::Label(b"a note".to_vec()), Attribute::Token(true)];
    let own =
        [own.to_vec(), vec![Attribute::Application(b"test".to_vec()), Attribute::Value(b"hello".to_vec())]].concat();
    session.create_object(&[own, vec![Attribute::Private(true)]].concat()).unwrap();
}

/// Of some key, by OpenSSL.
fn certificate() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "key", "-subj", "/CN=p384", "-outform", "DER",
        ])
        .current_dir(folder.path())
        .output()
        .expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
