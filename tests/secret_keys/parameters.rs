//! Mechanisms of secret keys with their parameters, and what they must give.

use cryptoki_sys::*;
use std::ptr::null_mut;

/// A mechanism with its parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter(CK_MECHANISM_TYPE, Kind);

#[derive(Clone, Debug)]
enum Kind {
    None,
    Bytes(Vec<u8>),
    Number(CK_ULONG),
    Ctr(CK_ULONG, [u8; 16]),
    Gcm { iv: Vec<u8>, iv_bits: CK_ULONG, aad: Vec<u8>, tag_bits: CK_ULONG },
    Ccm { data_len: CK_ULONG, nonce: Vec<u8>, aad: Vec<u8>, mac_len: CK_ULONG },
    ChaCha20 { counter: Vec<u8>, counter_bits: CK_ULONG, nonce: Vec<u8>, nonce_bits: CK_ULONG },
    Poly1305 { nonce: Vec<u8>, nonce_len: CK_ULONG, aad: Vec<u8> },
}

impl Parameter {
    pub(crate) fn none(mechanism: CK_MECHANISM_TYPE) -> Self {
        Self(mechanism, Kind::None)
    }

    pub(crate) fn bytes(mechanism: CK_MECHANISM_TYPE, bytes: Vec<u8>) -> Self {
        Self(mechanism, Kind::Bytes(bytes))
    }

    pub(crate) fn number(mechanism: CK_MECHANISM_TYPE, number: CK_ULONG) -> Self {
        Self(mechanism, Kind::Number(number))
    }

    pub(crate) fn ctr(counter_bits: CK_ULONG, block: [u8; 16]) -> Self {
        Self(CKM_AES_CTR, Kind::Ctr(counter_bits, block))
    }

    pub(crate) fn gcm(iv_len: usize, iv_bits: CK_ULONG, tag_bits: CK_ULONG) -> Self {
        Self(CKM_AES_GCM, Kind::Gcm { iv: vec![5; iv_len], iv_bits, aad: vec![6; 20], tag_bits })
    }

    pub(crate) fn gmac(iv_len: usize, tag_bits: CK_ULONG) -> Self {
        Self(CKM_AES_GMAC, Kind::Gcm { iv: vec![5; iv_len], iv_bits: 0, aad: vec![], tag_bits })
    }

    pub(crate) fn ccm(data_len: CK_ULONG, nonce_len: usize, aad_len: usize, mac_len: CK_ULONG) -> Self {
        Self(CKM_AES_CCM, Kind::Ccm { data_len, nonce: vec![5; nonce_len], aad: vec![6; aad_len], mac_len })
    }

    /// With as many bits as there are.
    pub(crate) fn chacha20(counter: &[u8], nonce: &[u8]) -> Self {
        Self::chacha20_said(counter, 8 * counter.len() as CK_ULONG, nonce, 8 * nonce.len() as CK_ULONG)
    }

    pub(crate) fn chacha20_said(counter: &[u8], counter_bits: CK_ULONG, nonce: &[u8], nonce_bits: CK_ULONG) -> Self {
        let (counter, nonce) = (counter.to_vec(), nonce.to_vec());
        Self(CKM_CHACHA20, Kind::ChaCha20 { counter, counter_bits, nonce, nonce_bits })
    }

    /// `nonce_len` is what is said of the nonce.
    pub(crate) fn poly1305(nonce: &[u8], nonce_len: CK_ULONG, aad: &[u8]) -> Self {
        Self(CKM_CHACHA20_POLY1305, Kind::Poly1305 { nonce: nonce.to_vec(), nonce_len, aad: aad.to_vec() })
    }

    pub(crate) fn mechanism(&self) -> CK_MECHANISM_TYPE {
        self.0
    }

    /// Whether data must be whole blocks, or half ones.
    pub(crate) fn wants_blocks(&self) -> bool {
        matches!(self.0, CKM_AES_ECB | CKM_AES_CBC)
    }

    /// Whether a change of the ciphertext is noticed.
    pub(crate) fn is_authenticated(&self) -> bool {
        let wraps = [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_PKCS7];
        matches!(self.0, CKM_AES_GCM | CKM_AES_CCM | CKM_CHACHA20_POLY1305) || wraps.contains(&self.0)
    }

