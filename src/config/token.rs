//! One `[[token]]`.

use super::dynamodb::{dynamodb, reach};
use super::postgres::postgres;
use super::reader::{ADDITIONAL, CACHE, Field, PIN_HASH, Section, TIMEOUTS, invalid};
use super::values::{
    absolute_path, duration, file_name, is_clear_text, is_loopback, is_region, kib, kms_arn_region, path,
    positive_duration, url,
};
use super::*;
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// CK_TOKEN_INFO has room for so many bytes.
const MAX_LABEL: usize = 32;
/// Limits of the KMS API.
const MAX_KEY_ID: usize = 2048;
const MAX_GRANT_TOKENS: usize = 10;
const MAX_GRANT_TOKEN: usize = 8192;
/// The module's own pairs of the encryption context begin with this.
const RESERVED: &str = "datakey-pkcs11:";
/// The embedded KMS keeps its keys in this file beside the store, unless it is told another.
const EMBEDDED_KEYS: &str = "embedded-kms.json";

/// Reads a token; `directory` is where its store goes if it says nothing.
pub(super) fn token(section: &Section<'_>, directory: Option<&Path>, notes: &mut Vec<String>) -> Result<TokenConfig> {
    let label = section.read("label", label)?.ok_or_else(|| missing(section, "label", "\"web\""))?;
    let mut store = match section.read("store", |f| store(f, &label, notes))? {
        Some(store) => store,
        None => default_store(section, &label, directory)?,
    };
    let kms = kms(section, store.file().map(PathBuf::as_path), notes)?;
    if let StoreLocation::DynamoDb(table) = &mut store {
        reach(table, &kms);
    }
    let generate = section.read("generate", |f| generate(f, &kms))?.unwrap_or_default();
    Ok(TokenConfig {
        kms,
        store,
        login: section
            .read("login", |f| f.choice(&[("pin", LoginMode::Pin), ("none", LoginMode::None)]))?
            .unwrap_or_default(),
        generate,
        cache: section.read("cache", cache)?.unwrap_or_default(),
        max_pin_attempts: section
            .read("max_pin_attempts", |f| f.integer(0, 1_000_000))?
            .map_or(DEFAULT_MAX_PIN_ATTEMPTS, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        pin_hash: section.read("pin_hash", |f| pin_hash(f, notes))?.unwrap_or_default(),
        label,
    })
}

fn missing(section: &Section<'_>, key: &str, example: &str) -> crate::error::Error {
    invalid(section.line(), format!("this token has no `{key}`; write, for example, {key} = {example}"))
}

fn label(field: &Field<'_>) -> Result<String> {
    let text = field.string("a string of 1 to 32 bytes without control characters")?;
    if text.len() > MAX_LABEL {
        return Err(
            field.bad(&format!("the label has {} bytes of UTF-8, PKCS#11 has room for {MAX_LABEL}", text.len()))
        );
    }
    // PKCS#11 pads labels with blanks: clients could not tell "web" from "web ".
    if text.ends_with(' ') {
        return Err(field.bad("a label must not end with a blank"));
    }
    Ok(text.to_owned())
}

fn generate(field: &Field<'_>, kms: &KmsConfig) -> Result<GenerateMode> {
    let mode = field.choice(&[
        ("with-plaintext", GenerateMode::WithPlaintext),
        ("without-plaintext", GenerateMode::WithoutPlaintext),
    ])?;
    match kms.additional.iter().find(|additional| !kms.is_beside(additional)) {
        Some(elsewhere) if mode == GenerateMode::WithoutPlaintext => Err(field.bad(&format!(
            "KMS leads no sealed key to {}, which is in another Region or has another caller: it takes the plaintext",
            elsewhere.key_id
        ))),
        _ => Ok(mode),
    }
}

fn store(field: &Field<'_>, label: &str, notes: &mut Vec<String>) -> Result<StoreLocation> {
    const STORE: &str =
        "\"sqlite:PATH\" with an absolute path, \"postgres://USER@HOST/DATABASE\", or \"dynamodb:TABLE\"";
    let text = field.string(STORE)?;
    if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        let database = postgres(field, rest, label)?;
        if database.password.is_some() {
            notes.push(format!(
                "line {}: the store's URL holds a password; a passfile that only the host's user can read is safer",
                field.line
            ));
        }
        if database.tls.is_none() && database.hosts.iter().any(|(host, _)| is_elsewhere(host)) {
            notes.push(format!(
                "line {}: the store is on another machine, and without TLS everybody on the way can read and change it",
                field.line
            ));
        }
        return Ok(StoreLocation::Postgres(Box::new(database)));
    }
    if let Some(rest) = text.strip_prefix("dynamodb:") {
        return Ok(StoreLocation::DynamoDb(Box::new(dynamodb(field, rest, label, notes)?)));
    }
    let path = text.strip_prefix("sqlite:").ok_or_else(|| field.wrong(STORE))?;
    absolute_path(field, path).map(StoreLocation::Sqlite)
}

