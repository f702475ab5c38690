//! What is large and under way, bounded for the whole process: requests that are not complete, and answers that nobody takes.
//! A caller that sends half of something, or asks for much and does not read it, costs memory for as long as it likes; so
//! there is a bound to how much, what is beyond it is refused, and a connection that holds up something large for too long
//! is cut.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    Extension,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tonic::{Code, Status};

use crate::{clock::Clock, problem::Problem, tls::Peer};

/// Most bytes of requests that are not complete, of the whole process.
const REQUESTS: usize = 64 << 20;
/// Most bytes of answers that are not on their way, of the whole process.
const ANSWERS: usize = 96 << 20;
/// Most bytes of one message; tonic keeps it, and refuses what is larger before it reads it.
const MESSAGE: usize = 4 << 20;
/// What is smaller is not counted: creates and their answers.
const SMALL: usize = 16 << 10;
/// [`Code::OutOfRange`], as it travels.
const OUT_OF_RANGE: &str = "11";
/// How long a connection may hold up something large, with none of it coming to an end.
const STALL: Duration = Duration::from_secs(30);
/// When to come back.
const RETRY: Duration = Duration::from_secs(1);

static REQUESTS_ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(REQUESTS)));
static ANSWERS_ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ANSWERS)));

/// A connection: who is on the other side, and what it holds up.
pub(crate) struct Line {
    /// The other side.
    pub peer: Peer,
    clock: Arc<dyn Clock>,
    /// How many large requests and answers are under way.
    large: AtomicUsize,
    /// When the first of them began, or the last one ended.
    since: Mutex<Instant>,
}

impl Line {
    pub fn new(peer: Peer, clock: Arc<dyn Clock>) -> Arc<Self> {
        let since = Mutex::new(clock.now());
        Arc::new(Self { peer, clock, large: AtomicUsize::new(0), since })
    }

    /// Returns once something large has been held up for too long.
    pub async fn stalled(&self) {
        loop {
            sleep(STALL / 4).await;
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let held = self.clock.now().saturating_duration_since(since);
            if self.large.load(Ordering::Relaxed) > 0 && held > STALL {
                return;
            }
        }
    }

    fn moved(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
    }
}

/// Something large that is under way, while it is.
struct Large {
    line: Arc<Line>,
    _room: OwnedSemaphorePermit,
}

impl Large {
    /// `None` if there is no room for so many bytes.
    fn new(line: &Arc<Line>, room: &Arc<Semaphore>, bytes: usize) -> Option<Self> {
        let permits = u32::try_from(bytes).ok()?;
        let room = Arc::clone(room).try_acquire_many_owned(permits).ok()?;
        if line.large.fetch_add(1, Ordering::Relaxed) == 0 {
            line.moved();
        }
        Some(Self { line: Arc::clone(line), _room: room })
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.line.large.fetch_sub(1, Ordering::Relaxed);
        self.line.moved();
    }
}

fn no_room() -> Status {
    let problem = Problem::new("OVERLOADED", "too much is under way; nothing was done");
    problem.retry_after(RETRY).into_status(Code::ResourceExhausted)
}

/// Whether a call was refused because its message is too large: tonic does so before the call comes to anybody, and whoever
/// refuses with the same code later says why.
fn is_too_large(answer: &Response) -> bool {
    let head = answer.headers();
    let is_out_of_range = head.get(Status::GRPC_STATUS).is_some_and(|code| code == OUT_OF_RANGE);
    is_out_of_range && !head.contains_key(Status::GRPC_STATUS_DETAILS)
}

/// Without a retry hint: it would be as large the next time.
fn too_large() -> Status {
    let problem = Problem::new("MESSAGE_TOO_LARGE", format!("a message may have at most {MESSAGE} bytes"));
    problem.with("max_bytes", MESSAGE.to_string()).into_status(Code::OutOfRange)
}

/// The layer.
pub(crate) async fn bound(Extension(line): Extension<Arc<Line>>, request: Request, next: Next) -> Response {
    let ours = Arc::clone(&line);
    let request = request.map(|body| Body::new(Incoming { body, line: ours, seen: 0, large: Vec::new() }));
    let answer = next.run(request).await;
    if is_too_large(&answer) {
        return too_large().into_http();
    }
    let (head, mut body) = answer.into_parts();
    if body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    // An answer is encoded when it is first asked for, and until then it is there all the same. A stream with nothing to
    // say yet is asked again by who sends it.
    let first = match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => return Response::from_parts(head, body),
        Poll::Ready(first) => first,
    };
    let bytes = match &first {
        Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
        _ => 0,
    };
    let large = match bytes {
        0..=SMALL => None,
        _ => match Large::new(&line, &ANSWERS_ROOM, bytes) {
            None => return no_room().into_http(),
            large => large,
        },
    };
    Response::from_parts(head, Body::new(Outgoing { first: Some(first), body, _large: large }))
}

/// A request of which the first bytes are free.
struct Incoming {
    body: Body,
    line: Arc<Line>,
    seen: usize,
    large: Vec<Large>,
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.seen += bytes;
            if self.seen > SMALL {
                let Some(large) = Large::new(&self.line, &REQUESTS_ROOM, bytes) else {
                    return Poll::Ready(Some(Err(axum::Error::new(no_room()))));
                };
                self.large.push(large);
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer whose first part has been made.
struct Outgoing {
    first: Option<Option<Result<Frame<Bytes>, axum::Error>>>,
    body: Body,
    _large: Option<Large>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match mem::take(&mut self.first) {
            Some(first) => Poll::Ready(first),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::time::timeout;

    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn z3_what_is_beyond_the_bound_is_refused_and_what_is_held_up_is_cut() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let (line, room) = (Line::new(peer, Arc::new(SystemClock)), Arc::new(Semaphore::new(10)));
        let is_cut = async || timeout(STALL * 2, line.stalled()).await.is_ok();
        assert!(!is_cut().await, "nothing is held up");
        let first = Large::new(&line, &room, 6).expect("room");
        assert!(Large::new(&line, &room, 5).is_none());
        let second = Large::new(&line, &room, 4).expect("room");
        sleep(STALL - Duration::from_secs(1)).await;
        // One of them comes to an end: the other has its time anew.
        drop(first);
        assert!(timeout(STALL - Duration::from_secs(1), line.stalled()).await.is_err());
        assert!(is_cut().await);
        drop(second);
        assert!(!is_cut().await);
        assert!(Large::new(&line, &room, 10).is_some());
        assert!(no_room().metadata().contains_key("grpc-retry-pushback-ms"));
    }
}
