//! Ways to services: connections, and what proves to a service who calls (rules B8, Z4).

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION};
use clap::Args;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    body::Body,
    codegen::Service,
    transport::{Channel, Endpoint, channel::ResponseFuture},
};
use tower::service_fn;
use tracing::warn;

use crate::{
    clock::SystemClock,
    config::without_secrets,
    network::Network,
    reload::{FileError, Reloaded, read_text},
    tls::ClientFiles,
};

/// How long a service may take to answer for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a file with a token.
const MAX_TOKEN: u64 = 4_096;

/// What a service is shown, and whom it is believed from. Only ever the names of files: secrets stay in them. A file that
/// changes is read again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Credentials {
    /// Certificates (PEM) of authorities that services at https:// addresses may be certified by [default: those that the
    /// system trusts].
    #[arg(long, help_heading = "Credentials", value_name = "FILE", env = "TILLSYNC_CA")]
    pub ca: Option<PathBuf>,
    /// The certificate (PEM) to show to services that ask for one; with --client-key.
    #[arg(
        long,
        help_heading = "Credentials",
        value_name = "FILE",
        env = "TILLSYNC_CLIENT_CERT",
        requires = "client_key"
    )]
    pub client_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[arg(
        long,
        help_heading = "Credentials",
        value_name = "FILE",
        env = "TILLSYNC_CLIENT_KEY",
        requires = "client_cert"
    )]
    pub client_key: Option<PathBuf>,
    /// A file with a token to send with each call (authorization: Bearer). It goes to https:// and loopback addresses only.
    #[arg(long, help_heading = "Credentials", value_name = "FILE", env = "TILLSYNC_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// Why there is no way to a service.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    /// Not an address.
    #[error("{0} is not an address such as http://127.0.0.1:7100")]
    Address(String),
    /// A token would be sent where others can read it.
    #[error("{0}: a token goes to https:// and loopback addresses only, where nobody else can read it")]
    Readable(String),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

impl Credentials {
    /// The route to an address.
    ///
    /// # Errors
    ///
    /// [`WayError`], but for [`WayError::Connect`].
    pub fn route(&self, address: &str) -> Result<Route, WayError> {
        let wrong = || WayError::Address(without_secrets(address));
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(wrong());
        }
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authorization = self.token_file.clone().map(|file| {
            Reloaded::new(vec![file.clone()], Arc::new(SystemClock), move || bearer(&file)).map(Arc::new)
        });
        let authorization = authorization.transpose()?;
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let private = encrypted || loopback;
        if authorization.is_some() && !private {
            return Err(WayError::Readable(address.to_owned()));
        }
        let (endpoint, tls) = match encrypted {
            false => (Endpoint::from(uri.clone()), None),
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| wrong())?;
                let port = uri.port_u16().unwrap_or(443);
                // The connection is encrypted below tonic, which may know nothing of TLS.
                let plain = format!("http://{}", uri.authority().map_or("", |authority| authority.as_str()));
                let plain: Uri = plain.parse().map_err(|_| wrong())?;
                let told = Arc::new(AtomicBool::new(false));
                let tls = Tls { config: Arc::new(self.tls()?), name, host, port, told };
                (Endpoint::from(plain).origin(uri.clone()), Some(tls))
            }
        };
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        let network = Network::default();
        Ok(Route { address: address.to_owned(), private, endpoint, tls, network, authorization })
    }

    /// Connects to an address.
    ///
    /// # Errors
    ///
    /// [`WayError`].
    pub async fn connect(&self, address: &str) -> Result<Way, WayError> {
        self.route(address)?.connect().await
    }

    fn tls(&self) -> Result<Reloaded<ClientConfig>, FileError> {
        let identity = self.client_cert.clone().zip(self.client_key.clone());
        let files = ClientFiles { ca: self.ca.clone(), identity };
        Reloaded::new(files.all(), Arc::new(SystemClock), move || files.read())
    }
}

