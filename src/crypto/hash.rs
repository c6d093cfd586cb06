//! The hash functions that PKCS#11 mechanisms name.
#![forbid(unsafe_code)]

use super::aws_lc;
use super::digest::Digest;

macro_rules! hashes {
    (
        fixed { $($(#[$doc:meta])* $name:ident $len:literal $oid:expr;)* }
        extendable { $($(#[$extendable_doc:meta])* $extendable:ident $extendable_len:literal $extendable_oid:expr;)* }
    ) => {
        /// A hash function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "these are the names of the standard, as good as spelt out")]
        pub enum Hash { $($(#[$doc])* $name,)* $($(#[$extendable_doc])* $extendable,)* }

        impl Hash {
            /// Every hash function of SHA-1, SHA-2 and SHA-3: those whose output has one length, good for HMAC and
            /// all else. The others only hash what is signed.
            pub const ALL: &[Hash] = &[$(Hash::$name,)*];

            /// The length of its digest in bytes.
            #[allow(clippy::len_without_is_empty, reason = "no digest is empty")]
            pub fn len(self) -> usize {
                match self { $(Hash::$name => $len,)* $(Hash::$extendable => $extendable_len,)* }
            }

            /// The content octets of its object identifier.
            pub(super) fn oid(self) -> &'static [u8] {
                match self { $(Hash::$name => $oid,)* $(Hash::$extendable => $extendable_oid,)* }
            }
        }
    };
}

/// NIST's arc of hash functions, 2.16.840.1.101.3.4.2.x.
macro_rules! nist {
    ($last:literal) => {
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, $last]
    };
}

hashes! {
    fixed {
        /// SHA-1.
        Sha1       20 &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
        /// SHA-224.
        Sha224     28 nist!(4);
        /// SHA-256.
        Sha256     32 nist!(1);
        /// SHA-384.
        Sha384     48 nist!(2);
        /// SHA-512.
        Sha512     64 nist!(3);
        /// SHA-512/224.
        Sha512_224 28 nist!(5);
        /// SHA-512/256.
        Sha512_256 32 nist!(6);
        /// SHA3-224.
        Sha3_224   28 nist!(7);
        /// SHA3-256.
        Sha3_256   32 nist!(8);
        /// SHA3-384.
        Sha3_384   48 nist!(9);
        /// SHA3-512.
        Sha3_512   64 nist!(10);
    }
    extendable {
        /// SHAKE128 with 256 bits of output.
        Shake128 32 nist!(11);
        /// SHAKE256 with 512 bits of output.
        Shake256 64 nist!(12);
    }
}

impl Hash {
    /// The digest of `data`.
    pub fn digest(self, data: &[u8]) -> Digest {
        aws_lc::digest::of(self, data)
    }

    /// Writes the DER of a `DigestInfo` (RFC 8017, section 9.2) up to where the digest follows; gives its length.
    pub(super) fn digest_info_prefix(self, out: &mut [u8; 19]) -> usize {
        let oid = self.oid();
        // The longest OID has 9 octets and the longest digest 64, so every length is one short-form octet.
        let (oid_len, len) = (oid.len() as u8, self.len() as u8);
        let end = 6 + oid.len();
        out[..6].copy_from_slice(&[0x30, oid_len + 8 + len, 0x30, oid_len + 4, 0x06, oid_len]);
        out[6..end].copy_from_slice(oid);
        out[end..end + 4].copy_from_slice(&[0x05, 0x00, 0x04, len]);
        end + 4
    }
}
