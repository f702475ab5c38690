//! What the channel keeps: the log, and the tables made from it. Two databases, one contract: every method is
//! one whole transaction, and `tests/store.rs` holds both implementations to the same promises.

mod plan;
mod postgres;
mod settings;
mod sqlite;

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
};

use service_kit::{
    damage::{Trouble, noticed, trouble},
    lease::Lease,
    retry::Transient,
};
use tillsync_proto::{
    AttributeDefinitions, Criterion, CustomerId, Features, FunctionalityProfile, JobRun, Micros, Schedule,
};
use uuid::Uuid;

use crate::log::entry::{Entry, EntryError, Row};

pub(crate) use postgres::PostgresStore;
pub(crate) use sqlite::SqliteStore;

/// Most bytes of log that are read at once, unless a single row is larger.
const LOG_PAGE_BYTES: i64 = 1024 * 1024;
/// Most log rows that are read at once.
const LOG_PAGE_ROWS: i64 = 1_000;
/// Most log rows that one step of pruning removes.
const PRUNE_ROWS: i64 = 64;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The database failed, or its connection.
    #[error("the database failed")]
    Driver(#[source] sqlx::Error),
    /// What it holds cannot be.
    #[error("the database holds something that cannot be: {0}")]
    Inconsistent(String),
    /// Another process does the background work now; nothing was written.
    #[error("another process does the background work of the database")]
    Fenced,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(noticed(error))
    }
}

impl StoreError {
    /// What is wrong with the database, if that is why.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        if let Self::Driver(error) = self { trouble(error) } else { None }
    }
}

impl From<EntryError> for StoreError {
    fn from(error: EntryError) -> Self {
        Self::Inconsistent(error.to_string())
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Driver(error) if error.is_transient())
    }
}

/// One row of the log: what one commit added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogRow {
    /// Sequence number of its last entry.
    pub through: u64,
    /// Sequence number of its last operation, if there is one.
    pub operation_through: Option<u64>,
    /// Its entries.
    pub body: Vec<u8>,
}

/// How far the log is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LogProgress {
    /// The newest entry; 0 if none is held.
    pub newest: u64,
    /// The newest operation; 0 if none is held.
    pub newest_operation: u64,
    /// Operations up to here have been answered by headquarters.
    pub uploaded_through: u64,
    /// The headquarters database that answered them; empty before the first answer.
    pub epoch: String,
}

/// The log (rules M8, X3): what has been appended is there for good, and nothing in it is ever changed.
pub(crate) trait LogStore: Clone + Send + Sync + 'static {
    /// The log while nobody else appends.
    type Locked: Send;

    /// Appends rows behind the entry `newest`, all or none. Returns after a commit that a power cut cannot undo. False:
    /// another process has appended behind it; nothing was written.
    fn append(&self, newest: u64, rows: Vec<LogRow>)
    -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Keeps other processes from appending until it is dropped or [`LogStore::append_locked`] has ended; gives the
    /// newest entry too.
    fn lock(&self) -> impl Future<Output = Result<(Self::Locked, u64), StoreError>> + Send;

    /// Appends rows behind the newest entry, as [`LogStore::append`].
    fn append_locked(
        &self,
        locked: Self::Locked,
        rows: Vec<LogRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The newest entry, if other processes may append too.
    fn newest_of_all(&self) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Which process does the background work: what is written for it is refused to every other.
    fn lease(&self) -> &Lease;

    /// The rows with entries after `after`, oldest first: a bounded page.
    fn read(&self, after: u64) -> impl Future<Output = Result<Vec<LogRow>, StoreError>> + Send;

    /// The same, of rows with operations after `after` only.
    fn read_operations(&self, after: u64) -> impl Future<Output = Result<Vec<LogRow>, StoreError>> + Send;

    /// How far the log is.
    fn log_progress(&self) -> impl Future<Output = Result<LogProgress, StoreError>> + Send;

    /// Remembers that operations up to `through` have been answered by the database `epoch`.
    fn set_uploaded(&self, through: u64, epoch: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes other entries in the place of those of rows that are there, so that nothing stays of what was there. Only for
    /// customers that were erased.
    fn rewrite(&self, rows: Vec<LogRow>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// From here on what is freed in the tables is overwritten, or no longer.
    fn overwrite_freed(&self, on: bool) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes the oldest rows that end at or before `through`: a bounded step. Gives how many it removed.
    fn prune(&self, through: u64) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Writes back what commits have left to be written back, where the database needs that.
    fn checkpoint(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Closes every connection, those to the tables too.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Something that changes the tables.
#[derive(Debug, Clone)]
pub(crate) enum Incoming {
    /// A version of a customer, from the log or from the feed.
    Entry(Arc<Entry>),
    /// The account number of a customer, from the answer to an upload.
    Account(CustomerId, String),
}

/// How far the tables are once a batch has been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The log has been applied up to here.
    Log {
        /// Sequence number.
        through: u64,
    },
    /// The feed has been applied up to here (rule X7).
    Feed {
        /// The headquarters database.
        epoch: String,
        /// Its version.
        version: u64,
        /// Its newest version.
        head: u64,
        /// When it said so.
        at: Micros,
    },
    /// Headquarters has answered something.
    Contact {
        /// The database that the channel has heard of first; the feed begins there, unless it has begun.
        epoch: Option<String>,
        /// When.
        at: Micros,
    },
}

/// What is applied in one transaction.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The changes, in order.
    pub incoming: Vec<Incoming>,
    /// How far that brings the tables.
    pub advance: Advance,
}

/// What applying a batch has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Customers that are new or different.
    pub changed: Vec<CustomerId>,
    /// When each customer was created that was pending before and now has its account number.
    pub named: Vec<Micros>,
}

/// How far the tables are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TableProgress {
    /// Log entries up to here stand in the tables.
    pub applied_through: u64,
    /// Customers.
    pub customers: u64,
    /// Those without an account number.
    pub pending: u64,
    /// When the oldest of them was created.
    pub oldest_pending: Option<Micros>,
    /// The headquarters database whose feed is applied, or before the first page the first that has told anything: one that
    /// is restored asks for what it has lost. Empty before that.
    pub feed_epoch: String,
    /// How far; 0 before the first page.
    pub feed_version: u64,
    /// Its newest version when last asked.
    pub feed_head: u64,
    /// When the channel last was level with it; 0 is never.
    pub level_at: Micros,
    /// When headquarters last answered; 0 is never.
    pub contact_at: Micros,
}

