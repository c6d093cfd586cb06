//! `datakey-pkcs11 embedded-kms`: the embedded KMS on a loopback port.

use super::output::{Answer, Failure};
use crate::kms::embedded;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serve the embedded KMS on a loopback port, for trying out and for tests. Not for production.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Address and port to listen on; port 0 takes any free one. Loopback addresses only.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file with its keys; made with one key if it is not there.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Let clients read call counts and order faults under /_embedded/.
    #[arg(long)]
    control: bool,
}

/// Listens until the process is ended. The first line on standard output is the URL.
pub(super) fn serve(arguments: &Arguments) -> Result<Answer, Failure> {
    let address = arguments.listen;
    // Requests are not authenticated: whoever can connect can decrypt.
    if !address.ip().is_loopback() {
        let why = "is no loopback address; the embedded KMS does not authenticate its callers";
        return Err(Failure::new(format!("{address} {why}")));
    }
    let server = embedded::serve(address, &arguments.keys, arguments.control)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.url()).and_then(|()| out.flush()).map_err(|error| format!("cannot write: {error}"))?;
    server.wait();
    Ok(Answer::new("", serde_json::Value::Null))
}
