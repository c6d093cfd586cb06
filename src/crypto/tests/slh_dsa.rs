//! SLH-DSA against known answers, which the crate fips205 gave, an implementation by others.

use super::super::{Hash, KeyKind, PrivateComponents, PrivateKey, PublicKey, PublicParts, Secret, SeededKind};
use super::super::{SlhDsaMessage, SlhDsaSet};
use super::{assert_fails, unhex};
use crate::error::Cause;

/// A set; the root of the key whose three seeds are the bytes 0, 1, 2 and so on; and the SHA-256 of its signatures, with
/// no random bytes: of "message" with the context "context", of its SHA-512 with the same, and of its SHAKE128 without.
static ANSWERS: [(SlhDsaSet, &str, &str, &str, &str); 12] = [
    (
        SlhDsaSet::Sha2_128s,
        "990ce6298792b128846a8e4a3a68954c",
        "7a761609d23a469cf8ce2d35acc603177b7f083b748493561fe57fd34bc2a6c7",
        "33c2d4a6e03fedee166ddaf38efaf90f7328fa8a65bf7d128cdd0c433e79badd",
        "7076221a8160e50922861478351932b5cf859925dc4dc7cdd6081d88c500d74e",
    ),
    (
        SlhDsaSet::Sha2_128f,
        "3b56e816847f000386aeec2e2bb9e1b5",
        "8cf6744657b5f19defae315b07dd467376357b6b67ea48d289139cc9a8a7ec2c",
        "4b123aa87635b10785cbfa18830252ef7e5b09636ef63f7463f2a7e4410814d4",
        "20987a74f76d47584e61a96fab86a44bcb813e7e63105784d15a2bd607ee9301",
    ),
    (
        SlhDsaSet::Sha2_192s,
        "b6f282ce116ff59bce2d9fc4a67c6031dabdce326c34f541",
        "593dad4fa2e51eab3539ac28db7ddde277bc8f3068eab3e63862bf417331a5aa",
        "688174f5baa481a08d688d1df800dcb62b7396cf11a4c222d23c557ff483f1ae",
        "2c8d73f94a53ea149c458cae6114fe50c455faedcbf6ebe971172fcb86738886",
    ),
    (
        SlhDsaSet::Sha2_192f,
        "9236ccebbb3a90ac2452dd89de49dab1340ec02419a2870e",
        "33a43b99830ebb6b49df8896b25758dcf885d45ac5f3071cb6ea76edec62c72f",
        "d98a5930dfe2e56ec1f2d17c12a1f79569be4597a8db88f97183d8473211fefb",
        "3e0e9a17e65d808094c9b657a678bce5bf2af2f2c7e42d81b7ce2937192c42a0",
    ),
    (
        SlhDsaSet::Sha2_256s,
        "da7163e601352515bc0f06f9f4f44be71a5a65ee9dca5575cf4a7b6d4a87d6e2",
        "6d38fab0d2e1a4d3ad5ae2425c017562e0e00b80ee04e20ff1976fb38380e705",
        "fd4449090da69ef7be56d3bbd386c30e5bef411244e2a1bf7b03ec594d41ffe0",
        "bfd7dba026a630cb77de08ae9e7db3516584aa7ec4d71188c4cf9ebcf0bc251d",
    ),
    (
        SlhDsaSet::Sha2_256f,
        "42cffe64ddbd6731063752684df77c8b58c225dc6b491208916b654ea1393176",
        "886f2dbaf1290936da7524d97f0550c8d519b572de36df9b69edf15582fd7f01",
        "ecaa5ea4d9d09a7a3dc89d3cd61536a0f028280655e99e9cce2976f774509b11",
        "f6402bf10644f7aa0b27334b68c71b8dc96fe331371e9d7f7707cd0b87a0b0ac",
    ),
    (
        SlhDsaSet::Shake_128s,
        "89fd81fdbb5b94129b14761bdc6bf682",
        "e24064f4afe2ee40557c33edc82b3e46d05e7ff5abb6da082c5c08a2a8f5d19f",
        "62fe5abb16adab0ac8681d51da06a5f8c0915da13e7b907b77e74d7e55af9531",
        "38a9e9200e738e2460fb63cda66d5dde14b3454564084b19a2c2a434c3f6fd80",
    ),
    (
        SlhDsaSet::Shake_128f,
        "a90e4715b9a925c332801767fd786371",
        "8907c75a4dfdb1e57906686ed40a980886ee7893f75c1b82b598017aca3019e4",
        "f22740e166b960a1a8bdc4247ca85add70ac8f624d20e60b944cd3613e3d817c",
        "48514fbdca00f01a2a65040b6817ec80d54450bbcccbea6756f65b1ad1fe6b94",
    ),
    (
        SlhDsaSet::Shake_192s,
        "eb247f955d8eca24a5860536c56b2c4d1e8d8e835eb27d2d",
        "5b4e4026c1c7079076edc002683fe9f3b8566ef8cddf9f2b446124db18026dac",
        "4b978d1c1cf9e8bd852909f08c0ecfd60534479c6bfc6703c8bec14da76b4a68",
        "aa301527e030c0a930af136aa8599159b47f8650fad06948fd91c0f38cbb067d",
    ),
    (
        SlhDsaSet::Shake_192f,
        "3f01b06bebed020a459696868d115fe8507ded8dc08e825d",
        "9abfcf564852cd3b9fe98f49e2248adbc6e7e125df85aa5a143d9c42918bc662",
        "83b31da5c267440e502d15239ae745687eb38d06eea5f062aef3d90c66e1a6bb",
        "e1cb43191bbd0c5bdb287608b19bf168d8395b296225210f9c3cf5822bae5889",
    ),
    (
        SlhDsaSet::Shake_256s,
        "27ea444dbc8ca9c169fd484b9e977eb77a4f233550757e025cf180ede7e8839f",
        "1d8545337ddaf26b041b4bedb1e598c42ad97b7c30aabdef1a06f200ed5418af",
        "ef2278e5bcaa100c70c693b510810b3a0548a416e50151a5a303db99182a390f",
        "e29de41c54a19e4df3e0ee6a777f0b85297ea55cc0383f6deb9fa30f9900e57a",
    ),
    (
        SlhDsaSet::Shake_256f,
        "818d7e76beef979b5bbf9161fdefa21bd0fe0bfe19157a5711a8de8a8f6878e6",
        "86d0c942ea9b8cccecd5353f033ce609b88ec81c2f4ed79a1419514dc9c0629a",
        "618fa0dff216598e3bc3989dfc8585ba47089a2f29efc03f8509e93dcee0048e",
        "4117c3eefa0f8f3f2dd0b84995de83b19b7acf8ff216904ee4b4714fb1196051",
    ),
];