/// What headquarters has told about this channel, with the versions; 0 before the first time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Settings {
    /// The functionality profile.
    pub profile: FunctionalityProfile,
    /// Its version.
    pub profile_version: u64,
    /// The flags that are on.
    pub features: Features,
    /// The definitions of attributes.
    pub attributes: AttributeDefinitions,
    /// The version of both.
    pub features_version: u64,
    /// Schedules, at most one for each job.
    pub schedules: Vec<Schedule>,
    /// Names this database to the terminals: one that was lost and made anew has another name. Absent before the
    /// first opening has ended.
    pub identity: Option<Uuid>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    /// The profile and its version.
    Profile(FunctionalityProfile, u64),
    /// The flags, the definitions of attributes, and the version of both.
    Features(Features, AttributeDefinitions, u64),
    /// The schedule of a job.
    Schedule(Schedule),
}

/// The tables (rules X7, C3): what can be looked up and searched.
pub(crate) trait TableStore: Clone + Send + Sync + 'static {
    /// Applies a batch and its progress in one transaction. Applying one again changes nothing.
    fn apply(&self, batch: Arc<Batch>) -> impl Future<Output = Result<Applied, StoreError>> + Send;

    /// The rows of these customers that are there, in any order.
    fn rows(&self, ids: &[CustomerId]) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// The customer of an account number.
    fn id_of_account(
        &self,
        number: &str,
    ) -> impl Future<Output = Result<Option<CustomerId>, StoreError>> + Send;

    /// Customers that match, with their rank, best first, then by GUID; at most `limit`.
    fn search(
        &self,
        criterion: &Criterion,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(CustomerId, usize)>, StoreError>> + Send;

    /// Customers by GUID, after one; at most `limit`.
    fn page(
        &self,
        after: Option<CustomerId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// How far the tables are.
    fn table_progress(&self) -> impl Future<Output = Result<TableProgress, StoreError>> + Send;

    /// What headquarters has told.
    fn settings(&self) -> impl Future<Output = Result<Settings, StoreError>> + Send;

    /// Names the database, unless it has a name.
    fn identify(&self, identity: Uuid) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives the database another name.
    fn identify_anew(&self, identity: Uuid) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps one of them.
    fn save_setting(&self, setting: Setting) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The last run of each job that has run.
    fn job_runs(&self) -> impl Future<Output = Result<Vec<JobRun>, StoreError>> + Send;

    /// Keeps the last run of a job. A scheduled one leaves the last request as it was.
    fn save_run(&self, run: &JobRun) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Both.
pub(crate) trait Store: LogStore + TableStore {}

impl<S: LogStore + TableStore> Store for S {}

/// Where the log of a SQLite store is: beside its tables.
#[must_use]
pub fn log_file(tables: &Path) -> PathBuf {
    tables.with_extension("log.db")
}

/// A number as both databases keep it. Sequence numbers and versions stay far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number read back.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
