//! What goes back to the caller: the one implementation of "NULL asks for the length, too little room
//! is CKR_BUFFER_TOO_SMALL, and the operation lives on in both cases" (section 5.2).

use crate::crypto::Secret;
use crate::error::{Cause, Result};
use crate::object::Answer;
use crate::session::{Outcome, Room};
use cryptoki_sys::*;

/// Writes one value; `ArgumentsBad` for NULL.
///
/// # Safety
/// `pointer` is null or good for writing a `T`; alignment does not matter.
pub(super) unsafe fn value<T>(pointer: *mut T, value: T) -> Result<()> {
    if pointer.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: not null, and good for a `T` as the caller promises.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// Lets `produce` make output for the caller's buffer. `cancel` ends the operation if the length is NULL,
/// which is an error like any other.
///
/// # Safety
/// `len` is null or good for a `CK_ULONG`; `buffer` is null or good for writing `*len` bytes.
pub(super) unsafe fn operation(
    buffer: *mut CK_BYTE,
    len: *mut CK_ULONG,
    cancel: impl FnOnce(),
    produce: impl FnOnce(Room) -> Result<Outcome>,
) -> Result<()> {
    if len.is_null() {
        cancel();
        return Err(Cause::ArgumentsBad.into());
    }
    let room = match buffer.is_null() {
        true => Room::Query,
        // SAFETY: `len` is not null, and good as the caller promises.
        false => Room::Bytes(unsafe { len.read_unaligned() } as usize),
    };
    let done = |output: Secret| {
        // SAFETY: an operation is only done if the room holds its output, so `buffer` is not null
        // and good for these bytes.
        unsafe { std::ptr::copy_nonoverlapping(output.expose().as_ptr(), buffer, output.len()) };
        (output.len(), Ok(()))
    };
    let (outcome, result) = match produce(room)? {
        Outcome::Size(size) => (size, Ok(())),
        Outcome::TooSmall(size) => (size, Err(Cause::BufferTooSmall.into())),
        Outcome::Done(output) => done(output),
        // Its addresses stay good as long as the caller leaves it where it is. They are exposed: what uses them is the
        // caller's code, which has made the buffer.
        Outcome::Structure(structure) => done(structure.at(buffer.expose_provenance())),
    };
    // SAFETY: as above.
    unsafe { len.write_unaligned(outcome as CK_ULONG) };
    result
}

/// Writes a list into the caller's array, by the same rule.
///
/// # Safety
/// `count` is null or good for a `CK_ULONG`; `array` is null or good for writing `*count` values.
pub(super) unsafe fn list<T: Copy>(array: *mut T, count: *mut CK_ULONG, values: &[T]) -> Result<()> {
    if count.is_null() {
        return Err(Cause::ArgumentsBad.into());
    }
    // SAFETY: `count` is not null; `array` is written only within the room that it has.
    unsafe {
        let room = count.read_unaligned() as usize;
        count.write_unaligned(values.len() as CK_ULONG);
        if array.is_null() {
            return Ok(());
        }
        if room < values.len() {
            return Err(Cause::BufferTooSmall.into());
        }
        for (index, value) in values.iter().enumerate() {
            array.add(index).write_unaligned(*value);
        }
    }
    Ok(())
}

/// The most bytes that a structure of numbers may have: far more than there are numbers.
const MOST_NUMBERS: CK_ULONG = 4096;

/// Fills a structure of numbers that has `size` bytes: one of another version has fewer of them, or more, which are 0.
///
/// # Safety
/// `numbers` is null or good for writing `size` bytes; alignment does not matter.
pub(super) unsafe fn numbers(numbers: *mut CK_ULONG, size: CK_ULONG, values: &[CK_ULONG]) -> Result<()> {
    if numbers.is_null() || size > MOST_NUMBERS {
        return Err(Cause::ArgumentsBad.into());
    }
    for index in 0..size as usize / size_of::<CK_ULONG>() {
        // SAFETY: the number lies within the structure.
        unsafe { numbers.add(index).write_unaligned(values.get(index).copied().unwrap_or(0)) };
    }
    Ok(())
}

/// Answers one attribute of `C_GetAttributeValue` in place (section 5.7.5). An attribute that cannot be
/// answered gets the length `CK_UNAVAILABLE_INFORMATION`, and its error is returned.
///
/// # Safety
/// `attribute` is good for reading and writing; its value is null or good for its length. That of a template
/// holds attributes of which the same is true.
pub(super) unsafe fn attribute(attribute: *mut CK_ATTRIBUTE, answer: Result<Answer>) -> Result<()> {
    // SAFETY: the caller's promise; the structure is copied out because it may be unaligned.
    let mut copy = unsafe { attribute.read_unaligned() };
    let room = copy.ulValueLen as usize;
    copy.ulValueLen = CK_ULONG::MAX;
    let result = answer.and_then(|answer| {
        let len = match &answer {
            Answer::Bytes(bytes) => bytes.len(),
            Answer::Secret(secret) => secret.len(),
            Answer::Length(len) => *len,
            Answer::Template(entries) => entries.len() * size_of::<CK_ATTRIBUTE>(),
        };
        if !copy.pValue.is_null() && room < len {
            return Err(Cause::BufferTooSmall.into());
        }
        copy.ulValueLen = len as CK_ULONG;
        if copy.pValue.is_null() {
            return Ok(());
        }
        // SAFETY: the value is not null and has room for `len` bytes.
        unsafe {
            match answer {
                Answer::Bytes(bytes) => std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy.pValue.cast(), len),
                Answer::Secret(secret) => {
                    std::ptr::copy_nonoverlapping(secret.expose().as_ptr(), copy.pValue.cast(), len);
                }
                // Only given where there is no room.
                Answer::Length(_) => return Err(Cause::BufferTooSmall.into()),
                Answer::Template(entries) => return nested(copy.pValue.cast(), entries),
            }
        }
        Ok(())
    });
    // SAFETY: as above.
    unsafe { attribute.write_unaligned(copy) };
    result
}

/// Answers the attributes of a template, each as one of the caller's own; of several errors, the first is told.
///
/// # Safety
/// `array` is good for as many attributes as there are entries, and each as in [`attribute`].
unsafe fn nested(array: *mut CK_ATTRIBUTE, entries: Vec<(CK_ATTRIBUTE_TYPE, Answer)>) -> Result<()> {
    let mut first = Ok(());
    for (index, (type_, answer)) in entries.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        let written = unsafe {
            let element = array.add(index);
            (&raw mut (*element).type_).write_unaligned(type_);
            attribute(element, Ok(answer))
        };
        first = first.and(written);
    }
    first
}

/// A string as the information structures hold it: padded with blanks, cut at a character's end.
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = [b' '; N];
    out[..end].copy_from_slice(&text.as_bytes()[..end]);
    out
}
