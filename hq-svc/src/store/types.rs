//! What goes into a store and comes out of it.

#![expect(clippy::large_enum_variant, reason = "the large variant is the common one; boxes would cost more")]

use std::{collections::HashMap, time::Duration};

use tillsync_proto::{ChannelId, Content, Customer, CustomerId, Feature, Job, Micros, Operation, Reason};
use uuid::Uuid;

/// What the database is and what it has given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Identity of the database (rule X7).
    pub epoch: Uuid,
    /// The newest version of the feed; 0 when there is none.
    pub version: u64,
    /// Customers, which are the account numbers spent (rule X6).
    pub customers: u64,
    /// Arrivals that have been processed.
    pub arrivals_completed: u64,
}

/// A customer and its place in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The customer; its account number is there.
    pub customer: Customer,
    /// The version, from 1.
    pub version: u64,
}

/// A record, and what the customer was created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Fingerprint of the content that came with the create (rule M9).
    pub fingerprint: Uuid,
}

/// A customer to insert.
#[derive(Debug, Clone)]
pub struct NewCustomer {
    /// The GUID.
    pub id: CustomerId,
    /// Fingerprint of the content that came with the create.
    pub fingerprint: Uuid,
    /// The content to insert; later operations of the same batch are in it.
    pub content: Content,
    /// When it was created, by the clock of the channel that took it.
    pub created_at: Micros,
}

/// What happens to a customer, and to the arrivals that wanted it. Whole or not at all.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The change of the customer.
    pub write: Write,
    /// What becomes of arrivals. Not carried out if the change is not.
    pub verdicts: Vec<Verdict>,
}

/// A change of a customer.
#[derive(Debug, Clone)]
pub enum Write {
    /// None.
    Nothing,
    /// A new customer, if the GUID is free.
    Insert(NewCustomer),
    /// A customer in place of the record it was made from, if that is still the newest.
    Replace {
        /// What the change was made from.
        before: Record,
        /// The customer now.
        after: Customer,
    },
}

/// What becomes of one arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The arrival.
    pub seq: i64,
    /// Its fate.
    pub fate: Fate,
}

/// The fate of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Processed: `online_operation_completed = 1` (rule X2).
    Completed,
    /// Set aside (rule X5).
    SetAside {
        /// Why.
        reason: Reason,
        /// In words, without personal data.
        message: String,
        /// When to try again, in wall-clock micros; `None`: not by itself.
        next_attempt_at: Option<i64>,
    },
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Done, without a change of the customer.
    Done,
    /// Done; the customer as it is now.
    Written(Record),
    /// Not done: the GUID is taken, or the record is not the newest any more.
    Conflict(Stored),
    /// Not done: there is no such customer.
    Gone,
    /// Not done: the number sequence has no numbers left (rule X6).
    Exhausted,
}

/// A loyalty card to issue.
#[derive(Debug, Clone)]
pub struct CardRequest {
    /// To whom.
    pub customer: CustomerId,
    /// The number; `None` takes the next of the number sequence.
    pub number: Option<String>,
    /// Makes a repeat free of effect.
    pub request_id: Uuid,
}

/// What became of a card request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issued {
    /// Issued, now or by the same request before.
    Card {
        /// The customer now.
        record: Record,
        /// The card's number.
        number: String,
    },
    /// There is no such customer.
    NoCustomer,
    /// The number belongs to someone else.
    Taken,
    /// The request id was used for something else.
    RequestUsed,
    /// The customer has [`super::MAX_CARDS`] cards.
    TooMany,
    /// The number sequence has no numbers left.
    Exhausted,
}

/// A customer that a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The customer.
    pub id: CustomerId,
    /// Points, as `Criterion::rank` gives them.
    pub points: i64,
}

/// An operation as it arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its place in the channel's log.
    pub counter: i64,
    /// The customer, if that can be read.
    pub customer: Option<CustomerId>,
    /// The operation.
    pub payload: Payload,
}

/// What an upload brought.
#[derive(Debug, Clone)]
pub enum Payload {
    /// An operation that passed the validator.
    Good(Operation),
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
    /// The customer.
    pub customer: CustomerId,
    /// The operation; `None`: what is stored cannot be read.
    pub operation: Option<Operation>,
    /// How often it has been tried.
    pub attempts: u32,
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

/// A channel as it is stored.
#[derive(Debug, Clone)]
pub struct ChannelRow {
    /// The channel.
    pub id: ChannelId,
    /// When it last called, in wall-clock micros, as far as that was written.
    pub last_contact_at: Option<i64>,
    /// The encoded `tillsync.common.v1.ChannelStatus` it last reported.
    pub status: Option<Vec<u8>>,
    /// Version of its profile.
    pub profile_version: u64,
}

/// A run of a job (rule X9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The channel; `None` for the customer sync job.
    pub channel: Option<ChannelId>,
    /// The job.
    pub job: Job,
    /// The request that the run carried out; 0 for a scheduled one.
    pub run_request: u64,
    /// When it began.
    pub started_at: Micros,
    /// How long it took.
    pub elapsed: Duration,
    /// Rows moved.
    pub rows: u64,
    /// Why it failed; empty if it did not.
    pub error: String,
}

/// Requests to run jobs now, by job and channel; the channel of the customer sync job is empty.
pub type RunRequests = HashMap<(Job, String), u64>;

/// What became of a switch of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switched {
    /// The set has this version now.
    Done(u64),
    /// Nothing was switched: these flags are in the way (rule F1).
    InTheWay(Vec<Feature>),
}
