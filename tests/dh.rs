//! Finite-field Diffie-Hellman through the C API, against known answers that Python's integers gave.

mod host;
mod objects;

use cryptoki_sys::*;
use datakey::crypto::DhGroup;
use datakey::object::vendor::CKA_DATAKEY_SPEC;
use host::{Module, Place, alone, attr, call, check, mechanism, ok};
use objects::{Attr, bytes, flag, number, with};
use sha2::{Digest, Sha256};

/// A group; and the SHA-256 of its prime, of the public number of [`FIRST`], and of what that shares with [`SECOND`].
const ANSWERS: [(DhGroup, &str, &str, &str); 10] = [
    (
        DhGroup::Ffdhe2048,
        "9cd3b7f336872f46c09428d1bbc19877a4d440512cda8d1c1cf0cd6e33698966",
        "6365f72800e8f71c836c13634929cfdb2526757da30257f469fa4ffdcd3229e6",
        "79f15f8952fa59ba310e39f87b4294ee9d67ed531c85b9a86bbd94d482315c7e",
    ),
    (
        DhGroup::Ffdhe3072,
        "0eaf67db3a839156d5013494a5318a772b5697d270d721f37f092efc69ea5a17",
        "844298a9417e7fad518514f6efa81ef5f89e94453d4c3750c927024732db831f",
        "a14238bf9738b95157e60d2c0e31fe79856536a4a5ba76db34cb82e2ad5ca2ef",
    ),
    (
        DhGroup::Ffdhe4096,
        "4648414224ac881b3d0dc59b466f96d06a558278776807797ecf1f66ff397b3e",
        "86c8d284a0e590700f5723f072eea13d106a1011cbd02e2232fd47c3b245b6fb",
        "3318be79d3a239125b25b73310af3c769f14cf1da2c9de59d5d66e626164228b",
    ),
    (
        DhGroup::Ffdhe6144,
        "227ac9066b3ddd9e193670cda2388fa884f65ba0cf98b742d1fe77a6687c79c7",
        "6f04cf7cd98f5f6e0d16ac58bcc2baa175e41190b40d4e814265ecbc6729f6d9",
        "e14837bc52a0092a5d6a537b3731c5a93d8f769f9f4600e655432ee5692fa98d",
    ),
    (
        DhGroup::Ffdhe8192,
        "770b14efaf6f049929c523113b3fa99a8d11dab1b18af3609590122075d19833",
        "4aeb0337acad39fca1eb89ce104e049baa2a92a2bedb3922759aa600244247d8",
        "f631766d9fe60da963d7e01e2cc9a946e331654a5a90fc0308faf406e4fc858c",
    ),
    (
        DhGroup::Modp2048,
        "d66436f79bbd6b2e38c0ffbd079be904d2641415e2e67140e09448be9a60890e",
        "44e0c95811ac8c19dcf8e803d0e9594d1676074f3f419fbea2c45a65d816913c",
        "2aa506836ac86e764cac57e6f8c27de893bf06382b9d2972d3d353b3b6323001",
    ),
    (
        DhGroup::Modp3072,
        "48cf8b092fbce4359d9871abf74f98e25b6163379eaa15cd9087e800c6d1c55c",
        "cf754f01200e5c18623ad1e073cc14409c4afdbe705b83baecec79dccbca94a6",
        "9f908b8cf5968854c18567c87d0bb68689841788108ff6ac192ea5ce8e7f3e6b",
    ),
    (
        DhGroup::Modp4096,
        "4ee95187682bcb230ad26a95205f6920e84708f6251b3894329b09ec23919e33",
        "39577d0a2872747ebf550293c0ae92de19f692878d34a67f340e3130872719dd",
        "f33abc7db146adf869b8d23f9540302cef0cd00b1a9a9fe128028c234d29855e",
    ),
    (
        DhGroup::Modp6144,
        "d1bfe6d0925ce7e4da262b62861514a7755e35831e429f343e7b864848657efd",
        "187e1e6e1d1efa632d316aa1dd271dd9fd1ba0b354fb518822e5c476a1641de6",
        "4ffa1df95021394e9fbc7505fc427e9d7e0d1e1ca98d801c382c5a968e27133d",
    ),
    (
        DhGroup::Modp8192,
        "39ab4feab950a3128fb71accb9fc3965d857012e081998a85996e3ea8b3c3bcf",
        "3eeedc61a8c02d74dcbdbb01c57cdcb4fce570232d4436063f3b5b66a6d745f6",
        "0932f7f95079ec9ac751627d31db9f6ae26749fa3299826025363a742ae44299",
    ),
];
const FIRST: [u8; 40] = [0x5a; 40];
const SECOND: [u8; 48] = [0xc3; 48];

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Scene {
    module: Module,
    session: CK_SESSION_HANDLE,
    _place: Place,
}

type Pair = (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE);

impl Scene {
    fn new() -> Self {
        let place = Place::embedded("");
        let module = Module::start(&place.configuration());
        module.make_token(true);
        let session = module.enter();
        Self { module, session, _place: place }
    }

