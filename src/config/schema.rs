//! What a configuration says, checked and with its defaults filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from; `None` where there is no configuration.
    pub file: Option<PathBuf>,
    /// One token per slot, in the order of the file.
    pub tokens: Vec<TokenConfig>,
    /// Where the log goes.
    pub log: LogConfig,
    /// What the log should warn of: files that were passed over, settings that are allowed but unwise.
    pub notes: Vec<String>,
}

/// One `[[token]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The token's label, 1 to 32 bytes of UTF-8; also the name of its default store file.
    pub label: String,
    /// How its keys are wrapped.
    pub kms: KmsConfig,
    /// Where its records are.
    pub store: StoreLocation,
    /// Whether `C_InitToken` makes a token with PINs.
    pub login: LoginMode,
    /// Whether `C_GenerateKeyPair` sees the private key.
    pub generate: GenerateMode,
    /// How long unwrapped keys are kept.
    pub cache: CacheConfig,
    /// How many wrong PINs lock a PIN; 0 never locks.
    pub max_pin_attempts: u32,
    /// What guessing a PIN costs that is set from now on.
    pub pin_hash: PinHash,
}

/// How many wrong PINs lock a PIN unless the configuration says otherwise. OpenSSH alone tries one PIN five times
/// in a run.
pub const DEFAULT_MAX_PIN_ATTEMPTS: u32 = 10;

/// `login = "pin"` or `"none"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoginMode {
    /// Users log in with a PIN, which opens the token key.
    #[default]
    Pin,
    /// IAM alone decides; `C_Login` is accepted and ignored.
    None,
}

/// `generate = "with-plaintext"` or `"without-plaintext"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GenerateMode {
    /// `GenerateDataKeyPair`: the new key can be used at once, without another call.
    #[default]
    WithPlaintext,
    /// `GenerateDataKeyPairWithoutPlaintext`: the private key is never in this process.
    WithoutPlaintext,
}

/// `pin_hash = { … }`: Argon2id for PINs that are set from now on. Those that are set keep what they were set with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinHash {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Default for PinHash {
    /// 19 MiB, 2 passes, which OWASP recommends (RFC 9106 names more).
    ///
    /// A PIN guards a store whose keys only KMS can open, so it need not withstand a farm alone; but every login
    /// pays, and so does every process of a pre-forking server.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

impl PinHash {
    /// The least memory in KiB that a configuration may ask for.
    pub const LEAST_MEMORY_KIB: u32 = 1024;
    /// The most, also for a record of the store: it is data, and must not exhaust the host.
    pub const MOST_MEMORY_KIB: u32 = 256 * 1024;
    /// The most passes, likewise: a login must end.
    pub const MOST_PASSES: u32 = 10;
    /// Memory times passes, in KiB, of the cheapest setting that OWASP recommends: 7 MiB, 5 passes.
    const OWASP: u32 = 35 * 1024;

    /// Whether all settings that OWASP recommends cost more.
    pub fn is_cheap(self) -> bool {
        self.memory_kib.saturating_mul(self.passes) < Self::OWASP
    }
}

/// `cache = { … }`: unwrapped keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How long after its unwrap a key may be used; zero means an unwrap for each use.
    pub max_age: Duration,
    /// How much longer it may be used while KMS does not answer; zero means not at all.
    pub max_stale: Duration,
    /// How often a key may be used after one unwrap.
    pub max_uses: u64,
    /// How many keys are kept; the least recently used one goes first.
    pub max_keys: usize,
    /// How old what the store said of an object or of the token may be when it is used; zero means that it is asked
    /// for each use.
    pub max_object_age: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            max_stale: Duration::ZERO,
            max_uses: 100_000,
            max_keys: 1000,
            max_object_age: Duration::from_secs(1),
        }
    }
}

/// `store = "…"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// `sqlite:PATH`, an absolute path.
    Sqlite(PathBuf),
    /// `postgres://USER@HOST/DATABASE`.
    Postgres(Box<PostgresConfig>),
    /// `dynamodb:TABLE`.
    DynamoDb(Box<DynamoDbConfig>),
}

impl StoreLocation {
    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) | Self::DynamoDb(_) => None,
        }
    }
}

