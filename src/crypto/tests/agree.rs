//! Key agreement against RustCrypto's arithmetic and published vectors.

use super::super::{Curve, Hash, KeyKind, PrivateKey, PublicKey, PublicParts, SharedSecretKdf};
use super::{assert_fails, random_bytes, rsa_pair, unhex, with_theirs};
use crate::error::Cause;
use getrandom::SysRng;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToSec1Point;

/// Runs the body once per curve with RustCrypto's crate as `$krate`.
macro_rules! each_curve {
    (|$curve:ident, $krate:ident| $body:block) => {{
        each_curve!(@ $curve, $krate, $body, Curve::P256, p256);
        each_curve!(@ $curve, $krate, $body, Curve::P384, p384);
        each_curve!(@ $curve, $krate, $body, Curve::P521, p521);
        each_curve!(@ $curve, $krate, $body, Curve::Secp256k1, k256);
    }};
    (@ $curve:ident, $krate:ident, $body:block, $value:expr, $path:ident) => {{
        use $path as $krate;
        let $curve = $value;
        $body
    }};
}

/// A key in both implementations.
macro_rules! pair {
    ($krate:ident) => {{
        use $krate::elliptic_curve::Generate;
        use $krate::pkcs8::EncodePrivateKey;
        let theirs = $krate::SecretKey::try_generate_from_rng(&mut SysRng).unwrap();
        let ours = PrivateKey::from_pkcs8(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        (theirs, ours)
    }};
}

#[test]
fn shared_secrets_are_theirs_and_as_long_as_the_field() {
    each_curve!(|curve, krate| {
        let mut short = false;
        for round in 0.. {
            let (theirs, _) = pair!(krate);
            let (_, ours) = pair!(krate);
            let PublicParts::Ec { point, .. } = ours.public_key().parts().unwrap() else { panic!() };
            let point = krate::PublicKey::from_sec1_bytes(&point).unwrap();
            let expected = (point.to_projective() * *theirs.to_nonzero_scalar()).to_affine().x();
            let peer = theirs.public_key().to_sec1_point(round % 2 == 0);
            let shared = ours.ecdh(peer.as_bytes()).unwrap();
            assert_eq!(shared.expose(), expected.as_slice());
            assert_eq!(shared.len(), curve.field_len());
            // P-521 has a leading zero in every other secret; elsewhere it takes too long to wait for one.
            short |= shared.expose()[0] == 0;
            if round >= 20 && (short || curve != Curve::P521) {
                break;
            }
        }
    });
}

/// A private key of 1 gives the peer's own coordinate: one that begins with zeros keeps them.
#[test]
fn leading_zeros_stay() {
    use p256::pkcs8::EncodePrivateKey;
    each_curve!(|curve, krate| {
        let mut one = vec![0; curve.field_len()];
        one[curve.field_len() - 1] = 1;
        let one = krate::SecretKey::from_slice(&one).unwrap();
        let one = PrivateKey::from_pkcs8(one.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        let mut point = krate::ProjectivePoint::GENERATOR;
        while point.to_affine().x()[0] != 0 {
            point += krate::ProjectivePoint::GENERATOR;
        }
        let x = point.to_affine().x();
        let peer = krate::PublicKey::from_affine(point.to_affine()).unwrap();
        assert_eq!(one.ecdh(peer.to_sec1_point(false).as_bytes()).unwrap().expose(), x.as_slice());
    });
}

#[test]
fn an_ephemeral_key_agrees_with_the_private_one_and_is_new_each_time() {
    each_curve!(|curve, krate| {
        let (_, ours) = pair!(krate);
        let (point, secret) = ours.public_key().ecdh_ephemeral().unwrap();
        assert_eq!(point.len(), 1 + 2 * curve.field_len());
        assert_eq!(ours.ecdh(&point).unwrap().expose(), secret.expose());
        let (again, other) = ours.public_key().ecdh_ephemeral().unwrap();
        assert_ne!(point, again);
        assert_ne!(secret.expose(), other.expose());
    });
}

fn x25519(private: &[u8]) -> PrivateKey {
    PrivateKey::from_pkcs8(&[&unhex("302e020100300506032b656e04220420"), private].concat()).unwrap()
}

/// RFC 7748, section 6.1.
#[test]
fn x25519_is_that_of_the_standard() {
    let alice = x25519(&unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    let bob = x25519(&unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    assert_eq!(alice.kind(), KeyKind::X25519);
    let point = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let shared = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(alice.ecdh(&point).unwrap().expose(), shared);
    let parts = PublicParts::X25519 { point: point.try_into().unwrap() };
    assert_eq!(bob.public_key().parts().unwrap(), parts);
}

#[test]
fn x25519_agrees_with_curve25519_dalek() {
    for _ in 0..50 {
        let private = random_bytes(32);
        let ours = x25519(&private);
        let theirs = ed25519_dalek::SigningKey::from_bytes(random_bytes(32).as_slice().try_into().unwrap());
        let peer = theirs.verifying_key().to_montgomery();
        let expected = peer.mul_clamped(private.as_slice().try_into().unwrap());
        assert_eq!(ours.ecdh(peer.as_bytes()).unwrap().expose(), expected.as_bytes());
        let theirs = x25519(&theirs.to_scalar_bytes());
        assert_eq!(theirs.public_key(), &PublicKey::from_x25519(peer.as_bytes()).unwrap());
        assert_eq!(PublicKey::from_spki(theirs.public_key().spki_der()).unwrap(), *theirs.public_key());

        let (point, secret) = ours.public_key().ecdh_ephemeral().unwrap();
        assert_eq!(ours.ecdh(&point).unwrap().expose(), secret.expose());
    }
}

#[test]
fn x25519_with_points_of_small_order_or_another_length_is_refused() {
    let ours = x25519(&random_bytes(32));
    let order_8 = unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for wrong in [vec![0; 32], [&[1][..], &[0; 31]].concat(), order_8, vec![], vec![9; 31], vec![9; 33]] {
        assert_fails(ours.ecdh(&wrong), Cause::MechanismParamInvalid);
    }
    assert_fails(ours.ecdsa_sign(b"digest"), Cause::KeyTypeInconsistent);
    assert_fails(ours.public_key().verify_ecdsa(b"digest", &[0; 64]), Cause::KeyTypeInconsistent);
}

#[test]
fn points_that_are_none_are_refused() {
    each_curve!(|curve, krate| {
        let (_, ours) = pair!(krate);
        let PublicParts::Ec { point, .. } = pair!(krate).1.public_key().parts().unwrap() else { panic!() };
        let mut off_curve = point.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let mut hybrid = point.clone();
        hybrid[0] = 6 | (point.last().unwrap() & 1);
        let wrapped = [&[4, point.len() as u8], &point[..]].concat();
        let other_curve = match curve {
            Curve::P256 => pair!(k256).1,
            _ => pair!(p256).1,
        };
        let PublicParts::Ec { point: other_curve, .. } = other_curve.public_key().parts().unwrap() else { panic!() };
        let zeros = vec![0; point.len()];
        let no_point = [&[4][..], &zeros[1..]].concat();
        for wrong in [off_curve, hybrid, wrapped, other_curve, zeros, no_point, vec![0], vec![], point[1..].to_vec()] {
            assert_fails(ours.ecdh(&wrong), Cause::MechanismParamInvalid);
        }
    });
    let rsa = &rsa_pair(1024).ours;
    assert_fails(rsa.ecdh(&[4]), Cause::KeyTypeInconsistent);
    assert_fails(rsa.public_key().ecdh_ephemeral(), Cause::KeyTypeInconsistent);
    assert_fails(PublicKey::from_ed25519(&[1; 32]).and_then(|key| key.ecdh_ephemeral()), Cause::KeyTypeInconsistent);
}

/// From NIST's vectors of ANSI X9.63 and of SP 800-56A.
#[test]
fn derived_keys_are_those_of_the_standards() {
    let sha256 = SharedSecretKdf::X963(Hash::Sha256);
    let derived = sha256.derive(&unhex("96c05619d56c328ab95fe84b18264b08725b85e33fd34f08"), &[], 16).unwrap();
    assert_eq!(derived.expose(), unhex("443024c3dae66b95e6f5670601558f71"));
    let secret = unhex("22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d");
    let derived = sha256.derive(&secret, &unhex("75eef81aa3041e33b80971203d2c0c52"), 128).unwrap();
    let expected = "c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e\
                    52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485\
                    500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269\
                    142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21";
    assert_eq!(derived.expose(), unhex(expected));
    let secret = unhex("52169af5c485dcc2321eb8d26d5efa21fb9b93c98e38412ee2484cf14f0d0d23");
    let info = "a1b2c3d4e53728157e634612c12d6d5223e204aeea4341565369647bd184bcd246f72971f292badaa2fe4124612cba";
    let derived = SharedSecretKdf::OneStep(Hash::Sha256).derive(&secret, &unhex(info), 16).unwrap();
    assert_eq!(derived.expose(), unhex("1c3bc9e7c4547c5191c0d478cccaed55"));
}

#[test]
fn keys_are_derived_with_every_hash_and_of_every_length() {
    use sha2::Digest;
    for hash in Hash::ALL.iter().copied() {
        for len in [0, 1, hash.len(), hash.len() + 1, 3 * hash.len()] {
            let (secret, info) = (random_bytes(48), random_bytes(len % 7));
            let blocks = |kdf: SharedSecretKdf| -> Vec<u8> {
                let block = |counter: u32| {
                    let counter = &counter.to_be_bytes()[..];
                    let input = match kdf {
                        SharedSecretKdf::X963(_) => [&secret, counter, &info].concat(),
                        SharedSecretKdf::OneStep(_) => [counter, &secret, &info].concat(),
                    };
                    with_theirs!(hash, H, H::digest(&input).to_vec())
                };
                (1..=3).flat_map(block).take(len).collect()
            };
            for kdf in [SharedSecretKdf::X963(hash), SharedSecretKdf::OneStep(hash)] {
                assert_eq!(kdf.derive(&secret, &info, len).unwrap().expose(), blocks(kdf));
            }
        }
        assert_fails(SharedSecretKdf::X963(hash).derive(&[1], &[], 65535 * hash.len() + 1), Cause::KeySizeRange);
        assert_fails(SharedSecretKdf::OneStep(hash).derive(&[1], &[], usize::MAX), Cause::KeySizeRange);
    }
}
