//! Objects that every token has without their being stored: its profiles and its mechanisms.
//!
//! They are found only by who asks for their class: other searches are for what users put there.

use super::attribute::{boolean, ulong};
use crate::crypto::Hash;
use crate::mechanism::MECHANISMS;
use crate::store::{Attributes, ObjectId, ObjectRecord};
use cryptoki_sys::*;
use once_cell::race::OnceBox;

/// The profiles whose test cases pass (PKCS#11 Profiles 3.2), with their names.
const PROFILES: &[(CK_PROFILE_ID, &str)] = &[
    (CKP_BASELINE_PROVIDER, "Baseline Provider"),
    (CKP_EXTENDED_PROVIDER, "Extended Provider"),
    (CKP_AUTHENTICATION_TOKEN, "Authentication Token"),
    (CKP_PUBLIC_CERTIFICATES_TOKEN, "Public Certificates Token"),
];

/// They are made twice where two threads need them first at once: to wait for another thread is what a
/// forked child could do for ever.
fn all() -> &'static [ObjectRecord] {
    static ALL: OnceBox<Vec<ObjectRecord>> = OnceBox::new();
    ALL.get_or_init(|| {
        let profiles = PROFILES.iter().map(|(id, name)| object(CKO_PROFILE, CKA_PROFILE_ID, *id, name));
        let mechanisms = MECHANISMS.iter().map(|row| object(CKO_MECHANISM, CKA_MECHANISM_TYPE, row.id, row.name));
        Box::new(profiles.chain(mechanisms).collect())
    })
}

fn object(class: CK_OBJECT_CLASS, attribute: CK_ATTRIBUTE_TYPE, value: CK_ULONG, label: &str) -> ObjectRecord {
    let id = identity(class, value);
    let attributes = Attributes::from([
        (CKA_CLASS, ulong(class)),
        (attribute, ulong(value)),
        (CKA_TOKEN, boolean(true)),
        (CKA_PRIVATE, boolean(false)),
        (CKA_MODIFIABLE, boolean(false)),
        (CKA_COPYABLE, boolean(false)),
        (CKA_DESTROYABLE, boolean(false)),
        (CKA_LABEL, label.as_bytes().to_vec()),
        (CKA_UNIQUE_ID, id.to_string().into_bytes()),
    ]);
    ObjectRecord { id, version: 1, attributes, sealed: None, mac: None }
}

/// The same UUID in every process and version: of version 8, by a digest of what the object is.
fn identity(class: CK_OBJECT_CLASS, value: CK_ULONG) -> ObjectId {
    let name = [&b"datakey-pkcs11"[..], &class.to_be_bytes(), &value.to_be_bytes()].concat();
    let digest = Hash::Sha256.digest(&name);
    let mut bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ObjectId::from_bytes(bytes)
}

/// The object with this identity.
pub fn get(id: &ObjectId) -> Option<&'static ObjectRecord> {
    all().iter().find(|object| object.id == *id)
}

/// The objects that have all these attributes, among them the class.
pub fn find(equal: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> impl Iterator<Item = ObjectId> + '_ {
    let asked = equal.iter().any(|(attribute, _)| *attribute == CKA_CLASS);
    let has = move |object: &&ObjectRecord| {
        asked && equal.iter().all(|(attribute, value)| object.attributes.get(attribute) == Some(value))
    };
    all().iter().filter(has).map(|object| object.id)
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::*;

    #[test]
    fn each_has_an_identity_of_its_own_that_stays() {
        let ids: std::collections::HashSet<_> = all().iter().map(|object| object.id).collect();
        assert_eq!(ids.len(), all().len());
        let baseline = identity(CKO_PROFILE, CKP_BASELINE_PROVIDER);
        assert_eq!(get(&baseline).unwrap().attributes.bytes(CKA_LABEL), b"Baseline Provider");
        let class = |class| vec![(CKA_CLASS, ulong(class))];
        assert_eq!(find(&class(CKO_PROFILE)).count(), PROFILES.len());
        assert_eq!(find(&class(CKO_MECHANISM)).count(), MECHANISMS.len());
        assert_eq!(find(&class(CKO_VALIDATION)).count(), 0);
        assert_eq!(find(&[(CKA_TOKEN, boolean(true))]).count() + find(&[]).count(), 0);
    }
}
