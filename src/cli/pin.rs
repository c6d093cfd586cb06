//! Where PINs come from: a file, the environment, or a prompt that shows nothing. Never an argument, which everybody
//! on the machine can read.

use super::input;
use super::output::Failure;
use crate::crypto::Secret;
use crate::token::User;
use std::path::{Path, PathBuf};

/// Where the user's PIN comes from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct UserPin {
    /// A file whose first line is the user's PIN (default: $DATAKEY_PKCS11_PIN, else it is asked for)
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

/// Where the security officer's PIN comes from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct OfficerPin {
    /// A file whose first line is the SO PIN (default: $DATAKEY_PKCS11_SO_PIN, else it is asked for)
    #[arg(long, value_name = "FILE")]
    so_pin_file: Option<PathBuf>,
}

/// Where the passphrase of a file comes from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Passphrase {
    /// A file whose first line is the passphrase of what is read (default: $DATAKEY_PKCS11_PASSPHRASE, else it is asked for)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Where the PIN of another token comes from.
#[derive(Debug, Default, clap::Args)]
pub(super) struct OtherPin {
    /// A file whose first line is the user's PIN of that token (default: $DATAKEY_PKCS11_FROM_PIN, else it is asked for)
    #[arg(long, value_name = "FILE")]
    from_pin_file: Option<PathBuf>,
}

/// The words of each secret that is typed.
struct Words {
    option: &'static str,
    variable: &'static str,
    prompt: &'static str,
}

const PASSPHRASE: Words =
    Words { option: "--passphrase-file", variable: "DATAKEY_PKCS11_PASSPHRASE", prompt: "Passphrase" };
const OTHER_PIN: Words =
    Words { option: "--from-pin-file", variable: "DATAKEY_PKCS11_FROM_PIN", prompt: "User PIN of the other token" };

fn words(user: User) -> Words {
    match user {
        User::User => Words { option: "--pin-file", variable: "DATAKEY_PKCS11_PIN", prompt: "User PIN" },
        User::So => Words { option: "--so-pin-file", variable: "DATAKEY_PKCS11_SO_PIN", prompt: "SO PIN" },
    }
}

impl UserPin {
    /// The PIN of a token that has one.
    pub(super) fn get(&self) -> Result<Secret, Failure> {
        typed(&words(User::User), None, self.pin_file.as_deref(), false)
    }

    /// A PIN that is to be set: asked for twice.
    pub(super) fn get_new(&self) -> Result<Secret, Failure> {
        typed(&words(User::User), None, self.pin_file.as_deref(), true)
    }
}

impl OfficerPin {
    /// The PIN; asked for twice if it is to be set.
    pub(super) fn get(&self, new: bool) -> Result<Secret, Failure> {
        typed(&words(User::So), None, self.so_pin_file.as_deref(), new)
    }
}

impl Passphrase {
    /// The passphrase of one file.
    pub(super) fn of(&self, path: &Path) -> Result<Secret, Failure> {
        typed(&PASSPHRASE, Some(path), self.passphrase_file.as_deref(), false)
    }
}

impl OtherPin {
    pub(super) fn get(&self) -> Result<Secret, Failure> {
        typed(&OTHER_PIN, None, self.from_pin_file.as_deref(), false)
    }
}

/// A secret from its file, the environment or a prompt, which names what it is `about`.
fn typed(words: &Words, about: Option<&Path>, file: Option<&Path>, new: bool) -> Result<Secret, Failure> {
    let Words { option, variable, prompt } = words;
    let about = about.map_or_else(String::new, |path| format!(" of {}", path.display()));
    if let Some(path) = file {
        return first_line(path);
    }
    if let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        return Ok(Secret::new(value.into_encoded_bytes()));
    }
    let ask = |question: String| {
        rpassword::prompt_password(question).map(|typed| Secret::new(typed.into_bytes())).map_err(|error| {
            Failure::new(format!("no terminal to ask for the {prompt} ({error}); give {option} or {variable}"))
        })
    };
    let typed = ask(format!("{prompt}{about}: "))?;
    if new && ask(format!("{prompt}, once more: "))?.expose() != typed.expose() {
        return Err(Failure::new("the two PINs differ"));
    }
    Ok(typed)
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> Result<Secret, Failure> {
    let mut pin = input::read(path)?;
    let end = pin.expose().iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(pin.len());
    pin.truncate(end);
    match pin.is_empty() {
        true => Err(Failure::new(format!("{}: its first line is empty", path.display()))),
        false => Ok(pin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        for (text, expected) in
            [("1234", Some("1234")), ("12 34\n", Some("12 34")), ("1\r\n2", Some("1")), ("\n1", None), ("", None)]
        {
            std::fs::write(&file, text).unwrap();
            let found = first_line(&file).ok().map(|pin| pin.expose().to_vec());
            assert_eq!(found, expected.map(|text| text.as_bytes().to_vec()), "{text:?}");
        }
        assert!(first_line(&folder.path().join("none")).is_err());
    }
}
