//! Who may come in (rule Z4). A caller shows a token or a certificate; either says its role and its name. A table that the
//! service brings says which roles may call which method, and what stands in no row nobody may call.
//!
//! Without certificates and tokens the door is open, and no call passes here.

mod limits;
mod tokens;

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use clap::Args;
use metrics::counter;
use tokio_rustls::rustls::ServerConfig;
use tonic::{Code, Status};

pub use tokens::{TokenError, add, is_name, list, revoke};

use crate::{
    burden::Line,
    clock::Clock,
    problem::{Problem, code_name},
    reload::{FileError, Reloaded},
    tls::ServerFiles,
};
use limits::Limits;
use tokens::Tokens;

/// The role of a caller that shows nothing.
pub const NOBODY: &str = "nobody";
/// Calls that were refused here, by `code`. They are not among those that are counted by method.
pub const REFUSED: &str = "rpc_server_refused_total";
/// Calls per second of one caller where callers come from other machines, unless it is set.
const RATE_LIMIT: u32 = 1_000;

/// Who may call what of a service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// The roles that there are, besides [`NOBODY`].
    pub roles: &'static [&'static str],
    /// Groups of rows: a path, such as `/package.Service/Method`, and the roles that may call it.
    pub table: &'static [&'static [(&'static str, &'static [&'static str])]],
    /// A role whose callers name themselves in a header as well: it has to be their own name, and is filled in.
    pub named: (&'static str, &'static str),
}

/// By what a service is known, and whom it lets in. Only ever the names of files: secrets stay in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DoorConfig {
    /// Serve by TLS with this certificate (PEM; those between it and an authority after it); with --tls-key. It is read again
    /// when it changes, as are all files named here.
    #[arg(
        long,
        help_heading = "Doors",
        value_name = "FILE",
        env = "TILLSYNC_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The key (PEM) of that certificate.
    #[arg(
        long,
        help_heading = "Doors",
        value_name = "FILE",
        env = "TILLSYNC_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Let in callers that show a certificate of these authorities (PEM), which says tillsync://ROLE/NAME.
    #[arg(
        long,
        help_heading = "Doors",
        value_name = "FILE",
        env = "TILLSYNC_CLIENT_CA",
        requires = "tls_cert"
    )]
    pub client_ca: Option<PathBuf>,
    /// Certificates that these authorities have revoked (PEM).
    #[arg(
        long,
        help_heading = "Doors",
        value_name = "FILE",
        env = "TILLSYNC_CLIENT_CRL",
        requires = "client_ca"
    )]
    pub client_crl: Option<PathBuf>,
    /// Let in callers that send a token of this file, which `tillsync token` makes.
    #[arg(long, help_heading = "Doors", value_name = "FILE", env = "TILLSYNC_TOKENS")]
    pub tokens: Option<PathBuf>,
    /// Most calls per second of one caller, with as many at once; 0 is no limit [default: none on loopback and with
    /// --insecure, else 1000].
    #[arg(long, help_heading = "Doors", value_name = "CALLS", env = "TILLSYNC_RATE_LIMIT")]
    pub rate_limit: Option<u32>,
}

impl DoorConfig {
    /// Whether what is sent can be read by nobody else.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls_cert.is_some() && self.tls_key.is_some()
    }

    /// Whether callers have to show who they are.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.tokens.is_some() || self.client_ca.is_some()
    }

    fn calls_per_second(&self, address: Option<SocketAddr>) -> u32 {
        let far = address.is_some_and(|address| !address.ip().is_loopback());
        let default = if far && self.is_guarded() && self.is_encrypted() { RATE_LIMIT } else { 0 };
        self.rate_limit.unwrap_or(default)
    }

    /// # Errors
    ///
    /// [`FileError`].
    pub(crate) fn tls(&self, clock: &Arc<dyn Clock>) -> Result<Option<Reloaded<ServerConfig>>, FileError> {
        let Some((cert, key)) = self.tls_cert.clone().zip(self.tls_key.clone()) else { return Ok(None) };
        let (client_ca, client_crl) = (self.client_ca.clone(), self.client_crl.clone());
        let files = ServerFiles { cert, key, client_ca, client_crl };
        Reloaded::new(files.all(), Arc::clone(clock), move || files.read()).map(Some)
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    role: &'static str,
    name: String,
}

impl fmt::Display for Caller {
    /// Role and name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.name)
    }
}

/// A caller names another than itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} that is named is not the one that calls")]
pub struct NotItself(&'static str);

impl Caller {
    fn new(access: &Access, role: &str, name: &str) -> Option<Self> {
        let role = access.roles.iter().find(|known| **known == role)?;
        is_name(name).then(|| Self { role, name: name.to_owned() })
    }

    /// Who sends a request; nobody where nobody has to show who he is.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Self> {
        request.extensions().get::<Arc<Self>>().map(Arc::as_ref)
    }

    /// Its role.
    #[must_use]
    pub fn role(&self) -> &'static str {
        self.role
    }

    /// Whom a call is about: the caller itself if it has the role, whatever name the message has, which may be none but not
    /// another; otherwise, and where nobody has to show who he is, whom the message names.
    ///
    /// # Errors
    ///
    /// [`NotItself`].
    pub fn itself<T>(
        request: &tonic::Request<T>,
        role: &'static str,
        named: impl FnOnce(&T) -> &str,
    ) -> Result<String, NotItself> {
        let named = named(request.get_ref());
        match Self::of(request) {
            Some(caller) if caller.role == role => {
                let same = named.is_empty() || named == caller.name;
                same.then(|| caller.name.clone()).ok_or(NotItself(role))
            }
            _ => Ok(named.to_owned()),
        }
    }
}

