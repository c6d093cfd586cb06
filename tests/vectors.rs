//! Project Wycheproof's vectors through the C API: each case becomes the calls that a program would make.
//!
//! Every case of every file of the chosen algorithms is either run, or counted as one that cannot be: its
//! curve, hash or size is none of the module's, or PKCS#11 has no way to say it (a signature in broken DER).
//! Both counts are asserted, so that nothing is left out silently.

mod host;
mod vectors_support;

use cryptoki_sys::*;
use host::{Module, Place, alone, steps};
use serde_json::Value;
use vectors_support::{Bench, Outcome, ciphers, derivations, kem, ml_dsa, signatures};

/// A file: its name, and its text.
type File = (String, &'static str);

/// What runs one case of a group.
type Run = fn(&Bench, &Value, &Value) -> Outcome;

/// Files of one algorithm, and what is to come of them.
struct Family {
    name: &'static str,
    /// One of its mechanisms: where the module has it, the counts must be these.
    mechanism: CK_MECHANISM_TYPE,
    files: Vec<File>,
    run: Run,
    /// Cases that were run, and cases that cannot be.
    counts: (usize, usize),
}

macro_rules! files {
    ($module:ident, $keep:expr) => {
        wycheproof::$module::TestName::all()
            .into_iter()
            .map(|name| (format!("{name:?}"), name.json_data()))
            .filter(|(name, _): &File| $keep(name.as_str()))
            .collect()
    };
}

fn families() -> Vec<Family> {
    let all = |_: &str| true;
    let ours =
        |name: &str| ["256r1", "384r1", "521r1", "256k1"].iter().any(|one| name.contains(one)) && name.contains("Secp");
    let starts = |start: &'static str| move |name: &str| name.starts_with(start);
    let family = |name, mechanism, files, run: Run, counts| Family { name, mechanism, files, run, counts };
    vec![
        family(
            "ECDSA",
            CKM_ECDSA_SHA256,
            // Bitcoin's own rule of low s is not ECDSA's.
            files!(ecdsa, |name: &str| ours(name) && !name.ends_with("Bitcoin")),
            signatures::ecdsa,
            (6319, 7523),
        ),
        family("EdDSA", CKM_EDDSA, files!(eddsa, all), signatures::eddsa, (238, 0)),
        family(
            "RSA PKCS#1 signatures",
            CKM_SHA256_RSA_PKCS,
            files!(rsa_pkcs1_verify, all),
            signatures::pkcs1,
            (4395, 1807),
        ),
        family("RSA-PSS", CKM_SHA256_RSA_PKCS_PSS, files!(rsa_pss_verify, all), signatures::pss, (2502, 995)),
        family("RSA PKCS#1 decryption", CKM_RSA_PKCS, files!(rsa_pkcs1_decrypt, all), ciphers::pkcs1, (201, 0)),
        family("RSA-OAEP", CKM_RSA_PKCS_OAEP, files!(rsa_oaep, all), ciphers::oaep, (963, 135)),
        family("AES-CBC-PAD", CKM_AES_CBC_PAD, files!(cipher, starts("AesCbcPkcs5")), ciphers::cbc_pad, (216, 0)),
        family("AES-GCM", CKM_AES_GCM, files!(aead, |name: &str| name == "AesGcm"), ciphers::gcm, (316, 0)),
        family("AES-CCM", CKM_AES_CCM, files!(aead, |name: &str| name == "AesCcm"), ciphers::ccm, (552, 0)),
        family(
            "ChaCha20-Poly1305",
            CKM_CHACHA20_POLY1305,
            files!(aead, |name: &str| ["ChaCha20Poly1305", "XChaCha20Poly1305"].contains(&name)),
            ciphers::chacha20_poly1305,
            (640, 0),
        ),
        family("AES-KW", CKM_AES_KEY_WRAP, files!(keywrap, |name: &str| name == "AesKeyWrap"), ciphers::wrap, (165, 0)),
        family(
            "AES-KWP",
            CKM_AES_KEY_WRAP_KWP,
            files!(keywrap, |name: &str| name == "AesKeyWrapWithPadding"),
            ciphers::wrap_padded,
            (254, 0),
        ),
        family("AES-CMAC", CKM_AES_CMAC, files!(mac, starts("AesCmac")), signatures::cmac, (311, 0)),
        family("HMAC", CKM_SHA256_HMAC, files!(mac, starts("HmacSha")), signatures::hmac, (1906, 0)),
        family("HKDF", CKM_HKDF_DERIVE, files!(hkdf, all), derivations::hkdf, (339, 0)),
        family("PBKDF2", CKM_PKCS5_PBKD2, files!(pbkdf2, all), derivations::pbkdf2, (298, 0)),
        family("ECDH", CKM_ECDH1_DERIVE, files!(ecdh, ours), derivations::ecdh, (4012, 1121)),
        family("X25519", CKM_ECDH1_DERIVE, files!(xdh, starts("X25519")), derivations::montgomery, (518, 0)),
        family("X448", CKM_ECDH1_DERIVE, files!(xdh, starts("X448")), derivations::montgomery, (510, 0)),
        family("ML-DSA signing", CKM_ML_DSA, files!(mldsa_sign, all), ml_dsa::signing, (438, 69)),
        family("ML-DSA verification", CKM_ML_DSA, files!(mldsa_verify, all), ml_dsa::verification, (631, 0)),
        family("ML-KEM", CKM_ML_KEM, files!(mlkem, all), kem::ml_kem, (1725, 0)),
    ]
}

#[test]
fn wycheproof_through_the_c_api() {
    if !alone("wycheproof_through_the_c_api") {
        return;
    }
    steps::limit(1200);
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let bench = Bench::new(module);
    let mut wrong = Vec::new();
    for family in families() {
        assert!(bench.has(family.mechanism), "{}: the module has no such mechanism", family.name);
        assert!(!family.files.is_empty(), "{}: no files", family.name);
        let mut counts = (0, 0);
        for (name, text) in &family.files {
            let mut file: Value = serde_json::from_str(text).expect(name);
            let (mut run, mut cannot) = (0, 0);
            let algorithm = file["algorithm"].clone();
            for group in file["testGroups"].as_array_mut().expect("groups") {
                let cases = group["tests"].take();
                group["algorithm"] = algorithm.clone();
                for case in cases.as_array().expect("cases") {
                    match (family.run)(&bench, group, case) {
                        Outcome::Right => run += 1,
                        Outcome::Cannot => cannot += 1,
                        Outcome::Wrong(what) => {
                            run += 1;
                            wrong.push(format!("{name} {}: {what} ({})", case["tcId"], case["comment"]));
                        }
                    }
                }
                bench.forget_keys();
            }
            println!("{name}: {run} run, {cannot} cannot be");
            assert_eq!(file["numberOfTests"].as_u64(), Some(run + cannot), "{name}");
            counts.0 += run as usize;
            counts.1 += cannot as usize;
        }
        println!("{}: {} run, {} cannot be\n", family.name, counts.0, counts.1);
        if counts != family.counts {
            wrong.push(format!("{}: counts {counts:?}, expected {:?}", family.name, family.counts));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
