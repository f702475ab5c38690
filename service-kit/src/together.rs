//! Answers that are ready at the same time leave in one write. A commit answers many callers at once, each in a task of
//! its own, and a connection that wrote whenever one of them had something to say would make a system call for each.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tracing::debug;

/// Most bytes that are held back; what does not fit is written at once. Frames of HTTP/2 have 16 KiB unless the other side
/// asks for larger ones.
const HELD: usize = 64 << 10;

/// A listener whose connections write [`Together`], without waiting for the other side in between (TCP_NODELAY).
pub(crate) struct Quick(pub TcpListener);

impl Quick {
    /// A connection whose writes are not held back.
    pub async fn accept_bare(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
        (stream, address)
    }
}

impl Listener for Quick {
    type Io = Together<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.accept_bare().await;
        (Together::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Holds back what is written until it is flushed, because h2 writes each answer of more than 256 bytes by itself; and
/// before that it lets every other task run once: what they have to say goes with it.
pub(crate) struct Together<Io> {
    io: Io,
    /// What has been written and not sent; no memory between two flushes.
    held: Vec<u8>,
    /// How much of it has been sent.
    sent: usize,
    /// Nobody was let run since the last flush.
    let_others: bool,
}

impl<Io> Together<Io> {
    pub fn new(io: Io) -> Self {
        Self { io, held: Vec::new(), sent: 0, let_others: true }
    }

    fn others_first(&mut self, context: &Context<'_>) -> bool {
        let first = std::mem::replace(&mut self.let_others, false);
        if first {
            // A task that wakes itself goes to the end of the queue.
            context.waker().wake_by_ref();
        }
        first
    }
}

impl<Io: AsyncWrite + Unpin> Together<Io> {
    /// Sends what is held back.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(context, &self.held[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        (self.held, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Together<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len() + bytes.len() > HELD {
            ready!(self.poll_send(context))?;
        }
        if bytes.len() > HELD {
            return Pin::new(&mut self.io).poll_write(context, bytes);
        }
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            if self.others_first(context) {
                return Poll::Pending;
            }
            ready!(self.poll_send(context))?;
        }
        self.let_others = true;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Together<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        sync::mpsc,
    };

    use super::*;

    /// Counts the writes that reach it.
    struct Counted<Io>(Io, Arc<AtomicUsize>);

    impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    // One worker: a task that is woken by the one that runs is the next to run, before all that wait.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_many_tasks_say_at_once_leaves_in_one_write() {
        const ANSWERS: usize = 64;
        let (near, mut far) = duplex(1 << 16);
        let writes = Arc::new(AtomicUsize::new(0));
        let mut near = Together::new(Counted(near, Arc::clone(&writes)));
        let (answers, mut said) = mpsc::unbounded_channel::<u8>();
        // A connection as h2 drives it: each answer is written by itself as it comes, also while the flush is under way.
        let connection = tokio::spawn(async move {
            while let Some(answer) = said.recv().await {
                near.write_all(&[answer]).await.unwrap();
                std::future::poll_fn(|context| {
                    while let Ok(answer) = said.try_recv() {
                        let written = Pin::new(&mut near).poll_write(context, &[answer]);
                        assert!(matches!(written, Poll::Ready(Ok(1))));
                    }
                    Pin::new(&mut near).poll_flush(context)
                })
                .await
                .unwrap();
            }
            near
        });
        for _ in 0..2 {
            let answers = answers.clone();
            tokio::spawn(async move {
                for answer in 0..ANSWERS as u8 {
                    let answers = answers.clone();
                    tokio::spawn(async move { answers.send(answer) });
                }
            });
            let mut read = [0; ANSWERS];
            far.read_exact(&mut read).await.unwrap();
            read.sort_unstable();
            assert!(read.iter().enumerate().all(|(place, answer)| place == usize::from(*answer)));
        }
        assert_eq!(writes.load(Ordering::Relaxed), 2);
        drop(answers);
        connection.await.unwrap().shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn whatever_its_size_what_is_written_arrives_in_order() {
        let (near, mut far) = duplex(1000);
        let mut near = Together::new(near);
        let sizes = [1, HELD, 3, HELD + 1, 700, HELD - 700, 2 * HELD];
        let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|place| (place % 251) as u8).collect();
        let reading = tokio::spawn(async move {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.unwrap();
            read
        });
        let mut rest = sent.as_slice();
        for size in sizes {
            let (part, after) = rest.split_at(size);
            near.write_all(part).await.unwrap();
            rest = after;
        }
        near.shutdown().await.unwrap();
        drop(near);
        assert!(reading.await.unwrap() == sent);
    }
}
