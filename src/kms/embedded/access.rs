//! Whether who asks may do what is asked: key policy, policies of the caller, and grants together.

use super::exception::Exception;
use super::grant::Constraint;
use super::identity::Caller;
use super::keys::{Key, Keys};
use super::policy::{Ask, Context, Facts, Verdict};
use super::principal::Principal;
use super::recipient::Attested;
use super::request::Request;
use super::seal;

/// What an operation needs permission for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Nothing in particular.
    Account,
    /// The key in `KeyId`; of a blob without that, the key that sealed it.
    Key,
    /// The key that gets an alias, and the alias.
    KeyAndAlias,
    /// The source as `ReEncryptFrom`, the destination as `ReEncryptTo`.
    ReEncrypt,
    /// A grant, which says itself who may.
    Grant,
}

/// The operations on data, which have an algorithm and may name a key by its alias for policies to see.
const ON_DATA: [&str; 7] = [
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncrypt",
];

/// One thing that needs permission.
struct Asked<'a> {
    ask: Ask,
    /// Whose policy and grants decide as well.
    key: Option<&'a Key>,
    context: Context,
}

/// Checks that the request may be made. Nobody is asked who they are where the key file knows nobody; tokens of
/// grants are checked anyway.
///
/// Exceptions: `InvalidGrantTokenException`, `UnrecognizedClientException`, `AccessDeniedException`, and those of
/// finding keys and reading fields.
pub(super) fn check(keys: &Keys, request: &Request<'_>, on: On) -> Result<(), Exception> {
    for token in request.texts("GrantTokens")? {
        if !keys.grants.iter().any(|grant| grant.token == token) {
            return Err(Exception::new("InvalidGrantTokenException", "the grant token is of no grant"));
        }
    }
    let Some(principal) = keys.principal(request.access_key)? else { return Ok(()) };
    for asked in asked(keys, request, principal.caller(), on)? {
        decide(keys, principal, &asked)?;
    }
    Ok(())
}

fn asked<'a>(keys: &'a Keys, request: &Request<'_>, caller: Caller<'_>, on: On) -> Result<Vec<Asked<'a>>, Exception> {
    let ask = |action, key: Option<&'a Key>, name: &str, context: Context| -> Result<Asked<'a>, Exception> {
        let mut facts = of_request(request, caller)?;
        if let Some(key) = key {
            of_key(&mut facts, keys, key, request, name);
        }
        facts.say_context(&context);
        let resource = key.map_or_else(|| "*".to_owned(), |key| keys.arn(&key.id));
        Ok(Asked { ask: Ask { action, resource, facts }, key, context })
    };
    Ok(match on {
        On::Grant => Vec::new(),
        On::Account => vec![ask(request.operation, None, "", Context::new())?],
        On::Key if !request.has("KeyId") && request.has("CiphertextBlob") => {
            let context = request.context("EncryptionContext")?;
            let key = sealing_key(keys, request);
            key.map(|key| ask(request.operation, Some(key), &key.id, context)).transpose()?.into_iter().collect()
        }
        On::Key => {
            let name = request.required_text("KeyId")?;
            let context = request.context("EncryptionContext")?;
            vec![ask(request.operation, Some(keys.find(name)?), name, context)?]
        }
        On::KeyAndAlias => {
            let name = request.required_text("TargetKeyId")?;
            let mut alias = ask(request.operation, None, "", Context::new())?;
            alias.ask.resource = keys.arn(request.required_text("AliasName")?);
            vec![ask(request.operation, Some(keys.find(name)?), name, Context::new())?, alias]
        }
        On::ReEncrypt => {
            let named = match request.has("SourceKeyId") {
                true => Some(request.required_text("SourceKeyId")?),
                false => sealing_key(keys, request).map(|key| key.id.as_str()),
            };
            let (from, to) = ("SourceEncryptionContext", "DestinationEncryptionContext");
            let destination = request.required_text("DestinationKeyId")?;
            let (target, source) = (keys.find(destination)?, named.map(|name| keys.find(name)).transpose()?);
            let mut both = Vec::new();
            if let Some((source, name)) = source.zip(named) {
                both.push(ask("ReEncryptFrom", Some(source), name, request.context(from)?)?);
            }
            both.push(ask("ReEncryptTo", Some(target), destination, request.context(to)?)?);
            let same = source.is_some_and(|source| source.id == target.id);
            for asked in &mut both {
                asked.ask.facts.say("kms:ReEncryptOnSameKey", same.to_string());
            }
            both
        }
    })
}

/// The key that sealed the blob of a request, if there is one: what follows says what is wrong with others.
fn sealing_key<'a>(keys: &'a Keys, request: &Request<'_>) -> Option<&'a Key> {
    let blob = request.required_blob("CiphertextBlob", seal::MAX_BLOB).ok()?;
    keys.find(seal::key_id(&blob)?).ok()
}

