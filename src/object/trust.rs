//! Trust objects (section 4.7): what a certificate is trusted for.

use super::{Look, attribute};
use crate::error::{Cause, Result};
use crate::store::Attributes;
use cryptoki_sys::*;

/// `CK_TRUST`'s values are numbered from `CKT_TRUST_UNKNOWN` to this one.
const LAST: CK_ULONG = CKT_TRUST_MUST_VERIFY_TRUST as CK_ULONG;

const USES: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TRUST_SERVER_AUTH,
    CKA_TRUST_CLIENT_AUTH,
    CKA_TRUST_CODE_SIGNING,
    CKA_TRUST_EMAIL_PROTECTION,
    CKA_TRUST_IPSEC_IKE,
    CKA_TRUST_TIME_STAMPING,
    CKA_TRUST_OCSP_SIGNING,
];

/// Checks the levels of trust, and that the certificate is told by its hash if it is trusted for anything.
pub(super) fn check(object: &Attributes) -> Result<()> {
    for (attribute, level) in USES.iter().filter_map(|use_| Some((*use_, object.number(*use_)?))) {
        if level > LAST {
            return Err(Cause::AttributeValueInvalid.with(attribute::name(attribute)));
        }
        let harmless = [CKT_TRUST_UNKNOWN, CKT_NOT_TRUSTED].map(CK_ULONG::from).contains(&level);
        if !harmless && object.bytes(CKA_HASH_OF_CERTIFICATE).is_empty() {
            return Err(Cause::TemplateIncomplete.with("CKA_HASH_OF_CERTIFICATE"));
        }
    }
    Ok(())
}
