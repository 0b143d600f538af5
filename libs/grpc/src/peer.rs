use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// Who is at the other end of a connection, by its certificate. It is read once a connection and
/// put into the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer(Arc<str>);

/// What the certificates of our services say before the service's name.
const TRUST_DOMAIN: &str = "spiffe://wanwu/";

/// The service that the users' calls come through.
const EDGE: &str = "edge";

impl Peer {
    /// A peer of this name; for tests, everybody else reads certificates.
    #[must_use]
    pub fn new(service: &str) -> Self {
        Self(service.into())
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.0
    }

    /// The service's name, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The peer is the edge: the only one that may speak for somebody else.
    #[must_use]
    pub fn is_edge(&self) -> bool {
        &*self.0 == EDGE
    }

    /// The name in a verified certificate: its only URI `spiffe://wanwu/<service>`.
    #[must_use]
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut uris = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        // Two identities are none: which one would be meant?
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return None;
        };
        let service = uri.strip_prefix(TRUST_DOMAIN)?;
        let sound = !service.is_empty()
            && service.len() <= 63
            && service
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        sound.then(|| Self(service.into()))
    }
}
