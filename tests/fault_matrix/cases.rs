//! The faults, in the order of the page that is made of them.

use super::support::fault_proxy::Fault;
use std::time::Duration;

/// One thing that goes wrong.
pub(crate) struct Case {
    /// As the page has it.
    pub(crate) name: &'static str,
    pub(crate) trouble: Trouble,
    /// What the log line of a call that fails says beside its advice.
    pub(crate) says: &'static str,
}

/// How it is brought about.
pub(crate) enum Trouble {
    /// On the way, by the proxy.
    Wire(Fault),
    /// The same, where it lasts until a deadline, which is short then.
    Wait(Fault),
    /// The same, where a first request alone shows nothing.
    Lasts(Fault),
    /// By this exception of KMS's.
    Says(&'static str),
    /// The same, with short deadlines.
    SaysWait(&'static str),
    /// By this exception for this operation only.
    SaysTo(&'static str, &'static str),
    /// By a state of the KMS key, which these operations bring about and end.
    Key(&'static [&'static str], &'static [&'static str]),
    /// By lines of the configuration, in the place of those that it has.
    Configured(&'static [(&'static str, Value)]),
    /// By the environment: these variables are set, and none with credentials.
    Without(&'static [(&'static str, Value)]),
}

/// The value of a setting.
pub(crate) enum Value {
    Is(&'static str),
    /// The URL of a port on which nobody listens.
    NobodysUrl,
    /// The URL of a port that takes connections and is silent.
    SilentUrl,
    /// The proxy's URL, as if it spoke TLS.
    PlainAsTls,
    /// The URL of a KMS with a certificate of a CA of its own.
    TlsUrl,
    /// The same by its address, which its certificate does not name.
    TlsByAddress,
    /// The file with that CA's certificate.
    ItsCa,
    /// The file with the certificate of another.
    AnotherCa,
    /// Another KMS key.
    OtherKey,
    /// A KMS key that cannot seal.
    RsaKey,
}

use Trouble::*;
use Value::*;

const fn case(name: &'static str, trouble: Trouble, says: &'static str) -> Case {
    Case { name, trouble, says }
}

const LATE: Duration = Duration::from_millis(100);
/// Longer than an attempt may take with short deadlines.
const TOO_LATE: Duration = Duration::from_millis(1600);
const BEAT: Duration = Duration::from_millis(20);
const HTML: &str = "<html>Welcome to the hotel's network</html>";
const EXCEPTION: &str = r#"{"__type":"KMSInternalException"}"#;

/// By where they come from.
pub(crate) const GROUPS: &[(&str, &[Case])] = &[
    ("The network", NETWORK),
    ("TLS and proxies", TLS),
    ("Answers that are not KMS's", ANSWERS),
    ("KMS in trouble", TROUBLED),
    ("The KMS key", KEYS),
    ("Who asks", ASKING),
];

const NETWORK: &[Case] = &[
    case("connection refused", Configured(&[("endpoint_url", NobodysUrl)]), "refused"),
    case("name does not resolve", Configured(&[("endpoint_url", Is("http://kms.invalid"))]), "kms.invalid"),
    case("connection taken, no answer", Wait(Fault::Stall), "no answer within"),
    case("answer 0.1 s late", Wire(Fault::Late(LATE)), ""),
    case("answer later than `attempt`", Wait(Fault::Late(TOO_LATE)), "no answer within"),
    case("answer byte by byte", Wait(Fault::Trickle(BEAT)), "no answer within"),
    case("silence in the middle of the answer", Wait(Fault::StallWithin), "no answer within"),
    case("reset before the answer", Wire(Fault::ResetBefore), "connection"),
    case("reset in the middle of the answer", Wire(Fault::ResetWithin), "connection"),
    case("reset after the answer", Wire(Fault::ResetAfter), ""),
    case("closed in the middle of the answer", Wire(Fault::Truncate), "connection"),
];

const TLS: &[Case] = &[
    case("TLS expected, plain HTTP found", Configured(&[("endpoint_url", PlainAsTls)]), "InvalidContentType"),
    case("certificate of a known CA", Configured(&[("endpoint_url", TlsUrl), ("ca_bundle", ItsCa)]), ""),
    case(
        "certificate of an unknown CA",
        Configured(&[("endpoint_url", TlsUrl), ("ca_bundle", AnotherCa)]),
        "certificate",
    ),
    case(
        "certificate for another name",
        Configured(&[("endpoint_url", TlsByAddress), ("ca_bundle", ItsCa)]),
        "certificate",
    ),
    case("a proxy that refuses connections", Configured(&[("proxy", NobodysUrl)]), "refused"),
];

const ANSWERS: &[Case] = &[
    case("HTTP 500 without an AWS error", Wire(Fault::Say(500, "", HTML)), "HTTP status 500"),
    case("HTTP 503, `Retry-After: 1`", Wire(Fault::Say(503, "retry-after: 1\r\n", HTML)), "HTTP status 503"),
    case("HTTP 503, `Retry-After: 600`", Wire(Fault::Say(503, "retry-after: 600\r\n", HTML)), "HTTP status 503"),
    case("HTTP 403 without an AWS error", Wire(Fault::Say(403, "", HTML)), "HTTP status 403"),
    case("HTTP 302", Wire(Fault::Say(302, "location: https://login.example\r\n", HTML)), "302"),
    case("HTML with status 200", Wire(Fault::Say(200, "content-type: text/html\r\n", HTML)), "cannot be read"),
    case("garbage with status 200", Wire(Fault::Say(200, "", "{\"KeyId\":")), "cannot be read"),
    case("an empty object with status 200", Wire(Fault::Say(200, "", "{}")), "the answer has no"),
    case("an error with status 200", Wire(Fault::Say(200, "", EXCEPTION)), "the answer has no"),
    case("wrong content type", Wire(Fault::ContentType("text/plain")), ""),
    case("answer of 1 MiB", Wire(Fault::Pad(1 << 20)), "cannot be read"),
    case("public key of another pair", Wire(Fault::Mix("PublicKey")), "belong"),
    case("private key of another pair", Wire(Fault::Mix("PrivateKeyPlaintext")), "belong"),
    case("plaintext of another key", Wire(Fault::Mix("Plaintext")), "belong"),
];

const TROUBLED: &[Case] = &[
    case("throttled", SaysWait("ThrottlingException"), "ThrottlingException"),
    case("KMSInternalException", Says("KMSInternalException"), "KMSInternalException"),
    case("DependencyTimeoutException", Says("DependencyTimeoutException"), "DependencyTimeoutException"),
    case("KeyUnavailableException", Says("KeyUnavailableException"), "KeyUnavailableException"),
    case("an exception that nobody knows", Says("SomethingNewException"), "SomethingNewException"),
];

const KEYS: &[Case] = &[
    case("disabled", Key(&["DisableKey"], &["EnableKey"]), "DisabledException"),
    case(
        "pending deletion",
        Key(&["ScheduleKeyDeletion"], &["CancelKeyDeletion", "EnableKey"]),
        "KMSInvalidStateException",
    ),
    case("not found", Configured(&[("kms_key_id", Is("11111111-2222-3333-4444-555555555555"))]), "NotFoundException"),
    case("an alias of no key", Configured(&[("kms_key_id", Is("alias/gone"))]), "NotFoundException"),
    case("another key", Configured(&[("kms_key_id", OtherKey)]), "IncorrectKeyException"),
    case("an RSA key", Configured(&[("kms_key_id", RsaKey)]), "InvalidKeyUsageException"),
    case("ciphertext altered", Wire(Fault::Flip("CiphertextBlob")), "InvalidCiphertextException"),
];

const ASKING: &[Case] = &[
    case("`kms:Decrypt` denied", SaysTo("Decrypt", "AccessDeniedException"), "AccessDeniedException"),
    case(
        "`kms:GenerateDataKeyPair` denied",
        SaysTo("GenerateDataKeyPair", "AccessDeniedException"),
        "AccessDeniedException",
    ),
    case("grant token expired", Configured(&[("grant_tokens", Is("an-old-token"))]), "InvalidGrantTokenException"),
    case("credentials expired", Says("ExpiredTokenException"), "ExpiredTokenException"),
    case("credentials unknown", Says("UnrecognizedClientException"), "UnrecognizedClientException"),
    case("clock 1 hour slow", Lasts(Fault::Clock(3600)), ""),
    case("clock 1 day fast", Lasts(Fault::Clock(-86_400)), ""),
    case("signature refused whatever the clock", Says("InvalidSignatureException"), "InvalidSignatureException"),
    case("no credentials", Without(&[("AWS_EC2_METADATA_DISABLED", Is("true"))]), "no credentials found in chain"),
    case(
        "the instance's metadata refuses connections",
        Without(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", NobodysUrl)]),
        "",
    ),
    case("the instance's metadata is silent", Without(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", SilentUrl)]), ""),
    case("no Region", Configured(&[("region", Is(""))]), ""),
    case("`ca_bundle` is not there", Configured(&[("ca_bundle", Is("/nonexistent/ca.pem"))]), "/nonexistent/ca.pem"),
];
