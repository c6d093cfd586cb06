//! What keys leave in the memory of the process.
//!
//! The keys are made in this process and used in another run of the test program, which hears of them only
//! masked: whatever of them is found in its memory, AWS-LC or we put there.

use super::super::sp800_108::{self, Field, NumberFormat};
use super::super::{
    Aes, AesMode, ChaCha20, ChaCha20Mode, ChaCha20Nonce, DhGroup, Direction, EdVariant, Hash, KeyKind, Mac,
    MacAlgorithm, PrivateComponents, PrivateKey, RsaComponents, SecretKey, SeededKind, SlhDsaMessage, SlhDsaSet, kdf,
};
use super::{random_bytes, unhex};
use crate::host::protected::live_blocks;
use getrandom::SysRng;
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use zeroize::Zeroize;

const MASK: u8 = 0xa7;
const NAME: &str = "crypto::tests::process::keys_leave_nothing_in_memory";
/// How many bytes of a secret in a row count as found.
const WINDOW: usize = 24;

/// A key to use, masked, and its secret numbers, masked.
struct Case {
    /// PKCS#8, or the bytes of a secret key.
    key: Vec<u8>,
    secrets: Vec<Vec<u8>>,
}

/// A key in use.
enum Loaded {
    Private(PrivateKey),
    Secret(SecretKey),
}

impl Case {
    fn new(key: &[u8], secrets: &[Vec<u8>]) -> Self {
        let masked = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ MASK).collect::<Vec<u8>>();
        // Most significant byte first, and as words of memory.
        let both = secrets.iter().flat_map(|secret| [masked(secret), masked(secret).into_iter().rev().collect()]);
        Self { key: masked(key), secrets: both.collect() }
    }

    fn write(&self) -> String {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        std::iter::once(&self.key).chain(&self.secrets).map(hex).collect::<Vec<_>>().join(",")
    }

    fn read(text: &str) -> Self {
        let mut parts = text.split(',').map(unhex);
        Self { key: parts.next().unwrap(), secrets: parts.collect() }
    }

    fn load(&self) -> Loaded {
        let mut bytes: Vec<u8> = self.key.iter().map(|byte| byte ^ MASK).collect();
        // Every PKCS#8 begins with the octet of a sequence, and no secret key here does.
        let key = match bytes[0] {
            0x30 => Loaded::Private(PrivateKey::from_pkcs8(&bytes).unwrap()),
            _ => Loaded::Secret(SecretKey::new(&bytes).unwrap()),
        };
        bytes.zeroize();
        key
    }

    /// In how many places of this process's writable memory a window of a secret stands.
    fn found(&self) -> usize {
        // Any window contains a whole group of eight bytes at a multiple of eight in the secret.
        let groups: HashSet<u64> =
            self.secrets.iter().flat_map(|s| s.as_chunks::<8>().0).map(|g| u64::from_ne_bytes(*g)).collect();
        let mask = u64::from_ne_bytes([MASK; 8]);
        let mut sieve = vec![false; 1 << 16];
        groups.iter().for_each(|group| sieve[(group & 0xffff) as usize] = true);
        let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; 1 << 20];
        let own = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
        let mut found = 0;
        for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") || line.ends_with("[vvar]") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let (mut at, to) = (usize::from_str_radix(from, 16).unwrap(), usize::from_str_radix(to, 16).unwrap());
            while at < to {
                let len = buffer.len().min(to - at);
                memory.seek(SeekFrom::Start(at as u64)).unwrap();
                if memory.read_exact(&mut buffer[..len]).is_ok() {
                    for (i, eight) in buffer[..len].windows(8).enumerate() {
                        let group = u64::from_ne_bytes(eight.try_into().unwrap()) ^ mask;
                        if sieve[(group & 0xffff) as usize] && groups.contains(&group) && !own.contains(&(at + i)) {
                            found += usize::from(self.stands_around(&buffer[..len], i, group));
                        }
                    }
                }
                buffer.fill(0);
                // Chunks overlap, so that nothing hides across their edges.
                at += if len == to - at { len } else { len - 256 };
            }
        }
        found
    }

    fn stands_around(&self, memory: &[u8], i: usize, group: u64) -> bool {
        let same = |at: usize, secret: u8| memory.get(at).is_some_and(|byte| byte ^ MASK == secret);
        self.secrets.iter().any(|secret| {
            secret.as_chunks::<8>().0.iter().enumerate().any(|(n, g)| {
                if u64::from_ne_bytes(*g) != group {
                    return false;
                }
                let after = (0..).take_while(|j| secret.get(8 * n + j).is_some_and(|s| same(i + j, *s))).count();
                let before =
                    (1..=8 * n).take_while(|j| i.checked_sub(*j).is_some_and(|at| same(at, secret[8 * n - j]))).count();
                after + before >= WINDOW.min(secret.len())
            })
        })
    }
}

