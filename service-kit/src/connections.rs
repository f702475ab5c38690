//! Connections, each of which can cost a service only so much: how many there are, how many calls each has under way, how
//! long it may be silent, and how long it may hold up what is large ([`crate::burden`]).

use std::{io, sync::Arc, time::Duration};

use axum::{Extension, Router, middleware::AddExtension, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tower::Layer as _;
use tracing::debug;

use crate::{burden::Line, clock::Clock, tls::Peer};

/// Most connections at the same time (about 20 KiB each while they are idle). Whoever comes then waits for one to end.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Most calls that a connection has under way; HTTP/2 tells the other side, which waits. Not less than the 100 of
/// RFC 9113, section 6.5.2. Under overload 64 connections of 200 calls each took 23 MiB more (docs/reliability.md).
const MAX_CALLS: u32 = 128;
/// Most bytes of the head of a request. What is larger is answered by HTTP's status 431, or the stream is reset.
const MAX_HEAD: u32 = 16 << 10;
/// After so long without a word the other side is asked whether it is still there, and has as long to answer: a peer that
/// vanished without a word leaves no connection behind.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the head of a request of HTTP/1.1 may take.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Serves every connection of a listener until `stop` has ended, and then until the last call has. Dropped, it cuts what is
/// still open.
pub(crate) async fn serve<L: Listener<Addr: Into<Peer>>>(
    mut listener: L,
    router: Router,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (room, graceful) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), GracefulShutdown::new());
    let builder = Arc::new(builder());
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        select! {
            () = &mut stop => break,
            ((io, peer), permit) = next(&mut listener, &room) => {
                let line = Line::new(peer.into(), Arc::clone(&clock));
                let router = Extension(Arc::clone(&line)).layer(router.clone());
                let watcher = graceful.watcher();
                connections.spawn(connection(Arc::clone(&builder), io, router, line, watcher, permit));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    // Nobody else comes.
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// The next connection, once there is room for it.
async fn next<L: Listener>(
    listener: &mut L,
    room: &Arc<Semaphore>,
) -> ((L::Io, L::Addr), Option<OwnedSemaphorePermit>) {
    // Nobody closes it.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    (listener.accept().await, permit)
}

async fn connection<Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(
    builder: Arc<Builder<TokioExecutor>>,
    io: Io,
    router: AddExtension<Router, Arc<Line>>,
    line: Arc<Line>,
    watcher: Watcher,
    _permit: Option<OwnedSemaphorePermit>,
) {
    let serving = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    select! {
        served = watcher.watch(serving) => if let Err(error) = served {
            debug!(%error, "a connection ended");
        },
        () = line.stalled() => debug!("a connection held up what is large for too long; it is cut"),
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(SILENCE).keep_alive_timeout(SILENCE);
    http2.max_concurrent_streams(MAX_CALLS).max_header_list_size(MAX_HEAD);
    builder
}
