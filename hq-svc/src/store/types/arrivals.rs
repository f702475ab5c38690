//! Operations as they arrive, wait, and are shown.

use tillsync_proto::{ChannelId, CustomerId, Micros, Operation, pb};

use super::Overwritten;

pub use pb::hq::SyncStatus;

/// An operation as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its place in the channel's log.
    pub counter: i64,
    /// The customer, if that can be read.
    pub customer: Option<CustomerId>,
    /// When it was logged, by the channel's clock.
    pub logged_at: Micros,
    /// The operation.
    pub payload: Payload,
}

/// What an upload brought.
#[derive(Debug, Clone)]
pub enum Payload {
    /// An operation that passed the validator.
    Good(Operation),
    /// One of a customer that has been erased: nothing of it is kept.
    Erased,
    /// One that cannot be used, as it came, and why: in words, without personal data.
    Bad {
        /// The encoded `tillsync.common.v1.Operation`.
        raw: Vec<u8>,
        /// Why.
        message: String,
    },
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// Whether it stood there already.
    pub known: bool,
    /// The customer of the operation that stands there.
    pub customer: Option<CustomerId>,
    /// When that was logged, by the channel's clock.
    pub logged_at: Option<Micros>,
    /// Why it was set aside, if it was.
    pub reason: Option<String>,
    /// The account number, if the customer is real (rule M6).
    pub account_number: Option<String>,
}

/// An arrival whose turn it is.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its place among all arrivals.
    pub seq: i64,
    /// The channel that logged it.
    pub channel: String,
    /// Its place in the channel's log.
    pub counter: u64,
    /// The customer.
    pub customer: CustomerId,
    /// The operation, corrected if it was; `None`: what is stored cannot be read.
    pub operation: Option<Operation>,
    /// How often it has been tried.
    pub attempts: u32,
    /// The channel's edits up to this counter are in the customer already.
    pub included: u64,
}

/// An arrival that was set aside.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// Its place among all arrivals; names it in a page token.
    pub seq: i64,
    /// The channel that logged it.
    pub channel: String,
    /// Its place in the channel's log.
    pub counter: u64,
    /// The operation, or what came instead.
    pub payload: StoredPayload,
    /// Why.
    pub reason: String,
    /// In words.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<i64>,
}

/// An operation as it is stored.
#[derive(Debug, Clone)]
pub enum StoredPayload {
    /// One that passed the validator.
    Good(Operation),
    /// As it came.
    Bad(Vec<u8>),
}

/// Arrivals that are not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArrivalCounts {
    /// Waiting for the customer sync job.
    pub waiting: u64,
    /// Set aside.
    pub set_aside: u64,
}

/// Which operations to list (rule S1); what is absent does not limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusFilter {
    /// Of this channel.
    pub channel: Option<ChannelId>,
    /// Of this customer.
    pub customer: Option<CustomerId>,
    /// How far they are.
    pub status: Option<SyncStatus>,
    /// With this reason.
    pub reason: Option<String>,
    /// Logged at or after this time.
    pub logged_after: Option<Micros>,
    /// Logged before this time.
    pub logged_before: Option<Micros>,
    /// With this text in a value.
    pub value: Option<String>,
}

/// An arrival with what became of it.
#[derive(Debug, Clone)]
pub struct OperationRow {
    /// Its place among all arrivals.
    pub seq: i64,
    /// The channel that logged it.
    pub channel: String,
    /// Its place in the channel's log.
    pub counter: u64,
    /// The customer, if that could be read.
    pub customer: Option<CustomerId>,
    /// The operation as it came.
    pub payload: StoredPayload,
    /// The operation as somebody has corrected it.
    pub corrected: Option<Operation>,
    /// When it arrived.
    pub arrived_at: Micros,
    /// How far it is.
    pub status: SyncStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<i64>,
    /// Why it was set aside; empty: it was not.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Values of others that it has replaced.
    pub overwritten: Vec<Overwritten>,
    /// The customer's account number, if there is one.
    pub account_number: Option<String>,
}
