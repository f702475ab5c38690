//! Headquarters on PostgreSQL. Nothing is bound to a session: no LISTEN, no advisory locks.

mod arrivals;
mod customers;
mod duplicates;
mod operations;
mod sessions;
mod settings;

use std::sync::Arc;

use service_kit::{
    clock::Ids,
    database::{OpenError, Step, open_postgres},
};
use sqlx::{PgConnection, PgPool};
use tillsync_proto::{
    ChannelId, Criterion, CustomerId, CustomerRef, FunctionalityProfile, Job, Micros, Operation, Schedule,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{
    Arrival, ArrivalCounts, Arrived, CardRequest, ChannelRow, Due, FeedRecord, GlobalConfiguration, Head,
    Hit, Issued, NoticedPair, OperationRow, Pair, Plan, Reconfigure, Reconfigured, Record, Result,
    RunRequests, SequenceState, Session, SetAside, Settled, StatusFilter, Store, StoreError, Stored,
    batch::{HeadColumns, HeadRow, TermRow},
    rows, sql,
};
use crate::{
    config::Config,
    numbers::{NumberSequence, NumberSequences, SequenceKind},
};

const STEPS: &[Step] = &[(1, "start", include_str!("../../migrations/postgres/0001_start.sql"))];

const LOCK_HEAD: &str = "select epoch, feed_version, next_account, next_card, customers, arrivals_completed \
     from hq_head where id = 1 for update";
/// Connections to keep at most. More only wait for each other at the row of `hq_head`.
const CONNECTIONS: u32 = 16;

/// The store on PostgreSQL.
#[derive(Clone)]
pub struct PostgresStore {
    db: PgPool,
    /// Held from the first number that a transaction takes to its commit.
    numbers: Arc<Mutex<NumberSequences>>,
}

impl PostgresStore {
    /// Connects. At the first open the database gets its epoch and its schedules.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(url: &str, config: &Config, ids: &Ids) -> std::result::Result<Self, OpenError> {
        let db = open_postgres(url, CONNECTIONS, STEPS).await?;
        let failed = |source| OpenError::Driver { database: "the PostgreSQL database".to_owned(), source };
        settings::first_open(&db, ids.mint(), config).await.map_err(failed)?;
        let fallback = NumberSequences {
            accounts: NumberSequence::new(config.number_format.clone(), 0),
            cards: NumberSequence::new(config.card_format.clone(), 0),
        };
        let numbers = settings::sequences(&db, &fallback).await;
        let numbers = numbers.map_err(|error| match error {
            StoreError::Driver(source) => failed(source),
            other => failed(sqlx::Error::Decode(other.into())),
        })?;
        Ok(Self { db, numbers: Arc::new(Mutex::new(numbers)) })
    }

    /// For tests that look with their own SQL.
    #[cfg(test)]
    pub(super) fn database(&self) -> &PgPool {
        &self.db
    }
}

/// The row of `hq_head`, locked until the transaction ends: this is what puts all changes of customers in
/// one order.
async fn head(connection: &mut PgConnection) -> Result<HeadRow> {
    let row: Option<HeadColumns> = sqlx::query_as(LOCK_HEAD).fetch_optional(connection).await?;
    row.map(HeadRow::from).ok_or(StoreError::Missing("hq_head"))
}

async fn save_head(connection: &mut PgConnection, head: HeadRow) -> Result<()> {
    sqlx::query(sql::SAVE_HEAD)
        .bind(head.feed_version)
        .bind(head.next_account)
        .bind(head.next_card)
        .bind(head.customers)
        .bind(head.arrivals_completed)
        .execute(connection)
        .await?;
    Ok(())
}

impl Store for PostgresStore {
    async fn head(&self) -> Result<Head> {
        rows::head(sqlx::query_as(sql::HEAD).fetch_optional(&self.db).await?)
    }

    async fn settle(&self, plans: &[Plan]) -> Result<Vec<Settled>> {
        customers::settle(&self.db, &self.numbers, plans).await
    }

    async fn issue_card(&self, request: CardRequest) -> Result<Issued> {
        customers::issue_card(&self.db, &self.numbers, request).await
    }

    async fn customer(&self, by: &CustomerRef) -> Result<Option<Record>> {
        customers::one(&self.db, by).await
    }

