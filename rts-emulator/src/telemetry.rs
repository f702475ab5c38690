//! The emulator's metrics, by name. Requests by method and code are counted by service-kit.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::model::{Fate, Reason, Served};

/// Calls by `outcome`: answered, failed (the profile asked for it), lost (served, but the answer fell into an
/// outage), queue_full, longest_wait, rate_limit, throttle, outage, abandoned (the caller went away while it waited),
/// too_many (more calls than the emulator holds at once).
pub const CALLS: &str = "rts_emulator_calls_total";
/// Calls for which the real headquarters took longer than the model said.
pub const OVERRUNS: &str = "rts_emulator_overruns_total";
/// Virtual seconds in the queue, of calls that were served.
pub const WAIT_SECONDS: &str = "rts_emulator_wait_seconds";
/// Virtual seconds at a worker, of calls that were served.
pub const SERVICE_SECONDS: &str = "rts_emulator_service_seconds";
/// Seconds by which answers were later than the model said.
pub const LATENESS_SECONDS: &str = "rts_emulator_timer_lateness_seconds";
/// Calls waiting now.
pub const QUEUE: &str = "rts_emulator_queue";
/// Workers busy now.
pub const BUSY: &str = "rts_emulator_busy_workers";

pub(crate) fn call(outcome: &'static str) {
    counter!(CALLS, "outcome" => outcome).increment(1);
}

pub(crate) fn refused(reason: Reason) {
    call(match reason {
        Reason::QueueFull => "queue_full",
        Reason::LongestWait => "longest_wait",
        Reason::RateLimit => "rate_limit",
        Reason::Throttle(_) => "throttle",
        Reason::Outage => "outage",
    });
}

pub(crate) fn served(served: &Served, fate: Fate) {
    call(match fate {
        Fate::Answered => "answered",
        Fate::Failed(_) => "failed",
        Fate::Lost => "lost",
    });
    histogram!(WAIT_SECONDS).record(Duration::from_nanos(served.wait()).as_secs_f64());
    histogram!(SERVICE_SECONDS).record(Duration::from_nanos(served.held()).as_secs_f64());
}

pub(crate) fn overrun() {
    counter!(OVERRUNS).increment(1);
}

pub(crate) fn lateness(late: Duration) {
    histogram!(LATENESS_SECONDS).record(late.as_secs_f64());
}

pub(crate) fn load(waiting: usize, busy: u32) {
    gauge!(QUEUE).set(waiting as f64);
    gauge!(BUSY).set(f64::from(busy));
}
