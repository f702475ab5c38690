//! What headquarters keeps, as whole transactions. Two implementations, chosen once by the database's URL;
//! [`contract`] holds both to the same promises.

#![expect(clippy::large_enum_variant, reason = "the large variant is the common one; boxes would cost more")]

mod arrived;
mod batch;
#[cfg(test)]
mod contract;
mod postgres;
mod rows;
mod search;
mod sql;
mod sqlite;

use std::{collections::HashMap, future::Future, time::Duration};

use service_kit::{database::is_unreachable, retry::Transient};
use tillsync_proto::{
    ChannelId, Content, Criterion, Customer, CustomerId, CustomerRef, Features, FunctionalityProfile, Job,
    Micros, Operation, Reason, Schedule,
};
use uuid::Uuid;

pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;

/// Most channels that headquarters knows (rule Z3). A further one is refused.
pub const MAX_CHANNELS: usize = 10_000;
/// Sessions that are kept, the newest (rule X9).
pub const MAX_SESSIONS: i64 = 1_000;
/// Most customers that one search finds, and most candidates of each word of it (rule Z3).
pub const MAX_HITS: usize = 1_000;
/// Most loyalty cards of one customer (rule Z3).
pub const MAX_CARDS: usize = 100;

/// Why a transaction came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Driver(#[from] sqlx::Error),
    /// A row is there, and cannot be what this service wrote.
    #[error("a row of {table} cannot be read")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// What the reader says.
        source: serde_json::Error,
    },
    /// The one row that every database has is not there.
    #[error("the row of {0} is missing")]
    Missing(&'static str),
    /// A value could not be written as JSON.
    #[error("a value could not be encoded")]
    Encode(#[source] serde_json::Error),
}

impl StoreError {
    /// Whether nothing is known about the data, because the database cannot be reached.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Driver(error) if is_unreachable(error))
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Driver(error) if error.is_transient())
    }
}

/// The result of a transaction.
pub type Result<T> = std::result::Result<T, StoreError>;

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
    /// The customer has [`MAX_CARDS`] cards.
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

/// The transactions of headquarters. Each method is one whole transaction (readers: one or two statements).
/// None is tried again in here; callers wrap them with `service_kit::retry::transaction`.
pub trait Store: Clone + Send + Sync + 'static {
    /// What the database is and what it has given out.
    fn head(&self) -> impl Future<Output = Result<Head>> + Send;

    /// Carries out plans, in order. Account numbers and versions are taken under the lock of one row, held
    /// until the commit: numbers go only to customers that are inserted (rule X6), versions are dense and in
    /// commit order (rule X7).
    fn settle(&self, plans: &[Plan]) -> impl Future<Output = Result<Vec<Settled>>> + Send;

    /// Issues a loyalty card.
    fn issue_card(&self, request: CardRequest) -> impl Future<Output = Result<Issued>> + Send;

    /// One customer.
    fn customer(&self, by: &CustomerRef) -> impl Future<Output = Result<Option<Record>>> + Send;

    /// Those of the customers that are there, in no order.
    fn customers(&self, ids: &[CustomerId]) -> impl Future<Output = Result<Vec<Stored>>> + Send;

    /// At most [`MAX_HITS`] customers, best match first, ties by GUID (rule C3).
    fn find(&self, criterion: &Criterion) -> impl Future<Output = Result<Vec<Hit>>> + Send;

    /// At most `limit` records after a version, by version, and no more than `max_bytes` of stored text
    /// beyond the first record.
    fn changes(
        &self,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<Record>>> + Send;

    /// Takes a page of operations: those that are new are kept, one answer for each, in order (rule X4).
    fn arrive(
        &self,
        channel: &ChannelId,
        page: Vec<Arrival>,
        now: Micros,
    ) -> impl Future<Output = Result<Vec<Arrived>>> + Send;

    /// At most `limit` arrivals after `seq` whose turn it is, in the order of arrival. One that was set aside
    /// comes when its next attempt is due; a customer's later ones wait for it (rule X5).
    fn due(&self, after: i64, now: Micros, limit: usize) -> impl Future<Output = Result<Vec<Due>>> + Send;

    /// How many arrivals are not processed.
    fn arrival_counts(&self) -> impl Future<Output = Result<ArrivalCounts>> + Send;

    /// Arrivals that were set aside, by channel and counter, after the one of this place.
    fn set_aside(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SetAside>>> + Send;

    /// Makes a channel known; false if there are [`MAX_CHANNELS`] others.
    fn register_channel(&self, channel: &ChannelId) -> impl Future<Output = Result<bool>> + Send;

    /// All channels, by name.
    fn channels(&self) -> impl Future<Output = Result<Vec<ChannelRow>>> + Send;

    /// Keeps what a channel said of itself, and its ended runs. A run reported twice is kept once.
    fn report(
        &self,
        channel: &ChannelId,
        status: Vec<u8>,
        runs: &[Session],
        now: Micros,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The profile of a channel and its version; the default at version 1 if none was made.
    fn profile(
        &self,
        channel: &ChannelId,
    ) -> impl Future<Output = Result<(FunctionalityProfile, u64)>> + Send;

    /// Replaces the profile of a registered channel and gives its version, which changes if the profile does.
    fn set_profile(
        &self,
        channel: &ChannelId,
        profile: FunctionalityProfile,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// The flags that are on, and their version.
    fn flags(&self) -> impl Future<Output = Result<(Features, u64)>> + Send;

    /// Switches a flag and gives the version of the set, which changes if the set does.
    fn set_flag(
        &self,
        feature: tillsync_proto::Feature,
        enabled: bool,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// One schedule for each job.
    fn schedules(&self) -> impl Future<Output = Result<Vec<Schedule>>> + Send;

    /// Replaces the schedule of a job.
    fn set_schedule(&self, schedule: Schedule) -> impl Future<Output = Result<()>> + Send;

    /// All requests to run jobs now.
    fn run_requests(&self) -> impl Future<Output = Result<RunRequests>> + Send;

    /// Makes one more request for each channel, and gives their numbers.
    fn request_runs(
        &self,
        job: Job,
        channels: &[String],
    ) -> impl Future<Output = Result<Vec<(String, u64)>>> + Send;

    /// Keeps a session; the oldest beyond [`MAX_SESSIONS`] go.
    fn add_session(&self, session: &Session) -> impl Future<Output = Result<()>> + Send;

    /// At most `limit` sessions before `seq`, newest first, each with its place.
    fn sessions(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(i64, Session)>>> + Send;

    /// The session that carried out a request or a later one.
    fn session_of(
        &self,
        job: Job,
        channel: &str,
        request: u64,
    ) -> impl Future<Output = Result<Option<Session>>> + Send;

    /// The newest session of the customer sync job that moved rows.
    fn last_conversion(&self) -> impl Future<Output = Result<Option<Session>>> + Send;
}