/// A door that is not just open.
pub(crate) struct Door {
    access: Access,
    methods: HashMap<&'static str, &'static [&'static str]>,
    guarded: bool,
    tokens: Option<Reloaded<Tokens>>,
    limits: Option<Limits>,
}

impl Door {
    /// Nothing, if everybody may come in as often as they like.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn open(
        config: &DoorConfig,
        access: Access,
        address: Option<SocketAddr>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, FileError> {
        let guarded = config.is_guarded();
        let limits = Limits::new(config.calls_per_second(address), Arc::clone(clock));
        if !guarded && limits.is_none() {
            return Ok(None);
        }
        let tokens = config.tokens.clone().map(|file| {
            Reloaded::new(vec![file.clone()], Arc::clone(clock), move || Tokens::read(&file, &access))
        });
        let methods = access.table.iter().copied().flatten().copied().collect();
        Ok(Some(Self { access, methods, guarded, tokens: tokens.transpose()?, limits }))
    }

    fn judge(&self, request: &mut Request) -> Result<(), Box<Status>> {
        let caller = if self.guarded { self.caller(request)? } else { None };
        if let Some(limits) = &self.limits {
            limits.check(caller.as_ref(), address(request)).map_err(too_often)?;
        }
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        Ok(())
    }

    /// The caller, if it may call this; none where nobody has to be known.
    fn caller(&self, request: &mut Request) -> Result<Option<Arc<Caller>>, Box<Status>> {
        let may = self.methods.get(request.uri().path()).copied().unwrap_or_default();
        if may.contains(&NOBODY) {
            return Ok(None);
        }
        let caller = self.known(request)?;
        if !may.contains(&caller.role) {
            return Err(not_allowed(caller.role, may));
        }
        let (role, header) = self.access.named;
        if caller.role == role {
            let own = HeaderValue::from_str(&caller.name).map_err(|_| unknown("has no name"))?;
            match request.headers_mut().insert(header, own) {
                Some(named) if named != caller.name => return Err(Box::new(not_itself(NotItself(role)))),
                _ => {}
            }
        }
        Ok(Some(caller))
    }

    /// By its token, or else by its certificate.
    fn known(&self, request: &Request) -> Result<Arc<Caller>, Box<Status>> {
        if let Some(shown) = request.headers().get(header::AUTHORIZATION) {
            let token =
                shown.as_bytes().strip_prefix(b"Bearer ").ok_or_else(|| unknown("is no bearer token"))?;
            let tokens = self.tokens.as_ref().map(Reloaded::fresh);
            let caller = tokens.and_then(|tokens| tokens.owner(token));
            return caller.ok_or_else(|| unknown("is not known here, or has been revoked"));
        }
        let line = request.extensions().get::<Arc<Line>>();
        let certified = line.and_then(|line| line.peer.certified.as_ref());
        let caller = certified.and_then(|(role, name)| Caller::new(&self.access, role, name));
        caller.map(Arc::new).ok_or_else(|| unknown(""))
    }
}

fn address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Arc<Line>>().map(|line| line.peer.address.ip())
}

fn unknown(token: &str) -> Box<Status> {
    let text = match token {
        "" => "who calls has to show a token (authorization: Bearer …) or a certificate".to_owned(),
        token => format!("the token that was shown {token}"),
    };
    Box::new(Problem::new("UNAUTHENTICATED", text).into_status(Code::Unauthenticated))
}

fn not_allowed(role: &str, may: &[&str]) -> Box<Status> {
    let problem = Problem::new("NOT_ALLOWED", format!("the role {role} may not call this"));
    let problem = match may {
        [] => problem,
        may => problem.with("lifted_by", format!("credentials of the role {}", may.join(" or "))),
    };
    Box::new(problem.into_status(Code::PermissionDenied))
}

/// The status for a caller that names another than itself.
#[must_use]
pub fn not_itself(error: NotItself) -> Status {
    Problem::new("NOT_ITSELF", error.to_string()).into_status(Code::PermissionDenied)
}

fn too_often(wait: std::time::Duration) -> Box<Status> {
    let problem = Problem::new("OVERLOADED", "this caller calls more often than it may");
    Box::new(problem.retry_after(wait).into_status(Code::ResourceExhausted))
}

/// The layer.
pub(crate) async fn guard(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let Err(status) = door.judge(&mut request) else { return next.run(request).await };
    counter!(REFUSED, "code" => code_name(status.code())).increment(1);
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return status.into_http();
    }
    let mut answer = Response::new(Body::from(format!("{}\n", status.message())));
    *answer.status_mut() = match status.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    };
    answer
}

#[cfg(test)]
mod tests;
