//! TLS to a server of PostgreSQL: rustls on AWS-LC, the server known by certificate and name.

use crate::config::PostgresTls;
use crate::error::{Cause, Error, Result};
use crate::host::gate;
use crate::net::system_roots;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::client;
use tokio_rustls::{Connect, TlsConnector};

/// Makes TLS connections. Clones share what they believe.
#[derive(Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// `StoreSetup`, `ForkedWhileBusy`.
    pub(super) fn new(tls: &PostgresTls, secure_mode: bool) -> Result<Self> {
        // With the first one come things of the whole process, which a fork must not catch half made.
        if gate::was_dirty() {
            return Err(Cause::ForkedWhileBusy.into());
        }
        let roots = roots(tls.roots.as_deref(), secure_mode)?;
        gate::inside(|| {
            let refused = |error: rustls::Error| Cause::StoreSetup.with(format!("no TLS: {error}"));
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(refused)?
                .with_root_certificates(roots);
            let config = match &tls.identity {
                None => builder.with_no_client_auth(),
                Some((certificate, key)) => {
                    let chain = certificates(certificate)?;
                    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
                    builder.with_client_auth_cert(chain, key).map_err(refused)?
                }
            };
            let config = Arc::new(config);
            let nobody = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
            drop(ClientConnection::new(Arc::clone(&config), nobody).map_err(refused)?);
            Ok(Self(config))
        })
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Cause::StoreSetup.with(format!("{}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    found.map_err(|error| unreadable(path, &error))
}

fn roots(bundle: Option<&Path>, secure_mode: bool) -> Result<RootCertStore> {
    let found = match bundle {
        Some(path) => certificates(path)?,
        None if secure_mode => system_roots().map_or(Ok(Vec::new()), certificates)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    // Old and odd certificates are in every bundle.
    roots.add_parsable_certificates(found);
    match roots.is_empty() {
        false => Ok(roots),
        true => Err(Cause::StoreSetup.with(match bundle {
            Some(path) => format!("sslrootcert {} holds no usable PEM certificate", path.display()),
            None => "no root certificates found; set sslrootcert".to_owned(),
        })),
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = To;
    type Error = io::Error;

    fn make_tls_connect(&mut self, name: &str) -> io::Result<To> {
        let name = ServerName::try_from(name.to_owned());
        let name = name.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the host's name is none for TLS"))?;
        Ok(To { connector: TlsConnector::from(Arc::clone(&self.0)), name })
    }
}

/// A connection to be made.
pub(super) struct To {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for To {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Connecting;

    fn connect(self, socket: Socket) -> Connecting {
        Connecting(self.connector.connect(self.name, socket))
    }
}

/// A handshake.
pub(super) struct Connecting(Connect<Socket>);

impl Future for Connecting {
    type Output = io::Result<Stream>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_ok(Stream)
    }
}

/// What the protocol is spoken over.
pub(super) struct Stream(client::TlsStream<Socket>);

impl TlsStream for Stream {
    /// None: the server's certificate and name were checked, which is what the binding would stand in for.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