    fn generate(&self, public: &[Attr], private: &[Attr]) -> Result<Pair, CK_RV> {
        let native = |template: &[Attr]| template.iter().map(|(name, value)| attr(*name, value)).collect::<Vec<_>>();
        let (mut public, mut private, mut pair) = (native(public), native(private), (0, 0));
        let (n, m) = (public.len() as CK_ULONG, private.len() as CK_ULONG);
        let (first, second) = (public.as_mut_ptr(), private.as_mut_ptr());
        let (session, one) = (self.session, &mut mechanism(CKM_DH_PKCS_KEY_PAIR_GEN));
        let halves = (&raw mut pair.0, &raw mut pair.1);
        check(call!(self.module, C_GenerateKeyPair, session, one, first, n, second, m, halves.0, halves.1))?;
        Ok(pair)
    }

    /// The secret that a private key shares with who has this public number.
    fn agree(&self, private: CK_OBJECT_HANDLE, peer: &[u8], more: &[Attr]) -> Result<Vec<u8>, CK_RV> {
        let mut one = CK_MECHANISM {
            mechanism: CKM_DH_PKCS_DERIVE,
            pParameter: peer.as_ptr().cast_mut().cast(),
            ulParameterLen: peer.len() as CK_ULONG,
        };
        let mut template: Vec<_> = more.iter().map(|(name, value)| attr(*name, value)).collect();
        let (first, count, mut secret) = (template.as_mut_ptr(), template.len() as CK_ULONG, 0);
        check(call!(self.module, C_DeriveKey, self.session, &mut one, private, first, count, &mut secret))?;
        Ok(self.module.attribute(self.session, secret, CKA_VALUE))
    }
}

fn domain(group: DhGroup) -> [Attr; 2] {
    [bytes(CKA_PRIME, group.prime().unwrap()), bytes(CKA_BASE, &[2])]
}

fn key(class: CK_OBJECT_CLASS, group: DhGroup, value: &[u8]) -> Vec<Attr> {
    [&[number(CKA_CLASS, class), number(CKA_KEY_TYPE, CKK_DH), bytes(CKA_VALUE, value)], &domain(group)[..]].concat()
}

fn open() -> [Attr; 2] {
    [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)]
}

