//! Headquarters on a SQLite file: one writer, whose transactions begin immediately.

mod arrivals;
mod customers;
mod settings;

use service_kit::{
    clock::Ids,
    database::{Durability, OpenError, Sqlite, Step, open_sqlite},
};
use sqlx::SqliteConnection;
use tillsync_proto::{
    ChannelId, Criterion, CustomerId, CustomerRef, Feature, Features, FunctionalityProfile, Job, Micros,
    Schedule,
};
use uuid::Uuid;

use super::{
    Arrival, ArrivalCounts, Arrived, CardRequest, ChannelRow, Due, Head, Hit, Issued, Plan, Record, Result,
    RunRequests, Session, SetAside, Settled, Store, Stored, Switched,
    batch::{HeadColumns, HeadRow},
    rows, sql,
};
use crate::config::{Config, NumberFormat};

const STEPS: &[Step] = &[(1, "start", include_str!("../../migrations/sqlite/0001_start.sql"))];

/// The store on SQLite.
#[derive(Clone)]
pub struct SqliteStore {
    db: Sqlite,
    accounts: NumberFormat,
    cards: NumberFormat,
}

impl SqliteStore {
    /// Opens the file, makes it if it is missing. At the first open it gets its epoch and its schedules.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(
        path: &std::path::Path,
        config: &Config,
        ids: &Ids,
    ) -> std::result::Result<Self, OpenError> {
        let db = open_sqlite(path, Durability::PowerCut, STEPS).await?;
        let failed = |source| OpenError::Driver { database: path.display().to_string(), source };
        settings::first_open(&db, ids.mint(), &config.first_schedules()).await.map_err(failed)?;
        Ok(Self { db, accounts: config.number_format.clone(), cards: config.card_format.clone() })
    }

    /// For tests that look with their own SQL.
    #[cfg(test)]
    pub(super) fn database(&self) -> &Sqlite {
        &self.db
    }
}

async fn head(connection: &mut SqliteConnection) -> Result<HeadRow> {
    let row: Option<HeadColumns> = sqlx::query_as(sql::HEAD).fetch_optional(connection).await?;
    row.map(HeadRow::from).ok_or(super::StoreError::Missing("hq_head"))
}

async fn save_head(connection: &mut SqliteConnection, head: HeadRow) -> Result<()> {
    sqlx::query(sql::SAVE_HEAD)
        .bind(head.feed_version)
        .bind(head.next_account)
        .bind(head.next_card)
        .bind(head.arrivals_completed)
        .execute(connection)
        .await?;
    Ok(())
}

/// GUIDs as one JSON parameter.
fn guids(ids: &[Uuid]) -> Result<String> {
    rows::write(&ids)
}

impl Store for SqliteStore {
    async fn head(&self) -> Result<Head> {
        rows::head(sqlx::query_as(sql::HEAD).fetch_optional(&self.db.readers).await?)
    }

    async fn settle(&self, plans: &[Plan]) -> Result<Vec<Settled>> {
        customers::settle(&self.db, &self.accounts, plans).await
    }

    async fn issue_card(&self, request: CardRequest) -> Result<Issued> {
        customers::issue_card(&self.db, &self.cards, request).await
    }

    async fn customer(&self, by: &CustomerRef) -> Result<Option<Record>> {
        customers::one(&self.db, by).await
    }

    async fn customers(&self, ids: &[CustomerId]) -> Result<Vec<Stored>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        customers::stored(&mut *self.db.readers.acquire().await?, &ids).await
    }

    async fn find(&self, criterion: &Criterion) -> Result<Vec<Hit>> {
        customers::find(&self.db, criterion).await
    }

    async fn changes(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<Record>> {
        customers::changes(&self.db, after, limit, max_bytes).await
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
        settings::report(&self.db, channel, status, runs, now).await
    }

    async fn profile(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        let row = sqlx::query_as(sql::PROFILE).bind(channel.as_str()).fetch_optional(&self.db.readers);
        rows::profile(row.await?)
    }

    async fn set_profile(&self, channel: &ChannelId, profile: FunctionalityProfile) -> Result<u64> {
        settings::set_profile(&self.db, channel, profile).await
    }

    async fn flags(&self) -> Result<(Features, u64)> {
        rows::flags(sqlx::query_as(sql::FLAGS).fetch_optional(&self.db.readers).await?)
    }

    async fn set_flag(&self, feature: Feature, enabled: bool) -> Result<Switched> {
        settings::set_flag(&self.db, feature, enabled).await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        rows::schedules(sqlx::query_as(sql::SCHEDULES).fetch_all(&self.db.readers).await?)
    }

    async fn set_schedule(&self, schedule: Schedule) -> Result<()> {
        settings::set_schedule(&self.db, schedule).await
    }

    async fn run_requests(&self) -> Result<RunRequests> {
        Ok(rows::run_requests(sqlx::query_as(sql::RUN_REQUESTS).fetch_all(&self.db.readers).await?))
    }

    async fn request_runs(&self, job: Job, channels: &[String]) -> Result<Vec<(String, u64)>> {
        settings::request_runs(&self.db, job, channels).await
    }

    async fn add_session(&self, session: &Session) -> Result<()> {
        settings::add_session(&self.db, session).await
    }

    async fn sessions(&self, before: Option<i64>, limit: usize) -> Result<Vec<(i64, Session)>> {
        settings::sessions(&self.db, before, limit).await
    }

    async fn session_of(&self, job: Job, channel: &str, request: u64) -> Result<Option<Session>> {
        settings::session_of(&self.db, job, channel, request).await
    }

    async fn last_conversion(&self) -> Result<Option<Session>> {
        settings::last_conversion(&self.db).await
    }
}
