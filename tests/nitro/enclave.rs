//! A made-up enclave: certificates by OpenSSL, documents signed by AWS-LC, and a stand-in for the device.

use datakey::crypto::{Hash, PrivateKey};
use minicbor::{Decoder, Encoder};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the templates of `docs/iam` demand of PCR0.
pub(crate) const IMAGE: &str =
    "e1a2b3c4d5f60718293a4b5c6d7e8f90e1a2b3c4d5f60718293a4b5c6d7e8f90e1a2b3c4d5f60718293a4b5c6d7e8f90";

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A chain of certificates, as a Nitro hypervisor has one.
pub(crate) struct Authority {
    /// From the root down to the issuer of `certificate`.
    pub(crate) bundle: Vec<Vec<u8>>,
    pub(crate) certificate: Vec<u8>,
    key: PrivateKey,
}

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -sha384";
const CA: &str = "basicConstraints=critical,CA:TRUE";
const SIGNS_CERTIFICATES: &str = "keyUsage=critical,keyCertSign";

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with(&format!("{CA},pathlen:0\n{SIGNS_CERTIFICATES}"), "keyUsage=critical,digitalSignature", 2)
    }

    /// With these extensions of the authority below the root, and of the certificate that signs, which is good for so
    /// many days.
    pub(crate) fn with(authority: &str, target: &str, days: i32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("authority.cnf"), authority).unwrap();
        std::fs::write(folder.join("target.cnf"), target).unwrap();
        let root = format!("-x509 -days 2 -addext {CA} -addext {SIGNS_CERTIFICATES} -out root.pem -keyout root.key");
        openssl(folder, &format!("req {root} {NEW_KEY} -subj /CN=made-up.nitro-enclaves"));
        for (name, issuer, days) in [("authority", "root", 2), ("target", "authority", days)] {
            openssl(folder, &format!("req -new {NEW_KEY} -out {name}.csr -keyout {name}.key -subj /CN={name}"));
            let by = format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days {days} -sha384");
            openssl(folder, &format!("x509 -req -in {name}.csr {by} -extfile {name}.cnf -out {name}.pem"));
        }
        for name in ["root", "authority", "target"] {
            openssl(folder, &format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        }
        openssl(folder, "pkcs8 -topk8 -nocrypt -in target.key -outform DER -out target.p8");
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        Self {
            bundle: vec![read("root.der"), read("authority.der")],
            certificate: read("target.der"),
            key: PrivateKey::from_pkcs8(&read("target.p8")).unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &[u8] {
        &self.bundle[0]
    }

    /// A document with these fields.
    pub(crate) fn sign(&self, claims: &Claims) -> Vec<u8> {
        let payload = claims.payload(self);
        let protected = b"\xa1\x01\x38\x22";
        let signed =
            cbor(|encoder| encoder.array(4)?.str("Signature1")?.bytes(protected)?.bytes(b"")?.bytes(&payload)?.ok());
        let signature = self.key.ecdsa_sign(&Hash::Sha384.digest(&signed)).unwrap();
        cbor(|encoder| encoder.array(4)?.bytes(protected)?.map(0)?.bytes(&payload)?.bytes(&signature)?.ok())
    }
}

type Encoded = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn cbor(encode: impl FnOnce(&mut Encoder<Vec<u8>>) -> Encoded) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    encode(&mut encoder).unwrap();
    encoder.into_writer()
}

/// What a document says.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) pcrs: BTreeMap<u8, Vec<u8>>,
    pub(crate) public_key: Option<Vec<u8>>,
    /// How old it is, or in negative numbers how far ahead.
    pub(crate) age: i64,
    pub(crate) digest: &'static str,
    /// Left out.
    pub(crate) without: &'static str,
}

impl Claims {
    pub(crate) fn new(public_key: &[u8]) -> Self {
        let pcrs = BTreeMap::from([(0, unhex(IMAGE)), (1, vec![1; 48]), (2, vec![2; 48]), (4, vec![4; 48])]);
        Self { pcrs, public_key: Some(public_key.to_vec()), age: 0, digest: "SHA384", without: "" }
    }

