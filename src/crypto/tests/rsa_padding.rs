//! RSA against the `rsa` crate and against RFC 8017 spelt out: v1.5, PSS, OAEP, raw.

use super::super::{Hash, KeyKind, PublicKey, PublicParts};
use super::{assert_fails, random_bytes, rsa_pair, with_theirs};
use crate::error::Cause;
use getrandom::SysRng;
use rsa::{Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss};

#[test]
fn v15_signs_any_bytes_up_to_the_modulus_less_eleven() {
    let pair = rsa_pair(2048);
    let (ours, public) = (&pair.ours, pair.ours.public_key());
    for len in (0..=245).step_by(7).chain([1, 19, 32, 51, 83, 244, 245]) {
        let data = random_bytes(len);
        let signature = ours.sign_pkcs1(None, &data).unwrap();
        assert_eq!(signature.len(), 256);
        pair.theirs.as_public_key().verify(Pkcs1v15Sign::new_unprefixed(), &data, &signature).unwrap();
        public.verify_pkcs1(None, &data, &signature).unwrap();
        assert_eq!(public.recover_pkcs1(&signature).unwrap(), data);
        assert_fails(public.verify_pkcs1(None, &random_bytes(len + 1), &signature), Cause::SignatureInvalid);
        if len > 0 {
            assert_fails(public.verify_pkcs1(None, &data[1..], &signature), Cause::SignatureInvalid);
        }
    }
    for len in [246, 256, 257, 5000] {
        assert_fails(ours.sign_pkcs1(None, &vec![1; len]), Cause::DataLenRange);
    }
}

#[test]
fn v15_signs_digests_of_every_hash() {
    let pair = rsa_pair(2048);
    for hash in Hash::ALL.iter().copied() {
        let digest = hash.digest(b"message");
        let signature = pair.ours.sign_pkcs1(Some(hash), &digest).unwrap();
        let theirs = with_theirs!(hash, D, Pkcs1v15Sign::new::<D>());
        assert_eq!(signature, pair.theirs.sign(theirs, &digest).unwrap(), "{hash:?}");
        pair.ours.public_key().verify_pkcs1(Some(hash), &digest, &signature).unwrap();
        for other in Hash::ALL.iter().filter(|other| other.len() == hash.len() && **other != hash) {
            let verified = pair.ours.public_key().verify_pkcs1(Some(*other), &digest, &signature);
            assert_fails(verified, Cause::SignatureInvalid);
        }
        assert_fails(pair.ours.sign_pkcs1(Some(hash), &digest[1..]), Cause::DataLenRange);
        assert_fails(pair.ours.public_key().verify_pkcs1(Some(hash), b"", &signature), Cause::DataLenRange);
    }
}

/// MGF1 (RFC 8017, appendix B.2.1), xored into `out`.
fn mask(mgf: Hash, seed: &[u8], out: &mut [u8]) {
    for (counter, chunk) in (0u32..).zip(out.chunks_mut(mgf.len())) {
        let block = mgf.digest(&[seed, &counter.to_be_bytes()].concat());
        chunk.iter_mut().zip(block.iter()).for_each(|(out, mask)| *out ^= mask);
    }
}

/// EMSA-PSS-VERIFY (RFC 8017, section 9.1.2) of an encoded message that `raw_public` recovered.
fn is_pss(block: &[u8], bits: u32, hash: Hash, mgf: Hash, salt_len: usize, digest: &[u8]) -> bool {
    let encoded_len = (bits - 1).div_ceil(8) as usize;
    let (front, encoded) = block.split_at(block.len() - encoded_len);
    let (masked, rest) = encoded.split_at(encoded_len - hash.len() - 1);
    let (h, trailer) = rest.split_at(hash.len());
    let mut db = masked.to_vec();
    mask(mgf, h, &mut db);
    let unused = 8 * encoded_len as u32 - (bits - 1);
    db[0] &= 0xff >> unused;
    let salt_at = db.len() - salt_len;
    let inner = [&[0; 8], digest, &db[salt_at..]].concat();
    front.iter().all(|byte| *byte == 0)
        && trailer == [0xbc]
        && masked[0] >> (8 - unused).min(7) == 0
        && db[..salt_at - 1].iter().all(|byte| *byte == 0)
        && db[salt_at - 1] == 1
        && *hash.digest(&inner) == *h
}