impl fmt::Display for StoreLocation {
    /// As people know it; without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(config) => config.fmt(f),
            Self::DynamoDb(config) => config.fmt(f),
        }
    }
}

/// A table of DynamoDB, and the token in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDbConfig {
    /// The table.
    pub table: String,
    /// The token's name in the table.
    pub token: String,
    /// An endpoint instead of the Region's own.
    pub endpoint_url: Option<String>,
    /// Region, credentials, proxy, root certificates and deadlines: those of the token's KMS, but for the Region if the
    /// table is in another.
    pub access: KmsConfig,
}

impl fmt::Display for DynamoDbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dynamodb:{}/{}", self.table, self.token)?;
        let at = self.endpoint_url.as_ref().or(self.access.region.as_ref());
        at.map_or(Ok(()), |at| write!(f, " ({at})"))
    }
}

/// A database of PostgreSQL, and the token in it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// Tried one after the other; each with its port.
    pub hosts: Vec<(PostgresHost, u16)>,
    /// Who asks.
    pub user: String,
    /// By what he is known, if the URL says it.
    pub password: Option<Zeroizing<String>>,
    /// The database.
    pub database: String,
    /// The token's name in the database.
    pub token: String,
    /// How the server is known; `None` is no TLS.
    pub tls: Option<PostgresTls>,
    /// Whether only a server will do that can be written to.
    pub needs_writable: bool,
    /// A file of passwords, as `pg_hba.conf`'s neighbour `.pgpass` has them.
    pub pass_file: Option<PathBuf>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Option<Duration>,
    /// What the server calls this client.
    pub application_name: String,
    /// Settings for the server, such as `-c search_path=datakey`.
    pub options: Option<String>,
}

/// Where a server of PostgreSQL listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresHost {
    /// At a name or an address.
    Name(String),
    /// On a socket in this directory.
    Directory(PathBuf),
}

/// How the two sides of a TLS connection know each other: the server by certificate and name, always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTls {
    /// A PEM file of root certificates instead of the system's.
    pub roots: Option<PathBuf>,
    /// PEM files of this client's own certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl fmt::Display for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match host {
                PostgresHost::Name(name) if name.contains(':') => write!(f, "{comma}[{name}]:{port}")?,
                PostgresHost::Name(name) => write!(f, "{comma}{name}:{port}")?,
                PostgresHost::Directory(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{} (token {:?})", self.database, self.token)
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("password", &self.password.is_some())
            .field("database", &self.database)
            .field("token", &self.token)
            .field("tls", &self.tls)
            .field("needs_writable", &self.needs_writable)
            .field("pass_file", &self.pass_file)
            .field("connect_timeout", &self.connect_timeout)
            .field("application_name", &self.application_name)
            .field("options", &self.options)
            .finish()
    }
}

/// How to reach KMS for one token.
///
/// Its `Debug` leaves out what may be a credential: a proxy's password, grant tokens, the external id.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KmsConfig {
    /// AWS, or the embedded stand-in.
    pub backend: KmsBackend,
    /// The wrapping key: key id, ARN, alias or alias ARN.
    pub key_id: String,
    /// KMS keys that sealed keys before, by key id or ARN: they still open what they sealed, and seal nothing.
    pub former_key_ids: Vec<String>,
    /// Further KMS keys that seal every key as well, each by its ARN and with how to reach it, in the order in which they
    /// are asked where the wrapping key cannot be had. They have neither further nor former keys of their own.
    pub additional: Vec<KmsConfig>,
    /// The user's own pairs, added to every encryption context.
    pub encryption_context: BTreeMap<String, String>,
    /// Grant tokens, sent with every call; at most 10.
    pub grant_tokens: Vec<String>,
    /// The Region; `None` leaves it to the AWS chain (environment, profile, IMDS).
    pub region: Option<String>,
    /// The profile of the AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume, by ARN.
    pub role_arn: Option<String>,
    /// The session name for the role.
    pub role_session_name: Option<String>,
    /// The external id for the role.
    pub external_id: Option<String>,
    /// An endpoint instead of the Region's own: a VPC endpoint or an emulator.
    pub endpoint_url: Option<String>,
    /// Use the Region's FIPS endpoint.
    pub fips: bool,
    /// Use the Region's dual-stack endpoint.
    pub dual_stack: bool,
    /// An HTTP proxy, as a URL. `None` honours `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    pub proxy: Option<String>,
    /// A PEM file of root certificates instead of the system's. `None` honours `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Whether KMS is to encrypt what it answers for this enclave alone. Never there in a build without the feature
    /// `nitro-enclaves`.
    pub attestation: Option<Attestation>,
}

