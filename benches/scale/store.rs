//! Where the token that is measured lies.

use crate::emulators::Emulator;
use crate::postgres::Server;
use std::path::Path;

/// A place for a token, and the server that it needs: it stops with this.
pub(crate) struct Place {
    /// As the configuration names it.
    pub(crate) url: String,
    _server: Option<Box<dyn std::any::Any>>,
}

impl Place {
    /// By what `--store` says: a file in this folder if nothing, a server that is started here, or a URL.
    pub(crate) fn of(store: Option<&str>, folder: &Path) -> Self {
        match store {
            None => Self { url: format!("sqlite:{}", folder.join("token.db").display()), _server: None },
            Some("postgres") => Self::postgres(),
            Some("dynamodb") => Self::dynamodb(),
            Some(url) => Self { url: url.to_owned(), _server: None },
        }
    }

    /// A server with durable commits, over a socket.
    fn postgres() -> Self {
        let server = Server::durable();
        let (database, folder, port) = (server.database(), server.folder.display(), server.port);
        let url = format!("postgres://dk@/{database}?host={folder}&port={port}&sslmode=disable");
        Self { url, _server: Some(Box::new(server)) }
    }

    /// An emulator, which keeps everything in memory.
    fn dynamodb() -> Self {
        let emulator = Emulator::ministack();
        let url = format!("dynamodb:scale/test?region=us-east-1&endpoint_url={}", emulator.url());
        // SAFETY: this process has one thread yet.
        unsafe {
            std::env::set_var("AWS_ACCESS_KEY_ID", "test");
            std::env::set_var("AWS_SECRET_ACCESS_KEY", "test");
        }
        Self { url, _server: Some(Box::new(emulator)) }
    }
}
