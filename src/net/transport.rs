//! The HTTP client under the SDK: hyper, rustls and AWS-LC, with our resolver, proxy and root certificates.
//!
//! The SDK's ready-made client takes neither a proxy nor `AWS_CA_BUNDLE`, cannot drop its connections, and
//! reads answers of any length. Connections are made when a request needs one: the root certificates are
//! not loaded for an endpoint without TLS.

use super::dns::Resolver;
use super::text::chain;
use crate::error::{Cause, Error, Result};
use crate::host::gate;
use crate::host::lock::lock;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Limited;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime;

/// Idle connections are closed by the other side after some time; younger ones are worth a try.
const IDLE: Duration = Duration::from_secs(20);

/// Where the distributions keep the root certificates, for processes that must not believe
/// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where they keep them one by one.
const SYSTEM_ROOT_FOLDERS: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Which certificates are believed.
#[derive(Clone, Debug)]
pub enum Roots {
    /// None: no certificate is believed.
    None,
    /// The system's, as `SSL_CERT_FILE` and `SSL_CERT_DIR` may say.
    Native,
    /// Those of one PEM file, already read.
    Pem(Vec<u8>),
}

impl Roots {
    /// Reads a bundle, so that a mistake shows as an error of the set-up and not later: the SDK panics on a
    /// certificate that rustls cannot use as a root. Such ones are left out, as rustls does with the
    /// system's own; old bundles have them.
    pub fn bundle(path: &Path) -> Result<Self> {
        let pem = std::fs::read(path)
            .map_err(|error| Cause::KmsSetup.with(format!("ca_bundle {} cannot be read: {error}", path.display())))?;
        let text = String::from_utf8_lossy(&pem);
        let mut roots = RootCertStore::empty();
        let mut usable = String::new();
        for block in text.split(BEGIN).skip(1) {
            let body: String = block.split(END).next().unwrap_or_default().split_ascii_whitespace().collect();
            let accepted = STANDARD.decode(&body).is_ok_and(|der| roots.add(der.into()).is_ok());
            if !accepted {
                tracing::debug!("a certificate in {} cannot be used as a root", path.display());
                continue;
            }
            // Some readers of PEM want short lines.
            let lines = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
            usable.push_str(&format!("{BEGIN}\n{}\n{END}\n", lines.collect::<Vec<_>>().join("\n")));
        }
        if roots.is_empty() {
            return Err(Cause::KmsSetup.with(format!("ca_bundle {} holds no usable PEM certificate", path.display())));
        }
        Ok(Self::Pem(usable.into_bytes()))
    }

    /// The system's, where there are any. The SDK looks for them once in a process and goes on without any if
    /// it finds none: not in a root directory that lacks them, or before they are installed.
    pub fn native() -> Result<Self> {
        let named = |name| std::env::var_os(name).is_some_and(|path: OsString| Path::new(&path).exists());
        let is_there = |path: &&str| Path::new(path).exists();
        let holds_any = |path: &&str| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        let found = named("SSL_CERT_FILE")
            || named("SSL_CERT_DIR")
            || SYSTEM_ROOTS.iter().any(is_there)
            || SYSTEM_ROOT_FOLDERS.iter().any(holds_any);
        if found { Ok(Self::Native) } else { Err(no_roots()) }
    }

    /// The system's bundle, whatever the environment says.
    pub fn system() -> Result<Self> {
        system_roots().map_or_else(|| Err(no_roots()), Self::bundle)
    }

    /// What TLS needs to believe these and no others.
    fn context(&self) -> Result<TlsContext> {
        let store = match self {
            Self::None => TrustStore::empty(),
            Self::Native => TrustStore::default(),
            Self::Pem(pem) => TrustStore::empty().with_pem_certificate(pem.as_slice()),
        };
        let context = TlsContext::builder().with_trust_store(store).build();
        context.map_err(|error| Cause::KmsSetup.with(format!("no TLS: {}", chain(&error))))
    }
}

/// The system's bundle of root certificates, whatever the environment says.
pub fn system_roots() -> Option<&'static Path> {
    SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists())
}

fn no_roots() -> Error {
    Cause::KmsSetup.with("no root certificates found; set ca_bundle")
}

/// An HTTP client for the SDK. Clones share connections.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Inner>);

struct Inner {
    resolver: Resolver,
    proxy: ProxyConfig,
    /// Whether requests without TLS go to the proxy too. Those for credentials must not: they go to a
    /// link-local address that only this machine can reach.
    proxy_plain: bool,
    /// The longest answer that is read.
    longest: usize,
    /// Made beforehand: without one the SDK's client takes the system's roots.
    tls: TlsContext,
    /// For connections without TLS, so that no roots are loaded for them.
    no_tls: TlsContext,
    pools: Mutex<Vec<(Route, SharedHttpConnector)>>,
}

