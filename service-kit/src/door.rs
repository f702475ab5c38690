//! Who may come in (rule Z4). A caller shows a token or a certificate; either says its role and its name. A table that the
//! service brings says which roles may call which method, and what stands in no row nobody may call.
//!
//! Without certificates and tokens the door is open, and no call passes here.

mod held;
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
use tokio_rustls::rustls::{ServerConfig, server::danger::ClientCertVerifier};
use tonic::{Code, Status};

pub use tokens::{TokenError, add, is_name, list, revoke};

use crate::{
    burden::Line,
    clock::Clock,
    problem::{Problem, code_name},
    reload::{FileError, Reloaded},
    tls::{ServerFiles, verifier},
};
use held::{Held, Pass};
use limits::Limits;
use tokens::{Hash, Tokens, hash};

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

    /// Whose certificates are believed.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    fn verifier(&self, clock: &Arc<dyn Clock>) -> Result<Option<Reloaded<Verifier>>, FileError> {
        let Some(ca) = self.client_ca.clone() else { return Ok(None) };
        let crl = self.client_crl.clone();
        let files = [&ca].into_iter().chain(&crl).cloned().collect();
        Reloaded::new(files, Arc::clone(clock), move || verifier(&ca, crl.as_deref())).map(Some)
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

type Verifier = Arc<dyn ClientCertVerifier>;

/// What a caller has shown.
enum Shown {
    Token(Hash),
    /// The certificate with which its connection began.
    Certificate(Arc<Line>),
}

/// A door that is not just open.
pub(crate) struct Door {
    access: Access,
    methods: HashMap<&'static str, &'static [&'static str]>,
    guarded: bool,
    tokens: Option<Reloaded<Tokens>>,
    verifier: Option<Reloaded<Verifier>>,
    limits: Option<Limits>,
    clock: Arc<dyn Clock>,
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
        let (tokens, verifier) = (tokens.transpose()?, config.verifier(clock)?);
        Ok(Some(Self { access, methods, guarded, tokens, verifier, limits, clock: Arc::clone(clock) }))
    }

    /// What was shown and who has shown it, if it may call this.
    fn judge(&self, request: &mut Request) -> Result<Option<(Shown, Arc<Caller>)>, Box<Status>> {
        let known = if self.guarded { self.caller(request)? } else { None };
        let caller = known.as_ref().map(|(_, caller)| caller);
        if let Some(limits) = &self.limits {
            limits.check(caller, address(request)).map_err(too_often)?;
        }
        if let Some(caller) = caller {
            request.extensions_mut().insert(Arc::clone(caller));
        }
        Ok(known)
    }

    /// The caller, if it may call this; none where nobody has to be known.
    fn caller(&self, request: &mut Request) -> Result<Option<(Shown, Arc<Caller>)>, Box<Status>> {
        let may = self.methods.get(request.uri().path()).copied().unwrap_or_default();
        if may.contains(&NOBODY) {
            return Ok(None);
        }
        let (shown, caller) = self.known(request)?;
        if !may.contains(&caller.role) {
            return Err(not_allowed(caller.role, may));
        }
        let (role, header) = self.access.named;
        if caller.role == role {
            let own = HeaderValue::from_str(&caller.name).map_err(|_| unknown("the caller has no name"))?;
            match request.headers_mut().insert(header, own) {
                Some(named) if named != caller.name => return Err(Box::new(not_itself(NotItself(role)))),
                _ => {}
            }
        }
        Ok(Some((shown, caller)))
    }

    /// By its token, or else by its certificate.
    fn known(&self, request: &Request) -> Result<(Shown, Arc<Caller>), Box<Status>> {
        let (shown, otherwise) = match request.headers().get(header::AUTHORIZATION) {
            Some(text) => {
                let token = text.as_bytes().strip_prefix(b"Bearer ");
                let token = token.ok_or_else(|| unknown("the token that was shown is no bearer token"))?;
                (Shown::Token(hash(token)), "the token that was shown is not known here, or has been revoked")
            }
            None => {
                let line = request.extensions().get::<Arc<Line>>();
                let line = line.filter(|line| line.peer.certified.is_some());
                let line = line.ok_or_else(|| unknown(NOTHING_SHOWN))?;
                (
                    Shown::Certificate(Arc::clone(line)),
                    "the certificate that was shown is of nobody known here, or has been revoked, or has run out",
                )
            }
        };
        let caller = self.owner(&shown).ok_or_else(|| unknown(otherwise))?;
        Ok((shown, caller))
    }

    /// Whose it is that was shown, as the files say now, give or take a second.
    fn owner(&self, shown: &Shown) -> Option<Arc<Caller>> {
        match shown {
            Shown::Token(token) => self.tokens.as_ref()?.fresh().owner(token),
            Shown::Certificate(line) => {
                let (certified, verifier) = (line.peer.certified.as_ref()?, self.verifier.as_ref()?.fresh());
                let is_believed = certified.is_believed(verifier.as_ref().as_ref(), self.clock.as_ref());
                let caller = Caller::new(&self.access, &certified.role, &certified.name);
                caller.filter(|_| is_believed).map(Arc::new)
            }
        }
    }
}

fn address(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Arc<Line>>().map(|line| line.peer.address.ip())
}

const NOTHING_SHOWN: &str = "who calls has to show a token (authorization: Bearer …) or a certificate";

fn unknown(text: &str) -> Box<Status> {
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
    let status = match door.judge(&mut request) {
        Ok(None) => return next.run(request).await,
        Ok(Some((shown, caller))) => {
            let pass = Pass { door, shown, caller };
            return next.run(request).await.map(|body| Body::new(Held::new(body, pass)));
        }
        Err(status) => status,
    };
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
