//! Keys from a key by a pseudo-random function (SP 800-108r1): counter, feedback and double-pipeline mode.
//!
//! The standard leaves open how the input of the function is put together; PKCS#11 lets the caller say it as a
//! list of [`Field`]s.
#![forbid(unsafe_code)]

use super::mac::Prf;
use super::{MacAlgorithm, Secret};
use crate::error::{Cause, Result};
use zeroize::Zeroizing;

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberFormat {
    /// Least significant byte first.
    pub little_endian: bool,
    /// Its width in bits: 8, 16, … 64.
    pub bits: u32,
}

impl NumberFormat {
    /// [`Cause::MechanismParamInvalid`] for a width that is none.
    fn check(self) -> Result<()> {
        let valid = (8..=64).contains(&self.bits) && self.bits.is_multiple_of(8);
        if valid { Ok(()) } else { Err(Cause::MechanismParamInvalid.with("width of a number")) }
    }

    /// The number's bytes at the front, and how many they are. [`Cause::MechanismParamInvalid`] if it needs more.
    fn write(self, number: u64) -> Result<([u8; 8], usize)> {
        if number > u64::MAX >> 64u32.saturating_sub(self.bits).min(63) {
            return Err(Cause::MechanismParamInvalid.with("a number is too narrow for what it counts"));
        }
        let len = (self.bits / 8) as usize;
        let mut bytes = if self.little_endian { number.to_le_bytes() } else { number.to_be_bytes() };
        if !self.little_endian {
            bytes.rotate_left(8usize.saturating_sub(len));
        }
        Ok((bytes, len))
    }
}

/// What the length of the derived keying material is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthMethod {
    /// That of all keys together.
    SumOfKeys,
    /// That of all values of the function that were needed for them.
    SumOfSegments,
}

/// A part of the input of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// The counter: the iteration variable of counter mode, an extra of the other modes.
    Counter(NumberFormat),
    /// What the last iteration made: the iteration variable of the other modes.
    Iteration,
    /// The length of what is derived, in bits.
    Length(LengthMethod, NumberFormat),
    /// These bytes.
    Bytes(&'a [u8]),
}

/// The mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Section 4.1.
    Counter,
    /// Section 4.2.
    Feedback {
        /// May be empty.
        iv: &'a [u8],
    },
    /// Section 4.3.
    DoublePipeline,
}

/// Derives keys of the lengths `lens` in bytes, in this order, none from a value of the function that another took
/// from.
///
/// `algorithm` is HMAC or AES-CMAC. [`Cause::MechanismParamInvalid`] if a field is missing, said twice or not the
/// mode's, or if a number is too narrow; [`Cause::KeySizeRange`] for a key of no bytes or of more than 64 KiB, or a
/// base key that the function does not take.
pub fn derive(
    algorithm: &MacAlgorithm,
    key: &[u8],
    mode: Mode<'_>,
    fields: &[Field<'_>],
    lens: &[usize],
) -> Result<Vec<Secret>> {
    check(mode, fields)?;
    if lens.iter().any(|len| !(1..=MOST).contains(len)) {
        return Err(Cause::KeySizeRange.with("length of a derived key"));
    }
    let mut run = Run::new(Prf::new(algorithm, key)?, mode, fields, lens, algorithm.len())?;
    lens.iter().map(|len| run.key(*len)).collect()
}

/// The longest key in bytes.
const MOST: usize = 1 << 16;

/// Which fields a mode must have, and may.
fn check(mode: Mode<'_>, fields: &[Field<'_>]) -> Result<()> {
    let (mut counters, mut iterations, mut lengths) = (0, 0, 0);
    for field in fields {
        match field {
            Field::Counter(format) => {
                format.check()?;
                counters += 1;
            }
            Field::Iteration => iterations += 1,
            Field::Length(_, format) => {
                format.check()?;
                lengths += 1;
            }
            Field::Bytes(_) => {}
        }
    }
    let valid = match mode {
        Mode::Counter => counters == 1 && iterations == 0,
        Mode::Feedback { .. } | Mode::DoublePipeline => counters <= 1 && iterations == 1,
    };
    if valid && lengths <= 1 {
        Ok(())
    } else {
        Err(Cause::MechanismParamInvalid.with("fields of the input of the key derivation function"))
    }
}

struct Run<'a> {
    prf: Prf,
    mode: Mode<'a>,
    fields: &'a [Field<'a>],
    /// The lengths in bits, by each method.
    sum_of_keys: u64,
    sum_of_segments: u64,
    /// Of the iteration that comes next; the first is 1.
    counter: u64,
    /// What the last iteration made; the vector or nothing before the first.
    iteration: Secret,
}

impl<'a> Run<'a> {
    fn new(prf: Prf, mode: Mode<'a>, fields: &'a [Field<'a>], lens: &[usize], value_len: usize) -> Result<Self> {
        // At most 64 KiB each, and far fewer keys than would overflow.
        let bits = |len: usize| 8 * len as u64;
        let sum_of_keys = lens.iter().map(|len| bits(*len)).sum();
        let sum_of_segments = lens.iter().map(|len| bits(len.next_multiple_of(value_len))).sum();
        let mut iteration = Secret::new(Vec::new());
        if let Mode::Feedback { iv } = mode {
            iteration.append(iv)?;
        }
        let mut run = Self { prf, mode, fields, sum_of_keys, sum_of_segments, counter: 1, iteration };
        if matches!(mode, Mode::DoublePipeline) {
            // A(0) is the fixed part of the input: all but counter and iteration variable.
            let fixed = run.input(|field| matches!(field, Field::Length(..) | Field::Bytes(_)))?;
            run.iteration = fixed;
        }
        Ok(run)
    }

    /// The fields that `wanted` takes, one after the other.
    fn input(&self, wanted: impl Fn(&Field<'_>) -> bool) -> Result<Secret> {
        let mut input = Secret::new(Vec::new());
        for field in self.fields.iter().filter(|field| wanted(field)) {
            match field {
                Field::Bytes(bytes) => input.append(bytes)?,
                Field::Iteration => input.append(self.iteration.expose())?,
                Field::Counter(format) => {
                    let (bytes, len) = format.write(self.counter)?;
                    input.append(&bytes[..len])?;
                }
                Field::Length(method, format) => {
                    let sum = match method {
                        LengthMethod::SumOfKeys => self.sum_of_keys,
                        LengthMethod::SumOfSegments => self.sum_of_segments,
                    };
                    let (bytes, len) = format.write(sum)?;
                    input.append(&bytes[..len])?;
                }
            }
        }
        Ok(input)
    }

    /// The next value of the function.
    fn next(&mut self) -> Result<Zeroizing<super::Digest>> {
        if matches!(self.mode, Mode::DoublePipeline) {
            let next = self.prf.of([self.iteration.expose()])?;
            self.iteration = Secret::new(next.to_vec());
        }
        let input = self.input(|_| true)?;
        let value = self.prf.of([input.expose()])?;
        if matches!(self.mode, Mode::Feedback { .. }) {
            self.iteration = Secret::new(value.to_vec());
        }
        self.counter += 1;
        Ok(value)
    }

    fn key(&mut self, len: usize) -> Result<Secret> {
        let mut key = Secret::with_capacity(len)?;
        while key.len() < len {
            let value = self.next()?;
            key.append(&value[..value.len().min(len - key.len())])?;
        }
        Ok(key)
    }
}