impl fmt::Debug for KmsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsConfig")
            .field("backend", &self.backend)
            .field("key_id", &self.key_id)
            .field("former_key_ids", &self.former_key_ids)
            .field("additional", &self.additional)
            .field("encryption_context", &self.encryption_context)
            .field("grant_tokens", &self.grant_tokens.len())
            .field("region", &self.region)
            .field("profile", &self.profile)
            .field("role_arn", &self.role_arn)
            .field("role_session_name", &self.role_session_name)
            .field("external_id", &self.external_id.is_some())
            .field("endpoint_url", &self.endpoint_url)
            .field("fips", &self.fips)
            .field("dual_stack", &self.dual_stack)
            .field("proxy", &self.proxy.is_some())
            .field("ca_bundle", &self.ca_bundle)
            .field("timeouts", &self.timeouts)
            .field("attestation", &self.attestation)
            .finish()
    }
}

impl KmsConfig {
    /// Itself, and each of the additional ones.
    pub fn places(&self) -> impl Iterator<Item = &KmsConfig> {
        std::iter::once(self).chain(&self.additional)
    }

    /// Whether both are asked at one place by one caller, so that `ReEncrypt` leads from a key of the one to a key of the
    /// other.
    pub fn is_beside(&self, other: &Self) -> bool {
        let same_backend = self.backend == other.backend;
        let same_region = match &self.backend {
            KmsBackend::Aws => self.region.is_some() && self.region == other.region,
            KmsBackend::Embedded(_) => true,
        };
        let caller = |kms: &Self| {
            let KmsConfig { profile, role_arn, role_session_name, external_id, .. } = kms.clone();
            (profile, role_arn, role_session_name, external_id)
        };
        let way = |kms: &Self| {
            let KmsConfig { endpoint_url, fips, dual_stack, proxy, ca_bundle, .. } = kms.clone();
            (endpoint_url, fips, dual_stack, proxy, ca_bundle)
        };
        same_backend && same_region && caller(self) == caller(other) && way(self) == way(other)
    }
}

/// Where KMS is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KmsBackend {
    /// AWS, or whatever answers at `endpoint_url`.
    #[default]
    Aws,
    /// The embedded KMS, with its keys in this file. For trying out and for tests.
    Embedded(PathBuf),
}

/// `attestation = "nitro"`: what proves to KMS where this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attestation {
    /// The Nitro Security Module behind this device; a Unix socket in its place is a stand-in for tests.
    Nitro(PathBuf),
}

impl Attestation {
    /// Where an enclave has its Nitro Security Module.
    pub const NITRO_DEVICE: &str = "/dev/nsm";
}

/// Deadlines of KMS calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt.
    pub attempt: Duration,
    /// A call with all its retries.
    pub total: Duration,
    /// One attempt to generate.
    pub generate_attempt: Duration,
    /// Generation with all its retries: RSA_4096 is limited to one a second per account.
    pub generate_total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(2),
            total: Duration::from_secs(10),
            generate_attempt: Duration::from_secs(5),
            generate_total: Duration::from_secs(60),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// Where it is written.
    pub target: LogTarget,
    /// A file for the audit line of each private-key use.
    pub audit: Option<PathBuf>,
    /// A file for what the tokens have done, in numbers; `{pid}` in it stands for the process id.
    pub metrics: Option<PathBuf>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// And what is odd.
    #[default]
    Warn,
    /// And what happened.
    Info,
    /// And every call with its result.
    Debug,
    /// And every call's arguments, without secrets.
    Trace,
}

/// Where the log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error.
    #[default]
    Stderr,
    /// Appended to a file.
    File(PathBuf),
    /// `syslog(3)`, which journald also reads.
    Syslog,
}