fn key_of(set: SlhDsaSet, root: &str) -> PrivateComponents {
    let seeds: Vec<u8> = (0..set.private_key_len() * 3 / 4).map(|byte| byte as u8).collect();
    PrivateComponents::SlhDsa { set, key: Secret::new([seeds, unhex(root)].concat()) }
}

/// The small sets, which take their time, sign once.
fn check(answers: impl Iterator<Item = &'static (SlhDsaSet, &'static str, &'static str, &'static str, &'static str)>) {
    for (set, root, pure, sha512, shake128) in answers {
        let key = PrivateKey::from_components(&key_of(*set, root)).unwrap();
        let public = key.public_key();
        assert_eq!((key.kind(), public.kind()), (KeyKind::SlhDsa(*set), KeyKind::SlhDsa(*set)));
        let signatures = if is_fast(*set) { 3 } else { 1 };
        for (message, context, expected) in [
            (SlhDsaMessage::Pure(b"message"), &b"context"[..], pure),
            (SlhDsaMessage::Hashed(Hash::Sha512, &Hash::Sha512.digest(b"message")), b"context", sha512),
            (SlhDsaMessage::Hashed(Hash::Shake128, &Hash::Shake128.digest(b"message")), b"", shake128),
        ]
        .into_iter()
        .take(signatures)
        {
            let signature = key.slh_dsa_sign(message, context, false).unwrap();
            assert_eq!(signature.len(), set.signature_len());
            assert_eq!(Hash::Sha256.digest(&signature)[..], unhex(expected), "{set:?} {context:?}");
            public.verify_slh_dsa(message, context, &signature).unwrap();
            assert_fails(public.verify_slh_dsa(message, b"other", &signature), Cause::SignatureInvalid);
        }
    }
}