#[test]
fn pss_of_every_hash_with_every_mask_generation_hash() {
    let pair = rsa_pair(2048);
    let public = pair.ours.public_key();
    for hash in Hash::ALL.iter().copied() {
        let digest = hash.digest(b"message");
        for mgf in Hash::ALL.iter().copied() {
            for salt_len in [0, hash.len(), 254 - hash.len()] {
                let signature = pair.ours.sign_pss(hash, mgf, salt_len, &digest).unwrap();
                public.verify_pss(hash, mgf, salt_len, &digest, &signature).unwrap();
                let block = public.raw_public(&signature).unwrap();
                assert!(is_pss(&block, 2048, hash, mgf, salt_len, &digest), "{hash:?} {mgf:?} {salt_len}");
            }
        }
        for salt_len in [0, 20, hash.len()] {
            let signature = pair.ours.sign_pss(hash, hash, salt_len, &digest).unwrap();
            let theirs = with_theirs!(
                hash,
                D,
                pair.theirs.as_public_key().verify(Pss::<D>::new_with_salt(salt_len), &digest, &signature)
            );
            theirs.unwrap();
            let signature = with_theirs!(
                hash,
                D,
                pair.theirs.sign_with_rng(&mut SysRng, Pss::<D>::new_with_salt(salt_len), &digest)
            )
            .unwrap();
            public.verify_pss(hash, hash, salt_len, &digest, &signature).unwrap();
            assert_fails(public.verify_pss(hash, hash, salt_len + 1, &digest, &signature), Cause::SignatureInvalid);
        }
        assert_fails(pair.ours.sign_pss(hash, hash, 255 - hash.len(), &digest), Cause::MechanismParamInvalid);
        assert_fails(pair.ours.sign_pss(hash, hash, usize::MAX, &digest), Cause::MechanismParamInvalid);
        assert_fails(pair.ours.sign_pss(hash, hash, 0, &digest[1..]), Cause::DataLenRange);
    }
}

#[test]
fn pss_of_moduli_whose_length_is_no_whole_number_of_bytes() {
    let pair = rsa_pair(2050);
    assert_eq!(pair.ours.kind(), KeyKind::Rsa { bits: 2050 });
    let digest = Hash::Sha256.digest(b"message");
    for salt_len in [0, 32, 257 - 34] {
        let signature = pair.ours.sign_pss(Hash::Sha256, Hash::Sha256, salt_len, &digest).unwrap();
        assert_eq!(signature.len(), 257);
        let theirs = Pss::<sha2::Sha256>::new_with_salt(salt_len);
        pair.theirs.as_public_key().verify(theirs, &digest, &signature).unwrap();
    }
    assert_fails(pair.ours.sign_pss(Hash::Sha256, Hash::Sha256, 257 - 33, &digest), Cause::MechanismParamInvalid);
    let ciphertext = pair.ours.public_key().encrypt_pkcs1(b"odd").unwrap();
    assert_eq!(pair.ours.decrypt_pkcs1(&ciphertext).unwrap().expose(), b"odd");
}

#[test]
fn wrong_rsa_signatures_have_their_own_errors() {
    let pair = rsa_pair(2048);
    let public = pair.ours.public_key();
    let digest = Hash::Sha256.digest(b"message");
    let v15 = pair.ours.sign_pkcs1(Some(Hash::Sha256), &digest).unwrap();
    let pss = pair.ours.sign_pss(Hash::Sha256, Hash::Sha256, 32, &digest).unwrap();
    for wrong in [&[][..], &v15[1..], &[&v15[..], &[0]].concat()] {
        assert_fails(public.verify_pkcs1(Some(Hash::Sha256), &digest, wrong), Cause::SignatureLenRange);
        assert_fails(public.verify_pss(Hash::Sha256, Hash::Sha256, 32, &digest, wrong), Cause::SignatureLenRange);
    }
    for at in [0, 1, 100, 255] {
        let (mut v15, mut pss) = (v15.clone(), pss.clone());
        v15[at] ^= 4;
        pss[at] ^= 4;
        assert_fails(public.verify_pkcs1(Some(Hash::Sha256), &digest, &v15), Cause::SignatureInvalid);
        assert_fails(public.verify_pss(Hash::Sha256, Hash::Sha256, 32, &digest, &pss), Cause::SignatureInvalid);
    }
    let too_large = vec![0xff; 256];
    assert_fails(public.verify_pkcs1(Some(Hash::Sha256), &digest, &too_large), Cause::SignatureInvalid);
    assert_fails(public.verify_ecdsa(&digest, &v15), Cause::KeyTypeInconsistent);
}

