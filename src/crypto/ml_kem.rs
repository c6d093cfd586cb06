//! The parameter sets of ML-KEM.
#![forbid(unsafe_code)]

/// A parameter set of ML-KEM (FIPS 203, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MlKemSet {
    /// ML-KEM-512.
    MlKem512,
    /// ML-KEM-768.
    MlKem768,
    /// ML-KEM-1024.
    MlKem1024,
}

/// The length in bytes of the secret that both sides get.
pub(super) const SHARED_SECRET_LEN: usize = 32;
/// The length in bytes of the seed `d ‖ z` that a key pair is made from.
pub(super) const SEED_LEN: usize = 64;

impl MlKemSet {
    /// Every parameter set.
    pub const ALL: &[MlKemSet] = &[MlKemSet::MlKem512, MlKemSet::MlKem768, MlKemSet::MlKem1024];

    /// The rank of the matrix, from which the lengths follow.
    fn k(self) -> usize {
        match self {
            MlKemSet::MlKem512 => 2,
            MlKemSet::MlKem768 => 3,
            MlKemSet::MlKem1024 => 4,
        }
    }

    /// The length of an encapsulation key in bytes.
    pub fn public_key_len(self) -> usize {
        384 * self.k() + 32
    }

    /// The length of an expanded decapsulation key in bytes.
    pub fn private_key_len(self) -> usize {
        768 * self.k() + 96
    }

    /// The encapsulation key inside an expanded decapsulation key of the right length.
    pub(super) fn public_part(self, expanded: &[u8]) -> Option<&[u8]> {
        expanded.get(384 * self.k()..768 * self.k() + 32)
    }

    /// The length of a ciphertext in bytes.
    pub fn ciphertext_len(self) -> usize {
        match self {
            MlKemSet::MlKem512 => 768,
            MlKemSet::MlKem768 => 1088,
            MlKemSet::MlKem1024 => 1568,
        }
    }

    /// The content octets of its object identifier (RFC 9935, section 3).
    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            MlKemSet::MlKem512 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x01],
            MlKemSet::MlKem768 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x02],
            MlKemSet::MlKem1024 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x03],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 203, table 3.
    #[test]
    fn lengths_are_those_of_the_standard() {
        let lengths =
            MlKemSet::ALL.iter().map(|set| (set.public_key_len(), set.private_key_len(), set.ciphertext_len()));
        assert_eq!(lengths.collect::<Vec<_>>(), [(800, 1632, 768), (1184, 2400, 1088), (1568, 3168, 1568)]);
    }
}
