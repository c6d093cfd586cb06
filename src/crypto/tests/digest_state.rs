//! The state of a hash function as bytes.

use super::super::{Digester, Hash};
use super::random_bytes;

const SHA_3: [Hash; 4] = [Hash::Sha3_224, Hash::Sha3_256, Hash::Sha3_384, Hash::Sha3_512];

#[test]
fn a_saved_state_goes_on_where_it_was() {
    let data = random_bytes(700);
    for hash in Hash::ALL.iter().copied().filter(|hash| !SHA_3.contains(hash)) {
        for len in [0, 1, 63, 64, 65, 111, 127, 128, 129, 256, 300, 699] {
            let mut digester = Digester::new(hash);
            digester.update(&data[..len]);
            let saved = digester.save().unwrap();
            let mut restored = Digester::restore(hash, saved.expose()).unwrap();
            // What was saved from goes its own way.
            digester.update(b"another end");
            restored.update(&data[len..]);
            assert_eq!(restored.finish(), hash.digest(&data), "{hash:?} {len}");
        }
    }
    for hash in SHA_3 {
        assert!(Digester::new(hash).save().is_none() && Digester::restore(hash, &[0; 200]).is_none(), "{hash:?}");
    }
}

/// The chaining values before any data are those of FIPS 180-4, section 5.3.
#[test]
fn the_state_is_what_the_standard_calls_so() {
    let saved = |hash, data: &[u8]| {
        let mut digester = Digester::new(hash);
        digester.update(data);
        digester.save().unwrap().expose().to_vec()
    };
    let start = [0x67452301_u32, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0].map(u32::to_be_bytes).concat();
    assert_eq!(saved(Hash::Sha1, b"abc"), [&start[..], &24_u64.to_be_bytes(), b"abc"].concat());
    assert_eq!(saved(Hash::Sha224, b"")[..4], [0xc1, 0x05, 0x9e, 0xd8]);
    assert_eq!(saved(Hash::Sha256, b"")[..4], [0x6a, 0x09, 0xe6, 0x67]);
    assert_eq!(saved(Hash::Sha384, b"")[..4], [0xcb, 0xbb, 0x9d, 0x5d]);
    assert_eq!(saved(Hash::Sha512_256, b"").len(), 8 * 8 + 16);
}

#[test]
fn what_is_no_state_is_refused() {
    for (hash, words) in [(Hash::Sha1, 28), (Hash::Sha256, 40), (Hash::Sha512, 80)] {
        let mut digester = Digester::new(hash);
        digester.update(b"abc");
        let good = digester.save().unwrap().expose().to_vec();
        assert_eq!(good.len(), words + 3);
        let refused = |saved: &[u8]| Digester::restore(hash, saved).is_none();
        assert!(!refused(&good) && refused(&[]), "{hash:?}");
        assert!((0..good.len()).all(|len| refused(&good[..len])), "{hash:?}: cut");
        assert!(refused(&[&good[..], b"d"].concat()), "{hash:?}: more than was counted");
        let mut bits = good.clone();
        bits[words - 1] += 1;
        assert!(refused(&bits), "{hash:?}: part of a byte");
        // A whole block cannot wait to be hashed.
        let block = if hash == Hash::Sha512 { 128 } else { 64 };
        let mut full = [&good[..words], &vec![0; block]].concat();
        full[words - 2..words].copy_from_slice(&(8 * block as u16).to_be_bytes());
        assert!(refused(&full), "{hash:?}: a whole block");
    }
}