#[test]
fn oaep_of_every_hash_with_every_mask_generation_hash() {
    let pair = rsa_pair(2048);
    let public = pair.ours.public_key();
    for hash in Hash::ALL.iter().copied() {
        for mgf in Hash::ALL.iter().copied() {
            let label = random_bytes(if mgf == hash { 0 } else { 30 });
            for len in [0, 254 - 2 * hash.len()] {
                let message = random_bytes(len);
                let ciphertext = public.encrypt_oaep(hash, mgf, &label, &message).unwrap();
                let decrypted = pair.ours.decrypt_oaep(hash, mgf, &label, &ciphertext).unwrap();
                assert_eq!(decrypted.expose(), message, "{hash:?} {mgf:?} {len}");
            }
            // Theirs, encoded by RFC 8017, section 7.1.1, and encrypted raw.
            let mut db = [&hash.digest(&label)[..], &vec![0; 254 - 2 * hash.len() - 5], b"\x01words"].concat();
            let mut seed = random_bytes(hash.len());
            mask(mgf, &seed, &mut db);
            mask(mgf, &db, &mut seed);
            let ciphertext = public.raw_public(&[&[0], &seed[..], &db].concat()).unwrap();
            assert_eq!(pair.ours.decrypt_oaep(hash, mgf, &label, &ciphertext).unwrap().expose(), b"words");
            assert_fails(pair.ours.decrypt_oaep(hash, mgf, b"other", &ciphertext), Cause::EncryptedDataInvalid);
        }
    }
}

#[test]
fn oaep_is_theirs_in_both_directions() {
    let pair = rsa_pair(2048);
    for hash in Hash::ALL.iter().copied() {
        let ciphertext = pair.ours.public_key().encrypt_oaep(hash, Hash::Sha1, b"label", b"words").unwrap();
        let theirs = with_theirs!(
            hash,
            D,
            pair.theirs.decrypt(Oaep::<D, sha1::Sha1>::new_with_mgf_hash_and_label(&b"label"[..]), &ciphertext)
        );
        assert_eq!(theirs.unwrap(), b"words");
        let ciphertext = with_theirs!(
            hash,
            D,
            pair.theirs.as_public_key().encrypt(
                &mut SysRng,
                Oaep::<D, sha2::Sha256>::new_with_mgf_hash_and_label(&b"label"[..]),
                b"words"
            )
        );
        let ciphertext = ciphertext.unwrap();
        let ours = pair.ours.decrypt_oaep(hash, Hash::Sha256, b"label", &ciphertext).unwrap();
        assert_eq!(ours.expose(), b"words");
        for wrong in [&ciphertext[1..], &[], &[&[0], &ciphertext[..]].concat()] {
            let decrypted = pair.ours.decrypt_oaep(hash, hash, b"", wrong);
            assert_fails(decrypted, Cause::EncryptedDataLenRange);
        }
        for wrong in [vec![0; 256], vec![0xff; 256], random_bytes(256)] {
            let decrypted = pair.ours.decrypt_oaep(hash, hash, b"", &wrong);
            assert_fails(decrypted, Cause::EncryptedDataInvalid);
        }
        let too_long = vec![0; 255 - 2 * hash.len()];
        assert_fails(pair.ours.public_key().encrypt_oaep(hash, hash, b"", &too_long), Cause::DataLenRange);
    }
    let small = rsa_pair(1024);
    let encrypted = small.ours.public_key().encrypt_oaep(Hash::Sha512, Hash::Sha512, b"", b"");
    assert_fails(encrypted, Cause::MechanismParamInvalid);
    let decrypted = small.ours.decrypt_oaep(Hash::Sha512, Hash::Sha512, b"", &[0; 128]);
    assert_fails(decrypted, Cause::MechanismParamInvalid);
}