fn bearer(path: &Path) -> Result<HeaderValue, FileError> {
    let token = read_text(path, MAX_TOKEN)?;
    let value = Some(token.trim()).filter(|token| !token.is_empty()).map(|token| format!("Bearer {token}"));
    let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
    let mut value = value.ok_or_else(|| FileError::content(path, "holds no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address, and what is shown there.
#[derive(Clone)]
pub struct Route {
    address: String,
    private: bool,
    endpoint: Endpoint,
    tls: Option<Tls>,
    network: Network,
    authorization: Option<Arc<Reloaded<HeaderValue>>>,
}

#[derive(Clone)]
struct Tls {
    config: Arc<Reloaded<ClientConfig>>,
    name: ServerName<'static>,
    host: String,
    port: u16,
    /// That it fails has been told.
    told: Arc<AtomicBool>,
}

impl Tls {
    async fn connect(self) -> std::io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        let connected = TlsConnector::from(self.config.fresh()).connect(self.name, stream).await;
        match &connected {
            Ok(_) => self.told.store(false, Ordering::Relaxed),
            // Callers learn only that there is no connection.
            Err(error) if !self.told.swap(true, Ordering::Relaxed) => {
                warn!(host = %self.host, port = self.port, %error, "no encrypted connection");
            }
            Err(_) => {}
        }
        Ok(TokioIo::new(connected?))
    }
}

impl Route {
    /// Whether nobody else can read what is sent.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// The same, with other settings of its connections.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Endpoint) -> Endpoint) -> Self {
        self.endpoint = change(self.endpoint);
        self
    }

    /// The same, over another network.
    #[must_use]
    pub fn over(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// [`WayError::Connect`].
    pub async fn connect(&self) -> Result<Way, WayError> {
        let channel = match (self.network.connector(), self.tls.clone()) {
            (Some(connector), _) => self.endpoint.connect_with_connector(service_fn(connector)).await,
            (None, None) => self.endpoint.connect().await,
            (None, Some(tls)) => {
                let connector = service_fn(move |_: Uri| tls.clone().connect());
                self.endpoint.connect_with_connector(connector).await
            }
        };
        let unusable = |source| WayError::Connect { address: self.address.clone(), source };
        Ok(Way { channel: channel.map_err(unusable)?, authorization: self.authorization.clone() })
    }

    /// A connection that is made when it is needed, and again when it has broken.
    #[must_use]
    pub fn connect_lazy(&self) -> Way {
        let channel = match (self.network.connector(), self.tls.clone()) {
            (Some(connector), _) => self.endpoint.connect_with_connector_lazy(service_fn(connector)),
            (None, None) => self.endpoint.connect_lazy(),
            (None, Some(tls)) => {
                let connector = service_fn(move |_: Uri| tls.clone().connect());
                self.endpoint.connect_with_connector_lazy(connector)
            }
        };
        Way { channel, authorization: self.authorization.clone() }
    }
}

/// A connection to a service; a copy is the same connection.
#[derive(Clone)]
pub struct Way {
    channel: Channel,
    authorization: Option<Arc<Reloaded<HeaderValue>>>,
}

impl std::fmt::Debug for Way {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Way {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            // A call that is passed on has that of whom it comes from.
            let own = || HeaderValue::clone(&authorization.fresh());
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(own);
        }
        self.channel.call(request)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn b8_nonsense_is_no_address_and_a_token_goes_where_nobody_reads_it() {
        let connect = async |address: &str| Credentials::default().connect(address).await;
        let nonsense = [
            "",
            "store",
            "127.0.0.1:7100",
            "ftp://127.0.0.1:1",
            "http://",
            "http://a b",
            "http://me:secret@a",
        ];
        for nonsense in nonsense {
            assert!(matches!(connect(nonsense).await, Err(WayError::Address(_))), "{nonsense}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("token");
            fs::write(&path, text).unwrap();
            Credentials { token_file: Some(path), ..Credentials::default() }
        };
        let far = file("secret").connect("http://192.0.2.1:7100").await.unwrap_err().to_string();
        assert!(far.contains("https://") && !far.contains("secret"), "{far}");
        for none in ["a\nb", "", " \n"] {
            let broken = file(none).connect("http://127.0.0.1:1").await.unwrap_err().to_string();
            assert!(broken.ends_with("token: holds no token"), "{broken}");
        }
        let missing = Credentials { ca: Some(folder.path().join("none")), ..Credentials::default() };
        let missing = missing.connect("https://127.0.0.1:1").await;
        assert!(matches!(missing, Err(WayError::File(FileError::Read { .. }))));
        assert!(matches!(file("x").connect("http://127.0.0.1:1").await, Err(WayError::Connect { .. })));
        let way = file("secret").route("http://127.0.0.1:1").unwrap().connect_lazy();
        assert!(!format!("{way:?}").contains("secret"), "{way:?}");
    }
}
