//! Headquarters on a simulated disk. Its store is the one on a SQLite file; the disk says how long each transaction takes.

use std::{path::Path, sync::Arc};

use service_kit::{
    at_its_pace,
    clock::{Clock, Ids},
    lease::Lease,
    network::Incoming,
    serve::Boxed,
    simulation::Disk,
};
use tillsync_proto::{
    ChannelId, Criterion, CustomerId, CustomerRef, FunctionalityProfile, Job, Micros, Operation, Schedule,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::Config,
    numbers::{NumberSequence, SequenceKind},
    server::{OpenError, RestoreError, ServeError, run},
    store::{
        Arrival, ArrivalCounts, Arrived, Asker, CardRequest, ChannelRow, Due, Erasure, FeedRecord,
        GlobalConfiguration, Head, Hit, Issued, NoticedPair, OperationRow, Pair, Plan, Reconfigure,
        Reconfigured, Record, Recovered, Report, Result, RunRequests, SequenceState, Session, SetAside,
        Settled, SqliteStore, StatusFilter, Store, Stored, TermRow,
    },
};

/// The store on a simulated disk.
#[derive(Clone)]
struct Simulated {
    store: SqliteStore,
    disk: Disk,
}

impl Store for Simulated {
    fn lease(&self) -> &Lease {
        self.store.lease()
    }

    at_its_pace! {
        read head() -> Result<Head>;
        read customer(by: &CustomerRef) -> Result<Option<Record>>;
        read customers(ids: &[CustomerId]) -> Result<Vec<Stored>>;
        read find(criterion: &Criterion) -> Result<Vec<Hit>>;
        read changes(after: u64, limit: usize, max_bytes: usize) -> Result<Vec<FeedRecord>>;
        read records(after: u64, limit: usize, max_bytes: usize) -> Result<Vec<Record>>;
        read due(channel: Option<&str>, after: i64, now: Micros, limit: usize, max_bytes: usize) -> Result<Vec<Due>>;
        read due_channels(now: Micros, limit: usize) -> Result<Vec<String>>;
        read arrival_counts() -> Result<ArrivalCounts>;
        read set_aside(after: Option<i64>, limit: usize, max_bytes: usize) -> Result<(Vec<SetAside>, bool)>;
        read channels() -> Result<Vec<ChannelRow>>;
        read profile(channel: &ChannelId) -> Result<(FunctionalityProfile, u64)>;
        read profiles(channels: &[ChannelId]) -> Result<Vec<(FunctionalityProfile, u64)>>;
        read configuration() -> Result<GlobalConfiguration>;
        read sequences() -> Result<Vec<SequenceState>>;
        read schedules() -> Result<Vec<Schedule>>;
        read run_requests() -> Result<RunRequests>;
        read sessions(before: Option<i64>, limit: usize) -> Result<Vec<Session>>;
        read session(seq: i64) -> Result<Option<Session>>;
        read session_of(job: Job, channel: &str, request: u64) -> Result<Option<Session>>;
        read last_conversion() -> Result<Option<Session>>;
        read operations(filter: &StatusFilter, before: Option<i64>, limit: usize, max_bytes: usize) -> Result<(Vec<OperationRow>, Option<i64>)>;
        read operation(channel: &ChannelId, counter: u64) -> Result<Option<OperationRow>>;
        read has_earlier_failure(customer: CustomerId, seq: i64) -> Result<bool>;
        read lineage() -> Result<Vec<(Uuid, u64)>>;
        read arrived_through(channel: &ChannelId) -> Result<u64>;
        read are_erased(ids: &[CustomerId]) -> Result<Vec<CustomerId>>;
        read erasures(customer: Option<CustomerId>, before: Option<i64>, limit: usize) -> Result<Vec<Erasure>>;
        read open_erasures(limit: usize) -> Result<Vec<(CustomerId, u64)>>;
        read awaited() -> Result<Vec<String>>;
        read duplicates_through() -> Result<u64>;
        read sharing(terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>>;
        read pairs(before: Option<i64>, limit: usize) -> Result<Vec<NoticedPair>>;
        read pair_count() -> Result<u64>;
    }

    at_its_pace! {
        write settle(plans: &[Plan]) -> Result<Vec<Settled>>;
        write settle_fenced(plans: &[Plan]) -> Result<Vec<Settled>>;
        write issue_card(request: CardRequest) -> Result<Issued>;
        write arrive(channel: &ChannelId, page: &[Arrival], now: Micros) -> Result<Vec<Arrived>>;
        write [channels, awaited] register_channel(channel: &ChannelId) -> Result<bool>;
        write [channels, sessions, session, session_of, last_conversion] report(reports: &[Report], now: Micros) -> Result<()>;
        write set_profile(channel: &ChannelId, profile: &FunctionalityProfile, from_version: u64) -> Result<Option<u64>>;
        write reconfigure(change: &Reconfigure) -> Result<Reconfigured>;
        write set_sequence(kind: SequenceKind, sequence: NumberSequence) -> Result<()>;
        write [sequences] refresh_sequences() -> Result<()>;
        write [nothing] tell_listening(channels: &[String]) -> Result<()>;
        write [nothing] tell_alive() -> Result<bool>;
        write [nothing] listening_elsewhere() -> Result<Vec<String>>;
        write set_schedule(schedule: Schedule) -> Result<()>;
        write request_runs(job: Job, channels: &[String], now: Micros) -> Result<Vec<(String, u64)>>;
        write [sessions, session_of, session, last_conversion] add_session(session: &Session, now: Micros) -> Result<()>;
        write cancel_session(seq: i64) -> Result<Option<Session>>;
        write correct(channel: &ChannelId, counter: u64, operation: &Operation) -> Result<bool>;
        write erase(by: &CustomerRef, asker: &Asker, now: Micros) -> Result<Option<CustomerId>>;
        write confirm_erasure(customer: CustomerId, channels: &[ChannelId], done: bool, now: Micros) -> Result<()>;
        write recover(channel: &ChannelId, brought: &[Recovered], now: Micros) -> Result<()>;
        write await_no_longer(channel: Option<&ChannelId>) -> Result<()>;
        write [duplicates_through, pairs, pair_count] note_pairs(pairs: &[Pair], through: u64, now: Micros) -> Result<()>;
        write dismiss(one: CustomerId, other: CustomerId) -> Result<bool>;
    }
}

/// The file of headquarters, open.
pub struct File(Simulated, Config);

impl File {
    /// Opens or makes it, which takes no time.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: &Path, disk: Disk, config: Config, ids: &Ids) -> std::result::Result<Self, OpenError> {
        Ok(Self(Simulated { store: disk.at_once(SqliteStore::open(path, &config, ids))?, disk }, config))
    }

    /// Notes that it was restored from a backup, as [`crate::mark_restored`] does.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn mark_restored(
        &self,
        epoch: Uuid,
        expected: &[ChannelId],
    ) -> std::result::Result<Vec<String>, RestoreError> {
        Ok(self.0.disk.at_once(self.0.store.mark_restored(epoch, expected))?)
    }

    /// Closes it, whoever still holds it: a process that has ended.
    pub fn close(&self) {
        self.0.disk.at_once(self.0.store.close());
    }

    /// Serves headquarters from it, as [`crate::serve`] does.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve(
        &self,
        incoming: Incoming,
        shutdown: CancellationToken,
        time: (Arc<dyn Clock>, Ids),
    ) -> Boxed<'static, std::result::Result<(), ServeError>> {
        let (watchdog, door) = (self.1.watchdog, self.1.door.clone());
        Box::pin(run(incoming, shutdown, self.0.clone(), time, watchdog, door))
    }
}