#[test]
fn v15_encryption_is_theirs_in_both_directions() {
    let pair = rsa_pair(2048);
    for len in [0, 1, 48, 244, 245] {
        let message = random_bytes(len);
        let ciphertext = pair.ours.public_key().encrypt_pkcs1(&message).unwrap();
        assert_eq!(pair.theirs.decrypt(Pkcs1v15Encrypt, &ciphertext).unwrap(), message);
        let ciphertext = pair.theirs.as_public_key().encrypt(&mut SysRng, Pkcs1v15Encrypt, &message).unwrap();
        assert_eq!(pair.ours.decrypt_pkcs1(&ciphertext).unwrap().expose(), message);
    }
    assert_fails(pair.ours.public_key().encrypt_pkcs1(&[0; 246]), Cause::DataLenRange);
}

#[test]
fn raw_operations_invert_each_other_at_every_edge() {
    let pair = rsa_pair(2048);
    let (ours, public) = (&pair.ours, pair.ours.public_key());
    let modulus = pair.ours.public_key().modulus().to_vec();
    let minus = |less: u8| {
        let mut number = modulus.clone();
        *number.last_mut().unwrap() -= less;
        number
    };
    let padded = |data: &[u8]| [vec![0; 256 - data.len()], data.to_vec()].concat();
    // 0, 1 and n-1 are their own powers.
    for own in [vec![], vec![0], vec![0; 256], vec![1], padded(&[1]), minus(1)] {
        assert_eq!(ours.raw_private(&own).unwrap().expose(), padded(&own));
        assert_eq!(public.raw_public(&own).unwrap(), padded(&own));
    }
    let n_minus_two_is_odd_or_not = if modulus[255] >= 2 { vec![minus(2)] } else { vec![] };
    for data in [vec![2], vec![0, 2], vec![3; 255], padded(&[2])].into_iter().chain(n_minus_two_is_odd_or_not) {
        let private = ours.raw_private(&data).unwrap();
        assert_eq!(private.len(), 256);
        assert_eq!(public.raw_public(private.expose()).unwrap(), padded(&data));
        let encrypted = public.raw_public(&data).unwrap();
        assert_eq!(ours.raw_private(&encrypted).unwrap().expose(), padded(&data));
    }
    assert_fails(ours.raw_private(&modulus), Cause::DataInvalid);
    assert_fails(ours.raw_private(&[0xff; 256]), Cause::DataInvalid);
    assert_fails(ours.raw_private(&[0; 257]), Cause::DataLenRange);
    assert_fails(public.raw_public(&modulus), Cause::DataInvalid);
    assert_fails(public.raw_public(&vec![0; 10_000]), Cause::DataLenRange);
}

#[test]
fn public_keys_come_from_numbers_and_from_spki() {
    use rsa::pkcs8::EncodePublicKey;
    for bits in [1024, 2048, 3072] {
        let pair = rsa_pair(bits);
        let public = pair.ours.public_key();
        let theirs = pair.theirs.as_public_key().to_public_key_der().unwrap();
        assert_eq!(public.spki_der(), theirs.as_bytes());
        assert_eq!(public.kind(), KeyKind::Rsa { bits: bits as u32 });
        let PublicParts::Rsa { modulus, exponent } = public.parts().unwrap() else { panic!("not RSA") };
        assert_eq!(exponent, [1, 0, 1]);
        assert_eq!(modulus.len(), bits / 8);
        let padded = [&[0, 0], &modulus[..]].concat();
        assert_eq!(&PublicKey::from_rsa(&padded, &[0, 1, 0, 1]).unwrap(), public);
        assert_eq!(format!("{public:?}"), format!("PublicKey(Rsa {{ bits: {bits} }})"));

        let mut even = modulus.clone();
        *even.last_mut().unwrap() &= 0xfe;
        for wrong in [&even[..], &modulus[..100], &[], &[0; 256], &vec![0xff; 2000], &vec![0xff; 5000]] {
            assert_fails(PublicKey::from_rsa(wrong, &exponent), Cause::AttributeValueInvalid);
        }
        for wrong in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1; 9], &modulus] {
            assert_fails(PublicKey::from_rsa(&modulus, wrong), Cause::AttributeValueInvalid);
        }
    }
}
