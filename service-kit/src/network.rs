//! The network, passed in as time and chance are: TCP, unless somebody gives another.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use axum::{http::Uri, serve::Listener};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};

use crate::{serve::Boxed, together::Together};

/// A connection, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> Stream for Io {}

/// Makes connections.
pub trait Connect: Send + Sync + 'static {
    /// Connects to an address.
    fn connect(&self, to: Uri) -> Boxed<'static, io::Result<Box<dyn Stream>>>;
}

/// How a service reaches others.
#[derive(Clone, Default)]
pub struct Network(Option<Arc<dyn Connect>>);

impl Network {
    /// Another one than the machine's TCP. What goes over it is not encrypted.
    pub fn new(connect: impl Connect) -> Self {
        Self(Some(Arc::new(connect)))
    }

    /// What hyper connects with; absent for TCP.
    pub(crate) fn connector(&self) -> Option<impl Fn(Uri) -> Connecting + Clone + Send + 'static> {
        let connect = Arc::clone(self.0.as_ref()?);
        Some(move |to| {
            let connecting = connect.connect(to);
            Box::pin(async { Ok(TokioIo::new(connecting.await?)) }) as Connecting
        })
    }
}

/// A connection that is being made, as hyper takes it.
pub(crate) type Connecting = Boxed<'static, io::Result<TokioIo<Box<dyn Stream>>>>;

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Network(another)" } else { "Network(TCP)" })
    }
}

/// Where connections come from.
pub enum Incoming {
    /// TCP.
    Tcp(TcpListener),
    /// Whoever makes them hands them over, with the address that they are from.
    Handed(mpsc::Receiver<(Box<dyn Stream>, SocketAddr)>),
}

impl From<TcpListener> for Incoming {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// A listener whose connections are handed over.
pub(crate) struct Handed(pub mpsc::Receiver<(Box<dyn Stream>, SocketAddr)>);

impl Listener for Handed {
    type Io = Together<Box<dyn Stream>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.0.recv().await {
            Some((stream, from)) => (Together::new(stream), from),
            // Nobody hands over any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
