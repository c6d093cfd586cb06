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

#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    pub(super) threads_allowed: bool,
}

impl ResolveDns for Resolver {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        let name = name.to_owned();
        if !self.threads_allowed {
            return DnsFuture::ready(lookup(&name).map_err(ResolveDnsError::new));
        }
        let (send, receive) = oneshot::channel();
        let spawned = signals::spawn_quiet("datakey-dns", {
            let name = name.clone();
            move || {
                // The caller may have met its deadline and gone.
                let _ = send.send(lookup(&name));
            }
        });
        match spawned {
            Ok(thread) => DnsFuture::new(async move {
                let found = receive.await;
                // It has nothing more to do: after the call it is gone, not going.
                let ended = thread.join();
                match found {
                    Ok(found) if ended.is_ok() => found.map_err(ResolveDnsError::new),
                    _ => Err(ResolveDnsError::new(format!("the lookup of {name} was broken off"))),
                }
            }),
            // No thread to be had: better a lookup without a deadline than none.
            Err(_) => DnsFuture::ready(lookup(&name).map_err(ResolveDnsError::new)),
        }
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
