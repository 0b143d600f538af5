use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use tokio_util::sync::CancellationToken;

use crate::tls_files::{Stamp, TlsConfig};

/// Mutual TLS of a process: one certificate for what it serves and what it calls. Clones share
/// what is in force; new connections take it, old ones live on.
#[derive(Clone)]
pub struct Tls {
    files: Arc<TlsConfig>,
    current: Arc<ArcSwap<Current>>,
}

/// What new connections take.
pub(crate) struct Current {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    stamp: Stamp,
}

/// The TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be looked at.
    #[error("the files of section tls cannot be read")]
    Files(#[from] io::Error),
    /// A file is not PEM, or holds nothing of its kind.
    #[error("cannot read {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// The certificate and its key, or an authority, do not fit.
    #[error("the certificate and the key make no identity")]
    Identity(#[from] rustls::Error),
    /// The authority's file holds nothing to verify with.
    #[error("the authorities cannot verify peers")]
    Authorities(#[from] VerifierBuilderError),
}

/// How often the files are looked at.
const POLL: Duration = Duration::from_secs(1);

impl Tls {
    /// Reads the files.
    pub fn load(config: &TlsConfig) -> Result<Self, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(read(config)?));
        Ok(Self {
            files: Arc::new(config.clone()),
            current,
        })
    }

    /// Reads the files again whenever they change, until `stop`. Files that do not fit together
    /// (one written, the next not yet) are refused; the old ones stay in force until they change
    /// again.
    pub async fn reload(self, stop: CancellationToken) {
        let mut refused = None;
        while stop
            .run_until_cancelled(tokio::time::sleep(POLL))
            .await
            .is_some()
        {
            let tls = self.clone();
            let Ok(Ok(stamp)) = tokio::task::spawn_blocking(move || tls.files.stamp()).await else {
                continue;
            };
            if stamp == self.current.load().stamp || refused.as_ref() == Some(&stamp) {
                continue;
            }
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || read(&tls.files)).await {
                Ok(Ok(current)) => {
                    self.current.store(Arc::new(current));
                    refused = None;
                    tracing::info!("the certificate was read again");
                }
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the new certificate is refused; the old one stays");
                    refused = Some(stamp);
                }
                Err(_) => {}
            }
        }
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }
}

fn read(config: &TlsConfig) -> Result<Current, TlsError> {
    // The stamp comes first: what is written after it differs from it and is read again.
    let stamp = config.stamp()?;
    let mut authorities = RootCertStore::empty();
    for authority in certificates(&config.ca_file)? {
        authorities.add(authority)?;
    }
    let authorities = Arc::new(authorities);
    let chain = certificates(&config.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(|source| TlsError::Pem {
        path: config.key_file.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());

    let server = server(&provider, &authorities, chain.clone(), key.clone_key())?;
    let client = client(&provider, authorities, chain, key)?;
    Ok(Current {
        server: Arc::new(server),
        client: Arc::new(client),
        stamp,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::Pem {
            path: path.to_owned(),
            source,
        })
}

fn server(
    provider: &Arc<CryptoProvider>,
    authorities: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities), Arc::clone(provider))
            .build()?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the certificate, which may be expired or replaced by now.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

fn client(
    provider: &Arc<CryptoProvider>,
    authorities: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut client = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(authorities)
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}