    /// Calls `work` with the mechanism as C has it.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut CK_MECHANISM) -> T) -> T {
        fn call<P, T>(id: CK_MECHANISM_TYPE, parameter: &mut P, work: impl FnOnce(&mut CK_MECHANISM) -> T) -> T {
            let len = size_of::<P>() as CK_ULONG;
            work(&mut CK_MECHANISM {
                mechanism: id,
                pParameter: std::ptr::from_mut(parameter).cast(),
                ulParameterLen: len,
            })
        }
        let pointer = |bytes: &[u8]| if bytes.is_empty() { null_mut() } else { bytes.as_ptr().cast_mut() };
        match &self.1 {
            Kind::None => work(&mut CK_MECHANISM { mechanism: self.0, pParameter: null_mut(), ulParameterLen: 0 }),
            Kind::Bytes(bytes) => work(&mut CK_MECHANISM {
                mechanism: self.0,
                pParameter: pointer(bytes).cast(),
                ulParameterLen: bytes.len() as CK_ULONG,
            }),
            Kind::Number(number) => call(self.0, &mut number.clone(), work),
            Kind::Ctr(bits, block) => call(self.0, &mut CK_AES_CTR_PARAMS { ulCounterBits: *bits, cb: *block }, work),
            Kind::Gcm { iv, iv_bits, aad, tag_bits } => {
                let mut gcm = CK_GCM_PARAMS {
                    pIv: pointer(iv),
                    ulIvLen: iv.len() as CK_ULONG,
                    ulIvBits: *iv_bits,
                    pAAD: pointer(aad),
                    ulAADLen: aad.len() as CK_ULONG,
                    ulTagBits: *tag_bits,
                };
                call(self.0, &mut gcm, work)
            }
            Kind::Ccm { data_len, nonce, aad, mac_len } => {
                let mut ccm = CK_CCM_PARAMS {
                    ulDataLen: *data_len,
                    pNonce: pointer(nonce),
                    ulNonceLen: nonce.len() as CK_ULONG,
                    pAAD: pointer(aad),
                    ulAADLen: aad.len() as CK_ULONG,
                    ulMACLen: *mac_len,
                };
                call(self.0, &mut ccm, work)
            }
            Kind::ChaCha20 { counter, counter_bits, nonce, nonce_bits } => {
                let mut chacha20 = CK_CHACHA20_PARAMS {
                    pBlockCounter: pointer(counter),
                    blockCounterBits: *counter_bits,
                    pNonce: pointer(nonce),
                    ulNonceBits: *nonce_bits,
                };
                call(self.0, &mut chacha20, work)
            }
            Kind::Poly1305 { nonce, nonce_len, aad } => {
                let mut aead = CK_SALSA20_CHACHA20_POLY1305_PARAMS {
                    pNonce: pointer(nonce),
                    ulNonceLen: *nonce_len,
                    pAAD: pointer(aad),
                    ulAADLen: aad.len() as CK_ULONG,
                };
                call(self.0, &mut aead, work)
            }
        }
    }
}

/// Every mode, for `len` bytes of plaintext (48 in the modes that want whole blocks).
pub(crate) fn of_every_mode(len: CK_ULONG) -> Vec<Parameter> {
    let iv = vec![9; 16];
    vec![
        Parameter::none(CKM_AES_ECB),
        Parameter::bytes(CKM_AES_CBC, iv.clone()),
        Parameter::bytes(CKM_AES_CBC_PAD, iv.clone()),
        Parameter::bytes(CKM_AES_CTS, iv.clone()),
        Parameter::bytes(CKM_AES_OFB, iv.clone()),
        Parameter::bytes(CKM_AES_CFB128, iv.clone()),
        Parameter::bytes(CKM_AES_CFB8, iv.clone()),
        Parameter::bytes(CKM_AES_CFB1, iv),
        Parameter::ctr(128, [9; 16]),
        Parameter::gcm(12, 96, 128),
        Parameter::gcm(7, 0, 64),
        Parameter::ccm(len, 13, 20, 8),
        Parameter::ccm(len, 7, 0, 16),
        Parameter::none(CKM_AES_KEY_WRAP),
        Parameter::bytes(CKM_AES_KEY_WRAP, vec![9; 8]),
        Parameter::none(CKM_AES_KEY_WRAP_KWP),
        Parameter::bytes(CKM_AES_KEY_WRAP_KWP, vec![9; 4]),
        Parameter::none(CKM_AES_KEY_WRAP_PAD),
        Parameter::none(CKM_AES_KEY_WRAP_PKCS7),
    ]
}