/// Whether what is sent there crosses a network.
fn is_elsewhere(host: &PostgresHost) -> bool {
    match host {
        PostgresHost::Directory(_) => false,
        PostgresHost::Name(name) => !is_loopback(name),
    }
}

/// A store as `store` of a token's table names it, for that token.
///
/// # Errors
/// `ConfigInvalid`; the text is not repeated where it may hold a password.
pub fn store_location(text: &str, token: &TokenConfig) -> Result<StoreLocation> {
    // A string of JSON is one of TOML.
    let document = format!("store = {}", serde_json::Value::from(text));
    let table = DeTable::parse(&document).map_err(|error| invalid(1, error.message()))?;
    let section = Section::of_table(&document, table.get_ref());
    let found = section.read("store", |field| store(field, &token.label, &mut Vec::new()))?;
    let mut found = found.ok_or_else(|| invalid(1, "there is no store"))?;
    if let StoreLocation::DynamoDb(table) = &mut found {
        reach(table, &token.kms);
    }
    Ok(found)
}

fn default_store(section: &Section<'_>, label: &str, directory: Option<&Path>) -> Result<StoreLocation> {
    let why = "this token has no `store`, and without HOME or XDG_DATA_HOME there is no default; write store = \"sqlite:PATH\"";
    let directory = directory.ok_or_else(|| invalid(section.line(), why))?;
    Ok(StoreLocation::Sqlite(directory.join(format!("{}.db", file_name(label)))))
}

fn kms(section: &Section<'_>, store: Option<&Path>, notes: &mut Vec<String>) -> Result<KmsConfig> {
    let mut kms = surroundings(section, &KmsConfig::default(), store, notes)?;
    kms.key_id = match section.read("kms_key_id", |f| key_id(f, &mut kms.region))? {
        Some(key_id) => key_id,
        // The embedded KMS has one default key, which needs no name.
        None if kms.backend != KmsBackend::Aws => String::new(),
        None => {
            return Err(missing(section, "kms_key_id", "\"alias/pkcs11\"; or kms = \"embedded\" to try without AWS"));
        }
    };
    let former = section.read("former_kms_key_ids", |f| former_key_ids(f, &mut kms.region))?;
    kms.former_key_ids = former.unwrap_or_default();
    kms.encryption_context = section.read("encryption_context", context)?.unwrap_or_default();
    let additional = section.read(ADDITIONAL, |f| additional_keys(f, &kms, store, notes))?;
    kms.additional = additional.unwrap_or_default();
    Ok(kms)
}

