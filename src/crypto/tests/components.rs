//! Keys taken apart and put together: the same keys again, against RustCrypto's numbers.

use super::super::{Curve, MlKemSet, PrivateComponents, PrivateKey, RsaComponents, Secret};
use super::{assert_fails, random_bytes, rsa_pair};
use crate::error::Cause;
use rsa::BoxedUint;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(bytes.to_vec())
}

fn bytes(number: &BoxedUint) -> Vec<u8> {
    number.to_be_bytes_trimmed_vartime().to_vec()
}

/// What RustCrypto says an RSA key consists of.
fn numbers(theirs: &rsa::PrivateKey) -> RsaComponents {
    let [p, q] = [0, 1].map(|i| bytes(theirs.primes()[i].as_ref()));
    RsaComponents {
        modulus: bytes(theirs.n()),
        public_exponent: bytes(theirs.e()),
        private_exponent: Secret::new(bytes(theirs.d())),
        primes: Some((Secret::new(p), Secret::new(q))),
        exponent_1: theirs.dp().map(|number| Secret::new(bytes(number))),
        exponent_2: theirs.dq().map(|number| Secret::new(bytes(number))),
        coefficient: theirs.crt_coefficient().map(|number| Secret::new(bytes(&number))),
    }
}

#[track_caller]
fn assert_same(one: &RsaComponents, other: &RsaComponents) {
    let list = |rsa: &RsaComponents| {
        let (p, q) = rsa.primes.as_ref().unwrap();
        let crt = [&rsa.exponent_1, &rsa.exponent_2, &rsa.coefficient].map(|number| number.as_ref().unwrap());
        let secret = [&rsa.private_exponent, p, q].into_iter().chain(crt).map(|secret| secret.expose().to_vec());
        [rsa.modulus.clone(), rsa.public_exponent.clone()].into_iter().chain(secret).collect::<Vec<_>>()
    };
    assert_eq!(list(one), list(other));
}

fn put_together(rsa: RsaComponents) -> crate::error::Result<PrivateKey> {
    PrivateKey::from_components(&PrivateComponents::Rsa(rsa))
}

fn apart(key: &PrivateKey) -> RsaComponents {
    let PrivateComponents::Rsa(rsa) = key.components().unwrap() else { panic!() };
    rsa
}

#[test]
fn rsa_keys_come_apart_into_their_numbers_and_together_again() {
    for bits in [1024, 2048, 2050] {
        let pair = rsa_pair(bits);
        let ours = apart(&pair.ours);
        assert_same(&ours, &numbers(&pair.theirs));
        let again = put_together(ours).unwrap();
        assert_eq!(again.public_key(), pair.ours.public_key());
        assert_eq!(again.to_pkcs8().unwrap().expose(), pair.ours.to_pkcs8().unwrap().expose());
        assert_eq!(again.to_pkcs8().unwrap().expose(), pair.pkcs8);
    }
}

#[test]
fn what_is_missing_of_an_rsa_key_is_computed() {
    for bits in [1024, 2048, 2050] {
        let pair = rsa_pair(bits);
        let complete = numbers(&pair.theirs);
        let without_primes = RsaComponents {
            primes: None,
            exponent_1: None,
            exponent_2: None,
            coefficient: None,
            ..numbers(&pair.theirs)
        };
        let found = apart(&put_together(without_primes).unwrap());
        let (p, q) = found.primes.as_ref().unwrap();
        assert!(p.expose() > q.expose());
        let theirs = complete.primes.as_ref().unwrap();
        let in_order = p.expose() == theirs.0.expose();
        if in_order {
            assert_same(&found, &complete);
        }
        assert!(in_order || (p.expose() == theirs.1.expose() && q.expose() == theirs.0.expose()));

        let mut without_crt = numbers(&pair.theirs);
        (without_crt.exponent_1, without_crt.exponent_2, without_crt.coefficient) = (None, None, None);
        assert_same(&apart(&put_together(without_crt).unwrap()), &complete);
        let mut without_one = numbers(&pair.theirs);
        without_one.coefficient = None;
        assert_same(&apart(&put_together(without_one).unwrap()), &complete);

        // The other way round, and with zeros in front.
        let mut swapped = numbers(&pair.theirs);
        swapped.primes = swapped.primes.map(|(p, q)| (q, secret(&[&[0, 0], p.expose()].concat())));
        (swapped.exponent_1, swapped.exponent_2, swapped.coefficient) = (None, None, None);
        swapped.modulus.insert(0, 0);
        swapped.private_exponent = secret(&[&[0], swapped.private_exponent.expose()].concat());
        let swapped = put_together(swapped).unwrap();
        assert_eq!(swapped.public_key(), pair.ours.public_key());
        let signature = swapped.sign_pkcs1(None, b"data").unwrap();
        assert_eq!(signature, pair.ours.sign_pkcs1(None, b"data").unwrap());
    }
}

