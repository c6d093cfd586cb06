//! The attribute matrix: every attribute of each class, created, generated, set, copied and read, as the tables
//! of the specification have it.

mod attributes_support;
mod host;
mod objects;

use Sample::{Bytes, Flag, Number};
use attributes_support::*;
use cryptoki_sys::*;
use host::{Module, Place, alone, attr, call, mechanism};
use objects::{Attr, bytes, flag, number, with};
use std::ptr::null_mut;

/// A class, a template that is complete for `C_CreateObject` and open to every change, and its table.
struct Case {
    name: &'static str,
    base: Vec<Attr>,
    table: Vec<Row>,
}

fn cases(point: &[u8]) -> Vec<Case> {
    let case = |name, class, base: &[Attr], tables: &[&[Row]]| Case {
        name,
        base: [&[number(CKA_CLASS, class)], base].concat(),
        table: [&[STORAGE], tables].concat().concat(),
    };
    let open = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true), flag(CKA_COPYABLE, true)];
    let certificate = [number(CKA_CERTIFICATE_TYPE, CKC_X_509), bytes(CKA_VALUE, DER)];
    let trust = [bytes(CKA_ISSUER, b"issuer"), bytes(CKA_SERIAL_NUMBER, b"serial")];
    let public = [number(CKA_KEY_TYPE, CKK_EC), bytes(CKA_EC_PARAMS, P256), bytes(CKA_EC_POINT, point)];
    let private = [number(CKA_KEY_TYPE, CKK_EC), bytes(CKA_EC_PARAMS, P256), bytes(CKA_VALUE, &[1; 32])];
    let set = [number(CKA_KEY_TYPE, CKK_ML_DSA), number(CKA_PARAMETER_SET, CKP_ML_DSA_44)];
    let ml_dsa_public = [&set[..], &[bytes(CKA_VALUE, &[1; 1312])]].concat();
    let ml_dsa_private = [&set[..], &[bytes(CKA_SEED, &[1; 32])], &open].concat();
    let aes = [number(CKA_KEY_TYPE, CKK_AES), bytes(CKA_VALUE, &[1; 16])];
    let chacha20 = [number(CKA_KEY_TYPE, CKK_CHACHA20), bytes(CKA_VALUE, &[1; 32])];
    vec![
        case("data", CKO_DATA, &[], &[DATA]),
        case("X.509 certificate", CKO_CERTIFICATE, &certificate, &[CERTIFICATE]),
        case("trust", CKO_TRUST, &trust, &[TRUST]),
        case("EC public key", CKO_PUBLIC_KEY, &public, &[KEY, PUBLIC, EC_PUBLIC]),
        case("EC private key", CKO_PRIVATE_KEY, &[&private[..], &open].concat(), &[KEY, PRIVATE, EC_PRIVATE]),
        case("ML-DSA public key", CKO_PUBLIC_KEY, &ml_dsa_public, &[KEY, PUBLIC, ML_DSA_PUBLIC]),
        case("ML-DSA private key", CKO_PRIVATE_KEY, &ml_dsa_private, &[KEY, PRIVATE, ML_DSA_PRIVATE]),
        case("AES key", CKO_SECRET_KEY, &[&aes[..], &open].concat(), &[KEY, SECRET, AES]),
        case("ChaCha20 key", CKO_SECRET_KEY, &[&chacha20[..], &open].concat(), &[KEY, SECRET, CHACHA20]),
    ]
}

fn sample((attribute, _, sample): Row) -> Attr {
    match sample {
        Flag(value) => flag(attribute, value),
        Number(value) => number(attribute, value),
        Bytes(value) => bytes(attribute, value),
    }
}

fn says(row: Row, note: &str) -> bool {
    row.1.split(' ').any(|said| said == note)
}

/// What setting the attribute to its sample answers.
fn setting(row: Row) -> CK_RV {
    // A template without attributes is the default already.
    let unchanged = matches!(row.2, Bytes([]));
    match () {
        () if unchanged || ["8", "11", "12", "d"].iter().any(|note| says(row, note)) => CKR_OK,
        () if says(row, "g") => CKR_ATTRIBUTE_VALUE_INVALID,
        () => CKR_ATTRIBUTE_READ_ONLY,
    }
}