#[test]
fn every_group_gives_what_others_compute() {
    if !alone("every_group_gives_what_others_compute") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    for (group, prime, public, shared) in ANSWERS {
        assert_eq!(sha256(group.prime().unwrap()), prime, "{group:?}");
        let one = module.create(session, &with(key(CKO_PRIVATE_KEY, group, &FIRST), &open()));
        let two = module.create(session, &key(CKO_PRIVATE_KEY, group, &SECOND));
        assert_eq!(module.attribute(session, one, CKA_VALUE), FIRST);
        assert_eq!(module.attribute(session, one, CKA_VALUE_BITS), 319_u64.to_ne_bytes());
        // The public number is the end of what tells the public key, after the header of an INTEGER.
        let public_of = |private| {
            let (mut told, mut template) = (0, [attr(CKA_LABEL, b"told")]);
            let from_private = &mut mechanism(CKM_PUB_KEY_FROM_PRIV_KEY);
            ok!(module, C_DeriveKey, session, from_private, private, template.as_mut_ptr(), 1, &mut told);
            let number = module.attribute(session, told, CKA_VALUE);
            assert!(module.attribute(session, private, CKA_PUBLIC_KEY_INFO).ends_with(&number));
            assert_eq!(module.attribute(session, told, CKA_PRIME), group.prime().unwrap());
            let verifier = module.create(session, &key(CKO_PUBLIC_KEY, group, &number));
            let info = module.attribute(session, verifier, CKA_PUBLIC_KEY_INFO);
            assert_eq!(info, module.attribute(session, private, CKA_PUBLIC_KEY_INFO));
            [vec![0; group.len() - number.len()], number].concat()
        };
        let (first, second) = (public_of(one), public_of(two));
        assert_eq!(sha256(&first), public, "{group:?}");
        let secret = scene.agree(one, &second, &[]).unwrap();
        assert_eq!((sha256(&secret).as_str(), secret.len()), (shared, group.len()));
        assert_eq!(scene.agree(two, &first, &[]).unwrap(), secret);
        // Cut from its leading end.
        assert_eq!(scene.agree(two, &first, &[number(CKA_VALUE_LEN, 32)]).unwrap(), secret[group.len() - 32..]);
        let too_long = number(CKA_VALUE_LEN, group.len() as CK_ULONG + 1);
        assert_eq!(scene.agree(two, &first, &[too_long]), Err(CKR_KEY_SIZE_RANGE));
        // Numbers that lie in a group too small, or in none.
        let prime = group.prime().unwrap();
        let (mut less, mut zero) = (prime.to_vec(), prime.to_vec());
        less[prime.len() - 1] -= 1;
        zero.fill(0);
        for bad in [prime, &less, &zero, &[1], &[prime, &[1]].concat()] {
            assert_eq!(scene.agree(one, bad, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
            assert_eq!(module.creating(session, &key(CKO_PUBLIC_KEY, group, bad)), CKR_ATTRIBUTE_VALUE_INVALID);
        }
        for bad in [&[0; 40][..], prime] {
            assert_eq!(module.creating(session, &key(CKO_PRIVATE_KEY, group, bad)), CKR_ATTRIBUTE_VALUE_INVALID);
        }
    }
    module.finalise();
}

#[test]
fn pairs_are_made_in_the_groups_of_the_rfcs_alone() {
    if !alone("pairs_are_made_in_the_groups_of_the_rfcs_alone") {
        return;
    }
    let scene = Scene::new();
    let (module, session) = (scene.module, scene.session);
    let group = DhGroup::Ffdhe2048;
    let on_token = [flag(CKA_TOKEN, true)];
    let made = [(); 2].map(|()| scene.generate(&domain(group), &on_token).unwrap());
    let numbers = made.map(|pair| module.attribute(session, pair.0, CKA_VALUE));
    assert_eq!(scene.agree(made[0].1, &numbers[1], &[]), scene.agree(made[1].1, &numbers[0], &[]));
    assert_eq!(module.attribute(session, made[0].1, CKA_DATAKEY_SPEC), b"DH_FFDHE_2048");
    assert_eq!(module.attribute(session, made[0].1, CKA_VALUE_BITS), 256_u64.to_ne_bytes());
    assert!(module.is(session, made[0].1, CKA_DERIVE) && !module.is(session, made[0].1, CKA_SIGN));

    let asked = [&open()[..], &[number(CKA_VALUE_BITS, 1001)], &domain(group)].concat();
    let (public, private) = scene.generate(&domain(group), &asked).unwrap();
    let value = module.attribute(session, private, CKA_VALUE);
    assert_eq!((value.len(), value[0]), (126, 1));
    // It goes out and comes in again.
    let aes = module.create(session, &objects::secret_key(CKK_AES, &[3; 32]));
    let (mut wrapped, mut wrapped_len) = (vec![0; 2000], 2000);
    let wrap = &mut mechanism(CKM_AES_KEY_WRAP_KWP);
    ok!(module, C_WrapKey, session, wrap, aes, private, wrapped.as_mut_ptr(), &mut wrapped_len);
    let (class, key_type) = (CKO_PRIVATE_KEY.to_ne_bytes(), CKK_DH.to_ne_bytes());
    let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type)];
    let (first, mut again) = (template.as_mut_ptr(), 0);
    ok!(module, C_UnwrapKey, session, wrap, aes, wrapped.as_mut_ptr(), wrapped_len, first, 2, &mut again);
    for attribute in [CKA_PRIME, CKA_BASE, CKA_VALUE_BITS, CKA_PUBLIC_KEY_INFO] {
        assert_eq!(module.attribute(session, again, attribute), module.attribute(session, private, attribute));
    }
    let number_of = module.attribute(session, public, CKA_VALUE);
    assert_eq!(scene.agree(again, &numbers[0], &[]), scene.agree(made[0].1, &number_of, &[]));

    // A prime that nobody knows, another base, numbers too short and too long, two groups.
    let mut unknown = group.prime().unwrap().to_vec();
    unknown[100] ^= 1;
    let (prime, base) = (domain(group)[0].clone(), domain(group)[1].clone());
    for (public, private, expected) in [
        (vec![], vec![], CKR_TEMPLATE_INCOMPLETE),
        (vec![prime.clone()], vec![], CKR_TEMPLATE_INCOMPLETE),
        (vec![bytes(CKA_PRIME, &unknown), base.clone()], vec![], CKR_ATTRIBUTE_VALUE_INVALID),
        (vec![prime.clone(), bytes(CKA_BASE, &[5])], vec![], CKR_ATTRIBUTE_VALUE_INVALID),
        (domain(group).to_vec(), vec![number(CKA_VALUE_BITS, 255)], CKR_KEY_SIZE_RANGE),
        (domain(group).to_vec(), vec![number(CKA_VALUE_BITS, 2047)], CKR_KEY_SIZE_RANGE),
        (domain(group).to_vec(), domain(DhGroup::Modp2048).to_vec(), CKR_TEMPLATE_INCONSISTENT),
        (domain(group).to_vec(), vec![bytes(CKA_VALUE, &[7; 40])], CKR_ATTRIBUTE_READ_ONLY),
    ] {
        assert_eq!(scene.generate(&public, &private), Err(expected), "{expected:#x}");
    }
    // They are there, and open, after everything is forgotten.
    let secret = scene.agree(made[0].1, &numbers[1], &[]).unwrap();
    let session = module.again();
    let scene = Scene { session, ..scene };
    let found = module.find(session, &[(CKA_KEY_TYPE, &CKK_DH.to_ne_bytes()), (CKA_CLASS, &class)]);
    assert!(found.iter().any(|key| scene.agree(*key, &numbers[1], &[]).as_ref() == Ok(&secret)));
    module.finalise();
}