    async fn customers(&self, ids: &[CustomerId]) -> Result<Vec<Stored>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        customers::stored(&mut *self.db.acquire().await?, &ids).await
    }

    async fn find(&self, criterion: &Criterion) -> Result<Vec<Hit>> {
        customers::find(&self.db, criterion).await
    }

    async fn changes(
        &self,
        channel: &ChannelId,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<FeedRecord>> {
        customers::changes(&self.db, channel.as_str(), after, limit, max_bytes).await
    }

    async fn records(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<Record>> {
        // No channel has an empty name.
        let feed = customers::changes(&self.db, "", after, limit, max_bytes).await?;
        Ok(feed.into_iter().map(|record| record.stored.record).collect())
    }

    async fn arrive(&self, channel: &ChannelId, page: Vec<Arrival>, now: Micros) -> Result<Vec<Arrived>> {
        arrivals::arrive(&self.db, channel, page, now).await
    }

    async fn due(&self, after: i64, now: Micros, limit: usize, max_bytes: usize) -> Result<Vec<Due>> {
        arrivals::due(&self.db, after, now, limit, max_bytes).await
    }

    async fn arrival_counts(&self) -> Result<ArrivalCounts> {
        arrivals::counts(&self.db).await
    }

    async fn set_aside(
        &self,
        after: Option<i64>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<SetAside>, bool)> {
        arrivals::set_aside(&self.db, after, limit, max_bytes).await
    }

    async fn register_channel(&self, channel: &ChannelId) -> Result<bool> {
        settings::register_channel(&self.db, channel).await
    }

    async fn channels(&self) -> Result<Vec<ChannelRow>> {
        settings::channels(&self.db).await
    }

    async fn report(
        &self,
        channel: &ChannelId,
        status: Vec<u8>,
        runs: &[Session],
        now: Micros,
    ) -> Result<()> {
        sessions::report(&self.db, channel, status, runs, now).await
    }

    async fn profile(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        let row = sqlx::query_as(sql::PROFILE).bind(channel.as_str()).fetch_optional(&self.db);
        rows::profile(row.await?)
    }

    async fn set_profile(
        &self,
        channel: &ChannelId,
        profile: &FunctionalityProfile,
        from_version: u64,
    ) -> Result<Option<u64>> {
        settings::set_profile(&self.db, channel, profile, from_version).await
    }

    async fn configuration(&self) -> Result<GlobalConfiguration> {
        rows::configuration(sqlx::query_as(sql::CONFIGURATION).fetch_optional(&self.db).await?)
    }

    async fn reconfigure(&self, change: &Reconfigure) -> Result<Reconfigured> {
        settings::reconfigure(&self.db, change).await
    }

    async fn sequences(&self) -> Result<Vec<SequenceState>> {
        let mut numbers = self.numbers.lock().await.clone();
        let row: Option<HeadColumns> = sqlx::query_as(sql::HEAD).fetch_optional(&self.db).await?;
        let head = row.map(HeadRow::from).ok_or(StoreError::Missing("hq_head"))?;
        Ok(SequenceKind::ALL.map(|kind| head.sequence(kind, numbers.of(kind))).to_vec())
    }

    async fn set_sequence(&self, kind: SequenceKind, sequence: NumberSequence) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        let format = sequence.format.to_string();
        settings::set_sequence(&self.db, kind, &format, sequence.block_size).await?;
        *numbers.of(kind) = sequence;
        Ok(())
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        rows::schedules(sqlx::query_as(sql::SCHEDULES).fetch_all(&self.db).await?)
    }

    async fn set_schedule(&self, schedule: Schedule) -> Result<()> {
        settings::set_schedule(&self.db, schedule).await
    }

    async fn run_requests(&self) -> Result<RunRequests> {
        Ok(rows::run_requests(sqlx::query_as(sql::RUN_REQUESTS).fetch_all(&self.db).await?))
    }

    async fn request_runs(&self, job: Job, channels: &[String], now: Micros) -> Result<Vec<(String, u64)>> {
        sessions::request_runs(&self.db, job, channels, now).await
    }

    async fn add_session(&self, session: &Session, now: Micros) -> Result<()> {
        sessions::add(&self.db, session, now).await
    }

    async fn sessions(&self, before: Option<i64>, limit: usize) -> Result<Vec<Session>> {
        sessions::list(&self.db, before, limit).await
    }

    async fn session(&self, seq: i64) -> Result<Option<Session>> {
        sessions::one(&self.db, seq).await
    }

    async fn cancel_session(&self, seq: i64) -> Result<Option<Session>> {
        sessions::cancel(&self.db, seq).await
    }

    async fn session_of(&self, job: Job, channel: &str, request: u64) -> Result<Option<Session>> {
        sessions::of_request(&self.db, job, channel, request).await
    }

    async fn last_conversion(&self) -> Result<Option<Session>> {
        sessions::last_conversion(&self.db).await
    }

    async fn operations(
        &self,
        filter: &StatusFilter,
        before: Option<i64>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<(Vec<OperationRow>, Option<i64>)> {
        operations::list(&self.db, filter, before, limit, max_bytes).await
    }

    async fn operation(&self, channel: &ChannelId, counter: u64) -> Result<Option<OperationRow>> {
        operations::one(&self.db, channel, counter).await
    }

    async fn correct(&self, channel: &ChannelId, counter: u64, operation: &Operation) -> Result<bool> {
        operations::correct(&self.db, channel, counter, operation).await
    }

    async fn has_earlier_failure(&self, customer: CustomerId, seq: i64) -> Result<bool> {
        operations::has_earlier_failure(&self.db, customer, seq).await
    }

    async fn duplicates_through(&self) -> Result<u64> {
        duplicates::through(&self.db).await
    }

    async fn sharing(&self, terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>> {
        duplicates::sharing(&self.db, terms, limit).await
    }

    async fn note_pairs(&self, pairs: &[Pair], through: u64, now: Micros) -> Result<()> {
        duplicates::note(&self.db, pairs, through, now).await
    }

    async fn pairs(&self, before: Option<i64>, limit: usize) -> Result<Vec<NoticedPair>> {
        duplicates::list(&self.db, before, limit).await
    }

    async fn pair_count(&self) -> Result<u64> {
        duplicates::count(&self.db).await
    }

    async fn dismiss(&self, one: CustomerId, other: CustomerId) -> Result<bool> {
        duplicates::dismiss(&self.db, one, other).await
    }
}