impl Loaded {
    fn kind(&self) -> String {
        match self {
            Self::Private(key) => format!("{:?}", key.kind()),
            Self::Secret(key) => format!("{} secret bytes", key.len()),
        }
    }

    fn used(&self) {
        match self {
            Self::Private(key) => use_private_key(key),
            Self::Secret(key) => use_secret_key(key),
        }
    }
}

fn use_secret_key(key: &SecretKey) {
    let bytes = key.expose().unwrap();
    for hash in [Hash::Sha256, Hash::Sha512, Hash::Sha3_256] {
        let algorithm = MacAlgorithm::Hmac(hash);
        let mut mac = Mac::new(&algorithm, bytes).unwrap();
        mac.update(b"message").unwrap();
        mac.finish().unwrap();
        kdf::hkdf_extract(hash, b"salt", bytes).unwrap();
        kdf::hkdf_expand(hash, bytes, b"info", 100).unwrap();
        kdf::pbkdf2(hash, bytes, b"salt", 3, 100).unwrap();
        let counter = Field::Counter(NumberFormat { little_endian: false, bits: 32 });
        sp800_108::derive(&algorithm, bytes, sp800_108::Mode::Counter, &[counter], &[100]).unwrap();
    }
    let (Ok(other), true) = (SecretKey::new(&[9; 16]), bytes.len() == 32) else { return };
    for mode in [
        AesMode::Ecb,
        AesMode::CbcPad { iv: [1; 16] },
        AesMode::Cts { iv: [1; 16] },
        AesMode::Ctr { counter_bits: 64, block: [1; 16] },
        AesMode::Cfb8 { iv: [1; 16] },
        AesMode::Ofb { iv: [1; 16] },
        AesMode::Gcm { iv: vec![1; 40], aad: vec![2; 20], tag_len: 16 },
        AesMode::Ccm { nonce: vec![1; 12], aad: vec![2; 20], mac_len: 16, data_len: None },
        AesMode::KeyWrap { iv: AesMode::KEY_WRAP_IV },
        AesMode::KeyWrapPadded { iv: AesMode::KEY_WRAP_PADDED_IV },
        AesMode::KeyWrapPadded { iv: [1; 4] },
        AesMode::KeyWrapPkcs7 { iv: AesMode::KEY_WRAP_IV },
    ] {
        let encrypt = Aes::new(mode.clone(), Direction::Encrypt).unwrap();
        let decrypt = Aes::new(mode, Direction::Decrypt).unwrap();
        let cipher = encrypt.run(key, &[3; 48]).unwrap();
        decrypt.run(key, cipher.expose()).unwrap();
        // The key as data.
        let wrapped = encrypt.run(&other, bytes).unwrap();
        decrypt.run(&other, wrapped.expose()).unwrap();
    }
    let (short, long) = (ChaCha20Nonce::Original([1; 8]), ChaCha20Nonce::Extended([1; 24]));
    for mode in [
        ChaCha20Mode::Stream { counter_bits: 64, counter: 5, nonce: short },
        ChaCha20Mode::Stream { counter_bits: 64, counter: 5, nonce: long },
        ChaCha20Mode::Poly1305 { nonce: ChaCha20Nonce::Ietf([1; 12]), aad: vec![2; 20] },
        ChaCha20Mode::Poly1305 { nonce: long, aad: vec![] },
    ] {
        let [encrypt, decrypt] =
            [Direction::Encrypt, Direction::Decrypt].map(|d| ChaCha20::new(mode.clone(), d).unwrap());
        for data in [&[3; 48][..], &[3; 2000], &[]] {
            let cipher = encrypt.run(key, data).unwrap();
            decrypt.run(key, cipher.expose()).unwrap();
        }
        let mut parts = encrypt.start(key).unwrap();
        parts.update(&[3; 100]).unwrap();
        parts.run(&[3; 7]).unwrap();
    }
    for algorithm in [MacAlgorithm::AesCmac, MacAlgorithm::AesGmac { iv: vec![1; 12] }] {
        let mut mac = Mac::new(&algorithm, bytes).unwrap();
        mac.update(b"message").unwrap();
        mac.finish().unwrap();
    }
}