/// How KMS is reached, and by whom. What the table does not say is as in `default`.
fn surroundings(
    section: &Section<'_>,
    default: &KmsConfig,
    store: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<KmsConfig> {
    let backend = section.read("kms", |f| backend(f, store))?.unwrap_or_else(|| default.backend.clone());
    let endpoint_url = section.read("endpoint_url", |f| match backend {
        KmsBackend::Aws => url(f, false),
        KmsBackend::Embedded(_) => Err(f.bad("the embedded KMS is in the process and has no endpoint")),
    })?;
    if let Some(url) = endpoint_url.as_ref().filter(|url| is_clear_text(url)) {
        notes.push(format!(
            "endpoint_url {url} is not https: plaintext private keys will cross the network in the clear"
        ));
    }
    let inherited = endpoint_url.or_else(|| default.endpoint_url.clone());
    let role = section.read("role_arn", role_arn)?;
    let needs_role = |key: &str, accepted: &str| {
        section.read(key, |f| match role {
            Some(_) => f.string(accepted).map(str::to_owned),
            None => Err(f.bad("it has no effect without `role_arn`")),
        })
    };
    let mut kms = KmsConfig {
        role_session_name: needs_role("role_session_name", "a session name of 2 to 64 characters")?,
        external_id: needs_role("external_id", "a string that is not empty")?,
        endpoint_url: inherited.filter(|_| backend == KmsBackend::Aws),
        backend,
        grant_tokens: section.read("grant_tokens", grant_tokens)?.unwrap_or_default(),
        region: section.read("region", region)?.or_else(|| default.region.clone()),
        profile: section.read("profile", |f| f.string("the name of an AWS profile").map(str::to_owned))?,
        role_arn: role,
        fips: section.read("fips", Field::boolean)?.unwrap_or(default.fips),
        dual_stack: section.read("dual_stack", Field::boolean)?.unwrap_or(default.dual_stack),
        proxy: section.read("proxy", |f| url(f, true))?.or_else(|| default.proxy.clone()),
        ca_bundle: section.read("ca_bundle", path)?.or_else(|| default.ca_bundle.clone()),
        timeouts: section.read("timeouts", timeouts)?.unwrap_or(default.timeouts),
        attestation: section
            .read("attestation", |f| attestation(f, cfg!(feature = "nitro-enclaves")))?
            .or_else(|| default.attestation.clone()),
        ..KmsConfig::default()
    };
    // A profile or a role of its own makes another caller: nothing of the other's goes with it.
    if kms.profile.is_none() && kms.role_arn.is_none() {
        kms.profile.clone_from(&default.profile);
        kms.role_arn.clone_from(&default.role_arn);
        kms.role_session_name.clone_from(&default.role_session_name);
        kms.external_id.clone_from(&default.external_id);
    }
    Ok(kms)
}

/// The KMS keys beside the wrapping key. Each is reached as the wrapping key is, where its table does not say otherwise;
/// but an endpoint is one of its Region.
fn additional_keys(
    field: &Field<'_>,
    wrapping: &KmsConfig,
    store: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Vec<KmsConfig>> {
    const TABLES: &str = "an array of tables, such as [{ kms_key_id = \"arn:aws:kms:…:key/…\" }]";
    let mut all: Vec<KmsConfig> = Vec::new();
    for member in field.array(TABLES)? {
        let section = member.table(ADDITIONAL, TABLES)?;
        let mut region = None;
        let key_id = section
            .read("kms_key_id", |f| key_arn(f, &mut region))?
            .ok_or_else(|| member.bad("a table has no `kms_key_id`; write the ARN of a key"))?;
        if key_id == wrapping.key_id || all.iter().any(|other| other.key_id == key_id) {
            return Err(member.bad(&format!("the KMS key {key_id} seals every key already")));
        }
        let endpoint_url = wrapping.endpoint_url.clone().filter(|_| region == wrapping.region);
        let default = KmsConfig { region, endpoint_url, ..wrapping.clone() };
        let kms = surroundings(&section, &default, store, notes)?;
        all.push(KmsConfig { key_id, encryption_context: wrapping.encryption_context.clone(), ..kms });
    }
    Ok(all)
}

/// Refused where it could not be kept, in whatever form: a token that says so must never do without.
pub(super) fn attestation(field: &Field<'_>, built_in: bool) -> Result<Attestation> {
    const NITRO: &str = "\"nitro\", or \"nitro:DEVICE\" with an absolute path";
    let device = match field.string(NITRO)? {
        "nitro" => PathBuf::from(Attestation::NITRO_DEVICE),
        other => absolute_path(field, other.strip_prefix("nitro:").ok_or_else(|| field.wrong(NITRO))?)?,
    };
    match built_in {
        true => Ok(Attestation::Nitro(device)),
        false => Err(field.bad("this build is without it; build with --features nitro-enclaves")),
    }
}

fn backend(field: &Field<'_>, store: Option<&Path>) -> Result<KmsBackend> {
    const KMS: &str = "\"aws\", \"embedded\" or \"embedded:FILE\" with an absolute path";
    match field.string(KMS)? {
        "aws" => Ok(KmsBackend::Aws),
        "embedded" => match store {
            Some(store) => Ok(KmsBackend::Embedded(store.with_file_name(EMBEDDED_KEYS))),
            None => Err(field.bad("the store is no file to put the keys beside; write \"embedded:FILE\"")),
        },
        other => {
            let file = other.strip_prefix("embedded:").ok_or_else(|| field.wrong(KMS))?;
            absolute_path(field, file).map(KmsBackend::Embedded)
        }
    }
}

fn region(field: &Field<'_>) -> Result<String> {
    const REGION: &str = "the name of a Region, such as \"eu-central-1\"";
    let text = field.string(REGION)?;
    if is_region(text) { Ok(text.to_owned()) } else { Err(field.wrong(REGION)) }
}

/// A KMS key can only be used in its own Region, so its ARN stands in for a `region` that is not given.
fn key_id(field: &Field<'_>, region: &mut Option<String>) -> Result<String> {
    const KEY: &str = "a key id, a key ARN, an alias such as \"alias/pkcs11\", or an alias ARN";
    let text = field.string(KEY)?;
    if text.len() > MAX_KEY_ID || text.contains(char::is_whitespace) {
        return Err(field.wrong(KEY));
    }
    if text.starts_with("arn:") {
        let of_key = kms_arn_region(text).ok_or_else(|| field.wrong(KEY))?;
        let said = region.get_or_insert_with(|| of_key.to_owned());
        if said != of_key {
            return Err(field.bad(&format!("the key is in the Region {of_key}, but `region` says {said}")));
        }
    } else if text.contains(['/', ':']) && text.strip_prefix("alias/").is_none_or(str::is_empty) {
        return Err(field.wrong(KEY));
    }
    Ok(text.to_owned())
}

/// By ARN alone: it says in which Region the key is, and which seals are its own.
fn key_arn(field: &Field<'_>, region: &mut Option<String>) -> Result<String> {
    match key_id(field, region)? {
        arn if arn.contains(":key/") => Ok(arn),
        _ => Err(field.wrong("the ARN of a key, such as \"arn:aws:kms:eu-west-1:111122223333:key/…\"")),
    }
}

fn role_arn(field: &Field<'_>) -> Result<String> {
    const ROLE: &str = "the ARN of a role, such as \"arn:aws:iam::111122223333:role/pkcs11\"";
    let text = field.string(ROLE)?;
    let is_role = text.starts_with("arn:") && text.contains(":iam:") && text.contains(":role/");
    if is_role { Ok(text.to_owned()) } else { Err(field.wrong(ROLE)) }
}

fn context(field: &Field<'_>) -> Result<BTreeMap<String, String>> {
    const PAIRS: &str = "a table of strings, such as { app = \"web\" }";
    let table = field.free_table(PAIRS)?;
    let mut pairs = BTreeMap::new();
    for pair in table.fields() {
        if pair.key.is_empty() {
            return Err(field.bad("a key of the encryption context must not be empty"));
        }
        if pair.key.starts_with(RESERVED) {
            return Err(pair.bad(&format!("keys that begin with {RESERVED} are the module's own")));
        }
        pairs.insert(pair.key.to_owned(), pair.any_string("a string")?.to_owned());
    }
    Ok(pairs)
}

/// By key id or ARN: what is stored of a key is the ARN of the KMS key that sealed it, and an alias may have moved.
fn former_key_ids(field: &Field<'_>, region: &mut Option<String>) -> Result<Vec<String>> {
    const KEYS: &str = "an array of key ids and key ARNs, without aliases";
    let one = |member: &Field<'_>| match key_id(member, region)? {
        alias if alias.contains("alias/") => Err(member.wrong(KEYS)),
        key => Ok(key),
    };
    field.array(KEYS)?.iter().map(one).collect()
}

fn grant_tokens(field: &Field<'_>) -> Result<Vec<String>> {
    const TOKENS: &str = "an array of at most 10 strings of 1 to 8192 characters";
    let members = field.array(TOKENS)?;
    if members.len() > MAX_GRANT_TOKENS {
        return Err(field.bad(&format!("{} grant tokens; KMS takes at most {MAX_GRANT_TOKENS}", members.len())));
    }
    let token = |member: &Field<'_>| match member.string(TOKENS)? {
        text if text.len() > MAX_GRANT_TOKEN => Err(member.wrong(TOKENS)),
        text => Ok(text.to_owned()),
    };
    members.iter().map(token).collect()
}

