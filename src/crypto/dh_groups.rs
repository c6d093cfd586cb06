//! The groups of finite-field Diffie-Hellman: the safe primes that RFC 7919 and RFC 3526 name, with the generator 2.
//!
//! Anybody could choose a prime of which he alone knows the weakness; of these the world knows how they were chosen.
#![forbid(unsafe_code)]

use super::aws_lc::dh;
use crate::error::Result;
use once_cell::race::OnceBox;

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident $text:literal $bits:literal $private:literal $prime:expr;)*) => {
        /// A group for finite-field Diffie-Hellman.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DhGroup { $($(#[$doc])* $name,)* }

        impl DhGroup {
            /// Every group.
            pub const ALL: &[DhGroup] = &[$(DhGroup::$name,)*];

            /// What the encryption context calls its keys.
            pub fn name(self) -> &'static str {
                match self { $(DhGroup::$name => $text,)* }
            }

            /// The length of the prime in bits.
            pub fn bits(self) -> u32 {
                match self { $(DhGroup::$name => $bits,)* }
            }

            /// How many bits a private number has that nobody asked otherwise of: twice the strength of the group
            /// (SP 800-56A, table 25), rounded up.
            pub fn private_bits(self) -> u32 {
                match self { $(DhGroup::$name => $private,)* }
            }

            fn compute_prime(self) -> Result<Vec<u8>> {
                match self { $(DhGroup::$name => $prime,)* }
            }
        }
    };
}

groups! {
    /// ffdhe2048 of RFC 7919.
    Ffdhe2048 "DH_FFDHE_2048" 2048 256 Ok(bytes(FFDHE_2048));
    /// ffdhe3072 of RFC 7919.
    Ffdhe3072 "DH_FFDHE_3072" 3072 256 Ok(bytes(FFDHE_3072));
    /// ffdhe4096 of RFC 7919.
    Ffdhe4096 "DH_FFDHE_4096" 4096 320 Ok(bytes(FFDHE_4096));
    /// ffdhe6144 of RFC 7919.
    Ffdhe6144 "DH_FFDHE_6144" 6144 384 Ok(bytes(FFDHE_6144));
    /// ffdhe8192 of RFC 7919.
    Ffdhe8192 "DH_FFDHE_8192" 8192 448 Ok(bytes(FFDHE_8192));
    /// The group of 2048 bits of RFC 3526.
    Modp2048 "DH_MODP_2048" 2048 256 dh::rfc3526(2048);
    /// The group of 3072 bits of RFC 3526.
    Modp3072 "DH_MODP_3072" 3072 256 dh::rfc3526(3072);
    /// The group of 4096 bits of RFC 3526.
    Modp4096 "DH_MODP_4096" 4096 320 dh::rfc3526(4096);
    /// The group of 6144 bits of RFC 3526.
    Modp6144 "DH_MODP_6144" 6144 384 dh::rfc3526(6144);
    /// The group of 8192 bits of RFC 3526.
    Modp8192 "DH_MODP_8192" 8192 448 dh::rfc3526(8192);
}

/// The generator of every group.
pub(super) const BASE: &[u8] = &[2];

impl DhGroup {
    /// The length of the prime, and of a shared secret, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no prime is empty")]
    pub fn len(self) -> usize {
        self.bits() as usize / 8
    }

    /// The prime, most significant byte first, with no zeros before it.
    pub fn prime(self) -> Result<&'static [u8]> {
        // Made twice where two threads need them first at once: to wait for another thread is what a forked child could
        // do for ever.
        static PRIMES: OnceBox<Vec<(DhGroup, Vec<u8>)>> = OnceBox::new();
        let all = PRIMES.get_or_try_init(|| {
            let each = Self::ALL.iter().map(|group| Ok((*group, group.compute_prime()?)));
            each.collect::<Result<_>>().map(Box::new)
        })?;
        Ok(all.iter().find(|row| row.0 == self).map_or(&[], |row| &row.1))
    }

    /// The generator.
    pub fn base(self) -> &'static [u8] {
        BASE
    }

    /// The group with this prime and this generator, both most significant byte first.
    pub fn find(prime: &[u8], base: &[u8]) -> Result<Option<Self>> {
        let (prime, base) = (super::der_writer::trim(prime), super::der_writer::trim(base));
        if base != BASE {
            return Ok(None);
        }
        for group in Self::ALL.iter().copied().filter(|group| group.len() == prime.len()) {
            if group.prime()? == prime {
                return Ok(Some(group));
            }
        }
        Ok(None)
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| hex.as_bytes().get(at).map_or(0, |c| if *c > b'9' { c - b'a' + 10 } else { c - b'0' });
    (0..hex.len() / 2).map(|at| digit(2 * at) << 4 | digit(2 * at + 1)).collect()
}

// Appendix A of RFC 7919.

const FFDHE_2048: &str = "\
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c\
    75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689da\
    f3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4ae56\
    ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad73\
    3bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa886b423861285c97ffffffffffffffff";

const FFDHE_3072: &str = "\
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c\
    75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689da\
    f3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4ae56\
    ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad73\
    3bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6\
    c9077ad91d2691f7f7ee598cb0fac186d91caefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab\
    9c9df69ee86d2bc522363a0dabc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b66c62e37ffff\
    ffffffffffff";