fn use_private_key(key: &PrivateKey) {
    let again = PrivateKey::from_components(&key.components().unwrap()).unwrap();
    assert_eq!(again.to_pkcs8().unwrap().expose(), key.to_pkcs8().unwrap().expose());
    if let PrivateComponents::Rsa(rsa) = key.components().unwrap() {
        let bare = RsaComponents { primes: None, exponent_1: None, exponent_2: None, coefficient: None, ..rsa };
        drop(PrivateKey::from_components(&PrivateComponents::Rsa(bare)).unwrap());
    }
    drop(again);
    let public = key.public_key();
    let digest = Hash::Sha256.digest(b"message");
    for _ in 0..3 {
        match key.kind() {
            KeyKind::Rsa { .. } => {
                key.sign_pkcs1(Some(Hash::Sha256), &digest).unwrap();
                key.sign_pss(Hash::Sha256, Hash::Sha256, 32, &digest).unwrap();
                key.decrypt_pkcs1(&public.encrypt_pkcs1(b"words").unwrap()).unwrap();
                let ciphertext = public.encrypt_oaep(Hash::Sha1, Hash::Sha1, b"", b"words").unwrap();
                key.decrypt_oaep(Hash::Sha1, Hash::Sha1, b"", &ciphertext).unwrap();
                key.raw_private(b"number").unwrap();
            }
            KeyKind::Ec(_) => {
                key.ecdsa_sign(&digest).unwrap();
                let (point, shared) = public.ecdh_ephemeral().unwrap();
                assert_eq!(key.ecdh(&point).unwrap().expose(), shared.expose());
            }
            KeyKind::X25519 | KeyKind::X448 => {
                let (point, shared) = public.ecdh_ephemeral().unwrap();
                assert_eq!(key.ecdh(&point).unwrap().expose(), shared.expose());
            }
            KeyKind::MlKem(_) => {
                let (mut ciphertext, secret) = public.encapsulate().unwrap();
                assert_eq!(key.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
                ciphertext[0] ^= 1;
                key.decapsulate(&ciphertext).unwrap();
            }
            KeyKind::MlDsa(_) => {
                let mut mu = public.ml_dsa_mu(b"context").unwrap();
                mu.update(b"message");
                key.ml_dsa_sign(&mu.finish(), true).unwrap();
                let mu = public.ml_dsa_mu_of_digest(b"", Hash::Sha256, &digest).unwrap();
                key.ml_dsa_sign(&mu, true).unwrap();
                key.ml_dsa_sign(&mu, false).unwrap();
            }
            KeyKind::SlhDsa(_) => {
                for hedged in [true, false] {
                    let signature = key.slh_dsa_sign(SlhDsaMessage::Pure(b"message"), b"context", hedged).unwrap();
                    public.verify_slh_dsa(SlhDsaMessage::Pure(b"message"), b"context", &signature).unwrap();
                }
            }
            KeyKind::Dh(_) => {
                key.dh(&[9; 200]).unwrap();
            }
            KeyKind::Ed25519 | KeyKind::Ed448 => {
                for variant in [EdVariant::Pure, EdVariant::Ctx(b"context"), EdVariant::Ph(b"")] {
                    key.eddsa_sign(variant, b"message").unwrap();
                }
            }
        }
    }
}

/// What the seed of an Ed448 key expands to.
fn shake256(seed: &[u8]) -> [u8; 114] {
    let mut shake = crate::crypto::aws_lc::digest::Shake256::new();
    shake.update(seed);
    shake.finish()
}

#[test]
#[allow(deprecated, reason = "the expanded form exists, whatever should be used instead")]
fn keys_leave_nothing_in_memory() {
    if let Ok(cases) = std::env::var("DATAKEY_TEST_MASKED_KEYS") {
        cases.split(';').map(Case::read).for_each(|case| scan(&case));
        return;
    }
    let mut cases = Vec::new();
    for bits in [2048, 3072] {
        let key = rsa::PrivateKey::new_unchecked(&mut SysRng, bits).unwrap();
        let bytes = |number: &rsa::BoxedUint| number.to_be_bytes_trimmed_vartime().to_vec();
        let mut secrets: Vec<_> =
            std::iter::once(key.d()).chain(key.primes().iter().map(|p| p.as_ref())).map(bytes).collect();
        secrets.extend([key.dp(), key.dq()].into_iter().flatten().map(bytes));
        secrets.extend(key.crt_coefficient().iter().map(bytes));
        assert_eq!(secrets.len(), 6);
        assert_eq!(key.size(), bits / 8);
        cases.push(Case::new(key.to_pkcs8_der().unwrap().as_bytes(), &secrets));
    }
    macro_rules! ec {
        ($($path:ident)*) => {$({
            use $path::elliptic_curve::Generate;
            let key = $path::SecretKey::try_generate_from_rng(&mut SysRng).unwrap();
            cases.push(Case::new(key.to_pkcs8_der().unwrap().as_bytes(), &[key.to_bytes().to_vec()]));
        })*};
    }
    ec!(p256 p384 p521 k256);
    let seed = random_bytes(32);
    let key = ed25519_dalek::SigningKey::from_bytes(seed.as_slice().try_into().unwrap());
    cases.push(Case::new(key.to_pkcs8_der().unwrap().as_bytes(), &[seed]));
    macro_rules! kem {
        ($($parameters:ident)*) => {$({
            use ml_kem::{ExpandedKeyEncoding, pkcs8::EncodePrivateKey};
            let seed = random_bytes(64);
            let key = ml_kem::DecapsulationKey::<ml_kem::$parameters>::from_seed(seed.as_slice().try_into().unwrap());
            // Of the expanded key the secret parts: the vector in front, and what rejects at the end.
            let expanded = key.to_expanded_bytes();
            let vector = expanded[..(expanded.len() - 96) / 2].to_vec();
            cases.push(Case::new(key.to_pkcs8_der().unwrap().as_bytes(), &[seed, vector]));
        })*};
    }
    kem!(MlKem512 MlKem768 MlKem1024);
    macro_rules! ml_dsa {
        ($($parameters:ident)*) => {$({
            use ml_dsa::pkcs8::EncodePrivateKey;
            let seed = random_bytes(32);
            let key = ml_dsa::SigningKey::<ml_dsa::$parameters>::from_seed(seed.as_slice().try_into().unwrap());
            // Of the expanded key all but the public seed and the digest of the public key: K, s1, s2 and t0.
            let expanded = key.expanded_key().to_expanded();
            let secrets = [seed, expanded[32..64].to_vec(), expanded[128..].to_vec()];
            cases.push(Case::new(key.to_pkcs8_der().unwrap().as_bytes(), &secrets));
        })*};
    }
    ml_dsa!(MlDsa44 MlDsa65 MlDsa87);
    let scalar = random_bytes(32);
    cases.push(Case::new(&[&unhex("302e020100300506032b656e04220420"), &scalar[..]].concat(), &[scalar]));

    // Of an Edwards key what its seed expands to as well, of SLH-DSA both secret seeds.
    let seed = random_bytes(57);
    let expanded = shake256(&seed);
    let header = unhex("3047020100300506032b6571043b0439");
    cases.push(Case::new(&[&header, &seed[..]].concat(), &[seed, expanded[..56].to_vec(), expanded[57..].to_vec()]));
    let scalar = random_bytes(56);
    cases.push(Case::new(&[&unhex("3046020100300506032b656f043a0438"), &scalar[..]].concat(), &[scalar]));
    for group in [DhGroup::Ffdhe2048, DhGroup::Modp4096] {
        let key = PrivateKey::generate(SeededKind::Dh { group, bits: Some(512) }).unwrap();
        let PrivateComponents::Dh { value, .. } = key.components().unwrap() else { unreachable!() };
        cases.push(Case::new(key.to_pkcs8().unwrap().expose(), &[value.expose().to_vec()]));
    }
    for set in [SlhDsaSet::Sha2_128f, SlhDsaSet::Shake_128f, SlhDsaSet::Sha2_192f, SlhDsaSet::Sha2_256f] {
        let key = PrivateKey::generate(SeededKind::SlhDsa(set)).unwrap().to_pkcs8().unwrap();
        let n = set.public_key_len() / 2;
        let secrets: Vec<_> =
            key.expose()[key.len() - 4 * n..key.len() - 2 * n].chunks(n).map(<[u8]>::to_vec).collect();
        cases.push(Case::new(key.expose(), &secrets));
    }

    for len in [32, 64] {
        let mut key = random_bytes(len);
        key[0] = 1;
        let pad = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
        // The ends of the key schedules of AES, and what HMAC makes of a key.
        let mut secrets = vec![key.clone(), pad(0x36), pad(0x5c)];
        secrets.extend(key.chunks(16).map(<[u8]>::to_vec));
        cases.push(Case::new(&key, &secrets));
    }

    let cases: Vec<_> = cases.iter().map(Case::write).collect();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env("DATAKEY_TEST_MASKED_KEYS", cases.join(";"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    println!("{text}");
}

/// In a process of its own.
fn scan(case: &Case) {
    assert_eq!(live_blocks(), 0);
    assert_eq!(case.found(), 0, "before the key is loaded");
    let key = case.load();
    let (kind, blocks) = (key.kind(), live_blocks());
    let loaded = case.found();
    assert!(loaded > 0, "{kind}: the scan does not see a key that is there");
    key.used();
    let used = case.found();
    assert_eq!(live_blocks(), blocks, "{kind}: using a key takes no memory of the pool");
    // Loaded and used in one thread, dropped in another.
    let elsewhere = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let key = case.load();
            key.used();
            key
        });
        thread.join().unwrap()
    });
    std::thread::scope(|scope| scope.spawn(|| key.used()).join().unwrap());
    drop((key, elsewhere));
    println!("{kind}: found {loaded} times loaded, {used} used, {} dropped; {blocks} blocks", case.found());
    assert_eq!(case.found(), 0, "{kind}: something is left");
    assert_eq!(live_blocks(), 0, "{kind}: something that outlives the key was made in the pool");
}
