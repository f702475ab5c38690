//! TLS 1.3 on both sides of a connection (rule Z4), with rustls. Certificates and keys come from PEM files and are read
//! again when those change: the next connection has the new ones.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, ServerConnection,
        crypto::{CryptoProvider, ring::default_provider},
        pki_types::{
            CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem, pem::PemObject,
        },
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
        version::TLS13,
    },
    server::TlsStream,
};
use tracing::debug;
use webpki::EndEntityCert;

use crate::{
    clock::Clock,
    reload::{FileError, LOOK, Reloaded},
    together::{Quick, Together},
};

/// Most handshakes at a time, and how long one may take; more connections wait to be accepted.
const HANDSHAKES: usize = 1_024;
const HANDSHAKE: Duration = Duration::from_secs(5);
/// What is spoken above TLS: gRPC; HTTP/1.1 for metrics and for pages.
const SERVED: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How the role and the name of a caller stand in its certificate, as a URI among the subject's alternative names.
const NAMED: &str = "tillsync://";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn unusable(path: &Path) -> impl Fn(pem::Error) -> FileError {
    move |error| match error {
        pem::Error::Io(source) => FileError::Read { path: path.to_owned(), source },
        // Its text may quote the file.
        _ => FileError::content(path, "is not a PEM file of what belongs there"),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let read = read.map_err(unusable(path))?;
    if read.is_empty() { Err(FileError::content(path, "holds no certificate")) } else { Ok(read) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_file(path).map_err(unusable(path))
}

fn authorities(path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| FileError::content(path, error))?;
    }
    Ok(roots)
}

/// What a server shows, and by whom its callers may be certified.
#[derive(Debug, Clone)]
pub(crate) struct ServerFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
    pub client_crl: Option<PathBuf>,
}

impl ServerFiles {
    pub fn all(&self) -> Vec<PathBuf> {
        let always = [&self.cert, &self.key].into_iter();
        always.chain(&self.client_ca).chain(&self.client_crl).cloned().collect()
    }

    /// # Errors
    ///
    /// [`FileError`].
    pub fn read(&self) -> Result<ServerConfig, FileError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| FileError::content(&self.cert, error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => builder.with_client_cert_verifier(verifier(ca, self.client_crl.as_deref())?),
        };
        let certified = builder.with_single_cert(certificates(&self.cert)?, key(&self.key)?);
        let mut config = certified.map_err(|error| FileError::content(&self.cert, error))?;
        config.alpn_protocols = SERVED.map(<[u8]>::to_vec).into();
        Ok(config)
    }
}

/// Whose certificates are believed. Whoever shows none is nobody, and may what nobody may.
///
/// # Errors
///
/// [`FileError`].
pub(crate) fn verifier(ca: &Path, crl: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, FileError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(ca)?), provider());
    let crls = crl.map(revoked).transpose()?.unwrap_or_default();
    let verifier = verifier.with_crls(crls).allow_unknown_revocation_status().allow_unauthenticated();
    verifier.build().map_err(|error| FileError::content(ca, error))
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, FileError> {
    let lists = CertificateRevocationListDer::pem_file_iter(path).and_then(|lists| lists.collect());
    lists.map_err(unusable(path))
}

