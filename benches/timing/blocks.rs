//! Padded blocks, right and wrong in one way each.

use sha2::{Digest, Sha256};

/// How many ciphertexts of each class there are.
pub(crate) const OF_A_CLASS: usize = 256;

/// One way to be right or wrong.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Makes a block of so many bytes, with a message of so many.
    pub(crate) block: fn(&mut Numbers, usize, usize) -> Vec<u8>,
}

/// Random numbers that come again with the same seed (splitmix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn nonzero(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| 1 + self.below(255) as u8).collect()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            let other = self.below(end);
            items.swap(end - 1, other);
        }
    }
}

/// PKCS#1 v1.5: 00 02, padding without zeros, 00, message.
fn padded(numbers: &mut Numbers, k: usize, message: usize) -> Vec<u8> {
    let (padding, message) = (numbers.nonzero(k - 3 - message), numbers.bytes(message));
    [&[0, 2][..], &padding, &[0], &message].concat()
}

fn padded_but(numbers: &mut Numbers, k: usize, message: usize, at: usize, byte: u8) -> Vec<u8> {
    let mut block = padded(numbers, k, message);
    block[at] = byte;
    block
}

/// Classes for PKCS#1 v1.5. Right messages of other lengths than the first class's are another thing to unwrap.
pub(crate) fn pkcs1(message: usize) -> Vec<Class> {
    let mut classes = vec![
        Class { name: "right", block: padded },
        Class { name: "first byte 01", block: |n, k, m| padded_but(n, k, m, 0, 1) },
        Class { name: "type 01", block: |n, k, m| padded_but(n, k, m, 1, 1) },
        Class { name: "type 00", block: |n, k, m| padded_but(n, k, m, 1, 0) },
        Class { name: "zero as first byte of padding", block: |n, k, m| padded_but(n, k, m, 2, 0) },
        Class { name: "zero as eighth byte of padding", block: |n, k, m| padded_but(n, k, m, 9, 0) },
        Class { name: "no zero at all", block: |n, k, _| [&[0, 2][..], &n.nonzero(k - 2)].concat() },
        Class { name: "anything", block: |n, k, _| [&[0], &n.bytes(k - 1)[..]].concat() },
        Class { name: "message of no bytes", block: |n, k, _| padded(n, k, 0) },
        Class { name: "message as long as can be", block: |n, k, _| padded(n, k, k - 11) },
    ];
    if message == 16 {
        classes.push(Class { name: "message one byte short", block: |n, k, m| padded(n, k, m - 1) });
        classes.push(Class { name: "message one byte long", block: |n, k, m| padded(n, k, m + 1) });
    }
    classes
}

const HASH: usize = 32;

/// An OAEP block with SHA-256 (RFC 8017, section 7.1.1), as its parts are given.
fn oaep_of(numbers: &mut Numbers, first: u8, data: &[u8]) -> Vec<u8> {
    let mut seed = numbers.bytes(HASH);
    let mut data = data.to_vec();
    mask(&mut data, &seed);
    mask(&mut seed, &data);
    [&[first][..], &seed, &data].concat()
}

/// Masks with MGF1.
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(bytes.chunks_mut(HASH)) {
        let block = Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize();
        chunk.iter_mut().zip(block).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// Hash of the label, zeros, 01, message.
fn data_block(numbers: &mut Numbers, k: usize, label: &[u8], message: usize) -> Vec<u8> {
    let zeros = vec![0; k - 2 * HASH - 2 - message];
    [Sha256::digest(label).as_slice(), &zeros, &[1], &numbers.bytes(message)].concat()
}

fn oaep_with(numbers: &mut Numbers, k: usize, message: usize, first: u8, change: fn(&mut [u8])) -> Vec<u8> {
    let mut data = data_block(numbers, k, b"", message);
    change(&mut data);
    oaep_of(numbers, first, &data)
}

/// Classes for OAEP.
pub(crate) fn oaep() -> Vec<Class> {
    vec![
        Class { name: "right", block: |n, k, m| oaep_with(n, k, m, 0, |_| ()) },
        Class { name: "first byte 01 (Manger)", block: |n, k, m| oaep_with(n, k, m, 1, |_| ()) },
        Class {
            name: "hash of another label",
            block: |n, k, m| {
                let data = data_block(n, k, b"another", m);
                oaep_of(n, 0, &data)
            },
        },
        Class {
            name: "hash wrong in its last bit",
            block: |n, k, m| oaep_with(n, k, m, 0, |data| data[HASH - 1] ^= 1),
        },
        Class { name: "02 as first byte of padding", block: |n, k, m| oaep_with(n, k, m, 0, |data| data[HASH] = 2) },
        Class { name: "no 01 at all", block: |n, k, m| oaep_with(n, k, m, 0, |data| data[HASH..].fill(0)) },
        Class {
            name: "first byte and hash wrong",
            block: |n, k, m| {
                let data = data_block(n, k, b"another", m);
                oaep_of(n, 1, &data)
            },
        },
        Class { name: "anything", block: |n, k, _| [&[0], &n.bytes(k - 1)[..]].concat() },
    ]
}
