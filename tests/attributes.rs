//! The attribute matrix: every attribute of each class, created, generated, set, copied and read, as the tables
//! of the specification have it.

#[path = "attributes/arriving.rs"]
mod arriving;
mod attributes_support;
mod host;
#[path = "attributes/nested.rs"]
mod nested;
mod objects;

use attributes_support::*;
use cryptoki_sys::*;
use host::{Module, Place, alone};
use objects::{bytes, flag, number, with};

/// What setting the attribute to its sample answers.
fn setting(row: Row) -> CK_RV {
    // A template without attributes is the default already.
    let unchanged = matches!(row.2, Sample::Bytes([]));
    match () {
        () if unchanged || ["8", "11", "12", "d"].iter().any(|note| says(row, note)) => CKR_OK,
        () if says(row, "g") => CKR_ATTRIBUTE_VALUE_INVALID,
        () if says(row, "n") => CKR_ATTRIBUTE_TYPE_INVALID,
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
    let keys = Keys::new(module, session);
    let every: Vec<Row> = cases(&keys).into_iter().flat_map(|case| case.table).collect();
    let mut checked = 0;
    for Case { name, base, table, copies } in cases(&keys) {
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
                // The sample is no value that goes with the rest.
                () if says(row, "1") => {}
                () if says(row, "n") => assert_eq!(creating, CKR_ATTRIBUTE_TYPE_INVALID, "{about} created"),
                () if says(row, "s") || says(row, "g") => {
                    assert_eq!(creating, CKR_ATTRIBUTE_VALUE_INVALID, "{about} created")
                }
                () => assert_eq!(creating, CKR_OK, "{about} created"),
            }

            let object = module.create(session, &base);
            let copying = match () {
                () if !copies => CKR_ACTION_PROHIBITED,
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
                Err(rv) => {
                    let absent = says(row, "o") || says(row, "n");
                    assert!(rv == CKR_ATTRIBUTE_TYPE_INVALID && absent, "{about} read: {rv:#x}")
                }
            }
            // One way.
            if ["11", "12", "v"].iter().any(|note| says(row, note)) {
                let back = flag(attribute, !matches!(row.2, Sample::Flag(true)));
                assert_eq!(
                    module.set(session, object, std::slice::from_ref(&back)),
                    CKR_ATTRIBUTE_READ_ONLY,
                    "{about}"
                );
                let prohibited = match copies && attribute != CKA_COPYABLE {
                    true => CKR_ATTRIBUTE_READ_ONLY,
                    false => CKR_ACTION_PROHIBITED,
                };
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
            let expected = if says(*row, "n") { CKR_ATTRIBUTE_TYPE_INVALID } else { CKR_TEMPLATE_INCONSISTENT };
            assert_eq!(creating, expected, "{about}");
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

/// A certificate that its object does not hold is told by where it is, whose it is and which keys it is about
/// (sections 4.6.3 and 4.6.4).
#[test]
fn certificates_that_lie_elsewhere_say_where_and_whose_they_are() {
    if !alone("certificates_that_lie_elsewhere_say_where_and_whose_they_are") {
        return;
    }
    let place = Place::embedded("");
    let module = Module::start(&place.configuration());
    module.make_token(true);
    let session = module.enter();
    let about = [CKA_SUBJECT, CKA_URL, CKA_HASH_OF_SUBJECT_PUBLIC_KEY, CKA_HASH_OF_ISSUER_PUBLIC_KEY];
    for kind in [CKC_X_509, CKC_WTLS] {
        let mut elsewhere = vec![number(CKA_CLASS, CKO_CERTIFICATE), number(CKA_CERTIFICATE_TYPE, kind)];
        elsewhere.push(bytes(CKA_VALUE, b""));
        elsewhere.extend(about.map(|attribute| bytes(attribute, b"told")));
        let certificate = module.create(session, &elsewhere);
        for unsaid in [CKA_ISSUER, CKA_PUBLIC_KEY_INFO] {
            assert_eq!(module.get(session, certificate, unsaid), Ok(vec![]), "{kind}, attribute {unsaid:#x}");
        }
        for unsaid in about {
            let mut template = elsewhere.clone();
            template.retain(|(named, _)| *named != unsaid);
            let creating = module.creating(session, &template);
            assert_eq!(creating, CKR_TEMPLATE_INCOMPLETE, "{kind}, attribute {unsaid:#x} unsaid");
        }
    }
    // Whose it is does not follow from a certificate that the module does not read.
    let nobody = [number(CKA_CERTIFICATE_TYPE, CKC_WTLS), bytes(CKA_SUBJECT, b""), bytes(CKA_VALUE, b"any")];
    let nobody = [&[number(CKA_CLASS, CKO_CERTIFICATE)], &nobody[..]].concat();
    assert_eq!(module.creating(session, &nobody), CKR_TEMPLATE_INCOMPLETE);
    module.finalise();
}