/// Whom a client believes, and what it shows to servers that ask.
#[derive(Debug, Clone)]
pub(crate) struct ClientFiles {
    /// Absent: whom the system trusts.
    pub ca: Option<PathBuf>,
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientFiles {
    pub fn all(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        self.ca.iter().chain(identity).cloned().collect()
    }

    /// # Errors
    ///
    /// [`FileError`].
    pub fn read(&self) -> Result<ClientConfig, FileError> {
        let roots = match &self.ca {
            Some(ca) => authorities(ca)?,
            None => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        };
        let any = Path::new("TLS");
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
        let builder = builder.map_err(|error| FileError::content(any, error))?.with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, own)) => builder
                .with_client_auth_cert(certificates(cert)?, key(own)?)
                .map_err(|error| FileError::content(cert, error))?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// The other side of a connection.
pub(crate) struct Peer {
    pub address: SocketAddr,
    pub certified: Option<Certified>,
}

/// A caller by its certificate.
pub(crate) struct Certified {
    pub role: String,
    pub name: String,
    /// What it has shown: its certificate, and those between it and an authority.
    chain: Vec<CertificateDer<'static>>,
    /// When it was last looked whether it is believed, and whether it was.
    looked: Mutex<(Instant, bool)>,
}

impl Certified {
    /// Role and name in a certificate that has just been verified: `tillsync://role/name`.
    fn new(connection: &ServerConnection, now: Instant) -> Option<Self> {
        let chain = connection.peer_certificates()?;
        let certificate = EndEntityCert::try_from(chain.first()?).ok()?;
        let (role, name) =
            certificate.valid_uri_names().find_map(|uri| uri.strip_prefix(NAMED)?.split_once('/'))?;
        let (role, name, looked) = (role.to_owned(), name.to_owned(), Mutex::new((now, true)));
        Some(Self { role, name, chain: chain.iter().map(|one| one.clone().into_owned()).collect(), looked })
    }

    /// Whether it is believed now, give or take [`LOOK`]: it may have been revoked, or have run out, since the connection
    /// began.
    pub fn is_believed(&self, by: &dyn ClientCertVerifier, clock: &dyn Clock) -> bool {
        let now = clock.now();
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(looked.0) >= LOOK {
            let wall = Duration::from_micros(u64::try_from(clock.wall_micros()).unwrap_or_default());
            let verified = self.chain.split_first().is_some_and(|(own, between)| {
                by.verify_client_cert(own, between, UnixTime::since_unix_epoch(wall)).is_ok()
            });
            *looked = (now, verified);
        }
        looked.1
    }
}

/// Of a connection without TLS.
impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { address, certified: None }
    }
}

type Arrived = (Together<TlsStream<TcpStream>>, Peer);

/// A listener whose connections are encrypted. Handshakes go on beside each other, so that a slow one keeps nobody
/// waiting.
pub(crate) struct Encrypted {
    arrived: mpsc::Receiver<Arrived>,
    address: io::Result<SocketAddr>,
    accepting: AbortHandle,
}

impl Encrypted {
    pub fn new(listener: TcpListener, config: Reloaded<ServerConfig>, clock: Arc<dyn Clock>) -> Self {
        let (arrive, arrived) = mpsc::channel(1);
        let address = listener.local_addr();
        let accepting = tokio::spawn(accept(Quick(listener), config, clock, arrive)).abort_handle();
        Self { arrived, address, accepting }
    }
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    mut listener: Quick,
    config: Reloaded<ServerConfig>,
    clock: Arc<dyn Clock>,
    arrive: mpsc::Sender<Arrived>,
) {
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let (stream, address) = listener.accept_bare().await;
        while handshakes.try_join_next().is_some() {}
        let (acceptor, arrive, now) = (TlsAcceptor::from(config.fresh()), arrive.clone(), clock.now());
        handshakes.spawn(async move {
            let _slot = slot;
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let certified = Certified::new(stream.get_ref().1, now);
                    let _ = arrive.send((Together::new(stream), Peer { address, certified })).await;
                }
                Ok(Err(error)) => debug!(%address, %error, "no TLS"),
                Err(_) => debug!(%address, "no TLS in time"),
            }
        });
    }
}

impl Listener for Encrypted {
    type Io = Together<TlsStream<TcpStream>>;
    type Addr = Peer;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.arrived.recv().await {
            Some(arrived) => arrived,
            // The task that accepts has ended, which it does with this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        let address = self.address.as_ref().copied().map_err(|error| error.kind())?;
        Ok(Peer { address, certified: None })
    }
}

#[cfg(test)]
mod tests;
