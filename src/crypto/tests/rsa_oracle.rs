//! Implicit rejection, byte for byte that of the `rsa` crate.

use super::super::PrivateKey;
use super::{RsaPair, assert_fails, random_bytes, rsa_pair};
use crate::error::Cause;
use rsa::Pkcs1v15Encrypt;

/// Blocks of every kind of wrongness, and right ones between them, as long as the modulus.
fn blocks(k: usize) -> Vec<Vec<u8>> {
    let right = |message_len: usize| {
        let mut block = random_bytes(k);
        block.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 7);
        block[0] = 0;
        block[1] = 2;
        block[k - message_len - 1] = 0;
        block
    };
    let mut blocks: Vec<_> = [0, 1, 2, 16, 48, k - 12, k - 11].map(right).to_vec();
    let change = |at: usize, value: u8| {
        let mut block = right(20);
        block[at] = value;
        block
    };
    // A first byte over 0 can make the number larger than the modulus; 1 cannot.
    blocks.push(change(0, 1));
    blocks.extend([0, 1, 3, 4, 0x82, 0xff].map(|value| change(1, value)));
    // A separator too early, one just late enough, and none.
    blocks.extend((2..12).map(|at| change(at, 0)));
    blocks.push(change(k - 21, 1));
    blocks.push(change(k - 1, 0));
    blocks.push([vec![0, 2], vec![0; k - 2]].concat());
    blocks.push([vec![0, 2], vec![1; k - 2]].concat());
    blocks.push(vec![0; k]);
    blocks.push([vec![0; k - 1], vec![1]].concat());
    blocks
}

fn compare(pair: &RsaPair, ciphertext: &[u8]) -> Vec<u8> {
    let ours = pair.ours.decrypt_pkcs1(ciphertext).unwrap();
    assert_eq!(ours.expose(), pair.theirs.decrypt(Pkcs1v15Encrypt, ciphertext).unwrap());
    assert_eq!(ours.expose(), pair.ours.decrypt_pkcs1(ciphertext).unwrap().expose(), "the same again");
    ours.expose().to_vec()
}

#[test]
fn what_is_rejected_decrypts_to_what_the_rsa_crate_makes_up() {
    for bits in [1024, 2048, 2050, 3072] {
        let pair = rsa_pair(bits);
        let k = bits.div_ceil(8);
        for block in blocks(k) {
            compare(pair, &pair.ours.public_key().raw_public(&block).unwrap());
        }
        let mut lengths = std::collections::HashSet::new();
        for _ in 0..40 {
            let mut ciphertext = random_bytes(k);
            ciphertext[0] = 0;
            lengths.insert(compare(pair, &ciphertext).len());
        }
        assert!(lengths.len() > 20, "the lengths of made-up messages vary: {lengths:?}");
        let modulus = pair.ours.public_key().modulus().to_vec();
        let mut largest = modulus.clone();
        *largest.last_mut().unwrap() -= 1;
        compare(pair, &largest);
        assert_fails(pair.ours.decrypt_pkcs1(&modulus), Cause::EncryptedDataInvalid);
        assert_fails(pair.ours.decrypt_pkcs1(&vec![0xff; k]), Cause::EncryptedDataInvalid);
        for len in [0, k - 1, k + 1] {
            assert_fails(pair.ours.decrypt_pkcs1(&vec![0; len]), Cause::EncryptedDataLenRange);
        }
    }
}

#[test]
fn another_key_makes_up_another_message() {
    let first = rsa_pair(2048);
    let second: PrivateKey = super::new_rsa_pair(2048).ours;
    let ciphertext = [vec![0], random_bytes(255)].concat();
    let (a, b) = (first.ours.decrypt_pkcs1(&ciphertext).unwrap(), second.decrypt_pkcs1(&ciphertext).unwrap());
    assert_ne!(a.expose(), b.expose());
}

/// The message of a block that is padded as RFC 8017, section 7.2.2, wants it.
fn message_of(block: &[u8]) -> Option<&[u8]> {
    let rest = block.strip_prefix(&[0, 2])?;
    let zero = rest.iter().position(|byte| *byte == 0)?;
    (zero >= 8).then(|| &rest[zero + 1..])
}

/// What the padding hides of a key: nothing but the lengths that it could have.
#[test]
fn a_key_that_is_rejected_is_made_up_with_a_length_that_it_could_have() {
    let pair = rsa_pair(2048);
    let key = |block: &[u8], lengths: &[usize]| {
        let ciphertext = pair.ours.public_key().raw_public(block).unwrap();
        let key = pair.ours.decrypt_pkcs1_key(&ciphertext, |len| lengths.contains(&len)).unwrap();
        let again = pair.ours.decrypt_pkcs1_key(&ciphertext, |len| lengths.contains(&len)).unwrap();
        assert_eq!(key.expose(), again.expose(), "the same again");
        (key, ciphertext)
    };
    let mut kept = 0;
    let mut seen = std::collections::HashSet::new();
    for lengths in [&[16][..], &[48], &[16, 24, 32], &[0, 245]] {
        for block in blocks(256) {
            let (found, ciphertext) = key(&block, lengths);
            assert!(lengths.contains(&found.len()), "{} of {lengths:?}", found.len());
            seen.insert(found.len());
            // What is right comes out as it is, what is not has nothing of the block.
            match message_of(&block) {
                Some(message) if lengths.contains(&message.len()) => {
                    assert_eq!(pair.theirs.decrypt(Pkcs1v15Encrypt, &ciphertext).unwrap(), message);
                    assert_eq!(found.expose(), message);
                    kept += 1;
                }
                _ => assert!(found.is_empty() || !block.ends_with(found.expose())),
            }
        }
    }
    assert!(kept >= 4, "{kept} right ones");
    assert_eq!(seen, [0, 16, 24, 32, 48, 245].into());
    let ciphertext = pair.ours.public_key().raw_public(&blocks(256)[3]).unwrap();
    assert_fails(pair.ours.decrypt_pkcs1_key(&ciphertext, |len| len > 245), Cause::EncryptedDataLenRange);
}
