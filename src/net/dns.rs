//! Name resolution without a thread pool.
//!
//! The runtime's own resolver leaves a pool thread behind for ten seconds. This one asks `getaddrinfo`
//! (so `/etc/hosts`, `nsswitch.conf` and the rest hold) in a thread that ends with the lookup, or on the
//! calling thread where the host forbids threads; then a slow resolver can outlast the deadline.

use crate::host::signals;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use tokio::sync::oneshot;

/// Asks the system for addresses.
#[derive(Clone, Copy, Debug)]
pub struct Resolver {
    /// Whether the lookup may have a thread for as long as it takes.
    pub threads_allowed: bool,
}

impl Resolver {
    /// The addresses of a name, at least one.
    pub async fn addresses(self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = name.to_owned();
        if !self.threads_allowed {
            return lookup(&name);
        }
        let (send, receive) = oneshot::channel();
        let spawned = signals::spawn_quiet("datakey-dns", {
            let name = name.clone();
            move || {
                // The caller may have met its deadline and gone.
                let _ = send.send(lookup(&name));
            }
        });
        // No thread to be had: better a lookup without a deadline than none.
        let Ok(thread) = spawned else { return lookup(&name) };
        let found = receive.await;
        // It has nothing more to do: after the call it is gone, not going.
        let ended = thread.join();
        match found {
            Ok(found) if ended.is_ok() => found,
            _ => Err(io::Error::other(format!("the lookup of {name} was broken off"))),
        }
    }
}

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let resolver = *self;
        DnsFuture::new(async move { resolver.addresses(name).await.map_err(ResolveDnsError::new) })
    }
}

fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let found: Vec<IpAddr> = (name, 0)
        .to_socket_addrs()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?
        .map(|address| address.ip())
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address")));
    }
    Ok(found)
}