fn timeouts(field: &Field<'_>) -> Result<Timeouts> {
    let table = field.table(TIMEOUTS, "a table, such as { attempt = \"2s\", total = \"10s\" }")?;
    let default = Timeouts::default();
    let (attempt, total) = deadlines(&table, ("attempt", "total"), (default.attempt, default.total))?;
    let names = ("generate_attempt", "generate_total");
    let (generate_attempt, generate_total) =
        deadlines(&table, names, (default.generate_attempt, default.generate_total))?;
    Ok(Timeouts { attempt, total, generate_attempt, generate_total })
}

/// An attempt's deadline and that of the whole call. One that is not given bends to the one that is.
fn deadlines(table: &Section<'_>, names: (&str, &str), default: (Duration, Duration)) -> Result<(Duration, Duration)> {
    let attempt = table.read(names.0, positive_duration)?;
    let total = table.read(names.1, positive_duration)?;
    if let (Some(attempt), Some(total), Some(field)) = (attempt, total, table.get(names.0))
        && attempt > total
    {
        return Err(
            field.bad(&format!("one attempt is given {attempt:?}, but the whole call (`{}`) only {total:?}", names.1))
        );
    }
    let total = total.unwrap_or_else(|| default.1.max(attempt.unwrap_or_default()));
    Ok((attempt.unwrap_or_else(|| default.0.min(total)), total))
}