/// What the request itself says, as AWS has condition keys for its operation.
fn of_request(request: &Request<'_>, caller: Caller<'_>) -> Result<Facts, Exception> {
    let mut facts = Facts::default();
    facts.say("aws:PrincipalArn", caller.principal());
    facts.say("aws:PrincipalAccount", caller.account());
    facts.say("kms:CallerAccount", caller.account());
    if ON_DATA.contains(&request.operation) {
        // Any other is refused with symmetric keys.
        facts.say("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT");
    }
    for (key, value) in request.attested().map(Attested::facts).unwrap_or_default() {
        facts.say(&key, value);
    }
    if let Some(spec) = request.text("KeyPairSpec")? {
        facts.say("kms:DataKeyPairSpec", spec);
    }
    if ["CreateGrant", "ListGrants", "RevokeGrant"].contains(&request.operation) {
        facts.say("kms:GrantIsForAWSResource", "false");
    }
    if ["CreateKey", "PutKeyPolicy"].contains(&request.operation) {
        let bypass = request.flag("BypassPolicyLockoutSafetyCheck")?;
        facts.say("kms:BypassPolicyLockoutSafetyCheck", bypass.to_string());
    }
    match request.operation {
        "CreateGrant" => of_grant(&mut facts, request)?,
        "CreateKey" => {
            facts.say("kms:KeySpec", request.text("KeySpec")?.unwrap_or("SYMMETRIC_DEFAULT"));
            facts.say("kms:KeyUsage", request.text("KeyUsage")?.unwrap_or("ENCRYPT_DECRYPT"));
            facts.say("kms:KeyOrigin", request.text("Origin")?.unwrap_or("AWS_KMS"));
        }
        _ => {}
    }
    Ok(facts)
}

fn of_grant(facts: &mut Facts, request: &Request<'_>) -> Result<(), Exception> {
    for (field, key) in [("GranteePrincipal", "kms:GranteePrincipal"), ("RetiringPrincipal", "kms:RetiringPrincipal")] {
        if let Some(arn) = request.text(field)? {
            facts.say(key, arn);
        }
    }
    for operation in request.texts("Operations")? {
        facts.say("kms:GrantOperations", operation);
    }
    if let Some(constraint) = request.structure("Constraints") {
        let constraint = Constraint::parse(constraint)?;
        facts.say("kms:GrantConstraintType", constraint.kind());
        facts.say_context(constraint.pairs());
    }
    Ok(())
}

fn of_key(facts: &mut Facts, keys: &Keys, key: &Key, request: &Request<'_>, name: &str) {
    facts.say("kms:KeySpec", key.spec.as_str());
    facts.say("kms:KeyUsage", key.usage.as_str());
    facts.say("kms:KeyOrigin", key.origin.as_str());
    for (alias, _) in keys.aliases.iter().filter(|(_, id)| **id == key.id) {
        facts.say("kms:ResourceAliases", alias.as_str());
    }
    let is_told = ON_DATA.contains(&request.operation) || request.operation == "DescribeKey";
    if let Some(start) = name.find("alias/").filter(|_| is_told) {
        facts.say("kms:RequestAlias", &name[start..]);
    }
}

fn decide(keys: &Keys, principal: &Principal, asked: &Asked<'_>) -> Result<(), Exception> {
    let (caller, ask) = (principal.caller(), &asked.ask);
    let own = principal.policies.iter().map(|policy| policy.verdict(ask));
    let own = own.fold(Verdict { allowed: caller.is_root(), ..Verdict::default() }, |all, one| Verdict {
        denied: all.denied || one.denied,
        allowed: all.allowed || one.allowed,
        delegated: false,
    });
    let of_key = match asked.key {
        Some(key) => keys.policy(key)?.verdict(&caller, ask),
        // Where there is no key, the caller's policies alone decide.
        None => Verdict { delegated: true, ..Verdict::default() },
    };
    let granted = asked
        .key
        .is_some_and(|key| keys.grants.iter().any(|grant| grant.permits(&caller, &key.id, ask.action, &asked.context)));
    let why = match () {
        () if own.denied => "with an explicit deny in an identity-based policy".to_owned(),
        () if of_key.denied => "with an explicit deny in a resource-based policy".to_owned(),
        () if of_key.allowed || (of_key.delegated && own.allowed) || granted => return Ok(()),
        () if of_key.delegated => format!("because no identity-based policy allows the kms:{} action", ask.action),
        () => format!("because no resource-based policy allows the kms:{} action", ask.action),
    };
    Err(denied(&caller, ask.action, &ask.resource, &why))
}

/// A refusal in KMS's own words.
pub(super) fn denied(caller: &Caller<'_>, action: &str, resource: &str, why: &str) -> Exception {
    let who = caller.arn();
    let text = format!("User: {who} is not authorized to perform: kms:{action} on resource: {resource} {why}");
    Exception::new("AccessDeniedException", text)
}