#[test]
fn rsa_numbers_that_do_not_belong_together_are_refused() {
    let pair = rsa_pair(1024);
    let other = numbers(&rsa_pair(2048).theirs);
    let with = |change: &dyn Fn(&mut RsaComponents)| {
        let mut rsa = numbers(&pair.theirs);
        change(&mut rsa);
        put_together(rsa)
    };
    let bare = |rsa: &mut RsaComponents| {
        (rsa.primes, rsa.exponent_1, rsa.exponent_2, rsa.coefficient) = (None, None, None, None);
    };
    let odd = || secret(&[&random_bytes(127)[..], &[1]].concat());
    type Change<'a> = &'a dyn Fn(&mut RsaComponents);
    let wrong: &[Change<'_>] = &[
        &|rsa| rsa.modulus[5] ^= 1,
        &|rsa| rsa.modulus.clear(),
        &|rsa| *rsa.modulus.last_mut().unwrap() ^= 1,
        &|rsa| rsa.public_exponent = vec![3],
        &|rsa| rsa.public_exponent = vec![],
        &|rsa| rsa.public_exponent = vec![1],
        &|rsa| rsa.public_exponent = vec![0xff; 100],
        &|rsa| rsa.private_exponent = odd(),
        &|rsa| rsa.private_exponent = secret(&[]),
        &|rsa| rsa.private_exponent = secret(&[1]),
        &|rsa| rsa.private_exponent = secret(&[0xff; 2000]),
        &|rsa| rsa.primes = Some((secret(&[3; 64]), secret(&[5; 64]))),
        &|rsa| rsa.primes = Some((secret(&[]), secret(&[]))),
        &|rsa| rsa.primes = Some((secret(pair.ours.public_key().modulus()), secret(&[1]))),
        &|rsa| rsa.primes = Some((secret(&[0xff; 2000]), secret(&[0xff; 2000]))),
        &|rsa| rsa.exponent_1 = Some(odd()),
        &|rsa| rsa.exponent_2 = Some(secret(&[])),
        &|rsa| rsa.coefficient = Some(odd()),
        &|rsa| {
            bare(rsa);
            rsa.private_exponent = odd();
        },
        &|rsa| {
            bare(rsa);
            rsa.private_exponent.expose_mut()[127] ^= 1;
        },
        &|rsa| {
            bare(rsa);
            rsa.private_exponent = secret(other.private_exponent.expose());
        },
        &|rsa| {
            bare(rsa);
            rsa.public_exponent = vec![3];
        },
        &|rsa| {
            bare(rsa);
            rsa.modulus = other.modulus.clone();
        },
        &|rsa| {
            // A prime modulus has no factors to find.
            bare(rsa);
            rsa.modulus = other.primes.as_ref().unwrap().0.expose().to_vec();
        },
        &|rsa| {
            bare(rsa);
            rsa.modulus = vec![0xff; 2000];
        },
    ];
    for (i, change) in wrong.iter().enumerate() {
        match with(change) {
            Ok(_) => panic!("change {i} made a key"),
            Err(error) => assert_eq!(error.cause(), Cause::AttributeValueInvalid, "change {i}: {error}"),
        }
    }
    let incomplete: &[Change<'_>] =
        &[&|rsa| rsa.primes = None, &|rsa| (rsa.primes, rsa.exponent_1, rsa.exponent_2) = (None, None, None)];
    for change in incomplete {
        assert_fails(with(change), Cause::TemplateIncomplete);
    }
}

#[test]
fn ec_keys_come_apart_and_together() {
    for curve in Curve::ALL.iter().copied() {
        let len = curve.field_len();
        // Below the order of every curve, and with a leading zero.
        let scalar = [&[0, 1][..], &random_bytes(len - 2)].concat();
        let key = |scalar: &[u8]| PrivateKey::from_components(&PrivateComponents::Ec { curve, scalar: secret(scalar) });
        let ours = key(&scalar).unwrap();
        let PrivateComponents::Ec { curve: same, scalar: again } = ours.components().unwrap() else { panic!() };
        assert_eq!((same, again.expose()), (curve, &scalar[..]));
        // A big integer may have any number of leading zeros.
        for spelling in [&scalar[1..], &[&[0; 80], &scalar[..]].concat()] {
            assert_eq!(key(spelling).unwrap().public_key(), ours.public_key());
        }
        for wrong in [vec![], vec![0; len], vec![0xff; len], vec![1; len + 1]] {
            assert_fails(key(&wrong), Cause::AttributeValueInvalid);
        }
        let pkcs8 = ours.to_pkcs8().unwrap();
        let loaded = PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
        assert_eq!(loaded.public_key(), ours.public_key());
        assert_eq!(loaded.to_pkcs8().unwrap().expose(), pkcs8.expose());
    }
}

/// RustCrypto writes EC keys in the same form.
#[test]
fn pkcs8_of_ec_keys_is_theirs() {
    use getrandom::SysRng;
    macro_rules! each {
        ($($path:ident)*) => {$({
            use $path::elliptic_curve::Generate;
            use $path::pkcs8::EncodePrivateKey;
            let theirs = $path::SecretKey::try_generate_from_rng(&mut SysRng).unwrap().to_pkcs8_der().unwrap();
            let ours = PrivateKey::from_pkcs8(theirs.as_bytes()).unwrap();
            assert_eq!(ours.to_pkcs8().unwrap().expose(), theirs.as_bytes());
        })*};
    }
    each!(p256 p384 p521 k256);
}

#[test]
fn keys_of_32_bytes_come_apart_and_together() {
    let raw = random_bytes(32);
    let edwards = PrivateKey::from_components(&PrivateComponents::Ed25519 { seed: secret(&raw) }).unwrap();
    let theirs = ed25519_dalek::SigningKey::from_bytes(raw.as_slice().try_into().unwrap());
    assert_eq!(edwards.public_key().spki_der()[12..], theirs.verifying_key().to_bytes());
    let montgomery = PrivateKey::from_components(&PrivateComponents::X25519 { scalar: secret(&raw) }).unwrap();
    for key in [edwards, montgomery] {
        let (PrivateComponents::Ed25519 { seed: bytes } | PrivateComponents::X25519 { scalar: bytes }) =
            key.components().unwrap()
        else {
            panic!()
        };
        assert_eq!(bytes.expose(), raw);
        let pkcs8 = key.to_pkcs8().unwrap();
        assert_eq!(pkcs8.len(), 48);
        let again = PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
        assert_eq!((again.kind(), again.public_key()), (key.kind(), key.public_key()));
    }
    for wrong in [&raw[1..], &[&raw[..], &[0]].concat(), &[]] {
        let seed = PrivateComponents::Ed25519 { seed: secret(wrong) };
        assert_fails(PrivateKey::from_components(&seed), Cause::AttributeValueInvalid);
        let scalar = PrivateComponents::X25519 { scalar: secret(wrong) };
        assert_fails(PrivateKey::from_components(&scalar), Cause::AttributeValueInvalid);
    }
}

#[test]
fn ml_kem_keys_come_apart_and_together() {
    for set in MlKemSet::ALL.iter().copied() {
        let key = |seed: Option<&[u8]>, expanded: Option<&[u8]>| {
            let (seed, expanded) = (seed.map(secret), expanded.map(secret));
            PrivateKey::from_components(&PrivateComponents::MlKem { set, seed, expanded })
        };
        let parts = |key: &PrivateKey| {
            let PrivateComponents::MlKem { set: same, seed, expanded } = key.components().unwrap() else { panic!() };
            assert_eq!(same, set);
            (seed, expanded.unwrap())
        };
        let seed = random_bytes(64);
        let ours = key(Some(&seed), None).unwrap();
        let (same, expanded) = parts(&ours);
        assert_eq!(same.unwrap().expose(), seed);
        assert_eq!(expanded.len(), set.private_key_len());
        let both = key(Some(&seed), Some(expanded.expose())).unwrap();
        assert_eq!(parts(&both).0.unwrap().expose(), seed);
        let alone = key(None, Some(expanded.expose())).unwrap();
        let (no_seed, same) = parts(&alone);
        assert!(no_seed.is_none());
        assert_eq!(same.expose(), expanded.expose());
        for (key, len) in [(&ours, 86), (&both, 86), (&alone, set.private_key_len() + 28)] {
            let pkcs8 = key.to_pkcs8().unwrap();
            assert_eq!(pkcs8.len(), len);
            let again = PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
            assert_eq!(again.public_key(), ours.public_key());
            assert_eq!(again.to_pkcs8().unwrap().expose(), pkcs8.expose());
        }
        assert_fails(key(None, None), Cause::TemplateIncomplete);
        for (seed, expanded) in [
            (Some(&seed[1..]), None),
            (Some(&random_bytes(64)[..]), Some(expanded.expose())),
            (None, Some(&expanded.expose()[1..])),
            (None, Some(&seed[..])),
            (None, Some(&[][..])),
        ] {
            assert_fails(key(seed, expanded), Cause::AttributeValueInvalid);
        }
    }
}
