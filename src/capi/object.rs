//! Object management (section 5.7).

use super::{input, output};
use crate::error::{Cause, Result};
use crate::session::{Room, Session};
use cryptoki_sys::*;

/// # Safety
/// The template is null or good for `count` attributes; `object` is null or good for writing.
pub(super) unsafe fn create(
    session: &Session,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    object: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if object.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let handle = session.create_object(&input::template(template, count)?)?;
        output::value(object, handle)
    }
}

/// # Safety
/// The template is null or good for `count` attributes; `copy` is null or good for writing.
pub(super) unsafe fn copy(
    session: &Session,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
    copy: *mut CK_OBJECT_HANDLE,
) -> Result<()> {
    if copy.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: the caller's promise, passed on.
    unsafe {
        let handle = session.copy_object(object, &input::template(template, count)?)?;
        output::value(copy, handle)
    }
}

/// # Safety
/// Always safe.
pub(super) unsafe fn destroy(session: &Session, object: CK_OBJECT_HANDLE) -> Result<()> {
    session.destroy_object(object)
}

/// # Safety
/// `size` is null or good for writing.
pub(super) unsafe fn size(session: &Session, object: CK_OBJECT_HANDLE, size: *mut CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    unsafe { output::value(size, session.object_size(object)? as CK_ULONG) }
}

/// Every attribute is answered, whatever becomes of the others; of several errors, the first is told.
///
/// # Safety
/// The template is null or good for reading and writing `count` attributes.
pub(super) unsafe fn attributes(
    session: &Session,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    let wanted = unsafe { input::attributes(template, count) }?;
    let wanted = wanted.iter().map(|attribute| match attribute.pValue.is_null() {
        true => (attribute.type_, Room::Query),
        false => (attribute.type_, Room::Bytes(attribute.ulValueLen as usize)),
    });
    let answers = session.attributes(object, wanted)?;
    let mut first = Ok(());
    for (index, answer) in answers.into_iter().enumerate() {
        // SAFETY: there are as many answers as attributes.
        let written = unsafe { output::attribute(template.add(index), answer) };
        first = first.and(written);
    }
    first
}

/// # Safety
/// The template is null or good for `count` attributes.
pub(super) unsafe fn set_attributes(
    session: &Session,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.set_attributes(object, &unsafe { input::template(template, count) }?)
}

/// # Safety
/// The template is null or good for `count` attributes.
pub(super) unsafe fn find_init(session: &Session, template: *mut CK_ATTRIBUTE, count: CK_ULONG) -> Result<()> {
    // SAFETY: the caller's promise, passed on.
    session.find_init(&unsafe { input::template(template, count) }?)
}

/// # Safety
/// `objects` is null or good for `most` handles; `count` is null or good for writing.
pub(super) unsafe fn find(
    session: &Session,
    objects: *mut CK_OBJECT_HANDLE,
    most: CK_ULONG,
    count: *mut CK_ULONG,
) -> Result<()> {
    if count.is_null() || (objects.is_null() && most > 0) {
        return Err(Cause::ArgumentsBad.into());
    }
    let found = session.find(most as usize)?;
    // SAFETY: `objects` has room for `most` handles, and no more were found.
    unsafe {
        for (index, handle) in found.iter().enumerate() {
            objects.add(index).write_unaligned(*handle);
        }
        output::value(count, found.len() as CK_ULONG)
    }
}

/// # Safety
/// Always safe.
pub(super) unsafe fn find_final(session: &Session) -> Result<()> {
    session.find_final()
}
