//! Deriving keys.

use super::handles::Object;
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::UseOfKey;
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::mechanism::{Base, Derivation, Family, Given, Inheritance, Mechanism, Params, Request, find};
use crate::object::history::Past;
use crate::object::template::nested;
use crate::object::{Arrival, Look, Template, attribute, ec_params};
use crate::store::Attributes;
use crate::token::Made;
use cryptoki_sys::*;
use std::sync::Arc;

/// The keys that a derivation starts from.
struct Sources {
    base: Arc<Object>,
    /// What else the parameter names, in its order.
    others: Vec<Arc<Object>>,
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = &Attributes> + Clone {
        std::iter::once(&self.base).chain(&self.others).map(|object| &object.record.attributes)
    }

    fn len(attributes: &Attributes) -> usize {
        attributes.number(CKA_VALUE_LEN).and_then(|len| usize::try_from(len).ok()).unwrap_or(0)
    }

    fn other_lens(&self) -> Vec<usize> {
        self.others.iter().map(|object| Self::len(&object.record.attributes)).collect()
    }

    /// What is true of the keys whose past the derived one shares.
    fn past(&self, derivation: &Derivation) -> Past {
        let (sensitive, unextractable) = (CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE);
        let every = |attribute| self.all().all(|key| key.is(attribute));
        let base = |attribute| self.base.record.attributes.is(attribute);
        let (always_sensitive, never_extractable) = match derivation.inheritance() {
            Inheritance::Past | Inheritance::Agreement => (base(sensitive), base(unextractable)),
            Inheritance::Protection | Inheritance::Defaults => (every(sensitive), every(unextractable)),
        };
        Past::Derived { always_sensitive, never_extractable }
    }
}

/// Whether nobody may see the value of a key.
fn is_hidden(key: &Attributes) -> bool {
    key.is(CKA_SENSITIVE) || !key.is(CKA_EXTRACTABLE)
}

/// Imposes on a key the protection of those whose bytes can be had from it.
fn protect<'a>(arrival: &mut Arrival, keys: impl Iterator<Item = &'a Attributes> + Clone) -> Result<()> {
    if keys.clone().any(|key| key.is(CKA_SENSITIVE)) {
        arrival.impose(CKA_SENSITIVE, true)?;
    }
    if keys.clone().any(|key| !key.is(CKA_EXTRACTABLE)) {
        arrival.impose(CKA_EXTRACTABLE, false)?;
    }
    if keys.clone().any(|key| key.is(CKA_WRAP_WITH_TRUSTED)) {
        arrival.impose(CKA_WRAP_WITH_TRUSTED, true)?;
    }
    Ok(())
}

impl Session {
    /// `C_DeriveKey`: the handles of the new objects, and what comes with them that is no key. There is one for each
    /// template, of which only the functions of SP 800-108 take more than one; of one template TLS makes all keys of a
    /// connection. Any failure leaves none; `offending` is the template that caused it, if one did.
    /// `templates` says which one it was itself.
    pub fn derive_keys(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        base: CK_OBJECT_HANDLE,
        templates: impl FnOnce(&mut Option<usize>) -> Result<Vec<Template>>,
        offending: &mut Option<usize>,
    ) -> Result<(Vec<CK_OBJECT_HANDLE>, Option<Secret>)> {
        const DEMAND: Demand =
            Demand { flag: CKF_DERIVE, classes: &[CKO_PRIVATE_KEY, CKO_SECRET_KEY], permission: CKA_DERIVE };
        if let Some(row) = find(mechanism).filter(|row| row.family == Family::PublicFromPrivate) {
            let made = self.derive_public(row, given, base, || templates(offending))?;
            return Ok((made, None));
        }
        let (request, base) = self.request(mechanism, given, base, &DEMAND)?;
        let Params::Derivation(mut derivation) = request.params.clone() else {
            return Err(Cause::MechanismParamInvalid.with(request.mechanism.name));
        };
        unwrap_peer(&mut derivation, &base)?;
        let others = derivation.other_keys().into_iter().map(|handle| self.other_key(handle, request.mechanism));
        let sources = Sources { others: others.collect::<Result<_>>()?, base };

        let mut templates = templates(offending)?;
        if let Some(parts) = derivation.parts() {
            let template = templates.pop().unwrap_or_default();
            templates = parts.iter().map(|(len, is_mac)| part_of(&template, *len, *is_mac)).collect::<Result<_>>()?;
        }
        let mut arrivals = Vec::with_capacity(templates.len());
        for (index, template) in templates.into_iter().enumerate() {
            let arrival = self.arrival(&request, &derivation, template, &sources);
            arrivals.push(arrival.inspect_err(|_| *offending = Some(index))?);
        }
        let epoch = self.slot.handles.epoch();
        let lens: Vec<_> = arrivals.iter().map(|(_, len)| *len).collect();
        let use_of = |object: &Arc<Object>| UseOfKey::new(&self.slot, Arc::clone(object), request.mechanism);
        let base = use_of(&sources.base)?;
        let (values, beside) = {
            let others = sources
                .others
                .iter()
                .map(|object| use_of(object)?.run(&self.slot, |key| Ok(Secret::new(key.secret()?.expose()?.to_vec()))));
            let others = others.collect::<Result<Vec<_>>>()?;
            base.run(&self.slot, |key| derivation.derive(key, &others, &lens))?
        };

        let mut made = Vec::with_capacity(values.len());
        for ((arrival, _), value) in arrivals.into_iter().zip(&values) {
            match self.keep_derived(arrival, value, sources.past(&derivation)) {
                Ok(object) => made.push(object),
                Err(error) => {
                    made.iter().try_for_each(|object| self.slot.token.discard(object))?;
                    return Err(error);
                }
            }
        }
        let handles = made.into_iter().map(|object| self.handle_of(object, epoch)).collect::<Result<_>>()?;
        Ok((handles, beside))
    }

