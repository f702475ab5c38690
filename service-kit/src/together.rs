//! Answers that are ready at the same time leave in one write. A commit answers many callers at once, each in a task of
//! its own, and a connection that wrote whenever one of them had something to say would make a system call for each.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tracing::debug;

/// A listener whose connections write [`Together`], without waiting for the other side in between (TCP_NODELAY).
pub(crate) struct Quick(pub TcpListener);

impl Listener for Quick {
    type Io = Together<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
        (Together { io: stream, let_others: true }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Before it writes it lets every other task run once: what they have to say goes with it.
pub(crate) struct Together<Io> {
    io: Io,
    /// Nobody was let run since the last flush.
    let_others: bool,
}

impl<Io> Together<Io> {
    fn others_first(&mut self, context: &Context<'_>) -> bool {
        let first = std::mem::replace(&mut self.let_others, false);
        if first {
            // A task that wakes itself goes to the end of the queue.
            context.waker().wake_by_ref();
        }
        first
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Together<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.others_first(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.others_first(context) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.let_others |= flushed.is_ready();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        let mut near = Together { io: Counted(near, Arc::clone(&writes)), let_others: true };
        let (answers, mut said) = mpsc::unbounded_channel::<u8>();
        // A connection as h2 drives it: what is there is collected, then written and flushed.
        let connection = tokio::spawn(async move {
            let mut collected = Vec::new();
            while let Some(answer) = said.recv().await {
                collected.push(answer);
                let written = std::future::poll_fn(|context| {
                    while let Ok(answer) = said.try_recv() {
                        collected.push(answer);
                    }
                    Pin::new(&mut near).poll_write(context, &collected)
                });
                let written = written.await.unwrap();
                collected.drain(..written);
                near.flush().await.unwrap();
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
}
