//! Objects of another module, read attribute by attribute.

use super::super::parts::Parts;
use crate::crypto::Secret;
use crate::object::rules::{Class, Say};
use cryptoki::error::Error;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::*;

/// What is not taken along: templates of attributes, and what only the security officer of the new token may say.
const LEFT: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TRUSTED,
    CKA_WRAP_TEMPLATE,
    CKA_UNWRAP_TEMPLATE,
    CKA_DERIVE_TEMPLATE,
    CKA_ENCAPSULATE_TEMPLATE,
    CKA_DECAPSULATE_TEMPLATE,
];

/// What the other module answered, as the specification spells it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Pkcs11(rv, function) => {
            let mut name = String::new();
            for letter in format!("{rv:?}").chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            format!("C_{function:?} answers CKR_{name}")
        }
        other => other.to_string(),
    }
}

/// What the rules of a class let a template name, as far as the object tells it. What it does not tell has the default
/// of the new token.
pub(super) fn object(session: &Session, handle: ObjectHandle, class: &Class) -> Result<Parts, Error> {
    let rules = class.rules().filter(|rule| rule.create != Say::Never && !rule.seal);
    let wanted: Vec<CK_ATTRIBUTE_TYPE> =
        rules.map(|rule| rule.attribute).filter(|attribute| !LEFT.contains(attribute)).collect();
    let mut parts = attributes(session, handle, &wanted)?;
    // Modules that do not know an attribute may answer with nothing; for all of these that is the default.
    parts.retain(|(_, value)| !value.is_empty());
    Ok(parts)
}

/// These attributes, as far as the object has them and tells them.
pub(super) fn attributes(
    session: &Session,
    handle: ObjectHandle,
    wanted: &[CK_ATTRIBUTE_TYPE],
) -> Result<Parts, Error> {
    let known: Vec<AttributeType> = wanted.iter().filter_map(|wanted| (*wanted).try_into().ok()).collect();
    // One value that makes no sense spoils the answer to all: they are asked for one by one then.
    let told = session.get_attributes(handle, &known).or_else(|_| {
        let mut told = Vec::new();
        for one in &known {
            match session.get_attributes(handle, &[*one]) {
                Ok(value) => told.extend(value),
                // What it may be used for must not get lost: all else may.
                Err(error) if *one == AttributeType::AllowedMechanisms => return Err(error),
                Err(error @ Error::Pkcs11(..)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(told)
    })?;
    Ok(told.into_iter().filter_map(native).collect())
}

/// An attribute in its native form; `None` for those that no class here has.
fn native(attribute: Attribute) -> Option<(CK_ATTRIBUTE_TYPE, Secret)> {
    use Attribute as A;
    let number = |number: CK_ULONG| number.to_ne_bytes().to_vec();
    let kind = attribute.attribute_type().into();
    let value = match attribute {
        A::AcIssuer(bytes)
        | A::Application(bytes)
        | A::AttrTypes(bytes)
        | A::Base(bytes)
        | A::CheckValue(bytes)
        | A::Coefficient(bytes)
        | A::EcParams(bytes)
        | A::EcPoint(bytes)
        | A::Exponent1(bytes)
        | A::Exponent2(bytes)
        | A::HashOfIssuerPublicKey(bytes)
        | A::HashOfSubjectPublicKey(bytes)
        | A::Id(bytes)
        | A::Issuer(bytes)
        | A::Label(bytes)
        | A::Modulus(bytes)
        | A::ObjectId(bytes)
        | A::Owner(bytes)
        | A::Prime(bytes)
        | A::Prime1(bytes)
        | A::Prime2(bytes)
        | A::PrivateExponent(bytes)
        | A::PublicExponent(bytes)
        | A::PublicKeyInfo(bytes)
        | A::Seed(bytes)
        | A::SerialNumber(bytes)
        | A::Subject(bytes)
        | A::Url(bytes)
        | A::Value(bytes)
        | A::VendorDefined((_, bytes)) => bytes,
        A::AlwaysAuthenticate(yes)
        | A::Copyable(yes)
        | A::Decapsulate(yes)
        | A::Decrypt(yes)
        | A::Derive(yes)
        | A::Destroyable(yes)
        | A::Encapsulate(yes)
        | A::Encrypt(yes)
        | A::Extractable(yes)
        | A::Modifiable(yes)
        | A::Private(yes)
        | A::Sensitive(yes)
        | A::Sign(yes)
        | A::SignRecover(yes)
        | A::Token(yes)
        | A::Unwrap(yes)
        | A::Verify(yes)
        | A::VerifyRecover(yes)
        | A::Wrap(yes)
        | A::WrapWithTrusted(yes) => vec![u8::from(yes)],
        A::CertificateType(kind) => number(*kind),
        A::Class(class) => number(*class),
        A::KeyType(kind) => number(*kind),
        A::ParameterSet(set) => number(**set),
        A::ValueLen(len) | A::ModulusBits(len) => number(*len),
        A::AllowedMechanisms(list) => list.iter().flat_map(|mechanism| number(**mechanism)).collect(),
        A::StartDate(date) | A::EndDate(date) => {
            let CK_DATE { year, month, day } = *date;
            let text = [&year[..], &month[..], &day[..]].concat();
            if text.iter().all(u8::is_ascii_digit) { text } else { Vec::new() }
        }
        _ => return None,
    };
    Some((kind, Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki::context::Function;
    use cryptoki::error::RvError;

    #[test]
    fn errors_are_told_as_the_specification_spells_them() {
        let error = Error::Pkcs11(RvError::KeyNotWrappable, Function::WrapKey);
        assert_eq!(words(&error), "C_WrapKey answers CKR_KEY_NOT_WRAPPABLE");
    }
}
