use super::*;
use crate::store::Attributes;

fn sealed() -> SealedKey {
    SealedKey {
        form: SealForm::Kms,
        blob: vec![0xB1, 0xB2],
        context_version: 1,
        user_context: vec![("app".into(), "web".into()), ("b".into(), "".into())],
        kms_key_arn: "arn".into(),
        further: Vec::new(),
    }
}

fn object() -> ObjectRecord {
    ObjectRecord {
        id: ObjectId::from_bytes([0x11; 16]),
        version: 5,
        attributes: Attributes::from([(0, 3_u64.to_be_bytes().to_vec()), (3, b"web".to_vec()), (0x102, vec![])]),
        sealed: Some(sealed()),
        mac: Some([0x4d; 32]),
    }
}

/// The same, sealed by another KMS key as well.
fn by_two(form: SealForm) -> ObjectRecord {
    let further = vec![FurtherSeal { kms_key_arn: "two".into(), blob: vec![0xC1] }];
    ObjectRecord { sealed: Some(SealedKey { form, further, ..sealed() }), ..object() }
}

fn token() -> TokenRecord {
    TokenRecord {
        version: 6,
        serial: "0123456789abcdef".into(),
        label: "wéb".into(),
        login: LoginMode::Pin,
        so_pin: Some(PinRecord {
            salt: [0x51; 16],
            memory_kib: 19456,
            iterations: 2,
            lanes: 1,
            wrapped_token_key: vec![0xAA, 0xBB],
            failed_attempts: 3,
        }),
        user_pin: None,
        sealed_token_key: None,
        created: 0x6553_F100,
        changed: 0x6553_F101,
        mac: Some([0x4e; 32]),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

// Never change these: they are what lies on people's disks. A new format gets new vectors beside them.
const OBJECT_V1: &str = concat!(
    "4f01",
    "11111111111111111111111111111111",
    "00000003",
    "0000000000000000",
    "00000008",
    "0000000000000003",
    "0000000000000003",
    "00000003",
    "776562",
    "0000000000000102",
    "00000000",
    "01",
    "01",
    "00000002",
    "b1b2",
    "00000002",
    "00000003",
    "617070",
    "00000003",
    "776562",
    "00000001",
    "62",
    "00000000",
    "00000003",
    "61726e",
);
const TOKEN_V1: &str = concat!(
    "5401",
    "00000010",
    "30313233343536373839616263646566",
    "00000004",
    "77c3a962",
    "01",
    "01",
    "51515151515151515151515151515151",
    "00004c00",
    "00000002",
    "00000001",
    "00000003",
    "00000002",
    "aabb",
    "00",
    "00",
    "000000006553f100",
    "000000006553f101",
);

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Format 2 is format 1 with a MAC, or the word that there is none.
fn version_2(version_1: &str, mac: &str) -> String {
    format!("{}02{}{mac}", &version_1[..2], &version_1[4..])
}

#[test]
fn the_format_is_what_it_was() {
    let object_mac = format!("01{}", "4d".repeat(32));
    let token_mac = format!("01{}", "4e".repeat(32));
    let said = |bytes: Vec<u8>| hex(&bytes[..bytes.len() - 4]);
    assert_eq!(said(encode_object(&object()).unwrap()), version_2(OBJECT_V1, &object_mac));
    assert_eq!(said(encode_token(&token()).unwrap()), version_2(TOKEN_V1, &token_mac));
    let (object, token) = (ObjectRecord { mac: None, ..object() }, TokenRecord { mac: None, ..token() });
    assert_eq!(said(encode_object(&object).unwrap()), version_2(OBJECT_V1, "00"));
    assert_eq!(said(encode_token(&token).unwrap()), version_2(TOKEN_V1, "00"));
    // A further seal stands behind the first, and the form says that it is there.
    let by_two = ObjectRecord { mac: None, ..by_two(SealForm::Kms) };
    let sealed = OBJECT_V1.replacen("000000000101", "000000000301", 1);
    assert_eq!(
        said(encode_object(&by_two).unwrap()),
        version_2(&format!("{sealed}000000010000000374776f00000001c1"), "00")
    );
    // What lies in stores of format 1, with its checksums.
    assert_eq!(decode_object(&object.id, 5, &unhex(&format!("{OBJECT_V1}77eed05e"))), Ok(object));
    assert_eq!(decode_token(6, &unhex(&format!("{TOKEN_V1}36ce27a5"))), Ok(token));
}

/// A MAC that an earlier version made must fit for ever.
#[test]
fn what_is_vouched_for_is_what_it_was() {
    let body = |bytes: Vec<u8>| hex(&bytes[..bytes.len() - 4]);
    let head = |text: &str| format!("{:08x}{}", text.len(), hex(text.as_bytes()));
    let serial = token().serial;
    assert_eq!(
        body(vouched_object(&serial, &object()).unwrap()),
        format!("{}{}{}", head("datakey-pkcs11 object v1"), head(&serial), &OBJECT_V1[4..])
    );
    let further = by_two(SealForm::Kms);
    assert_ne!(vouched_object(&serial, &further), vouched_object(&serial, &object()));
    let unlike = ObjectRecord { mac: None, version: 77, ..object() };
    assert_eq!(vouched_object(&serial, &unlike), vouched_object(&serial, &object()));
    assert_eq!(
        body(vouched_token(&token()).unwrap()),
        format!("{}{}0000000477c3a96201000000006553f100", head("datakey-pkcs11 token v1"), head(&serial))
    );
}

#[test]
fn records_come_back_as_they_were() {
    assert_eq!(decode_object(&object().id, 5, &encode_object(&object()).unwrap()), Ok(object()));
    assert_eq!(decode_token(6, &encode_token(&token()).unwrap()), Ok(token()));
    let mut long = object();
    long.sealed.as_mut().unwrap().form = SealForm::Envelope;
    assert_eq!(decode_object(&long.id, 5, &encode_object(&long).unwrap()), Ok(long));
    for form in [SealForm::Kms, SealForm::Envelope] {
        let by_two = by_two(form);
        assert_eq!(decode_object(&by_two.id, 5, &encode_object(&by_two).unwrap()), Ok(by_two));
    }
    let bare = ObjectRecord { attributes: Attributes::new(), sealed: None, ..object() };
    assert_eq!(decode_object(&bare.id, 5, &encode_object(&bare).unwrap()), Ok(bare));
}

#[test]
fn the_context_is_put_in_order_and_names_each_key_once() {
    let mut object = object();
    let sealed = object.sealed.as_mut().unwrap();
    sealed.user_context.reverse();
    assert_eq!(encode_object(&object), encode_object(&self::object()));
    object.sealed.as_mut().unwrap().user_context.push(("app".into(), "x".into()));
    assert_eq!(encode_object(&object).unwrap_err().cause(), Cause::ConfigInvalid);
}

#[test]
fn a_record_in_anothers_place_is_corrupt() {
    let bytes = encode_object(&object()).unwrap();
    let error = decode_object(&ObjectId::from_bytes([0x12; 16]), 5, &bytes).unwrap_err();
    assert_eq!(error.cause(), Cause::RecordCorrupt);
    assert_eq!(decode_token(1, &bytes).unwrap_err().cause(), Cause::RecordCorrupt);
    assert_eq!(
        decode_object(&object().id, 5, &encode_token(&token()).unwrap()).unwrap_err().cause(),
        Cause::RecordCorrupt
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let object_bytes = encode_object(&object()).unwrap();
    let token_bytes = encode_token(&token()).unwrap();
    let is_corrupt = |damaged: &[u8]| {
        let object = decode_object(&object().id, 5, damaged).map_err(|e| e.cause());
        let token = decode_token(6, damaged).map_err(|e| e.cause());
        object == Err(Cause::RecordCorrupt) && token == Err(Cause::RecordCorrupt)
    };
    for bytes in [object_bytes, token_bytes] {
        for len in 0..bytes.len() {
            assert!(is_corrupt(&bytes[..len]), "cut to {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(is_corrupt(&damaged), "bit {bit}");
        }
        assert!(is_corrupt(&[&bytes[..], &[0]].concat()));
    }
}

/// Damage that somebody took the trouble to put the right checksum on.
#[test]
fn the_decoder_trusts_no_checksum() {
    let sums_right = |body: Vec<u8>| {
        let mut out = Writer::new();
        out.fixed(&body);
        out.finish().unwrap()
    };
    let two = encode_object(&by_two(SealForm::Envelope)).unwrap();
    for (bytes, is_object) in
        [(encode_object(&object()).unwrap(), true), (two, true), (encode_token(&token()).unwrap(), false)]
    {
        let body = &bytes[..bytes.len() - 4];
        let decode = |body: Vec<u8>| {
            let bytes = sums_right(body);
            if is_object {
                decode_object(&object().id, 5, &bytes).map(|o| encode_object(&o).unwrap() == bytes)
            } else {
                decode_token(6, &bytes).map(|t| encode_token(&t).unwrap() == bytes)
            }
        };
        assert_eq!(decode(body.to_vec()), Ok(true));
        for len in 0..body.len() {
            assert!(decode(body[..len].to_vec()).is_err(), "cut to {len}");
        }
        assert!(decode([body, &[0]].concat()).is_err());
        // Any byte, any value: refused, or the one encoding of what it decodes to.
        for at in 0..body.len() {
            for value in 0..=255 {
                let mut damaged = body.to_vec();
                damaged[at] = value;
                match decode(damaged) {
                    Ok(canonical) => assert!(canonical, "byte {at} = {value}"),
                    Err(e) => assert_eq!(e.cause(), Cause::RecordCorrupt),
                }
            }
        }
    }
    // Counts and lengths that ask for four thousand million parts.
    for at in [18, 30] {
        let bytes = encode_object(&object()).unwrap();
        let mut body = bytes[..bytes.len() - 4].to_vec();
        body[at..at + 4].fill(0xff);
        assert_eq!(decode_object(&object().id, 5, &sums_right(body)).unwrap_err().cause(), Cause::RecordCorrupt);
    }
}
