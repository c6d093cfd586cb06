//! The actions of KMS, as policies name them.

use super::pattern::fits;

/// Every action, the embedded KMS's own operations and others: a policy may well speak of more than is called.
const ACTIONS: &[&str] = &[
    "CancelKeyDeletion",
    "ConnectCustomKeyStore",
    "CreateAlias",
    "CreateCustomKeyStore",
    "CreateGrant",
    "CreateKey",
    "Decrypt",
    "DeleteAlias",
    "DeleteCustomKeyStore",
    "DeleteImportedKeyMaterial",
    "DeriveSharedSecret",
    "DescribeCustomKeyStores",
    "DescribeKey",
    "DisableKey",
    "DisableKeyRotation",
    "DisconnectCustomKeyStore",
    "EnableKey",
    "EnableKeyRotation",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "GenerateRandom",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "GetParametersForImport",
    "GetPublicKey",
    "ImportKeyMaterial",
    "ListAliases",
    "ListGrants",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListKeys",
    "ListResourceTags",
    "ListRetirableGrants",
    "PutKeyPolicy",
    "ReEncryptFrom",
    "ReEncryptTo",
    "ReplicateKey",
    "RetireGrant",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "Sign",
    "SynchronizeMultiRegionKey",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateCustomKeyStore",
    "UpdateKeyDescription",
    "UpdatePrimaryRegion",
    "Verify",
    "VerifyMac",
];

/// Actions that a policy names: `kms:Decrypt`, `kms:GenerateDataKey*`, in any case.
#[derive(Clone, Debug)]
pub(super) struct Actions(Vec<String>);

impl Actions {
    /// Refuses what names no action of KMS: it is a slip, or about a service that is not here.
    pub(super) fn parse(names: Vec<String>) -> Result<Self, String> {
        let patterns = Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect());
        for pattern in &patterns.0 {
            if !ACTIONS.iter().any(|action| fits(pattern, &full(action))) {
                return Err(format!("{pattern} is no action of KMS"));
            }
        }
        Ok(patterns)
    }

    /// Whether an operation's action, such as `Decrypt`, is among them.
    pub(super) fn name(&self, action: &str) -> bool {
        let action = full(action);
        self.0.iter().any(|pattern| fits(pattern, &action))
    }
}

fn full(action: &str) -> String {
    format!("kms:{}", action.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_no_action() {
        let parse = |name: &str| Actions::parse(vec![name.to_owned()]);
        for good in ["*", "kms:*", "KMS:decrypt", "kms:GenerateDataKey*WithoutPlaintext", "kms:ReEncrypt*"] {
            parse(good).unwrap();
        }
        for bad in ["kms:Decypt", "kms:ReEncrypt", "s3:GetObject", "Decrypt", ""] {
            assert!(parse(bad).unwrap_err().contains("is no action of KMS"), "{bad}");
        }
        let without = parse("kms:GenerateDataKey*WithoutPlaintext").unwrap();
        assert!(without.name("GenerateDataKeyPairWithoutPlaintext") && !without.name("GenerateDataKeyPair"));
    }
}
