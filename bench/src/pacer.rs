//! Sends what is due when it is due (rule B2): a thread of its own that sleeps to absolute instants. tokio's
//! timer wakes on whole milliseconds; this is an order of magnitude closer.

use std::{io, sync::Arc, thread, time::Duration};

use service_kit::clock::Clock;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

/// Longest sleep without a look at the token.
const LONGEST_SLEEP: Duration = Duration::from_millis(20);

/// Calls `send` with each of `dues`, ascending, and the instant at which it is due, counted from `start`; all that are
/// due at once, however late. The receiver ends when the last was sent or `stop` was cancelled.
///
/// # Errors
///
/// The operating system refuses a thread.
pub fn pace<D>(
    clock: Arc<dyn Clock>,
    start: Instant,
    dues: impl Iterator<Item = (Duration, D)> + Send + 'static,
    stop: CancellationToken,
    mut send: impl FnMut(D, Instant) + Send + 'static,
) -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("pacer".to_owned()).spawn(move || {
        for (due, what) in dues {
            let due = start + due;
            if !wait_until(&*clock, due, &stop) {
                break;
            }
            send(what, due);
        }
        // Nobody waits any more: nothing to tell.
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// False if the token was cancelled first.
fn wait_until(clock: &dyn Clock, due: Instant, stop: &CancellationToken) -> bool {
    loop {
        if stop.is_cancelled() {
            return false;
        }
        let left = due.saturating_duration_since(clock.now());
        if left.is_zero() {
            return true;
        }
        sleep(left.min(LONGEST_SLEEP));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the pacer's thread is its own, and a timer would be too coarse"
)]
fn sleep(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use service_kit::clock::SystemClock;

    use super::*;

    #[test]
    fn b2_everything_is_sent_in_order_and_never_early() {
        let (sent, received) = mpsc::channel();
        let start = SystemClock.now();
        let dues = (0..200_usize).map(|n| (Duration::from_micros(n as u64 * 500), n));
        let send = move |place, due| sent.send((place, due, SystemClock.now())).unwrap();
        let end = pace(Arc::new(SystemClock), start, dues, CancellationToken::new(), send).unwrap();
        end.blocking_recv().unwrap();
        let sent: Vec<_> = received.iter().collect();
        assert_eq!(sent.len(), 200);
        for (n, (place, due, at)) in sent.into_iter().enumerate() {
            assert_eq!((place, due), (n, start + Duration::from_micros(n as u64 * 500)));
            assert!(at >= due);
        }
    }

    #[test]
    fn b2_a_late_pacer_sends_all_that_is_due_at_once() {
        let (sent, received) = mpsc::channel();
        let now = SystemClock.now();
        let start = now.checked_sub(Duration::from_secs(1)).unwrap();
        let send = move |place, _| sent.send(place).unwrap();
        let dues = (0..1_000).map(|n| (Duration::ZERO, n));
        pace(Arc::new(SystemClock), start, dues, CancellationToken::new(), send)
            .unwrap()
            .blocking_recv()
            .unwrap();
        assert_eq!(received.iter().count(), 1_000);
    }

    #[test]
    fn a_cancelled_pacer_stops() {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let dues = [Duration::ZERO, Duration::from_secs(3600)].map(|due| (due, ()));
        let send = move |(), _| token.cancel();
        pace(Arc::new(SystemClock), SystemClock.now(), dues.into_iter(), stop, send)
            .unwrap()
            .blocking_recv()
            .unwrap();
    }
}
