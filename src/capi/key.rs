//! Key management (section 5.18).

use super::{derivation, input, output, password};
use crate::error::{Cause, Result};
use crate::object::Template;
use crate::session::Session;
use cryptoki_sys::*;

/// # Safety
/// The template is null or good for its count; the mechanism is null or good for reading, and its
/// parameter for its length; the handle is null or good for writing.
pub(super) unsafe fn generate(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let template = input::template(template, count)?;
        let made = if password::is_asked_for(&mechanism) {
            session.generate_from_password(mechanism.mechanism, || password::parameter(&mechanism), &template)?
        } else {
            session.generate_key(mechanism.mechanism, || input::parameter(&mechanism), &template)?
        };
        output::value(key, made)
    }
}

/// # Safety
/// Templates are null or good for their counts; the mechanism is null or good for reading, and its
/// parameter for its length; handles are null or good for writing.
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn generate_pair(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if public_key.is_null() || private_key.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let public = input::template(public, public_count)?;
        let private = input::template(private, private_count)?;
        let (public, private) =
            session.generate_key_pair(mechanism.mechanism, || input::parameter(&mechanism), &public, &private)?;
        output::value(public_key, public)?;
        output::value(private_key, private)
    }
}

/// # Safety
/// The template is null or good for its count; the mechanism is null or good for reading, and its parameter for its
/// length, with all that it points to; the handles are null or good for writing.
pub(super) unsafe fn derive(
    session: &Session,
    mechanism: *mut CK_MECHANISM,
    base: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    key: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let mechanism = input::mechanism(mechanism).ok_or(Cause::ArgumentsBad)?;
        let additional = derivation::additional(&mechanism)?;
        let material = derivation::KeyMaterial::of(&mechanism)?;
        let mut outputs = match &material {
            Some(material) => material.handles.clone(),
            None => vec![key],
        };
        outputs.extend(additional.iter().map(|key| key.phKey));
        if outputs.iter().any(|output| output.is_null()) {
            return Err(Cause::ArgumentsBad.into());
        }
        let mut budget = input::Budget::default();
        let mut given = vec![input::template_within(&mut budget, template, count)?];
        for (index, key) in additional.iter().enumerate() {
            let read = input::template_within(&mut budget, key.pTemplate, key.ulAttributeCount);
            // Which template it was is told by its handle.
            given.push(read.inspect_err(|_| outputs[index + 1].write_unaligned(CK_INVALID_HANDLE))?);
        }
        let templates = |offending: &mut Option<usize>| {
            let parse = |(index, given): (usize, &input::Template<'_>)| {
                Template::parse(given).inspect_err(|_| *offending = Some(index))
            };
            given.iter().enumerate().map(parse).collect()
        };
        let mut offending = None;
        let made =
            session.derive_keys(mechanism.mechanism, || input::parameter(&mechanism), base, templates, &mut offending);
        if let Some(output) = offending.and_then(|index| outputs.get(index)) {
            output.write_unaligned(CK_INVALID_HANDLE);
        }
        let (made, beside) = made?;
        match (&material, &beside) {
            (Some(material), Some(vectors)) => material.write_vectors(vectors)?,
            (None, Some(version)) => derivation::write_version(&mechanism, version)?,
            _ => {}
        }
        made.into_iter().zip(outputs).try_for_each(|(handle, output)| output::value(output, handle))
    }
}