#[test]
fn created_set_copied_and_read_as_the_tables_say() {
    if !alone("created_set_copied_and_read_as_the_tables_say") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (public, _) = module.generate(session, host::Kind::P256, b"any");
    let point = module.attribute(session, public, CKA_EC_POINT);
    let every: Vec<Row> = cases(&point).into_iter().flat_map(|case| case.table).collect();
    let mut checked = 0;
    for Case { name, base, table } in cases(&point) {
        let in_base = |attribute| base.iter().any(|(named, _)| *named == attribute);
        for row in table.iter().copied() {
            let (attribute, about) = (row.0, format!("{name}, attribute {:#x}", row.0));
            let named = with(base.clone(), &[sample(row)]);
            let without: Vec<_> = base.iter().filter(|(named, _)| *named != attribute).cloned().collect();
            if says(row, "1") {
                assert_eq!(module.creating(session, &without), CKR_TEMPLATE_INCOMPLETE, "{about} unsaid");
            }
            let creating = module.creating(session, &named);
            match () {
                () if says(row, "2") || says(row, "10") => assert_eq!(creating, CKR_ATTRIBUTE_READ_ONLY, "{about}"),
                () if says(row, "1") || says(row, "g") || attribute == CKA_CHECK_VALUE => {}
                () if attribute == CKA_PUBLIC_KEY_INFO || says(row, "s") => {
                    assert_eq!(creating, CKR_ATTRIBUTE_VALUE_INVALID, "{about}")
                }
                () => assert_eq!(creating, CKR_OK, "{about} created"),
            }

            let object = module.create(session, &base);
            let copying = match () {
                () if says(row, "c") => CKR_OK,
                () => setting(row),
            };
            let mut copy = 0;
            assert_eq!(module.try_copy(session, object, &[sample(row)], &mut copy), copying, "{about} copied");
            if copying == CKR_OK {
                assert_eq!(module.get(session, copy, attribute).unwrap(), sample(row).1, "{about} copied");
            }
            assert_eq!(module.set(session, object, &[sample(row)]), setting(row), "{about} set");
            match module.get(session, object, attribute) {
                Ok(value) if setting(row) == CKR_OK => assert_eq!(value, sample(row).1, "{about} read"),
                Ok(_) => {}
                Err(rv) => assert!(rv == CKR_ATTRIBUTE_TYPE_INVALID && says(row, "o"), "{about} read: {rv:#x}"),
            }
            // One way.
            if says(row, "11") || says(row, "12") {
                let back = flag(attribute, !matches!(row.2, Flag(true)));
                assert_eq!(
                    module.set(session, object, std::slice::from_ref(&back)),
                    CKR_ATTRIBUTE_READ_ONLY,
                    "{about}"
                );
                let prohibited =
                    if attribute == CKA_COPYABLE { CKR_ACTION_PROHIBITED } else { CKR_ATTRIBUTE_READ_ONLY };
                assert_eq!(module.try_copy(session, object, &[back], &mut copy), prohibited, "{about}");
            }
            if says(row, "7") {
                for hides in [flag(CKA_SENSITIVE, true), flag(CKA_EXTRACTABLE, false)] {
                    let hidden = module.create(session, &with(base.clone(), &[hides]));
                    assert_eq!(module.get(session, hidden, attribute), Err(CKR_ATTRIBUTE_SENSITIVE), "{about}");
                }
            }
            assert!(!says(row, "1") || in_base(attribute), "{about}: the table of the test");
            checked += 1;
        }
        // What belongs to other classes.
        let object = module.create(session, &base);
        for row in every.iter().filter(|row| table.iter().all(|own| own.0 != row.0)) {
            let about = format!("{name}, attribute {:#x} of another class", row.0);
            let creating = module.creating(session, &with(base.clone(), &[sample(*row)]));
            assert_eq!(creating, CKR_TEMPLATE_INCONSISTENT, "{about}");
            assert_eq!(module.get(session, object, row.0), Err(CKR_ATTRIBUTE_TYPE_INVALID), "{about}");
            assert_eq!(module.set(session, object, &[sample(*row)]), CKR_ATTRIBUTE_TYPE_INVALID, "{about}");
            checked += 1;
        }
        let unknown = bytes(CKA_VENDOR_DEFINED | 0x1234, b"x");
        assert_eq!(module.creating(session, &with(base.clone(), &[unknown])), CKR_ATTRIBUTE_TYPE_INVALID);
    }
    println!("{checked} attributes checked");
    module.finalise();
}

