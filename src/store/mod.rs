//! Where a token's records are kept.
