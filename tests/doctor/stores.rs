//! Stores behind a network that are broken, and what is to be found.

use crate::cases::{Broken, Case};
use crate::tool::{Setup, answering, nobody};

/// A token on the embedded KMS in this store.
fn stored(store: &str) -> Broken {
    let setup = Setup::empty().with("AWS_ACCESS_KEY_ID", "ASIATEST").with("AWS_SECRET_ACCESS_KEY", "test");
    let keys = setup.path("kms.json");
    let text = format!("[[token]]\nlabel = \"test\"\nkms = \"embedded:{}\"\nstore = \"{store}\"\n", keys.display());
    setup.written(&text).into()
}

/// What answers as DynamoDB, with an error.
fn refused(code: &str) -> Broken {
    let url = answering(400, "", &format!("{{\"__type\":\"x#{code}\",\"message\":\"said by the test\"}}"));
    stored(&format!("dynamodb:keys?region=eu-west-1&endpoint_url={url}"))
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "no server of PostgreSQL",
        make: || stored(&format!("postgres://u@{}/keys?sslmode=disable", nobody().trim_start_matches("http://"))),
        level: "error",
        check: "store",
        what: "cannot be reached",
        advice: "check that it runs",
    },
    Case {
        name: "a root certificate that is not there",
        make: || stored("postgres://u@localhost/keys?sslrootcert=/nonexistent/ca.pem"),
        level: "error",
        check: "store",
        what: "/nonexistent/ca.pem",
        advice: "correct the store's settings",
    },
    Case {
        name: "a table that the role may not read",
        make: || refused("AccessDeniedException"),
        level: "error",
        check: "store",
        what: "said by the test",
        advice: "what they must be allowed",
    },
    Case {
        name: "no table",
        make: || refused("ResourceNotFoundException"),
        level: "warning",
        check: "store",
        what: "dynamodb:keys/test",
        advice: "datakey-pkcs11 token init",
    },
    Case {
        name: "a password for everybody to read",
        make: || stored("postgres://u:secret@127.0.0.1/keys?sslrootcert=/nonexistent/ca.pem"),
        level: "warning",
        check: "configuration",
        what: "holds a password",
        advice: "",
    },
];
