//! TLS of the listeners: a certificate that is read again when its files change.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use clap::Args;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const PAUSE: Duration = Duration::from_secs(5);

/// Settings of TLS.
#[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
#[serde(default)]
pub struct TlsConfig {
    /// The server's certificate with its chain, as PEM. It is read again when the file changes
    #[arg(long, env = "OFFLOOM_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The private key of the certificate, as PEM
    #[arg(long, env = "OFFLOOM_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One of the files is given without the other.
    #[error("tls_certificate and tls_key belong together: give both")]
    OneOfTwo,
    /// A file cannot be read, or is no PEM of what it should have.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key is not that of the certificate, or is of a kind that is not known.
    #[error("the key {} does not fit the certificate {}: {source}", key.display(), certificate.display())]
    Pair {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// The certificate of the server.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Reads the certificate; `None` where none is set.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(config: &TlsConfig) -> Result<Option<Arc<Tls>>, TlsError> {
        let files = match (&config.tls_certificate, &config.tls_key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => {
                Files { certificate: certificate.clone(), key: key.clone() }
            }
            _ => return Err(TlsError::OneOfTwo),
        };
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Some(Arc::new(Tls { files, current })))
    }

    /// What accepts connections of the protocol `alpn`.
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub fn acceptor(self: &Arc<Tls>, alpn: &[u8]) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let certificate: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = builder.with_cert_resolver(certificate);
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files again whenever they change, for ever. Files that do not fit are reported, and the
    /// certificate that was read last stays.
    pub async fn follow(self: Arc<Tls>) {
        let mut seen = self.files.changed_at();
        loop {
            tokio::time::sleep(PAUSE).await;
            let tls = Arc::clone(&self);
            let looking = tokio::task::spawn_blocking(move || tls.look(seen));
            seen = looking.await.unwrap_or(seen);
        }
    }

    /// Returns when the files were changed last.
    fn look(&self, seen: [Option<SystemTime>; 2]) -> [Option<SystemTime>; 2] {
        let now = self.files.changed_at();
        if now == seen {
            return seen;
        }
        match self.files.read() {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!("the certificate was read again");
                now
            }
            Err(error) => {
                // The key may come a moment after the certificate: it is tried again.
                tracing::error!(%error, "the new certificate is not used");
                seen
            }
        }
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Files {
    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
    }

    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| file_error(&self.certificate, error))?;
        if chain.is_empty() {
            return Err(file_error(&self.certificate, "it has no certificate (BEGIN CERTIFICATE)"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|error| file_error(&self.key, error))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Pair {
            key: self.key.clone(),
            certificate: self.certificate.clone(),
            source,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error: io::Error| file_error(path, error))
}

fn file_error(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}
