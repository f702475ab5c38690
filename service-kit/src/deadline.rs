//! Deadlines, end to end (rule Z2). tonic answers its own timeout with CANCELLED and keeps its parser of
//! `grpc-timeout` private, so the header is read here, before tonic sees the request.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};

use crate::{clock::Clock, problem::Problem};

/// The header in which a gRPC caller says how long it will wait.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// When the caller stops waiting; found in the extensions of every request that named one.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of a request, if it has one.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get().copied()
    }

    /// What remains of it; zero if it has passed.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }
}

/// The shorter of a caller's remaining time and a limit of our own.
#[must_use]
pub fn remaining_or(deadline: Option<Deadline>, now: Instant, limit: Duration) -> Duration {
    deadline.map_or(limit, |deadline| deadline.remaining(now).min(limit))
}

/// Reads `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout").
#[must_use]
pub fn parse(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The layer: DEADLINE_EXCEEDED once the caller's time has run out, whatever the handler is doing.
pub(crate) async fn enforce(
    State(clock): State<Arc<dyn Clock>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(timeout) = parse(request.headers()) else {
        return next.run(request).await;
    };
    let Some(at) = clock.now().checked_add(timeout) else {
        return next.run(request).await;
    };
    request.extensions_mut().insert(Deadline(at));
    match timeout_at(at, next.run(request)).await {
        Ok(response) => response,
        Err(_) => exceeded().into_http(),
    }
}

/// The status for a deadline that has passed.
#[must_use]
pub fn exceeded() -> Status {
    Problem::new("DEADLINE", "the caller's deadline has passed").into_status(Code::DeadlineExceeded)
}

/// Writes a timeout as `grpc-timeout`, rounded down to the unit that fits eight digits.
#[must_use]
pub fn header(timeout: Duration) -> Option<HeaderValue> {
    let micros = timeout.as_micros();
    let text = if micros < 100_000_000 { format!("{micros}u") } else { format!("{}m", micros / 1_000) };
    HeaderValue::from_str(&text).ok().filter(|_| text.len() <= 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let value = HeaderValue::from_str(text).unwrap();
        parse(&HeaderMap::from_iter([(axum::http::HeaderName::from_static(GRPC_TIMEOUT), value)]))
    }

    #[test]
    fn z2_timeouts_are_read_in_every_unit() {
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("5m"), Some(Duration::from_millis(5)));
        assert_eq!(read("6u"), Some(Duration::from_micros(6)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "1", "-1S", "123456789S", "1x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn z2_what_is_written_is_read() {
        for timeout in [Duration::from_micros(1500), Duration::from_secs(99), Duration::from_secs(7200)] {
            let text = header(timeout).unwrap();
            assert_eq!(read(text.to_str().unwrap()), Some(timeout));
        }
    }
}
