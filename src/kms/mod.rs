//! The AWS KMS client and the embedded KMS.
