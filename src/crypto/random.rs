//! Random bytes from AWS-LC: seeded by the kernel, and different in every forked child.
#![forbid(unsafe_code)]

use super::aws_lc;
use crate::error::Result;

/// Fills `out` with random bytes.
pub fn fill(out: &mut [u8]) -> Result<()> {
    aws_lc::random(out)
}
