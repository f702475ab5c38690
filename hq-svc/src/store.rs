//! What headquarters keeps, as whole transactions. Two implementations, chosen once by the database's URL;
//! [`contract`] holds both to the same promises.

mod arrived;
mod batch;
#[cfg(test)]
mod contract;
mod postgres;
mod rows;
mod sql;
mod sqlite;
mod statuses;
mod types;

use std::future::Future;

use service_kit::{
    damage::{Trouble, noticed, trouble},
    lease::Lease,
    retry::Transient,
};
use tillsync_proto::{
    ChannelId, Criterion, CustomerId, CustomerRef, FunctionalityProfile, Job, Micros, Operation, Schedule,
};
use uuid::Uuid;

pub(crate) use batch::TermRow;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use types::{
    AppliedEdit, Arrival, ArrivalCounts, Arrived, Asker, CardRequest, ChannelRow, Due, Erasure, Fate,
    FeedRecord, GlobalConfiguration, Head, Hit, Included, Issued, Likeness, NewCustomer, NoticedPair,
    OperationRow, Overwritten, Pair, Payload, Plan, Reconfigure, Reconfigured, Record, Recovered, Report,
    RunRequest, RunRequests, SequenceState, Session, SetAside, Settled, StatusFilter, Stored, StoredPayload,
    SyncStatus, Verdict, Write,
};

use crate::numbers::{NumberSequence, SequenceKind};

/// Most channels that headquarters knows (rule Z3). A further one is refused.
pub const MAX_CHANNELS: usize = 10_000;
/// Sessions that are kept, the newest (rule X9).
pub const MAX_SESSIONS: i64 = 1_000;
/// Sessions that are older than this many microseconds go: 30 days (rule X9).
pub const MAX_SESSION_AGE: i64 = 30 * 24 * 3_600 * 1_000_000;
/// A process that has told nothing for so many seconds has ended.
pub const SILENCE_S: f64 = 5.0;
/// Most pairs on the list of possible duplicates; further ones are not noted (rule Z3).
pub const MAX_PAIRS: usize = 10_000;
/// Most customers that one search finds (rule Z3).
pub const MAX_HITS: usize = 1_000;
/// Most loyalty cards of one customer (rule Z3).
pub const MAX_CARDS: usize = 100;

/// Why a transaction came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Driver(#[source] sqlx::Error),
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
    /// Another process does the background work now; nothing was written.
    #[error("another process does the background work of the database")]
    Fenced,
    /// The database was restored, and channels have not brought yet what it has lost; nothing was written.
    #[error("headquarters waits for what its channels have")]
    Recovering,
    /// A value could not be written as JSON.
    #[error("a value could not be encoded")]
    Encode(#[source] serde_json::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(noticed(error))
    }
}

impl StoreError {
    /// What is wrong with the database, if that is why.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        if let Self::Driver(error) = self { trouble(error) } else { None }
    }

    /// Whether what was to be written may be to blame, and not the database, the way to it or another process.
    pub(crate) fn is_of_the_batch(&self) -> bool {
        self.trouble().is_none() && !matches!(self, Self::Fenced | Self::Recovering)
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Driver(error) if error.is_transient())
    }
}

