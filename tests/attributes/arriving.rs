//! Keys that come by a mechanism: generated, unwrapped and derived, as the tables have it.

use crate::attributes_support::*;
use crate::host::{self, Module, Place, alone, attr, call, mechanism};
use crate::objects::{self, Attr, bytes, number, with};
use cryptoki_sys::*;
use datakey::crypto::DhGroup;

#[test]
fn generated_as_the_tables_say() {
    if !alone("arriving::generated_as_the_tables_say") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let generate = |id, public: &[Attr], private: &[Attr]| {
        let mut halves = [public, private]
            .map(|half| half.iter().map(|(attribute, value)| attr(*attribute, value)).collect::<Vec<_>>());
        let [public, private] = &mut halves;
        let mut pair = (0, 0);
        let (public, public_len) = (public.as_mut_ptr(), public.len() as CK_ULONG);
        let (private, private_len) = (private.as_mut_ptr(), private.len() as CK_ULONG);
        call!(
            module,
            C_GenerateKeyPair,
            session,
            &mut mechanism(id),
            public,
            public_len,
            private,
            private_len,
            &mut pair.0,
            &mut pair.1
        )
    };
    let ec = (CKM_EC_KEY_PAIR_GEN, bytes(CKA_EC_PARAMS, P256), [EC_PUBLIC, EC_PRIVATE]);
    let ml_dsa = (CKM_ML_DSA_KEY_PAIR_GEN, number(CKA_PARAMETER_SET, CKP_ML_DSA_44), [ML_DSA_PUBLIC, ML_DSA_PRIVATE]);
    let rsa = (CKM_RSA_PKCS_KEY_PAIR_GEN, number(CKA_MODULUS_BITS, 2048), [RSA_PUBLIC, RSA_PRIVATE]);
    let ml_kem = (CKM_ML_KEM_KEY_PAIR_GEN, number(CKA_PARAMETER_SET, CKP_ML_KEM_512), [ML_KEM_PUBLIC, ML_KEM_PRIVATE]);
    let set = number(CKA_PARAMETER_SET, CKP_SLH_DSA_SHA2_128F);
    let slh_dsa = (CKM_SLH_DSA_KEY_PAIR_GEN, set, [SLH_DSA_PUBLIC, SLH_DSA_PRIVATE]);
    let dh = [bytes(CKA_PRIME, DhGroup::Modp2048.prime().unwrap()), bytes(CKA_BASE, &[2])];
    let dh = (CKM_DH_PKCS_KEY_PAIR_GEN, dh.to_vec(), [DH_PUBLIC, DH_PRIVATE]);
    let one = |(id, params, own): (_, Attr, [&'static [Row]; 2])| (id, vec![params], own);
    let others = [ec, ml_dsa, slh_dsa, rsa, ml_kem].map(one);
    for (id, params, own) in others.into_iter().chain([dh]) {
        assert_eq!(generate(id, &[], &[]), CKR_TEMPLATE_INCOMPLETE);
        for (half, table) in
            [(0, [STORAGE, KEY, PUBLIC, own[0]].concat()), (1, [STORAGE, KEY, PRIVATE, own[1]].concat())]
        {
            for row in table {
                let named = [sample(row)];
                let (public, private) = match half {
                    0 => (with(params.clone(), &named), vec![]),
                    _ => (params.clone(), named.to_vec()),
                };
                let expected = match row.0 {
                    _ if says(row, "4") || says(row, "10") => CKR_ATTRIBUTE_READ_ONLY,
                    // Another class and type than the mechanism makes; another kind of key than the public half's.
                    CKA_CLASS | CKA_KEY_TYPE => CKR_TEMPLATE_INCONSISTENT,
                    CKA_EC_PARAMS | CKA_PARAMETER_SET | CKA_PRIME | CKA_BASE if half == 1 => CKR_TEMPLATE_INCONSISTENT,
                    // A group that no RFC names.
                    CKA_PRIME | CKA_BASE => CKR_ATTRIBUTE_VALUE_INVALID,
                    // As section 6.1.4 has it for an exponent that the token cannot use.
                    CKA_PUBLIC_EXPONENT => CKR_TEMPLATE_INCONSISTENT,
                    CKA_PUBLIC_KEY_INFO => CKR_ATTRIBUTE_READ_ONLY,
                    _ if says(row, "n") => CKR_ATTRIBUTE_TYPE_INVALID,
                    _ => CKR_OK,
                };
                assert_eq!(generate(id, &public, &private), expected, "{id:#x}, half {half}, attribute {:#x}", row.0);
            }
        }
    }
    module.finalise();
}

/// How a key comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Out of key wrap, as a key of this type.
    Unwrap(CK_KEY_TYPE),
    /// By encrypting zeros.
    Derive,
    /// By this mechanism.
    Generate(CK_MECHANISM_TYPE),
}

/// Attributes of a secret or private key that comes by unwrapping, and of a secret key that is derived or generated.
#[test]
fn unwrapped_derived_and_generated_as_the_tables_say() {
    if !alone("arriving::unwrapped_derived_and_generated_as_the_tables_say") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let under = module.create(session, &objects::secret_key(CKK_AES, &[9; 32]));
    let mut key_wrap = mechanism(CKM_AES_KEY_WRAP_KWP);
    let key_wrap = &raw mut key_wrap;
    let wrap = |class, parts: &[Attr]| {
        let key = module.create(session, &[&[number(CKA_CLASS, class)], parts, &open()].concat());
        let (mut wrapped, mut len) = (vec![0; 4096], 4096);
        host::ok!(module, C_WrapKey, session, key_wrap, under, key, wrapped.as_mut_ptr(), &mut len);
        wrapped.truncate(len as usize);
        wrapped
    };
    let ec = [number(CKA_KEY_TYPE, CKK_EC), bytes(CKA_EC_PARAMS, P256), bytes(CKA_VALUE, &[1; 32])];
    let ml_kem =
        [number(CKA_KEY_TYPE, CKK_ML_KEM), number(CKA_PARAMETER_SET, CKP_ML_KEM_512), bytes(CKA_SEED, &[1; 64])];
    let wrapped_secret = wrap(CKO_SECRET_KEY, &objects::secret_key(CKK_GENERIC_SECRET, &[1; 16])[1..]);
    let wrapped_private = [
        (CKK_EC, wrap(CKO_PRIVATE_KEY, &ec)),
        (CKK_RSA, wrap(CKO_PRIVATE_KEY, &Keys::new(module, session).rsa())),
        (CKK_ML_KEM, wrap(CKO_PRIVATE_KEY, &ml_kem)),
    ];
    let native = |template: &[Attr]| -> Vec<_> { template.iter().map(|(name, value)| attr(*name, value)).collect() };
    // The new key, and what was answered.
    let bring = |way: Way, template: &[Attr]| {
        let (mut template, mut key, mut zeros) = (native(template), 0, [0_u8; 16]);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut data = CK_KEY_DERIVATION_STRING_DATA { pData: zeros.as_mut_ptr(), ulLen: 16 };
        let mut ecb = mechanism(CKM_AES_ECB_ENCRYPT_DATA);
        (ecb.pParameter, ecb.ulParameterLen) = ((&raw mut data).cast(), size_of_val(&data) as CK_ULONG);
        let rv = match way {
            Way::Derive => call!(module, C_DeriveKey, session, &mut ecb, under, first, count, &mut key),
            Way::Generate(id) => call!(module, C_GenerateKey, session, &mut mechanism(id), first, count, &mut key),
            Way::Unwrap(key_type) => {
                let private = wrapped_private.iter().find(|wrapped| wrapped.0 == key_type);
                let from = private.map_or(&wrapped_secret, |wrapped| &wrapped.1);
                let (from, len) = (from.as_ptr().cast_mut(), from.len() as CK_ULONG);
                call!(module, C_UnwrapKey, session, key_wrap, under, from, len, first, count, &mut key)
            }
        };
        (rv, key)
    };
    let secret = |key_type| [number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, key_type)].to_vec();
    let private = |key_type| [number(CKA_CLASS, CKO_PRIVATE_KEY), number(CKA_KEY_TYPE, key_type)].to_vec();
    let sized = |key_type| with(secret(key_type), &[number(CKA_VALUE_LEN, 16)]);
    let otp = [number(CKA_CLASS, CKO_OTP_KEY), number(CKA_KEY_TYPE, CKK_HOTP)];
    let (of_secret, of_private) = ([STORAGE, KEY, SECRET], [STORAGE, KEY, PRIVATE]);
    for (way, base, of_class, own) in [
        (Way::Unwrap(CKK_AES), secret(CKK_AES), of_secret, AES),
        (Way::Unwrap(CKK_GENERIC_SECRET), secret(CKK_GENERIC_SECRET), of_secret, GENERIC),
        (Way::Unwrap(CKK_SHA256_HMAC), secret(CKK_SHA256_HMAC), of_secret, GENERIC),
        (Way::Unwrap(CKK_EC), private(CKK_EC), of_private, EC_PRIVATE),
        (Way::Unwrap(CKK_RSA), private(CKK_RSA), of_private, RSA_PRIVATE),
        (Way::Unwrap(CKK_ML_KEM), private(CKK_ML_KEM), of_private, ML_KEM_PRIVATE),
        (Way::Derive, sized(CKK_AES), of_secret, AES),
        (Way::Derive, sized(CKK_GENERIC_SECRET), of_secret, GENERIC),
        (Way::Generate(CKM_AES_KEY_GEN), sized(CKK_AES), of_secret, AES),
        (Way::Generate(CKM_GENERIC_SECRET_KEY_GEN), sized(CKK_GENERIC_SECRET), of_secret, GENERIC),
        (Way::Generate(CKM_SHA256_KEY_GEN), sized(CKK_SHA256_HMAC), of_secret, GENERIC),
        (Way::Generate(CKM_HOTP_KEY_GEN), otp.to_vec(), of_secret, HOTP),
    ] {
        let (table, mut wrong) = ([of_class.concat(), own.to_vec()].concat(), Vec::new());
        let is_unwrapped = matches!(way, Way::Unwrap(_));
        let way_of = format!("{way:x?} {:x?}", base[1]);
        for row in table.iter().copied() {
            let about = format!("{way_of}, attribute {:#x}", row.0);
            let (rv, key) = bring(way, &with(base.clone(), &[sample(row)]));
            let expected = match row.0 {
                CKA_CLASS if is_unwrapped => CKR_ATTRIBUTE_VALUE_INVALID,
                CKA_CLASS => CKR_TEMPLATE_INCONSISTENT,
                CKA_KEY_TYPE if matches!(way, Way::Generate(_)) => CKR_TEMPLATE_INCONSISTENT,
                CKA_KEY_TYPE => CKR_ATTRIBUTE_VALUE_INVALID,
                // As the texts on key wrap have it, and against footnote 6: it says how long the key is to be.
                CKA_VALUE_LEN if is_unwrapped => CKR_WRAPPED_KEY_LEN_RANGE,
                // The parameter's data make no key so long.
                CKA_VALUE_LEN if matches!(way, Way::Derive) => CKR_MECHANISM_PARAM_INVALID,
                CKA_CHECK_VALUE => CKR_ATTRIBUTE_VALUE_INVALID,
                CKA_PUBLIC_KEY_INFO => CKR_ATTRIBUTE_VALUE_INVALID,
                _ if says(row, "n") => CKR_ATTRIBUTE_TYPE_INVALID,
                _ if is_unwrapped && says(row, "6") => CKR_ATTRIBUTE_READ_ONLY,
                _ if says(row, "4") || says(row, "10") => CKR_ATTRIBUTE_READ_ONLY,
                _ if says(row, "s") => CKR_ATTRIBUTE_VALUE_INVALID,
                _ => CKR_OK,
            };
            if rv != expected {
                wrong.push(format!("{about}: {rv:#x}, not {expected:#x}"));
            }
            if rv == CKR_OK {
                if module.get(session, key, row.0).as_ref() != Ok(&sample(row).1) {
                    wrong.push(format!("{about}: read"));
                }
                let _ = call!(module, C_DestroyObject, session, key);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let (rv, key) = bring(way, &base);
        assert_eq!(rv, CKR_OK, "{way_of}");
        // Of every attribute there is a value, and nobody but the token says where the key came from.
        for (attribute, note, _) in table.iter().filter(|row| ["o", "n", "7"].iter().all(|note| !says(**row, note))) {
            assert!(module.get(session, key, *attribute).is_ok(), "{way_of}, attribute {attribute:#x} {note}");
        }
        let made = if let Way::Generate(id) = way { id } else { CK_UNAVAILABLE_INFORMATION };
        assert_eq!(module.is(session, key, CKA_LOCAL), matches!(way, Way::Generate(_)), "{way_of}");
        assert_eq!(module.get(session, key, CKA_KEY_GEN_MECHANISM).unwrap(), made.to_ne_bytes(), "{way_of}");
        let foreign = EC_PUBLIC.iter().chain(TRUST).filter(|row| table.iter().all(|own| own.0 != row.0));
        for row in foreign {
            let (rv, _) = bring(way, &with(base.clone(), &[sample(*row)]));
            assert_eq!(rv, CKR_TEMPLATE_INCONSISTENT, "{way_of}, attribute {:#x} of another class", row.0);
        }
        let unknown = bytes(CKA_VENDOR_DEFINED | 0x1234, b"x");
        assert_eq!(bring(way, &with(base.clone(), &[unknown])).0, CKR_ATTRIBUTE_TYPE_INVALID, "{way_of}");
        let mut twice = base.clone();
        twice.extend([bytes(CKA_LABEL, b"a"), bytes(CKA_LABEL, b"a")]);
        assert_eq!(bring(way, &twice).0, CKR_OK, "{way_of}: the same twice");
        twice.push(bytes(CKA_LABEL, b"b"));
        assert_eq!(bring(way, &twice).0, CKR_TEMPLATE_INCONSISTENT, "{way_of}: two values");
    }
    module.finalise();
}
