//! Key encapsulation.

use super::operation::{Outcome, Room};
use super::sign::Demand;
use super::table::Session;
use super::use_of_key::UseOfKey;
use super::wrap::of_unwrapping_key;
use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::mechanism::{Encapsulation, Given};
use crate::object::history::Past;
use crate::object::template::nested;
use crate::object::{Arrival, Look, Template};
use crate::store::Attributes;
use cryptoki_sys::*;

impl Session {
    /// `C_EncapsulateKey`: the ciphertext, and the handle of the key once there is room for it.
    pub fn encapsulate(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        template: impl FnOnce() -> Result<Template>,
        room: Room,
    ) -> Result<(Outcome, Option<CK_OBJECT_HANDLE>)> {
        const DEMAND: Demand =
            Demand { flag: CKF_ENCAPSULATE, classes: &[CKO_PUBLIC_KEY], permission: CKA_ENCAPSULATE };
        let (request, object) = self.request(mechanism, given, key, &DEMAND)?;
        let public = object.public_key()?;
        let encapsulation = Encapsulation::new(&request, public.kind())?;
        let arrival = self.encapsulated(template()?, &object.record.attributes, CKA_ENCAPSULATE_TEMPLATE)?;
        if let Some(early) = Outcome::before(encapsulation.ciphertext_len(), room) {
            return Ok((early, None));
        }
        let len = arrival.value_len().or_else(|| encapsulation.natural_len());
        let len = len.ok_or_else(|| Cause::TemplateIncomplete.with("CKA_VALUE_LEN"))?;
        arrival.check_unsaid_length(len)?;
        let epoch = self.slot.handles.epoch();
        let (ciphertext, value) = encapsulation.encapsulate(public, len)?;
        let made = self.slot.token.keep(arrival.secret_arrived(&value, Past::Imported)?, Some(&value))?;
        Ok((Outcome::Done(Secret::new(ciphertext)), Some(self.handle_of(made, epoch)?)))
    }

    /// `C_DecapsulateKey`: the handle of the key.
    pub fn decapsulate(
        &self,
        mechanism: CK_MECHANISM_TYPE,
        given: impl FnOnce() -> Result<Given>,
        key: CK_OBJECT_HANDLE,
        template: impl FnOnce() -> Result<Template>,
        ciphertext: &[u8],
    ) -> Result<CK_OBJECT_HANDLE> {
        const DEMAND: Demand =
            Demand { flag: CKF_DECAPSULATE, classes: &[CKO_PRIVATE_KEY], permission: CKA_DECAPSULATE };
        let (request, object) = self.request(mechanism, given, key, &DEMAND).map_err(of_unwrapping_key)?;
        let encapsulation = Encapsulation::new(&request, object.public_key()?.kind())?;
        let arrival = self.encapsulated(template()?, &object.record.attributes, CKA_DECAPSULATE_TEMPLATE)?;
        let len = arrival.value_len();
        if let Some(natural) = encapsulation.natural_len().filter(|_| len.is_none()) {
            arrival.check_unsaid_length(natural)?;
        }
        let epoch = self.slot.handles.epoch();
        let key = UseOfKey::new(&self.slot, object, request.mechanism)?;
        let possible = |len| arrival.may_have_length(len);
        let value = key.run(&self.slot, |key| encapsulation.decapsulate(key.private()?, ciphertext, len, possible))?;
        if !arrival.may_have_length(value.len()) {
            return Err(Cause::WrappedKeyLenRange.with(format!("a secret key of {} bytes", value.len())));
        }
        let attributes = arrival.secret_arrived(&value, Past::Imported)?;
        let made = self.slot.token.keep(attributes, Some(&value))?;
        self.handle_of(made, epoch)
    }

    /// The secret key that an encapsulation is to bring. It is extractable unless the template says otherwise: the
    /// other party has it too.
    fn encapsulated(&self, mut template: Template, key: &Attributes, imposed: CK_ATTRIBUTE_TYPE) -> Result<Arrival> {
        if let Some(imposed) = nested(key, imposed) {
            template = template.under(&imposed)?;
        }
        let mut arrival = Arrival::secret(template, self.is_officer())?;
        arrival.suggest(CKA_EXTRACTABLE, true);
        self.check_writable(arrival.attributes().is(CKA_TOKEN), arrival.attributes().is(CKA_PRIVATE))?;
        Ok(arrival)
    }
}