/// The result of a transaction.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The transactions of headquarters. Each method is one whole transaction (readers: one or two statements).
/// None is tried again in here; callers wrap them with `service_kit::retry::transaction`.
pub trait Store: Clone + Send + Sync + 'static {
    /// What the database is and what it has given out.
    fn head(&self) -> impl Future<Output = Result<Head>> + Send;

    /// Carries out plans, in order. Account numbers and versions are taken under the lock of one row, held
    /// until the commit: numbers go only to customers that are inserted (rule X6), versions are dense and in
    /// commit order (rule X7).
    fn settle(&self, plans: &[Plan]) -> impl Future<Output = Result<Vec<Settled>>> + Send;

    /// The same for background work: refused to a process that does not hold the [`Store::lease`].
    fn settle_fenced(&self, plans: &[Plan]) -> impl Future<Output = Result<Vec<Settled>>> + Send;

    /// Which process does the background work.
    fn lease(&self) -> &Lease;

    /// Issues a loyalty card.
    fn issue_card(&self, request: CardRequest) -> impl Future<Output = Result<Issued>> + Send;

    /// One customer.
    fn customer(&self, by: &CustomerRef) -> impl Future<Output = Result<Option<Record>>> + Send;

    /// Those of the customers that are there, in no order.
    fn customers(&self, ids: &[CustomerId]) -> impl Future<Output = Result<Vec<Stored>>> + Send;

    /// At most [`MAX_HITS`] customers, best match first, ties by GUID (rule C3).
    fn find(&self, criterion: &Criterion) -> impl Future<Output = Result<Vec<Hit>>> + Send;

    /// At most `limit` records after a version, by version, and no more than `max_bytes` of stored text
    /// beyond the first record; with how far the edits of channels are in them.
    fn changes(
        &self,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<FeedRecord>>> + Send;

    /// The same, without the edits.
    fn records(
        &self,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<Record>>> + Send;

    /// Takes a page of operations: those that are new are kept, one answer for each, in order (rule X4).
    fn arrive(
        &self,
        channel: &ChannelId,
        page: &[Arrival],
        now: Micros,
    ) -> impl Future<Output = Result<Vec<Arrived>>> + Send;

    /// At most `limit` arrivals of one channel, or of all, after a place whose turn it is, in the order of arrival, and
    /// no more than `max_bytes` of stored text beyond the first. One that was set aside comes when its next attempt is
    /// due; a customer's later ones wait for it (rule X5).
    fn due(
        &self,
        channel: Option<&str>,
        after: i64,
        now: Micros,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<Due>>> + Send;

    /// At most `limit` channels with arrivals whose turn it is, as in [`Store::due`].
    fn due_channels(&self, now: Micros, limit: usize) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// How many arrivals are not processed.
    fn arrival_counts(&self) -> impl Future<Output = Result<ArrivalCounts>> + Send;

    /// Arrivals that were set aside, by channel and counter, after the one of this place, bounded as in
    /// [`Store::due`]; and whether there are more.
    fn set_aside(
        &self,
        after: Option<i64>,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<(Vec<SetAside>, bool)>> + Send;

    /// Makes a channel known; false if there are [`MAX_CHANNELS`] others.
    fn register_channel(&self, channel: &ChannelId) -> impl Future<Output = Result<bool>> + Send;

    /// All channels, by name.
    fn channels(&self) -> impl Future<Output = Result<Vec<ChannelRow>>> + Send;

    /// Keeps what channels said of themselves, and their runs. A run reported twice is kept once.
    fn report(&self, reports: &[Report], now: Micros) -> impl Future<Output = Result<()>> + Send;

    /// The profile of a channel and its version; the default at version 1 if none was made.
    fn profile(
        &self,
        channel: &ChannelId,
    ) -> impl Future<Output = Result<(FunctionalityProfile, u64)>> + Send;

    /// The same of many, in their order.
    fn profiles(
        &self,
        channels: &[ChannelId],
    ) -> impl Future<Output = Result<Vec<(FunctionalityProfile, u64)>>> + Send;

    /// Replaces the profile of a registered channel and gives its version, which changes if the profile does.
    /// `None`: it has another version than `from_version`, which is not 0.
    fn set_profile(
        &self,
        channel: &ChannelId,
        profile: &FunctionalityProfile,
        from_version: u64,
    ) -> impl Future<Output = Result<Option<u64>>> + Send;

    /// The flags that are on and the definitions of attributes.
    fn configuration(&self) -> impl Future<Output = Result<GlobalConfiguration>> + Send;

    /// Changes them and gives the version, which changes if they do.
    fn reconfigure(&self, change: &Reconfigure) -> impl Future<Output = Result<Reconfigured>> + Send;

    /// The number sequences and how far they are.
    fn sequences(&self) -> impl Future<Output = Result<Vec<SequenceState>>> + Send;

    /// Changes a number sequence. What the old one had reserved is not given out.
    fn set_sequence(
        &self,
        kind: SequenceKind,
        sequence: NumberSequence,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Takes over a number sequence that another process has changed.
    fn refresh_sequences(&self) -> impl Future<Output = Result<()>> + Send;

    /// Tells other processes on the database which channels listen to this one.
    fn tell_listening(&self, channels: &[String]) -> impl Future<Output = Result<()>> + Send;

    /// Tells them that what was told holds. Who says nothing for [`SILENCE_S`] seconds has ended. False: they have forgotten
    /// it already.
    fn tell_alive(&self) -> impl Future<Output = Result<bool>> + Send;

    /// The channels that listen to other processes.
    fn listening_elsewhere(&self) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// One schedule for each job.
    fn schedules(&self) -> impl Future<Output = Result<Vec<Schedule>>> + Send;

    /// Replaces the schedule of a job.
    fn set_schedule(&self, schedule: Schedule) -> impl Future<Output = Result<()>> + Send;

    /// All requests to run jobs now.
    fn run_requests(&self) -> impl Future<Output = Result<RunRequests>> + Send;

    /// Makes one more request for each channel, with a session for each, and gives their numbers.
    fn request_runs(
        &self,
        job: Job,
        channels: &[String],
        now: Micros,
    ) -> impl Future<Output = Result<Vec<(String, u64)>>> + Send;

    /// Keeps a session; the oldest beyond [`MAX_SESSIONS`] and those older than [`MAX_SESSION_AGE`] go.
    fn add_session(&self, session: &Session, now: Micros) -> impl Future<Output = Result<()>> + Send;

    /// At most `limit` sessions before `seq`, newest first.
    fn sessions(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Session>>> + Send;

    /// One session.
    fn session(&self, seq: i64) -> impl Future<Output = Result<Option<Session>>> + Send;

    /// Cancels a session that has failed or has not ended, and the request behind it. `None`: it is not so.
    fn cancel_session(&self, seq: i64) -> impl Future<Output = Result<Option<Session>>> + Send;

    /// The session that has carried out a request or a later one, or was canceled.
    fn session_of(
        &self,
        job: Job,
        channel: &str,
        request: u64,
    ) -> impl Future<Output = Result<Option<Session>>> + Send;

    /// The newest session of the customer sync job that moved rows.
    fn last_conversion(&self) -> impl Future<Output = Result<Option<Session>>> + Send;

    /// At most `limit` operations before a place, newest arrival first, bounded as in [`Store::due`]; and where to
    /// go on, unless that was all. A call looks at a bounded number of arrivals, so it may give few and more to come.
    fn operations(
        &self,
        filter: &StatusFilter,
        before: Option<i64>,
        limit: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<(Vec<OperationRow>, Option<i64>)>> + Send;

    /// One operation.
    fn operation(
        &self,
        channel: &ChannelId,
        counter: u64,
    ) -> impl Future<Output = Result<Option<OperationRow>>> + Send;

    /// Saves new values for an operation that was set aside; false: there is no such one.
    fn correct(
        &self,
        channel: &ChannelId,
        counter: u64,
        operation: &Operation,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Whether an operation of the customer that arrived before this place was set aside.
    fn has_earlier_failure(
        &self,
        customer: CustomerId,
        seq: i64,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// The databases that this one was restored from, each with the version up to which it has their customers.
    fn lineage(&self) -> impl Future<Output = Result<Vec<(Uuid, u64)>>> + Send;

    /// The newest counter of a channel that has arrived; 0 if none has. Everything before it has, too.
    fn arrived_through(&self, channel: &ChannelId) -> impl Future<Output = Result<u64>> + Send;

    /// Erases a customer, and keeps who asked for it. `None`: the account number is nobody's.
    fn erase(
        &self,
        by: &CustomerRef,
        asker: &Asker,
        now: Micros,
    ) -> impl Future<Output = Result<Option<CustomerId>>> + Send;

    /// Those of the customers that have been erased.
    fn are_erased(&self, ids: &[CustomerId]) -> impl Future<Output = Result<Vec<CustomerId>>> + Send;

    /// At most `limit` erasures before a place, newest first, or that of one customer.
    fn erasures(
        &self,
        customer: Option<CustomerId>,
        before: Option<i64>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Erasure>>> + Send;

    /// At most `limit` erasures that not every channel has confirmed, with the version of the feed in which they are.
    fn open_erasures(&self, limit: usize) -> impl Future<Output = Result<Vec<(CustomerId, u64)>>> + Send;

    /// Keeps that channels have erased a customer; `done`: all have.
    fn confirm_erasure(
        &self,
        customer: CustomerId,
        channels: &[ChannelId],
        done: bool,
        now: Micros,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Takes customers that were lost in a restore, as a channel knows them, unless something newer is here. Their account
    /// numbers are theirs again, and the number sequence goes on behind them.
    fn recover(
        &self,
        channel: &ChannelId,
        brought: &[Recovered],
        now: Micros,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The channels that have not brought yet what was lost in a restore, by name.
    fn awaited(&self) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// Waits no longer for a channel, or for any.
    fn await_no_longer(&self, channel: Option<&ChannelId>) -> impl Future<Output = Result<()>> + Send;

    /// Up to which version of the feed customers have been looked at for duplicates.
    fn duplicates_through(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Who has these terms, given by kind and text; at most `limit` rows.
    fn sharing(
        &self,
        terms: &[(i16, String)],
        limit: usize,
    ) -> impl Future<Output = Result<Vec<TermRow>>> + Send;

    /// Notes pairs that are new, as far as there is room, and how far customers have been looked at.
    fn note_pairs(
        &self,
        pairs: &[Pair],
        through: u64,
        now: Micros,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The newest pairs before a place.
    fn pairs(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<NoticedPair>>> + Send;

    /// How many pairs are on the list.
    fn pair_count(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Takes a pair off the list for good; false: there is no such pair.
    fn dismiss(&self, one: CustomerId, other: CustomerId) -> impl Future<Output = Result<bool>> + Send;
}
