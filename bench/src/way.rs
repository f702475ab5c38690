//! Ways to services: connections, and what proves to a service who calls (rule B8).

use std::{
    fs,
    path::{Path, PathBuf},
    task::{Context, Poll},
    time::Duration,
};

use clap::Args;
use serde::{Deserialize, Serialize};
use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{HeaderValue, Request, Response, Uri, header::AUTHORIZATION},
    },
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, channel::ResponseFuture},
};

use crate::error::Error;

/// How long a service may take to answer for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a service is shown, and whom it is believed from. Only ever the names of files: secrets stay in them.
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

impl Credentials {
    /// Connects to an address.
    ///
    /// # Errors
    ///
    /// [`Error::Address`], [`Error::Connect`], or [`Error::Read`] and [`Error::Usage`] for a file.
    pub async fn connect(&self, address: &str) -> Result<Way, Error> {
        let wrong = || Error::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']);
        let encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authorization = self.token_file.as_deref().map(bearer).transpose()?;
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if authorization.is_some() && !encrypted && !loopback {
            return Err(Error::Usage(format!(
                "{address}: a token goes to https:// and loopback addresses only, where nobody else can read it"
            )));
        }
        let unusable = |source| Error::Connect { address: address.to_owned(), source };
        let mut endpoint = Endpoint::from(uri.clone()).connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        if encrypted {
            endpoint = endpoint.tls_config(self.tls()?).map_err(unusable)?;
        }
        let channel = endpoint.connect().await.map_err(unusable)?;
        Ok(Way { channel, authorization })
    }

    fn tls(&self) -> Result<ClientTlsConfig, Error> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.client_cert, &self.client_key) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn bearer(path: &Path) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", read(path)?.trim()))
        .map_err(|_| Error::Usage(format!("{} holds no token", path.display())))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Connects to an address that asks for no credentials.
///
/// # Errors
///
/// As for [`Credentials::connect`].
pub async fn connect(address: &str) -> Result<Way, Error> {
    Credentials::default().connect(address).await
}

/// A connection to a service; a copy is the same connection.
#[derive(Debug, Clone)]
pub struct Way {
    channel: Channel,
    authorization: Option<HeaderValue>,
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
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.channel.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn b8_nonsense_is_no_address_and_a_token_goes_where_nobody_reads_it() {
        for nonsense in ["", "store", "127.0.0.1:7100", "ftp://127.0.0.1:1", "http://", "http://a b"] {
            assert!(matches!(connect(nonsense).await, Err(Error::Address(_))), "{nonsense}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = folder.path().join("token");
            fs::write(&path, text).unwrap();
            Credentials { token_file: Some(path), ..Credentials::default() }
        };
        let far = file("secret").connect("http://192.0.2.1:7100").await.unwrap_err().to_string();
        assert!(far.contains("https://") && !far.contains("secret"), "{far}");
        let broken = file("a\nb").connect("http://127.0.0.1:1").await.unwrap_err().to_string();
        assert!(broken.ends_with("token holds no token"), "{broken}");
        let missing = Credentials { ca: Some(folder.path().join("none")), ..Credentials::default() };
        assert!(matches!(missing.connect("https://127.0.0.1:1").await, Err(Error::Read { .. })));
        assert!(matches!(file("x").connect("http://127.0.0.1:1").await, Err(Error::Connect { .. })));
    }
}
