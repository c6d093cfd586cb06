//! Ed448 and X448: the test vectors of RFC 8032 and RFC 7748. Project Wycheproof's are in `tests/vectors.rs`.

use super::super::{EdVariant, Hash, KeyKind, PrivateComponents, PrivateKey, PublicKey, Secret, SeededKind};
use super::{assert_fails, unhex};
use crate::error::Cause;

fn ed448(seed: &str) -> PrivateKey {
    PrivateKey::from_components(&PrivateComponents::Ed448 { seed: Secret::new(unhex(seed)) }).unwrap()
}

fn x448(scalar: &[u8]) -> PrivateKey {
    PrivateKey::from_components(&PrivateComponents::X448 { scalar: Secret::new(scalar.to_vec()) }).unwrap()
}

/// Section 7.4: secret key, public key, message, context, signature.
const PURE: [[&str; 5]; 3] = [
    [
        "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b",
        "5fd7449b59b461fd2ce787ec616ad46a1da1342485a70e1f8a0ea75d80e96778edf124769b46c7061bd6783df1e50f6cd1fa1abeafe8256180",
        "",
        "",
        "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d7828c59bd0a21bfd3980\
         ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4dbb61149f05a7363268c71d95808ff2e652600",
    ],
    [
        "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e",
        "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c235160627b4c3a9480",
        "03",
        "",
        "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633fc1bf037ab7cd77980\
         5e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0ff3348ab21aa4adafd1d234441cf807c03a00",
    ],
    [
        "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463afbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e",
        "43ba28f430cdff456ae531545f7ecd0ac834a55d9358c0372bfa0c6c6798c0866aea01eb00742802b8438ea4cb82169c235160627b4c3a9480",
        "03",
        "666f6f",
        "d4f8f6131770dd46f40867d6fd5d5055de43541f8c5e35abbcd001b32a89f7d2151f7647f11d8ca2ae279fb842d607217fce6e042f6815ea00\
         0c85741de5c8da1144a6a1aba7f96de42505d7a7298524fda538fccbbb754f578c1cad10d54d0d5428407e85dcbc98a49155c13764e66c3c00",
    ],
];

/// Section 7.5: of "abc", with two contexts.
const PREHASHED: [[&str; 2]; 2] = [
    [
        "",
        "822f6901f7480f3d5f562c592994d9693602875614483256505600bbc281ae381f54d6bce2ea911574932f52a4e6cadd78769375ec3ffd1b80\
         1a0d9b3f4030cd433964b6457ea39476511214f97469b57dd32dbc560a9a94d00bff07620464a3ad203df7dc7ce360c3cd3696d9d9fab90f00",
    ],
    [
        "666f6f",
        "c32299d46ec8ff02b54540982814dce9a05812f81962b649d528095916a2aa481065b1580423ef927ecf0af5888f90da0f6a9a85ad5dc3f280\
         d91224ba9911a3653d00e484e2ce232521481c8658df304bb7745a73514cdb9bf3e15784ab71284f8d0704a608c54a6b62d97beb511d132100",
    ],
];

#[test]
fn ed448_signs_as_rfc_8032_says() {
    for [seed, point, message, context, signature] in PURE {
        let (key, message, context) = (ed448(seed), unhex(message), unhex(context));
        let public = key.public_key();
        assert_eq!(public, &PublicKey::from_ed448(&unhex(point)).unwrap());
        let variant = if context.is_empty() { EdVariant::Pure } else { EdVariant::Ctx(&context) };
        assert_eq!(key.eddsa_sign(variant, &message).unwrap(), unhex(signature));
        public.verify_eddsa(variant, &message, &unhex(signature)).unwrap();
        assert_fails(public.verify_eddsa(EdVariant::Ctx(b"x"), &message, &unhex(signature)), Cause::SignatureInvalid);
        assert_fails(public.verify_eddsa(variant, b"other", &unhex(signature)), Cause::SignatureInvalid);
    }
    let key = ed448(
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42ef7822e0d5104127dc05d6dbefde69e3ab2cec7c867c6e2c49",
    );
    let prehash: [u8; 64] = Hash::Shake256.digest(b"abc").as_ref().try_into().unwrap();
    for [context, signature] in PREHASHED {
        let (context, signature) = (unhex(context), unhex(signature));
        assert_eq!(key.eddsa_sign(EdVariant::Ph(&context), b"abc").unwrap(), signature);
        assert_eq!(key.eddsa_sign_prehash(&context, &prehash).unwrap(), signature);
        let public = key.public_key();
        public.verify_eddsa(EdVariant::Ph(&context), b"abc", &signature).unwrap();
        public.verify_eddsa_prehash(&context, &prehash, &signature).unwrap();
        assert_fails(public.verify_eddsa_prehash(b"other", &prehash, &signature), Cause::SignatureInvalid);
        assert_fails(public.verify_eddsa(EdVariant::Pure, b"abc", &signature), Cause::SignatureInvalid);
        assert_fails(public.verify_eddsa(EdVariant::Pure, b"abc", &signature[1..]), Cause::SignatureLenRange);
        assert_fails(public.verify_eddsa_prehash(&[0; 256], &prehash, &signature), Cause::MechanismParamInvalid);
    }
}

