//! What certificates and requests say.

use super::super::output::Failure;
use super::encoding;
use crate::crypto::KeyKind;
use spki::SubjectPublicKeyInfoRef;
use std::net::IpAddr;
use std::str::FromStr;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::Ia5String;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;

/// What a certificate is to say.
#[derive(Debug, clap::Args)]
pub(super) struct Contents {
    /// The subject, most particular part first, as in "CN=www.example.com,O=Example,C=DE" (RFC 4514)
    #[arg(long, value_name = "NAME", value_parser = subject)]
    subject: Name,
    /// Another name: dns:HOST, ip:ADDRESS, email:ADDRESS or uri:URI; may be given several times
    #[arg(long = "san", value_name = "KIND:NAME", value_parser = alternative)]
    alternatives: Vec<GeneralName>,
    /// The key is to sign certificates
    #[arg(long)]
    ca: bool,
}

fn subject(text: &str) -> Result<Name, String> {
    Name::from_str(text).map_err(|error| format!("{error}; a name is written CN=www.example.com,O=Example"))
}

fn alternative(text: &str) -> Result<GeneralName, String> {
    let (kind, name) =
        text.split_once(':').ok_or("another name is written dns:HOST, ip:ADDRESS, email:ADDRESS or uri:URI")?;
    let ascii = || match name.is_empty() {
        true => Err("the name is empty".to_owned()),
        false => Ia5String::new(name).map_err(|_| format!("{name:?} is not ASCII; write a host name in its xn-- form")),
    };
    Ok(match kind {
        "dns" => GeneralName::DnsName(ascii()?),
        "email" => GeneralName::Rfc822Name(ascii()?),
        "uri" => GeneralName::UniformResourceIdentifier(ascii()?),
        "ip" => name.parse::<IpAddr>().map_err(|error| format!("{name:?}: {error}"))?.into(),
        _ => return Err(format!("{kind:?} is none of dns, ip, email, uri")),
    })
}

impl Contents {
    pub(super) fn profile(&self) -> Profile {
        Profile { subject: self.subject.clone(), alternatives: self.alternatives.clone(), ca: self.ca, kind: None }
    }
}

/// What a certificate says, for its builder.
pub(super) struct Profile {
    pub(super) subject: Name,
    alternatives: Vec<GeneralName>,
    ca: bool,
    /// The kind of key, once it is known.
    pub(super) kind: Option<KeyKind>,
}

/// An extension that is made already.
pub(super) struct Made(pub(super) Extension);

impl ToExtension for Made {
    type Error = der::Error;

    fn to_extension(self, _: &Name, _: &[Extension]) -> Result<Extension, der::Error> {
        Ok(self.0)
    }
}

impl Profile {
    /// The extensions of a request with a key of this kind.
    pub(super) fn requested(&self, kind: KeyKind) -> Result<Vec<Extension>, Failure> {
        self.extensions(Some(kind)).map_err(encoding)
    }

    fn extensions(&self, kind: Option<KeyKind>) -> der::Result<Vec<Extension>> {
        let usage = match (self.ca, kind) {
            (true, _) => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            // TLS 1.2 and older have RSA keys decrypt.
            (false, Some(KeyKind::Rsa { .. })) => KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
            (false, _) => KeyUsages::DigitalSignature.into(),
        };
        let mut extensions = Vec::new();
        let mut add = |extension: der::Result<Extension>| extension.map(|extension| extensions.push(extension));
        add((&BasicConstraints { ca: self.ca, path_len_constraint: None }).to_extension(&self.subject, &[]))?;
        add((&KeyUsage(usage)).to_extension(&self.subject, &[]))?;
        if !self.alternatives.is_empty() {
            add((&SubjectAltName(self.alternatives.clone())).to_extension(&self.subject, &[]))?;
        }
        Ok(extensions)
    }
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        spki: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let mut extensions = self.extensions(self.kind)?;
        extensions.push((&SubjectKeyIdentifier::try_from(spki)?).to_extension(&self.subject, &[])?);
        Ok(extensions)
    }
}