    /// A key that the parameter of a derivation names: it has to be good for the derivation itself.
    fn other_key(&self, handle: CK_OBJECT_HANDLE, row: &'static Mechanism) -> Result<Arc<Object>> {
        let object = self.key_of(handle)?;
        let key = &object.record.attributes;
        if key.number(CKA_CLASS) != Some(CKO_SECRET_KEY) {
            return Err(Cause::KeyHandleInvalid.with("the other key is no secret key"));
        }
        if !key.is(CKA_DERIVE) {
            return Err(Cause::KeyFunctionNotPermitted.with("CKA_DERIVE of the other key"));
        }
        if !key.number(CKA_KEY_TYPE).is_some_and(|key_type| row.takes(key_type)) {
            return Err(Cause::KeyTypeInconsistent.with(row.name));
        }
        check_allowed(key, row)?;
        Ok(object)
    }

    /// The key that one template asks for, and how long it is to be.
    fn arrival(
        &self,
        request: &Request,
        derivation: &Derivation,
        mut template: Template,
        sources: &Sources,
    ) -> Result<(Arrival, usize)> {
        let base = &sources.base.record.attributes;
        if let Some(imposed) = nested(base, CKA_DERIVE_TEMPLATE) {
            template = template.under(&imposed)?;
        }
        let is_data = request.mechanism.family == Family::HkdfData;
        let mut arrival = match is_data {
            true => Arrival::data(template, self.is_officer())?,
            false => Arrival::secret(template, self.is_officer())?,
        };
        self.check_writable(arrival.attributes().is(CKA_TOKEN), arrival.attributes().is(CKA_PRIVATE))?;

        let shape = match base.number(CKA_CLASS) {
            Some(CKO_PRIVATE_KEY) => Base::Private(sources.base.public_key()?.kind()),
            _ => Base::Secret(Sources::len(base)),
        };
        let len = match (arrival.value_len(), derivation.natural_len(shape, &sources.other_lens())) {
            (Some(said), _) => said,
            (None, Some(natural)) => natural,
            (None, None) => return Err(Cause::TemplateIncomplete.with("CKA_VALUE_LEN")),
        };
        if !is_data {
            arrival.check_unsaid_length(len)?;
        }
        match derivation.inheritance() {
            Inheritance::Past => {}
            Inheritance::Agreement => arrival.suggest_open(),
            Inheritance::Defaults => {
                for attribute in [CKA_SENSITIVE, CKA_EXTRACTABLE] {
                    arrival.suggest(attribute, base.is(attribute));
                }
                // What goes into the function as data can be computed back by who knows the base key.
                protect(&mut arrival, sources.others.iter().map(|object| &object.record.attributes))?;
            }
            Inheritance::Protection => {
                protect(&mut arrival, sources.all())?;
                let pieces = derivation.pieces(Sources::len(base), &sources.other_lens(), len);
                for (key, (whole, piece)) in sources.all().zip(pieces) {
                    // A piece could be tried out, and piece by piece the whole.
                    if is_hidden(key) && piece != whole {
                        return Err(Cause::KeySizeRange.with("a piece of a key that may not be seen"));
                    }
                }
            }
        }
        Ok((arrival, len))
    }