#[test]
fn generated_as_the_tables_say() {
    if !alone("generated_as_the_tables_say") {
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
    for (id, params, own) in [ec, ml_dsa] {
        assert_eq!(generate(id, &[], &[]), CKR_TEMPLATE_INCOMPLETE);
        let params = vec![params];
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
                    CKA_EC_PARAMS | CKA_PARAMETER_SET if half == 1 => CKR_TEMPLATE_INCONSISTENT,
                    CKA_PUBLIC_KEY_INFO => CKR_ATTRIBUTE_READ_ONLY,
                    _ => CKR_OK,
                };
                assert_eq!(generate(id, &public, &private), expected, "{id:#x}, half {half}, attribute {:#x}", row.0);
            }
        }
    }
    module.finalise();
}

/// Attributes of a secret or private key that comes by unwrapping, and of a secret key that is derived or generated.
#[test]
fn unwrapped_derived_and_generated_as_the_tables_say() {
    if !alone("unwrapped_derived_and_generated_as_the_tables_say") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let open = [flag(CKA_SENSITIVE, false), flag(CKA_EXTRACTABLE, true)];
    let under = module.create(session, &objects::secret_key(CKK_AES, &[9; 32]));
    let ec = [number(CKA_KEY_TYPE, CKK_EC), bytes(CKA_EC_PARAMS, P256), bytes(CKA_VALUE, &[1; 32])];
    let ec = module.create(session, &[&[number(CKA_CLASS, CKO_PRIVATE_KEY)], &ec[..], &open].concat());
    let aes = module.create(session, &with(objects::secret_key(CKK_AES, &[1; 16]), &open));
    let mut key_wrap = mechanism(CKM_AES_KEY_WRAP_KWP);
    let key_wrap = &raw mut key_wrap;
    let wrap = |key| {
        let (mut wrapped, mut len) = (vec![0; 256], 256);
        host::ok!(module, C_WrapKey, session, key_wrap, under, key, wrapped.as_mut_ptr(), &mut len);
        wrapped.truncate(len as usize);
        wrapped
    };
    let wrapped = [wrap(aes), wrap(ec)];
    let native = |template: &[Attr]| -> Vec<_> { template.iter().map(|(name, value)| attr(*name, value)).collect() };
    // The new key, and what was answered.
    let bring = |way: &str, template: &[Attr]| {
        let (mut template, mut key, mut zeros) = (native(template), 0, [0_u8; 16]);
        let (first, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
        let mut data = CK_KEY_DERIVATION_STRING_DATA { pData: zeros.as_mut_ptr(), ulLen: 16 };
        let mut ecb = mechanism(CKM_AES_ECB_ENCRYPT_DATA);
        (ecb.pParameter, ecb.ulParameterLen) = ((&raw mut data).cast(), size_of_val(&data) as CK_ULONG);
        let rv = match way {
            "derived" => call!(module, C_DeriveKey, session, &mut ecb, under, first, count, &mut key),
            "generated" => {
                call!(module, C_GenerateKey, session, &mut mechanism(CKM_AES_KEY_GEN), first, count, &mut key)
            }
            _ => {
                let from = &wrapped[usize::from(way == "unwrapped, private")];
                let (from, len) = (from.as_ptr().cast_mut(), from.len() as CK_ULONG);
                call!(module, C_UnwrapKey, session, key_wrap, under, from, len, first, count, &mut key)
            }
        };
        (rv, key)
    };
    let (secret, private) = ([STORAGE, KEY, SECRET, AES].concat(), [STORAGE, KEY, PRIVATE, EC_PRIVATE].concat());
    let of_aes = [number(CKA_CLASS, CKO_SECRET_KEY), number(CKA_KEY_TYPE, CKK_AES)];
    let of_ec = [number(CKA_CLASS, CKO_PRIVATE_KEY), number(CKA_KEY_TYPE, CKK_EC)];
    let sized = with(of_aes.to_vec(), &[number(CKA_VALUE_LEN, 16)]);
    for (way, base, table) in [
        ("unwrapped", of_aes.to_vec(), &secret),
        ("unwrapped, private", of_ec.to_vec(), &private),
        ("derived", sized.clone(), &secret),
        ("generated", sized, &secret),
    ] {
        let (is_unwrapped, mut wrong) = (way.starts_with("unwrapped"), Vec::new());
        for row in table.iter().copied() {
            let about = format!("{way}, attribute {:#x}", row.0);
            let (rv, key) = bring(way, &with(base.clone(), &[sample(row)]));
            let expected = match row.0 {
                CKA_CLASS if way == "unwrapped" || way == "unwrapped, private" => CKR_ATTRIBUTE_VALUE_INVALID,
                CKA_CLASS => CKR_TEMPLATE_INCONSISTENT,
                CKA_KEY_TYPE if way == "generated" => CKR_TEMPLATE_INCONSISTENT,
                CKA_KEY_TYPE => CKR_ATTRIBUTE_VALUE_INVALID,
                // As the texts on key wrap have it, and against footnote 6: it says how long the key is to be.
                CKA_VALUE_LEN if is_unwrapped => CKR_WRAPPED_KEY_LEN_RANGE,
                // The parameter's data make no key so long.
                CKA_VALUE_LEN if way == "derived" => CKR_MECHANISM_PARAM_INVALID,
                CKA_CHECK_VALUE => CKR_ATTRIBUTE_VALUE_INVALID,
                CKA_EC_PARAMS if is_unwrapped => CKR_ATTRIBUTE_READ_ONLY,
                CKA_PUBLIC_KEY_INFO => CKR_ATTRIBUTE_VALUE_INVALID,
                _ if says(row, "4") || says(row, "10") => CKR_ATTRIBUTE_READ_ONLY,
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
        assert_eq!(rv, CKR_OK, "{way}");
        // Of every attribute there is a value, and nobody but the token says where the key came from.
        for (attribute, note, _) in table.iter().filter(|row| !says(**row, "o") && !says(**row, "7")) {
            assert!(module.get(session, key, *attribute).is_ok(), "{way}, attribute {attribute:#x} {note}");
        }
        let generated = way == "generated";
        assert_eq!(module.is(session, key, CKA_LOCAL), generated, "{way}");
        let made = if generated { CKM_AES_KEY_GEN } else { CK_UNAVAILABLE_INFORMATION };
        assert_eq!(module.get(session, key, CKA_KEY_GEN_MECHANISM).unwrap(), made.to_ne_bytes(), "{way}");
        let foreign = EC_PUBLIC.iter().chain(TRUST).filter(|row| table.iter().all(|own| own.0 != row.0));
        for row in foreign {
            let (rv, _) = bring(way, &with(base.clone(), &[sample(*row)]));
            assert_eq!(rv, CKR_TEMPLATE_INCONSISTENT, "{way}, attribute {:#x} of another class", row.0);
        }
        let unknown = bytes(CKA_VENDOR_DEFINED | 0x1234, b"x");
        assert_eq!(bring(way, &with(base.clone(), &[unknown])).0, CKR_ATTRIBUTE_TYPE_INVALID, "{way}");
        let mut twice = base.clone();
        twice.extend([bytes(CKA_LABEL, b"a"), bytes(CKA_LABEL, b"a")]);
        assert_eq!(bring(way, &twice).0, CKR_OK, "{way}: the same twice");
        twice.push(bytes(CKA_LABEL, b"b"));
        assert_eq!(bring(way, &twice).0, CKR_TEMPLATE_INCONSISTENT, "{way}: two values");
    }
    module.finalise();
}

#[test]
fn templates_in_templates_come_back_as_they_were_given() {
    if !alone("templates_in_templates_come_back_as_they_were_given") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let (yes, class) = ([CK_TRUE], CKO_SECRET_KEY.to_ne_bytes());
    let inner = [attr(CKA_SENSITIVE, &yes), attr(CKA_CLASS, &class)];
    let size = size_of::<CK_ATTRIBUTE>();
    let outer = |inner: &[CK_ATTRIBUTE]| CK_ATTRIBUTE {
        type_: CKA_UNWRAP_TEMPLATE,
        pValue: inner.as_ptr().cast_mut().cast(),
        ulValueLen: size_of_val(inner) as CK_ULONG,
    };
    let (key_type, value) = (CKK_AES.to_ne_bytes(), [7; 16]);
    let create = |outer: CK_ATTRIBUTE, object: &mut CK_OBJECT_HANDLE| {
        let mut template = [attr(CKA_CLASS, &class), attr(CKA_KEY_TYPE, &key_type), attr(CKA_VALUE, &value), outer];
        call!(module, C_CreateObject, session, template.as_mut_ptr(), 4, object)
    };
    let mut key = 0;
    assert_eq!(create(outer(&inner), &mut key), CKR_OK);

    // First the length, then the types and lengths, then the values.
    let null = null_mut();
    let mut wanted = CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: null, ulValueLen: 0 };
    let read = |wanted: &mut CK_ATTRIBUTE| call!(module, C_GetAttributeValue, session, key, wanted, 1);
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!(wanted.ulValueLen as usize, 2 * size);
    let mut entries = [CK_ATTRIBUTE { type_: 0, pValue: null, ulValueLen: 0 }; 2];
    wanted.pValue = entries.as_mut_ptr().cast();
    wanted.ulValueLen -= 1;
    assert_eq!(read(&mut wanted), CKR_BUFFER_TOO_SMALL);
    assert_eq!(wanted.ulValueLen, CK_ULONG::MAX);
    wanted.ulValueLen = 2 * size as CK_ULONG;
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!(entries.map(|entry| (entry.type_, entry.ulValueLen)), [(CKA_CLASS, 8), (CKA_SENSITIVE, 1)]);
    let (mut first, mut second) = ([0_u8; 8], [0_u8; 1]);
    entries[0].pValue = first.as_mut_ptr().cast();
    entries[1].pValue = second.as_mut_ptr().cast();
    entries[0].ulValueLen = 7;
    wanted.pValue = entries.as_mut_ptr().cast();
    assert_eq!(read(&mut wanted), CKR_BUFFER_TOO_SMALL);
    assert_eq!((entries[0].ulValueLen, entries[1].ulValueLen), (CK_ULONG::MAX, 1));
    entries[0].ulValueLen = 8;
    wanted.pValue = entries.as_mut_ptr().cast();
    assert_eq!(read(&mut wanted), CKR_OK);
    assert_eq!((first, second), (class, yes));

    let mut none = 0;
    let deep = [outer(&inner)];
    let deeper = [outer(&deep)];
    assert_eq!(create(outer(&deep), &mut none), CKR_OK);
    assert_eq!(create(outer(&deeper), &mut none), CKR_OK);
    assert_eq!(create(outer(&[outer(&deeper)]), &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(create(outer(&[attr(CKA_CLASS, &yes)]), &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(create(outer(&[attr(0x1234_5678, &yes)]), &mut none), CKR_ATTRIBUTE_TYPE_INVALID);
    let mut odd = outer(&inner);
    odd.ulValueLen -= 1;
    assert_eq!(create(odd, &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    let empty = CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: null, ulValueLen: size as CK_ULONG };
    assert_eq!(create(empty, &mut none), CKR_ATTRIBUTE_VALUE_INVALID);
    module.finalise();
}

#[test]
fn arrays_that_share_their_memory_are_refused_before_they_are_copied() {
    if !alone("arrays_that_share_their_memory_are_refused_before_they_are_copied") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    // 1024 times 1024 times 1024 labels, out of 72 KiB.
    let array = |elements: &[CK_ATTRIBUTE]| {
        let value = elements.as_ptr().cast_mut().cast();
        vec![CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: value, ulValueLen: size_of_val(elements) as CK_ULONG }]
    };
    let labels = vec![attr(CKA_LABEL, b"x"); 1024];
    let inner = array(&labels).repeat(1024);
    let outer = array(&inner).repeat(1024);
    let mut template = array(&outer);
    let found = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), 1);
    assert_eq!(found, CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(call!(module, C_CreateObject, session, template.as_mut_ptr(), 1, &mut 0), CKR_ATTRIBUTE_VALUE_INVALID);
    // One long value, named often.
    let long = vec![b'x'; 1 << 20];
    let mut template = vec![attr(CKA_LABEL, &long); 1024];
    let found = call!(module, C_FindObjectsInit, session, template.as_mut_ptr(), template.len() as CK_ULONG);
    assert_eq!(found, CKR_ATTRIBUTE_VALUE_INVALID);

    // One template for each of many keys.
    let (mut labels, mut key) = (labels, 0);
    let further = CK_DERIVED_KEY { pTemplate: labels.as_mut_ptr(), ulAttributeCount: 1024, phKey: &mut key };
    for (count, expected) in [(1, CKR_KEY_HANDLE_INVALID), (256, CKR_ATTRIBUTE_VALUE_INVALID)] {
        let mut further = vec![further; count];
        let mut parameter = CK_SP800_108_KDF_PARAMS {
            prfType: CKM_SHA256_HMAC,
            ulNumberOfDataParams: 0,
            pDataParams: null_mut(),
            ulAdditionalDerivedKeys: count as CK_ULONG,
            pAdditionalDerivedKeys: further.as_mut_ptr(),
        };
        let mut mechanism = CK_MECHANISM {
            mechanism: CKM_SP800_108_COUNTER_KDF,
            pParameter: (&raw mut parameter).cast(),
            ulParameterLen: size_of_val(&parameter) as CK_ULONG,
        };
        let rv = call!(module, C_DeriveKey, session, &mut mechanism, 0, null_mut(), 0, &mut 0);
        assert_eq!(rv, expected, "{count}");
    }
    module.finalise();
}
