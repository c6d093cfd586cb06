//! `CiphertextForRecipient`, in the form of KMS: `EnvelopedData` of CMS (RFC 5652, section 6) in BER, structures of
//! indefinite length around content in pieces.

use aes::Aes256;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit};
use getrandom::SysRng;
use rsa::Oaep;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3];
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 7];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 6;
const OCTETS: u8 = 4;
/// `[0]`, constructed and primitive.
const FIRST: u8 = 0xa0;
const FIRST_PLAIN: u8 = 0x80;
const VERSION_2: &[u8] = &[2, 1, 2];
const NULL: &[u8] = &[5, 0];

const BLOCK: usize = 16;
/// The longest piece of the content.
const PIECE: usize = 1000;
/// What the public key of a document must have.
const BITS: u32 = 2048;

/// Encrypts for the owner of a public key (DER `SubjectPublicKeyInfo`).
pub(super) fn seal(spki: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, String> {
    let public = rsa::PublicKey::from_public_key_der(spki).map_err(|_| "the public key is none of RSA")?;
    if public.n().bit_width() != BITS {
        return Err(format!("the public key has not {BITS} bits"));
    }
    let (mut key, mut iv) = (Zeroizing::new([0; 32]), [0; BLOCK]);
    getrandom::fill(&mut *key).and_then(|()| getrandom::fill(&mut iv)).map_err(|error| error.to_string())?;
    let encrypted_key = public.encrypt(&mut SysRng, Oaep::<Sha256>::new(), &*key).map_err(|error| error.to_string())?;
    let content = encrypt(&key, &iv, plaintext);
    Ok(write(&Sha256::digest(spki), &encrypted_key, &iv, &content))
}

fn encrypt(key: &[u8; 32], iv: &[u8; BLOCK], plaintext: &[u8]) -> Vec<u8> {
    let padding = BLOCK - plaintext.len() % BLOCK;
    let mut content = Vec::with_capacity(plaintext.len() + padding);
    content.extend_from_slice(plaintext);
    content.resize(plaintext.len() + padding, padding as u8);
    let mut cipher = cbc::Encryptor::<Aes256>::new(key.into(), iv.into());
    for block in content.chunks_exact_mut(BLOCK) {
        if let Ok(block) = block.try_into() {
            cipher.encrypt_block(block);
        }
    }
    content
}

fn write(identifier: &[u8], encrypted_key: &[u8], iv: &[u8], content: &[u8]) -> Vec<u8> {
    let sha_256 = definite(SEQUENCE, &[&definite(OID, &[SHA_256]), NULL]);
    let mgf = definite(SEQUENCE, &[&definite(OID, &[MGF1]), &sha_256]);
    let parameters = definite(SEQUENCE, &[&definite(FIRST, &[&sha_256]), &definite(FIRST + 1, &[&mgf])]);
    let transport = definite(SEQUENCE, &[&definite(OID, &[RSAES_OAEP]), &parameters]);
    let identifier = definite(FIRST_PLAIN, &[identifier]);
    let recipient = [VERSION_2, &identifier, &transport, &definite(OCTETS, &[encrypted_key])];
    let recipients = definite(SET, &[&definite(SEQUENCE, &recipient)]);
    let pieces: Vec<_> = content.chunks(PIECE).map(|piece| definite(OCTETS, &[piece])).collect();
    let algorithm = definite(SEQUENCE, &[&definite(OID, &[AES_256_CBC]), &definite(OCTETS, &[iv])]);
    let content = indefinite(SEQUENCE, &[&definite(OID, &[DATA]), &algorithm, &indefinite(FIRST, &[&pieces.concat()])]);
    let enveloped = indefinite(SEQUENCE, &[VERSION_2, &recipients, &content]);
    indefinite(SEQUENCE, &[&definite(OID, &[ENVELOPED_DATA]), &indefinite(FIRST, &[&enveloped])])
}

fn definite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    // Nothing here is longer than 64 KiB.
    let [high, low] = (contents.len() as u16).to_be_bytes();
    let header = match contents.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header, contents].concat()
}

fn indefinite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[tag, 0x80], &parts.concat()[..], &[0, 0]].concat()
}