    fn keep_derived(&self, arrival: Arrival, value: &Secret, past: Past) -> Result<Made> {
        if !arrival.is_secret() {
            let mut data = arrival.attributes().clone();
            data.remove(&CKA_VALUE_LEN);
            data.insert(CKA_VALUE, value.expose().to_vec());
            return self.slot.token.keep(data, None);
        }
        self.slot.token.keep(arrival.secret_arrived(value, past)?, Some(value))
    }

    /// `CKM_PUB_KEY_FROM_PRIV_KEY`: the public key is known without opening the private one, and telling it needs no
    /// permission.
    fn derive_public(
        &self,
        row: &'static Mechanism,
        given: impl FnOnce() -> Result<Given>,
        base: CK_OBJECT_HANDLE,
        templates: impl FnOnce() -> Result<Vec<Template>>,
    ) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let object = self.key_of(base)?;
        let private = &object.record.attributes;
        if private.number(CKA_CLASS) != Some(CKO_PRIVATE_KEY) {
            return Err(Cause::KeyTypeInconsistent.with("no private key"));
        }
        check_allowed(private, row)?;
        Request::new(row, CKF_DERIVE, &given()?)?;
        let template = templates()?.pop().unwrap_or_default();
        let half = Arrival::public_half(template, private, object.public_key()?, self.is_officer())?;
        self.check_writable(half.is(CKA_TOKEN), half.is(CKA_PRIVATE))?;
        let epoch = self.slot.handles.epoch();
        let made = self.slot.token.keep(half, None)?;
        Ok(vec![self.handle_of(made, epoch)?])
    }
}

/// The template of one key of a TLS connection. What a template says of the write keys alone, their type and use, does
/// not hold for the secrets for MACs, which are generic ones that make and check them.
fn part_of(template: &Template, len: usize, is_mac: bool) -> Result<Template> {
    template.expect(CKA_VALUE_LEN, len as CK_ULONG).or_else(|error| if is_mac { Ok(()) } else { Err(error) })?;
    const OF_EACH: [CK_ATTRIBUTE_TYPE; 8] = [
        CKA_CLASS,
        CKA_TOKEN,
        CKA_PRIVATE,
        CKA_MODIFIABLE,
        CKA_DESTROYABLE,
        CKA_SENSITIVE,
        CKA_EXTRACTABLE,
        CKA_WRAP_WITH_TRUSTED,
    ];
    let mut part = if is_mac { template.only(&OF_EACH) } else { template.clone() };
    part.say(CKA_VALUE_LEN, attribute::ulong(len as CK_ULONG));
    if is_mac {
        part.say(CKA_KEY_TYPE, attribute::ulong(CKK_GENERIC_SECRET));
    }
    Ok(part)
}

/// `MechanismInvalid` if the key does not allow the mechanism.
fn check_allowed(key: &Attributes, row: &Mechanism) -> Result<()> {
    match key.get(&CKA_ALLOWED_MECHANISMS) {
        Some(allowed) if !attribute::ulongs(allowed).any(|id| id == row.id) => {
            Err(Cause::MechanismInvalid.with(format!("{} is not in CKA_ALLOWED_MECHANISMS", row.name)))
        }
        _ => Ok(()),
    }
}

/// The other party's public key comes raw, or wrapped as `CKA_EC_POINT` is (section 6.3.18).
fn unwrap_peer(derivation: &mut Derivation, base: &Object) -> Result<()> {
    if let Derivation::Ecdh { public, .. } = derivation {
        if public.is_empty() {
            return Err(Cause::MechanismParamInvalid.with("pPublicData"));
        }
        let point = ec_params::any_point(public, base.public_key()?.kind()).to_vec();
        *public = point;
    }
    Ok(())
}