fn is_fast(set: SlhDsaSet) -> bool {
    format!("{set:?}").ends_with('f')
}

#[test]
fn the_sets_of_sha_2_sign_as_others_do() {
    check(ANSWERS.iter().take(6));
}

#[test]
fn the_sets_of_shake_sign_as_others_do() {
    check(ANSWERS.iter().skip(6));
}

#[test]
fn keys_come_apart_and_together() {
    for set in SlhDsaSet::ALL.iter().copied().filter(|set| is_fast(*set)) {
        let key = PrivateKey::generate(SeededKind::SlhDsa(set)).unwrap();
        let public = key.public_key();
        let spki = public.spki_der();
        assert_eq!(&PublicKey::from_spki(spki).unwrap(), public);
        assert_fails(PublicKey::from_spki(&[spki, b"x"].concat()), Cause::AttributeValueInvalid);
        assert_fails(PublicKey::from_spki(&spki[..spki.len() - 1]), Cause::AttributeValueInvalid);
        let PublicParts::SlhDsa { set: said, key: bytes } = public.parts().unwrap() else { panic!() };
        assert_eq!((said, bytes.len()), (set, set.public_key_len()));
        assert_eq!(&PublicKey::from_slh_dsa(set, &bytes).unwrap(), public);
        assert!(spki.ends_with(&bytes));

        let pkcs8 = key.to_pkcs8().unwrap();
        assert!(pkcs8.len() <= public.private_key_len());
        let again = PrivateKey::from_pkcs8(pkcs8.expose()).unwrap();
        assert_eq!(again.public_key(), public);
        // The bare key is the end of its PKCS#8, and the public key the end of that.
        assert!(pkcs8.expose().ends_with(&bytes));
        for broken in [pkcs8.len() - 1, pkcs8.len() - set.private_key_len(), pkcs8.len() - bytes.len()] {
            let mut der = pkcs8.expose().to_vec();
            der[broken] ^= 1;
            assert_fails(PrivateKey::from_pkcs8(&der), Cause::SealKeyMalformed);
        }

        let digest = Hash::Sha3_256.digest(b"message");
        let hashed = SlhDsaMessage::Hashed(Hash::Sha3_256, &digest);
        let signature = key.slh_dsa_sign(hashed, b"", true).unwrap();
        public.verify_slh_dsa(hashed, b"", &signature).unwrap();
        assert_ne!(key.slh_dsa_sign(hashed, b"", true).unwrap(), signature, "it is hedged");
        for message in [SlhDsaMessage::Pure(&digest), SlhDsaMessage::Hashed(Hash::Sha256, &digest)] {
            assert_fails(public.verify_slh_dsa(message, b"", &signature), Cause::SignatureInvalid);
        }
        for at in [0, 100, signature.len() - 1] {
            let mut bad = signature.clone();
            bad[at] ^= 1;
            assert_fails(public.verify_slh_dsa(hashed, b"", &bad), Cause::SignatureInvalid);
        }
        assert_fails(public.verify_slh_dsa(hashed, b"", &signature[1..]), Cause::SignatureLenRange);
        assert_fails(public.verify_slh_dsa(hashed, &[0; 256], &signature), Cause::MechanismParamInvalid);
        let short = SlhDsaMessage::Hashed(Hash::Sha256, &digest[1..]);
        assert_fails(key.slh_dsa_sign(short, b"", true), Cause::DataLenRange);
        assert_fails(key.ml_dsa_sign(&[0; 64], true), Cause::KeyTypeInconsistent);
    }
    assert_fails(PublicKey::from_slh_dsa(SlhDsaSet::Sha2_128s, &[0; 31]), Cause::AttributeValueInvalid);
}