    fn payload(&self, authority: &Authority) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let made = now.as_millis() as i64 - 1000 * self.age;
        let field = |name, encode: &dyn Fn(&mut Encoder<Vec<u8>>) -> Encoded| (name, cbor(|e| encode(e)));
        let fields = [
            field("module_id", &|e| e.str("i-0123456789abcdef0-enc0123456789abcdef")?.ok()),
            field("digest", &|e| e.str(self.digest)?.ok()),
            field("timestamp", &|e| e.u64(made as u64)?.ok()),
            field("pcrs", &|e| {
                e.map(self.pcrs.len() as u64)?;
                self.pcrs.iter().try_for_each(|(index, value)| e.u8(*index)?.bytes(value)?.ok())
            }),
            field("certificate", &|e| e.bytes(&authority.certificate)?.ok()),
            field("cabundle", &|e| {
                e.array(authority.bundle.len() as u64)?;
                authority.bundle.iter().try_for_each(|certificate| e.bytes(certificate)?.ok())
            }),
            field("public_key", &|e| match &self.public_key {
                Some(key) => e.bytes(key)?.ok(),
                None => e.null()?.ok(),
            }),
            field("user_data", &|e| e.null()?.ok()),
            field("nonce", &|e| e.null()?.ok()),
        ];
        let fields = fields.iter().filter(|(name, _)| *name != self.without);
        let head = cbor(|encoder| encoder.map(fields.clone().count() as u64)?.ok());
        let rest = fields.flat_map(|(name, value)| [cbor(|encoder| encoder.str(name)?.ok()), value.clone()].concat());
        head.into_iter().chain(rest).collect()
    }
}

/// How the device behaves.
type Change = Box<dyn Fn(&mut Claims) + Send>;

/// What the device was asked, and what becomes of it.
#[derive(Default)]
struct State {
    change: Option<Change>,
    /// Answered instead of anything else.
    response: Option<Vec<u8>>,
    public_keys: Vec<Vec<u8>>,
}

/// A device of the tests' own: a Unix socket where the driver of an enclave would be.
pub(crate) struct Device {
    pub(crate) authority: Arc<Authority>,
    folder: tempfile::TempDir,
    state: Arc<Mutex<State>>,
}

impl Device {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("nsm")).unwrap();
        let (authority, state) = (Arc::new(Authority::new()), Arc::<Mutex<State>>::default());
        let (by, shared) = (Arc::clone(&authority), Arc::clone(&state));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Who goes away has asked for nothing.
                let _ = answer(stream.unwrap(), &by, &shared);
            }
        });
        Self { authority, folder, state }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("nsm")
    }

    /// The line of the configuration.
    pub(crate) fn setting(&self) -> String {
        format!("attestation = \"nitro:{}\"", self.path().display())
    }

    /// From now on documents say something else.
    pub(crate) fn say(&self, change: impl Fn(&mut Claims) + Send + 'static) {
        self.state.lock().unwrap().change = Some(Box::new(change));
    }

    /// From now on this is answered.
    pub(crate) fn respond(&self, response: &[u8]) {
        self.state.lock().unwrap().response = Some(response.to_vec());
    }

    /// From now on all is well.
    pub(crate) fn behave(&self) {
        let mut state = self.state.lock().unwrap();
        (state.change, state.response) = (None, None);
    }

    /// The keys that documents were asked for since this was last called.
    pub(crate) fn public_keys(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.state.lock().unwrap().public_keys)
    }
}

fn answer(mut stream: UnixStream, authority: &Authority, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut request = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut request)?;
    let public_key = asked_for(&request).expect("a request as the module takes it");
    let mut state = state.lock().unwrap();
    state.public_keys.push(public_key.clone());
    let mut claims = Claims::new(&public_key);
    if let Some(change) = &state.change {
        change(&mut claims);
    }
    let document = authority.sign(&claims);
    let response = state.response.clone().unwrap_or_else(|| {
        cbor(|encoder| encoder.map(1)?.str("Attestation")?.map(1)?.str("document")?.bytes(&document)?.ok())
    });
    stream.write_all(&(response.len() as u32).to_be_bytes())?;
    stream.write_all(&response)
}

fn asked_for(request: &[u8]) -> Result<Vec<u8>, minicbor::decode::Error> {
    let mut decoder = Decoder::new(request);
    assert_eq!((decoder.map()?, decoder.str()?, decoder.map()?), (Some(1), "Attestation", Some(3)));
    let mut public_key = Vec::new();
    for _ in 0..3 {
        match decoder.str()? {
            "public_key" => public_key = decoder.bytes()?.to_vec(),
            "user_data" | "nonce" => decoder.null()?,
            other => panic!("{other}"),
        }
    }
    Ok(public_key)
}
