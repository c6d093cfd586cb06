//! Keys from passwords.

use crate::crypto::{Hash, Secret, kdf};
use crate::error::{Cause, Result};
use cryptoki_sys::*;

/// How long password and salt may be, in bytes. Hosts that know the older `CK_PKCS5_PBKD2_PARAMS` give a pointer to
/// the password's length in its place, and nothing else tells the two structures apart: no pointer is as small.
pub const LONGEST_PASSWORD: CK_ULONG = 65535;

/// The most work: iterations times blocks of output, as each block costs all of them. It is what the longest of RFC
/// 6070's examples takes, some seconds, and more than ten times what is advised for passwords; a call that does more
/// would be a host that hangs.
const MOST_WORK: u64 = 1 << 24;

/// The pseudo-random functions.
const PRFS: &[(CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE, Hash)] = &[
    (CKP_PKCS5_PBKD2_HMAC_SHA1, Hash::Sha1),
    (CKP_PKCS5_PBKD2_HMAC_SHA224, Hash::Sha224),
    (CKP_PKCS5_PBKD2_HMAC_SHA256, Hash::Sha256),
    (CKP_PKCS5_PBKD2_HMAC_SHA384, Hash::Sha384),
    (CKP_PKCS5_PBKD2_HMAC_SHA512, Hash::Sha512),
    (CKP_PKCS5_PBKD2_HMAC_SHA512_224, Hash::Sha512_224),
    (CKP_PKCS5_PBKD2_HMAC_SHA512_256, Hash::Sha512_256),
];

/// `CK_PKCS5_PBKD2_PARAMS2`, read from memory and not yet checked.
pub struct GivenPbkdf2<'a> {
    /// `saltSource`.
    pub salt_source: CK_PKCS5_PBKDF2_SALT_SOURCE_TYPE,
    /// `pSaltSourceData`.
    pub salt: &'a [u8],
    /// `iterations`.
    pub iterations: CK_ULONG,
    /// `prf`.
    pub prf: CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE,
    /// Whether there is any `pPrfData`, or a length of it.
    pub has_prf_data: bool,
    /// `pPassword`.
    pub password: &'a [u8],
}

/// PBKDF2 with its parameters, the password among them: it is wiped when dropped, and there is no `Debug` and no
/// `Clone` on purpose.
pub struct Pbkdf2 {
    hash: Hash,
    salt: Vec<u8>,
    iterations: u32,
    password: Secret,
}

impl Pbkdf2 {
    /// Checks the parameters. `MechanismParamInvalid`.
    pub fn check(given: &GivenPbkdf2<'_>) -> Result<Self> {
        let bad = |what: &'static str| Cause::MechanismParamInvalid.with(format!("CKM_PKCS5_PBKD2: {what}"));
        if given.salt_source != CKZ_SALT_SPECIFIED {
            return Err(bad("saltSource"));
        }
        if given.has_prf_data {
            return Err(bad("pPrfData is for none of the functions there are"));
        }
        let hash = PRFS.iter().find(|row| row.0 == given.prf).ok_or_else(|| bad("prf"))?.1;
        let iterations = u32::try_from(given.iterations).ok().filter(|count| *count > 0);
        let iterations = iterations.ok_or_else(|| bad("iterations"))?;
        Ok(Self { hash, salt: given.salt.to_vec(), iterations, password: Secret::new(given.password.to_vec()) })
    }

    /// Makes `len` bytes. `MechanismParamInvalid` for more work than a host waits for.
    pub fn derive(&self, len: usize) -> Result<Secret> {
        let work = u64::from(self.iterations).saturating_mul(len.div_ceil(self.hash.len()) as u64);
        if work > MOST_WORK {
            return Err(Cause::MechanismParamInvalid.with("CKM_PKCS5_PBKD2: more iterations than it does"));
        }
        kdf::pbkdf2(self.hash, self.password.expose(), &self.salt, self.iterations, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(iterations: CK_ULONG) -> GivenPbkdf2<'static> {
        let prf = CKP_PKCS5_PBKD2_HMAC_SHA256;
        GivenPbkdf2 {
            salt_source: CKZ_SALT_SPECIFIED,
            salt: b"salt",
            iterations,
            prf,
            has_prf_data: false,
            password: b"password",
        }
    }

    #[test]
    fn work_that_would_not_end_is_refused() {
        let derive = |iterations, len| Pbkdf2::check(&given(iterations))?.derive(len);
        assert!(derive(1000, 100).is_ok());
        for (iterations, len) in [(0, 32), (CK_ULONG::MAX, 32), ((1 << 24) + 1, 32), ((1 << 23) + 1, 33), (8193, 65536)]
        {
            let refused = derive(iterations, len).err().unwrap();
            assert_eq!(refused.cause(), Cause::MechanismParamInvalid, "{iterations} {len}");
        }
    }

    #[test]
    fn what_is_none_of_its_parameters_is_refused() {
        for bad in [
            GivenPbkdf2 { salt_source: 2, ..given(1) },
            GivenPbkdf2 { prf: CKP_PKCS5_PBKD2_HMAC_GOSTR3411, ..given(1) },
            GivenPbkdf2 { prf: 9, ..given(1) },
            GivenPbkdf2 { has_prf_data: true, ..given(1) },
        ] {
            assert_eq!(Pbkdf2::check(&bad).err().unwrap().cause(), Cause::MechanismParamInvalid);
        }
        let key = |prf| Pbkdf2::check(&GivenPbkdf2 { prf, ..given(1) }).unwrap().derive(20).unwrap();
        for (index, (prf, _)) in PRFS.iter().enumerate() {
            assert!(PRFS[..index].iter().all(|(other, _)| key(*other).expose() != key(*prf).expose()), "{prf}");
        }
    }
}