impl std::fmt::Debug for Inner {
    /// Says nothing: a proxy's URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// What two requests must have in common to share connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    /// A connection lives in the runtime that it was made in and dies with it.
    runtime: Option<runtime::Id>,
    tls: bool,
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl Transport {
    /// Reads and connects to nothing yet.
    ///
    /// # Errors
    /// `KmsSetup` if no TLS with these roots can be had.
    pub fn new(
        resolver: Resolver,
        proxy: ProxyConfig,
        proxy_plain: bool,
        roots: Roots,
        longest: usize,
    ) -> Result<Self> {
        let (tls, no_tls) = (roots.context()?, Roots::None.context()?);
        Ok(Self(Arc::new(Inner { resolver, proxy, proxy_plain, longest, tls, no_tls, pools: Mutex::new(Vec::new()) })))
    }

    /// Lets go of all connections. Those in use end with their calls.
    pub fn forget(&self) {
        lock(&self.0.pools).clear();
    }

    fn pool(&self, route: Route) -> SharedHttpConnector {
        let mut pools = lock(&self.0.pools);
        if let Some((_, pool)) = pools.iter().find(|(known, _)| *known == route) {
            return pool.clone();
        }
        let pool = self.0.connect(route);
        // What is left of runtimes before this one is of no more use.
        pools.retain(|(known, _)| known.runtime == route.runtime);
        pools.push((route, pool.clone()));
        pool
    }
}

impl Inner {
    fn connect(&self, route: Route) -> SharedHttpConnector {
        let settings = HttpConnectorSettings::builder();
        let settings = match route.connect {
            Some(limit) => settings.connect_timeout(limit),
            None => settings,
        };
        let settings = match route.read {
            Some(limit) => settings.read_timeout(limit),
            None => settings,
        };
        let builder: ConnectorBuilder = Connector::builder();
        let builder = builder
            .connector_settings(settings.build())
            .pool_idle_timeout(IDLE)
            .tls_provider(Provider::rustls(CryptoMode::AwsLc))
            .tls_context(if route.tls { self.tls.clone() } else { self.no_tls.clone() });
        let proxy = if route.tls || self.proxy_plain { self.proxy.clone() } else { ProxyConfig::disabled() };
        SharedHttpConnector::new(builder.proxy_config(proxy).build_with_resolver(self.resolver))
    }
}

/// Does [`make_one`] once in a process for each of the two, where no fork can cut it in half.
///
/// # Errors
/// `KmsSetup`; `ForkedWhileBusy` where a fork caught it half made.
pub fn prepare(tls: bool, native_roots: bool) -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    static TLS_DONE: AtomicBool = AtomicBool::new(false);
    static ROOTS_DONE: AtomicBool = AtomicBool::new(false);
    static ALONE: Mutex<()> = Mutex::new(());
    let done = |wanted: bool, flag: &AtomicBool| !wanted || flag.load(Ordering::Acquire);
    let is_done = || done(true, &DONE) && done(tls, &TLS_DONE) && done(native_roots, &ROOTS_DONE);
    if is_done() {
        return Ok(());
    }
    // Whatever was being made at that fork will never be finished here.
    if gate::was_dirty() {
        return Err(Cause::ForkedWhileBusy.into());
    }
    gate::inside(|| {
        let _alone = lock(&ALONE);
        if !is_done() {
            make_one(tls, native_roots)?;
            DONE.store(true, Ordering::Release);
            TLS_DONE.fetch_or(tls, Ordering::AcqRel);
            ROOTS_DONE.fetch_or(native_roots, Ordering::AcqRel);
        }
        Ok(())
    })
}

/// Makes a connector and drops it: with the first of them come things of the whole process. With `tls` what the
/// first handshake sets up, with `native_roots` the system's root certificates.
fn make_one(tls: bool, native_roots: bool) -> Result<()> {
    let context = if native_roots { Roots::native()? } else { Roots::None }.context()?;
    let builder: ConnectorBuilder = Connector::builder();
    drop(builder.tls_provider(Provider::rustls(CryptoMode::AwsLc)).tls_context(context).build());
    if tls {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let refused = |error: rustls::Error| Cause::KmsSetup.with(format!("no TLS: {error}"));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let nobody = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        drop(ClientConnection::new(Arc::new(config), nobody).map_err(refused)?);
    }
    Ok(())
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Attempt {
            transport: self.clone(),
            connect: settings.connect_timeout(),
            read: settings.read_timeout(),
        })
    }
}

#[derive(Debug)]
struct Attempt {
    transport: Transport,
    connect: Option<Duration>,
    read: Option<Duration>,
}

impl HttpConnector for Attempt {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let route = Route {
            runtime: runtime::Handle::try_current().ok().map(|handle| handle.id()),
            tls: request.uri().starts_with("https:"),
            connect: self.connect,
            read: self.read,
        };
        let longest = self.transport.0.longest;
        let answer = self.transport.pool(route).call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, longest))))
        })
    }
}