fn pin_hash(field: &Field<'_>, notes: &mut Vec<String>) -> Result<PinHash> {
    let table = field.table(PIN_HASH, "a table, such as { memory = \"19M\", passes = 2 }")?;
    let default = PinHash::default();
    let memory = |f: &Field<'_>| kib(f, PinHash::LEAST_MEMORY_KIB, PinHash::MOST_MEMORY_KIB);
    let hash = PinHash {
        memory_kib: table.read("memory", memory)?.unwrap_or(default.memory_kib),
        passes: table
            .read("passes", |f| f.integer(1, PinHash::MOST_PASSES.into()))?
            .map_or(default.passes, |n| u32::try_from(n).unwrap_or(PinHash::MOST_PASSES)),
    };
    if hash.is_cheap() {
        notes.push("pin_hash is cheaper than OWASP recommends: only for PINs that nobody can guess".to_owned());
    }
    Ok(hash)
}

fn cache(field: &Field<'_>) -> Result<CacheConfig> {
    let table = field.table(CACHE, "a table, such as { max_age = \"5m\", max_uses = 100000, max_keys = 1000 }")?;
    let default = CacheConfig::default();
    let max_age = table.read("max_age", duration)?.unwrap_or(default.max_age);
    let max_stale = |field: &Field<'_>| match duration(field)? {
        some if max_age.is_zero() && !some.is_zero() => Err(field.bad("with max_age = 0 no key is kept to be used on")),
        some => Ok(some),
    };
    // An unwrap is for at least one use; who wants no cache says max_age = 0.
    Ok(CacheConfig {
        max_age,
        max_stale: table.read("max_stale", max_stale)?.unwrap_or(default.max_stale),
        max_uses: table.read("max_uses", |f| f.integer(1, i64::MAX as u64))?.unwrap_or(default.max_uses),
        max_keys: table
            .read("max_keys", |f| f.integer(1, 10_000_000))?
            .map_or(default.max_keys, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        max_object_age: table.read("max_object_age", duration)?.unwrap_or(default.max_object_age),
    })
}
