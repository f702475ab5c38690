//! Every metric of the channel, labelled with its id. None holds personal data (rule Z5).
//!
//! | name | kind | what |
//! |---|---|---|
//! | `channel_log_appended_total` | counter | entries committed to the log |
//! | `channel_log_batch_entries` | histogram | entries in one commit |
//! | `channel_tail_entries` | gauge | acknowledged entries that do not stand in the tables yet |
//! | `channel_applied_total` | counter | entries applied to the tables |
//! | `channel_pending_customers` | gauge | customers without an account number, when last reported |
//! | `channel_uploaded_total` | counter | operations that headquarters has answered |
//! | `channel_fallbacks_total` | counter | creates that went async because headquarters could not be reached, by `cause` |
//! | `channel_rts_calls_total` | counter | calls to the real-time service, by `code` |
//! | `channel_circuit_open` | gauge | 1 while creates go straight to the log, because headquarters keeps failing |
//! | `channel_stalled` | gauge | 1 while something waits and nothing has moved for the watchdog's time |
//! | `channel_exchange_restarts_total` | counter | how often the watchdog has started the jobs anew |
//! | `channel_unreadable_records_total` | counter | records of headquarters that could not be read |

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tillsync_proto::ChannelId;

/// The metrics of one channel.
#[derive(Clone)]
pub(crate) struct Metrics {
    channel: Arc<str>,
    appended: Counter,
    batch: Histogram,
    tail: Gauge,
    applied: Counter,
    pending: Gauge,
    uploaded: Counter,
    unreadable: Counter,
}

impl Metrics {
    /// The metrics of a channel.
    pub fn new(channel: &ChannelId) -> Self {
        // Handles that are made before there is a registry count nothing.
        service_kit::telemetry::prometheus();
        let name: Arc<str> = channel.as_str().into();
        let label = || [("channel", channel.to_string())];
        Self {
            channel: name,
            appended: counter!("channel_log_appended_total", &label()),
            batch: histogram!("channel_log_batch_entries", &label()),
            tail: gauge!("channel_tail_entries", &label()),
            applied: counter!("channel_applied_total", &label()),
            pending: gauge!("channel_pending_customers", &label()),
            uploaded: counter!("channel_uploaded_total", &label()),
            unreadable: counter!("channel_unreadable_records_total", &label()),
        }
    }

    /// A commit of `entries`, after which the tail holds `tail`.
    pub fn appended(&self, entries: usize, tail: usize) {
        self.appended.increment(count(entries));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        {
            self.batch.record(entries as f64);
            self.tail.set(tail as f64);
        }
    }

    /// Entries applied to the tables, after which the tail holds `tail`.
    pub fn applied(&self, entries: usize, tail: usize) {
        self.applied.increment(count(entries));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        self.tail.set(tail as f64);
    }

    /// Customers without an account number.
    pub fn pending(&self, customers: u64) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        self.pending.set(customers as f64);
    }

    /// Operations that headquarters has answered.
    pub fn uploaded(&self, operations: usize) {
        self.uploaded.increment(count(operations));
    }

    /// A create went async for this cause.
    pub fn fallback(&self, cause: &'static str) {
        let channel = self.channel.to_string();
        counter!("channel_fallbacks_total", "channel" => channel, "cause" => cause).increment(1);
    }

    /// A call to the real-time service ended so.
    pub fn rts_call(&self, code: &'static str) {
        let channel = self.channel.to_string();
        counter!("channel_rts_calls_total", "channel" => channel, "code" => code).increment(1);
    }

    /// The circuit breaker has opened or closed.
    pub fn circuit_open(&self, open: bool) {
        let channel = self.channel.to_string();
        gauge!("channel_circuit_open", "channel" => channel).set(if open { 1.0 } else { 0.0 });
    }

    /// Whether something waits and nothing has moved for too long.
    pub fn stalled(&self, stalled: bool) {
        let channel = self.channel.to_string();
        gauge!("channel_stalled", "channel" => channel).set(if stalled { 1.0 } else { 0.0 });
    }

    /// The watchdog has started the jobs anew.
    pub fn exchange_restarted(&self) {
        let channel = self.channel.to_string();
        counter!("channel_exchange_restarts_total", "channel" => channel).increment(1);
    }

    /// A record of headquarters could not be read.
    pub fn unreadable(&self) {
        self.unreadable.increment(1);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