const FFDHE_4096: &str = "\
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c\
    75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689da\
    f3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4ae56\
    ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad73\
    3bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6\
    c9077ad91d2691f7f7ee598cb0fac186d91caefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab\
    9c9df69ee86d2bc522363a0dabc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b669e1ef16e6f\
    52c3164df4fb7930e9e4e58857b6ac7d5f42d69f6d187763cf1d5503400487f55ba57e31cc7a7135c886efb4318aed6a1e012d9e6832\
    a907600a918130c46dc778f971ad0038092999a333cb8b7a1a1db93d7140003c2a4ecea9f98d0acc0a8291cdcec97dcf8ec9b55a7f88\
    a46b4db5a851f44182e1c68a007e5e655f6affffffffffffffff";

const FFDHE_6144: &str = "\
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c\
    75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689da\
    f3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4ae56\
    ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad73\
    3bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6\
    c9077ad91d2691f7f7ee598cb0fac186d91caefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab\
    9c9df69ee86d2bc522363a0dabc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b669e1ef16e6f\
    52c3164df4fb7930e9e4e58857b6ac7d5f42d69f6d187763cf1d5503400487f55ba57e31cc7a7135c886efb4318aed6a1e012d9e6832\
    a907600a918130c46dc778f971ad0038092999a333cb8b7a1a1db93d7140003c2a4ecea9f98d0acc0a8291cdcec97dcf8ec9b55a7f88\
    a46b4db5a851f44182e1c68a007e5e0dd9020bfd64b645036c7a4e677d2c38532a3a23ba4442caf53ea63bb454329b7624c8917bdd64\
    b1c0fd4cb38e8c334c701c3acdad0657fccfec719b1f5c3e4e46041f388147fb4cfdb477a52471f7a9a96910b855322edb6340d8a00e\
    f092350511e30abec1fff9e3a26e7fb29f8c183023c3587e38da0077d9b4763e4e4b94b2bbc194c6651e77caf992eeaac0232a281bf6\
    b3a739c1226116820ae8db5847a67cbef9c9091b462d538cd72b03746ae77f5e62292c311562a846505dc82db854338ae49f5235c95b\
    91178ccf2dd5cacef403ec9d1810c6272b045b3b71f9dc6b80d63fdd4a8e9adb1e6962a69526d43161c1a41d570d7938dad4a40e329c\
    d0e40e65ffffffffffffffff";

const FFDHE_8192: &str = "\
    ffffffffffffffffadf85458a2bb4a9aafdc5620273d3cf1d8b9c583ce2d3695a9e13641146433fbcc939dce249b3ef97d2fe363630c\
    75d8f681b202aec4617ad3df1ed5d5fd65612433f51f5f066ed0856365553ded1af3b557135e7f57c935984f0c70e0e68b77e2a689da\
    f3efe8721df158a136ade73530acca4f483a797abc0ab182b324fb61d108a94bb2c8e3fbb96adab760d7f4681d4f42a3de394df4ae56\
    ede76372bb190b07a7c8ee0a6d709e02fce1cdf7e2ecc03404cd28342f619172fe9ce98583ff8e4f1232eef28183c3fe3b1b4c6fad73\
    3bb5fcbc2ec22005c58ef1837d1683b2c6f34a26c1b2effa886b4238611fcfdcde355b3b6519035bbc34f4def99c023861b46fc9d6e6\
    c9077ad91d2691f7f7ee598cb0fac186d91caefe130985139270b4130c93bc437944f4fd4452e2d74dd364f2e21e71f54bff5cae82ab\
    9c9df69ee86d2bc522363a0dabc521979b0deada1dbf9a42d5c4484e0abcd06bfa53ddef3c1b20ee3fd59d7c25e41d2b669e1ef16e6f\
    52c3164df4fb7930e9e4e58857b6ac7d5f42d69f6d187763cf1d5503400487f55ba57e31cc7a7135c886efb4318aed6a1e012d9e6832\
    a907600a918130c46dc778f971ad0038092999a333cb8b7a1a1db93d7140003c2a4ecea9f98d0acc0a8291cdcec97dcf8ec9b55a7f88\
    a46b4db5a851f44182e1c68a007e5e0dd9020bfd64b645036c7a4e677d2c38532a3a23ba4442caf53ea63bb454329b7624c8917bdd64\
    b1c0fd4cb38e8c334c701c3acdad0657fccfec719b1f5c3e4e46041f388147fb4cfdb477a52471f7a9a96910b855322edb6340d8a00e\
    f092350511e30abec1fff9e3a26e7fb29f8c183023c3587e38da0077d9b4763e4e4b94b2bbc194c6651e77caf992eeaac0232a281bf6\
    b3a739c1226116820ae8db5847a67cbef9c9091b462d538cd72b03746ae77f5e62292c311562a846505dc82db854338ae49f5235c95b\
    91178ccf2dd5cacef403ec9d1810c6272b045b3b71f9dc6b80d63fdd4a8e9adb1e6962a69526d43161c1a41d570d7938dad4a40e329c\
    cff46aaa36ad004cf600c8381e425a31d951ae64fdb23fcec9509d43687feb69edd1cc5e0b8cc3bdf64b10ef86b63142a3ab8829555b\
    2f747c932665cb2c0f1cc01bd70229388839d2af05e454504ac78b7582822846c0ba35c35f5c59160cc046fd8251541fc68c9c86b022\
    bb7099876a460e7451a8a93109703fee1c217e6c3826e52c51aa691e0e423cfc99e9e31650c1217b624816cdad9a95f9d5b8019488d9\
    c0a0a1fe3075a577e23183f81d4a3f2fa4571efc8ce0ba8a4fe8b6855dfe72b0a66eded2fbabfbe58a30fafabe1c5d71a87e2f741ef8\
    c1fe86fea6bbfde530677f0d97d11d49f7a8443d0822e506a9f4614e011e2a94838ff88cd68c8bb7c5c6424cffffffffffffffff";