#[test]
fn x448_agrees_as_rfc_7748_says() {
    // Section 6.2: private keys, public keys, what they share.
    let parties = [
        (
            "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
            "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
        ),
        (
            "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
            "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
        ),
    ];
    let shared = unhex(
        "07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56fd2464c335543936521c24403085d59a449a5037514a879d",
    );
    for (own, peer) in [(0, 1), (1, 0)] {
        let key = x448(&unhex(parties[own].0));
        assert_eq!(key.public_key(), &PublicKey::from_x448(&unhex(parties[own].1)).unwrap());
        assert_eq!(key.ecdh(&unhex(parties[peer].1)).unwrap().expose(), shared);
    }
    // Section 5.2.
    let scalar = x448(&unhex(
        "3d262fddf9ec8e88495266fea19a34d28882acef045104d0d1aae121700a779c984c24f8cdd78fbff44943eba368f54b29259a4f1c600ad3",
    ));
    let peer = unhex(
        "06fce640fa3487bfda5f6cf2d5263f8aad88334cbd07437f020f08f9814dc031ddbdc38c19c6da2583fa5429db94ada18aa7a7fb4ef8a086",
    );
    let shared = unhex(
        "ce3e4ff95a60dc6697da1db1d85e6afbdf79b50a2412d7546d5f239fe14fbaadeb445fc66a01b0779d98223961111e21766282f73dd96b6f",
    );
    assert_eq!(scalar.ecdh(&peer).unwrap().expose(), shared);
    let bob = PrivateKey::generate(SeededKind::X448).unwrap();
    let (ephemeral, secret) = bob.public_key().ecdh_ephemeral().unwrap();
    assert_eq!(bob.ecdh(&ephemeral).unwrap().expose(), secret.expose());
    // Points of small order, the numbers 0, 1 and p - 1, and the first two beside their canonical encoding.
    let mut small = [[0; 56], [0; 56], [0xff; 56], [0xff; 56], [0; 56]];
    small[1][0] = 1;
    (small[2][0], small[2][28]) = (0xfe, 0xfe);
    small[3][28] = 0xfe;
    small[4][28..].fill(0xff);
    for peer in small {
        assert_fails(scalar.ecdh(&peer), Cause::MechanismParamInvalid);
    }
    assert_fails(scalar.ecdh(&peer[1..]), Cause::MechanismParamInvalid);
}

#[test]
fn keys_come_apart_and_together() {
    for (kind, seeded, len) in [(KeyKind::Ed448, SeededKind::Ed448, 57), (KeyKind::X448, SeededKind::X448, 56)] {
        let key = PrivateKey::generate(seeded).unwrap();
        let (public, pkcs8) = (key.public_key(), key.to_pkcs8().unwrap());
        assert_eq!((key.kind(), public.kind()), (kind, kind));
        assert!(pkcs8.len() <= public.private_key_len());
        assert_eq!(PrivateKey::from_pkcs8(pkcs8.expose()).unwrap().public_key(), public);
        assert_eq!(&PublicKey::from_spki(public.spki_der()).unwrap(), public);
        assert_eq!(public.spki_der().len(), 12 + len);
        assert_fails(PublicKey::from_spki(&public.spki_der()[..11 + len]), Cause::AttributeValueInvalid);
        assert_fails(PrivateKey::from_pkcs8(&pkcs8.expose()[1..]), Cause::SealKeyMalformed);
        assert_ne!(PrivateKey::generate(seeded).unwrap().public_key(), public);
    }
    // No point, one that is not written canonically, and the neutral one.
    let mut points = [[2; 57], [0xff; 57], [0; 57]];
    points[1][56] = 0;
    points[2][0] = 1;
    for point in points {
        assert_fails(PublicKey::from_ed448(&point), Cause::AttributeValueInvalid);
    }
    assert_fails(PublicKey::from_x448(&[9; 55]), Cause::AttributeValueInvalid);
}
