//! Logs and metrics. Neither ever holds personal data (rule Z5): what is logged is named by ids and counts.

use std::{
    convert::Infallible,
    io::IsTerminal as _,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::{Instant, sleep};
use tonic::Code;
use tracing_subscriber::{
    Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{clock::Clock, problem::code_name};

/// Requests by `method` and `code`.
pub const RPC_REQUESTS: &str = "rpc_server_requests_total";
/// Seconds from the request's head to the answer's end, by `method`.
pub const RPC_SECONDS: &str = "rpc_server_seconds";

/// How long a value that a histogram was given is kept before it is counted.
const UPKEEP: Duration = Duration::from_secs(1);

/// Methods that are told apart in the metrics; the rest, which callers may invent, are "other".
const KNOWN_PREFIXES: [&str; 2] = ["/tillsync.", "/grpc."];

/// Sends logs to standard error, from a level on. Does nothing if logs go somewhere already.
pub fn init_logs(level: LevelFilter) {
    let to_stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(level);
    let _ = tracing_subscriber::registry().with(to_stderr).try_init();
}

/// The process's Prometheus registry. Several services in one process share it.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let seconds =
            [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&seconds).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder is in place: ours stays empty, and theirs is served by them.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// Counts what histograms have been given, for ever. Until it is counted each value takes memory, and otherwise it is only when
/// somebody reads the metrics, which may be never.
pub(crate) async fn keep() -> Infallible {
    loop {
        sleep(UPKEEP).await;
        prometheus().run_upkeep();
    }
}

/// The layer: counts requests by method and gRPC status, wherever the status travels: in the head of the
/// answer, or in its trailers.
pub(crate) async fn count(State(clock): State<Arc<dyn Clock>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !KNOWN_PREFIXES.iter().any(|prefix| path.starts_with(prefix)) {
        return next.run(request).await;
    }
    let mut record = Record { method: path.to_owned(), start: clock.now(), clock, done: false };
    let (head, body) = next.run(request).await.into_parts();
    // A path that no service answers is not a method: callers must not grow the registry.
    if let Some(code) = status_of(&head.headers) {
        if code == Code::Unimplemented {
            record.method = "other".to_owned();
        }
        record.end(code);
    }
    Response::from_parts(head, Body::new(Counted { body, record }))
}

fn status_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

struct Record {
    method: String,
    start: Instant,
    clock: Arc<dyn Clock>,
    done: bool,
}

impl Record {
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.done, true) {
            let method = std::mem::take(&mut self.method);
            let seconds = self.clock.now().saturating_duration_since(self.start).as_secs_f64();
            histogram!(RPC_SECONDS, "method" => method.clone()).record(seconds);
            counter!(RPC_REQUESTS, "method" => method, "code" => code_name(code)).increment(1);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

struct Counted {
    body: Body,
    record: Record,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(code) = frame.trailers_ref().and_then(status_of)
        {
            self.record.end(code);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Usage;

    #[tokio::test(start_paused = true)]
    async fn z3_values_that_nobody_reads_take_no_memory() {
        prometheus();
        let kept = tokio::spawn(keep());
        let times = histogram!(RPC_SECONDS, "method" => "kept");
        let Some(before) = Usage::now().resident_bytes else { return };
        // 160 MB, if each were kept.
        for _ in 0..200 {
            (0..100_000).for_each(|_| times.record(0.001));
            sleep(UPKEEP).await;
        }
        kept.abort();
        let after = Usage::now().resident_bytes.unwrap_or_default();
        assert!(after < before + 80_000_000, "{before} bytes of memory before, {after} after");
        assert!(prometheus().render().contains("rpc_server_seconds_count{method=\"kept\"} 20000000"));
    }
}