/// A published value.
pub(crate) struct Vector {
    pub(crate) parameter: Parameter,
    pub(crate) key: &'static str,
    pub(crate) plain: &'static str,
    pub(crate) cipher: &'static str,
}

/// One of each mode: SP 800-38A, SP 800-38C, the paper of GCM, RFC 3394, RFC 5649; CBC with padding by its first
/// block.
pub(crate) fn published() -> Vec<Vector> {
    const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
    const BLOCKS: &str = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51";
    let iv = || unhex("000102030405060708090a0b0c0d0e0f");
    let vector = |parameter, key, plain, cipher| Vector { parameter, key, plain, cipher };
    let counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
    vec![
        vector(
            Parameter::none(CKM_AES_ECB),
            KEY,
            BLOCKS,
            "3ad77bb40d7a3660a89ecaf32466ef97 f5d3d58503b9699de785895a96fdbaaf",
        ),
        vector(
            Parameter::bytes(CKM_AES_CBC, iv()),
            KEY,
            BLOCKS,
            "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2",
        ),
        vector(
            Parameter::bytes(CKM_AES_CTS, iv()),
            KEY,
            BLOCKS,
            "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2",
        ),
        vector(
            Parameter::bytes(CKM_AES_OFB, iv()),
            KEY,
            BLOCKS,
            "3b3fd92eb72dad20333449f8e83cfb4a 7789508d16918f03f53c52dac54ed825",
        ),
        vector(
            Parameter::bytes(CKM_AES_CFB128, iv()),
            KEY,
            BLOCKS,
            "3b3fd92eb72dad20333449f8e83cfb4a c8a64537a0b3a93fcde3cdad9f1ce58b",
        ),
        vector(
            Parameter::bytes(CKM_AES_CFB8, iv()),
            KEY,
            "6bc1bee22e409f96e93d7e117393172aae2d",
            "3b79424c9c0dd436bace9e0ed4586a4f32b9",
        ),
        vector(Parameter::bytes(CKM_AES_CFB1, iv()), KEY, "6bc1", "68b3"),
        vector(
            Parameter::ctr(128, counter),
            KEY,
            BLOCKS,
            "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff",
        ),
        vector(
            Parameter(
                CKM_AES_GCM,
                Kind::Gcm {
                    iv: unhex("cafebabefacedbaddecaf888"),
                    iv_bits: 96,
                    aad: unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
                    tag_bits: 128,
                },
            ),
            "feffe9928665731c6d6a8f9467308308",
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091 5bc94fbc3221a5db94fae95ae7121a47",
        ),
        vector(
            Parameter(
                CKM_AES_CCM,
                Kind::Ccm {
                    data_len: 24,
                    nonce: unhex("101112131415161718191a1b"),
                    aad: unhex("000102030405060708090a0b0c0d0e0f10111213"),
                    mac_len: 8,
                },
            ),
            "404142434445464748494a4b4c4d4e4f",
            "202122232425262728292a2b2c2d2e2f3031323334353637",
            "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951",
        ),
        vector(
            Parameter::none(CKM_AES_KEY_WRAP),
            "000102030405060708090a0b0c0d0e0f1011121314151617",
            "00112233445566778899aabbccddeeff",
            "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d",
        ),
        vector(
            Parameter::none(CKM_AES_KEY_WRAP_KWP),
            "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        vector(
            Parameter::none(CKM_AES_KEY_WRAP_PAD),
            "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
            "466f7250617369",
            "afbeb0f07dfbf5419200f2ccb50bb24f",
        ),
    ]
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}
