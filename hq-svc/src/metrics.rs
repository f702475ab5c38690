//! The metrics of headquarters, beside those of `service_kit::telemetry`. No label holds personal data.
//!
//! | name | type | what |
//! |---|---|---|
//! | `hq_customers` | gauge | customers with an account number |
//! | `hq_arrivals` by `state` | gauge | arrivals that are `waiting` or `set_aside`, as of the last run of the customer sync job |
//! | `hq_conversions_total` by `outcome` | counter | arrivals that the customer sync job `completed` or `set_aside` |
//! | `hq_sync_job_failures_total` | counter | runs of the customer sync job that failed |
//! | `hq_stalled` | gauge | 1 while arrivals wait and none has been processed for the watchdog's time |
//! | `hq_possible_duplicates_total` | counter | pairs that were noted |
//! | `hq_creates_waiting` | gauge | creates in the queue of the group commit or being committed |
//! | `hq_create_commits_total` | counter | transactions of the group commit |
//! | `hq_create_committed_total` | counter | creates in them; divided by the former it is the mean batch |
//! | `hq_channels_connected` | gauge | channels that listen for schedules |

use metrics::{counter, gauge};

use crate::store::{ArrivalCounts, Head};

/// Gauges are read from the tables, never counted along (rule X10).
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
pub(crate) fn tables(head: &Head, arrivals: ArrivalCounts) {
    gauge!("hq_customers").set(head.customers as f64);
    gauge!("hq_arrivals", "state" => "waiting").set(arrivals.waiting as f64);
    gauge!("hq_arrivals", "state" => "set_aside").set(arrivals.set_aside as f64);
}

pub(crate) fn converted(completed: u64, set_aside: u64) {
    counter!("hq_conversions_total", "outcome" => "completed").increment(completed);
    counter!("hq_conversions_total", "outcome" => "set_aside").increment(set_aside);
}

pub(crate) fn sync_job_failed() {
    counter!("hq_sync_job_failures_total").increment(1);
}

pub(crate) fn stalled(stalled: bool) {
    gauge!("hq_stalled").set(u32::from(stalled));
}

pub(crate) fn duplicates(pairs: usize) {
    counter!("hq_possible_duplicates_total").increment(pairs as u64);
}

pub(crate) fn create_batch(size: usize) {
    counter!("hq_create_commits_total").increment(1);
    counter!("hq_create_committed_total").increment(size as u64);
}

pub(crate) fn connected(channels: usize) {
    gauge!("hq_channels_connected").set(u32::try_from(channels).unwrap_or(u32::MAX));
}

/// Counts a create as waiting for as long as it lives.
pub(crate) struct Waiting;

impl Waiting {
    pub fn new() -> Self {
        gauge!("hq_creates_waiting").increment(1);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!("hq_creates_waiting").decrement(1);
    }
}
