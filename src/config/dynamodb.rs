//! `store = "dynamodb:TABLE"`: a table, and the way to it.

use super::reader::Field;
use super::values::{endpoint, is_clear_text, is_region};
use super::{DynamoDbConfig, KmsConfig};
use crate::error::Result;

/// As PKCS#11's labels, which it is by default.
const MAX_TOKEN: usize = 255;

/// Reads what follows `dynamodb:`, `TABLE[/TOKEN][?region=REGION&endpoint_url=URL]`; `label` is the token's. The rest
/// of the way is the token's, once that is known.
pub(super) fn dynamodb(field: &Field<'_>, rest: &str, label: &str, notes: &mut Vec<String>) -> Result<DynamoDbConfig> {
    let bad = |why: &str| Err(field.bad(why));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (table, token) = place.split_once('/').unwrap_or((place, label));
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !(3..=255).contains(&table.len()) || !table.chars().all(allowed) {
        return bad("the name of a table has 3 to 255 letters, digits, _, - and .");
    }
    // Keys of items end with `#` and the name, and policies are written on that.
    if token.is_empty() || token.len() > MAX_TOKEN || token.contains(['#', '*', '?']) {
        return bad("the name of a token in a table has 1 to 255 bytes, without #, * and ?");
    }
    let mut config =
        DynamoDbConfig { table: table.into(), token: token.into(), endpoint_url: None, access: KmsConfig::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("region", region) if is_region(region) => config.access.region = Some(region.to_owned()),
            ("region", _) => return bad("region is none"),
            ("endpoint_url", url) => config.endpoint_url = Some(endpoint(field, url)?),
            (name, _) => return bad(&format!("unknown parameter {name:?}; known are region and endpoint_url")),
        }
    }
    if let Some(url) = config.endpoint_url.as_ref().filter(|url| is_clear_text(url)) {
        notes
            .push(format!("endpoint_url {url} of the store is not https: everybody on the way can read and change it"));
    }
    Ok(config)
}

/// The way to the table is the way to the token's KMS, but for what the store itself says.
pub(super) fn reach(store: &mut DynamoDbConfig, kms: &KmsConfig) {
    let region = store.access.region.take().or_else(|| kms.region.clone());
    store.access = KmsConfig {
        region,
        profile: kms.profile.clone(),
        role_arn: kms.role_arn.clone(),
        role_session_name: kms.role_session_name.clone(),
        external_id: kms.external_id.clone(),
        fips: kms.fips,
        dual_stack: kms.dual_stack,
        proxy: kms.proxy.clone(),
        ca_bundle: kms.ca_bundle.clone(),
        timeouts: kms.timeouts,
        ..KmsConfig::default()
    };
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment, StoreLocation, check_text};
    use super::*;
    use std::path::Path;

    fn read(store: &str) -> Result<Config> {
        let text = format!(
            "[[token]]\nlabel = \"web\"\nkms_key_id = \"k\"\nregion = \"eu-west-1\"\nprofile = \"p\"\nstore = \"{store}\""
        );
        check_text(&Environment::of_process(false), Path::new("/etc/datakey.toml"), &text)
    }

    #[test]
    fn a_table_is_reached_as_the_tokens_kms_is() {
        let parsed = |store: &str| match read(store).unwrap().tokens.remove(0).store {
            StoreLocation::DynamoDb(config) => *config,
            other => panic!("{other}"),
        };
        let short = parsed("dynamodb:keys");
        assert_eq!((short.table.as_str(), short.token.as_str()), ("keys", "web"));
        assert_eq!((short.access.region.as_deref(), short.access.profile.as_deref()), (Some("eu-west-1"), Some("p")));
        let long = parsed("dynamodb:k.e-y_s/other?region=eu-west-2&endpoint_url=https://vpce.example");
        assert_eq!((long.table.as_str(), long.token.as_str()), ("k.e-y_s", "other"));
        assert_eq!(long.access.region.as_deref(), Some("eu-west-2"));
        assert_eq!(long.to_string(), "dynamodb:k.e-y_s/other (https://vpce.example)");
        let notes = read("dynamodb:keys?endpoint_url=http://db.example").unwrap().notes;
        assert!(notes[0].contains("is not https"), "{notes:?}");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (store, why) in [
            ("dynamodb:", "the name of a table"),
            ("dynamodb:a b c", "the name of a table"),
            ("dynamodb:keys/", "1 to 255 bytes"),
            ("dynamodb:keys/a#b", "without #"),
            ("dynamodb:keys?region=EU", "region is none"),
            ("dynamodb:keys?endpoint_url=ftp://x", "a URL that begins with"),
            ("dynamodb:keys?regoin=eu-west-1", "known are region and endpoint_url"),
        ] {
            let error = read(store).unwrap_err();
            assert!(error.detail().contains(why), "{store}: {error}");
        }
    }
}
