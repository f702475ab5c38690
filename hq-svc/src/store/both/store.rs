//! The store, made of its rooms.

use service_kit::lease::Lease;
use tillsync_proto::{
    ChannelId, Criterion, CustomerId, CustomerRef, FunctionalityProfile, Job, Micros, Operation, Schedule,
};
use uuid::Uuid;

use super::{
    DatabaseStore, arrivals, customers, dialect, duplicates, erasures, operations, reads, restore, sessions,
    settings,
};
use crate::{
    numbers::{NumberSequence, SequenceKind},
    store::{
        Arrival, ArrivalCounts, Arrived, Asker, CardRequest, ChannelRow, Due, Erasure, FeedRecord,
        GlobalConfiguration, Head, Hit, Issued, NoticedPair, OperationRow, Pair, Plan, Reconfigure,
        Reconfigured, Record, Recovered, Report, Result, RunRequests, SequenceState, Session, SetAside,
        Settled, StatusFilter, Store, StoreError, Stored,
        batch::{HeadColumns, HeadRow, TermRow},
        rows, sql,
    },
};

impl Store for DatabaseStore {
    async fn head(&self) -> Result<Head> {
        rows::head(sqlx::query_as(sql::HEAD).fetch_optional(reads(&self.db)).await?)
    }

    async fn settle(&self, plans: &[Plan]) -> Result<Vec<Settled>> {
        customers::settle(&self.db, &self.numbers, None, plans).await
    }

    async fn settle_fenced(&self, plans: &[Plan]) -> Result<Vec<Settled>> {
        customers::settle(&self.db, &self.numbers, Some(&self.lease), plans).await
    }

    fn lease(&self) -> &Lease {
        &self.lease
    }

    async fn issue_card(&self, request: CardRequest) -> Result<Issued> {
        customers::issue_card(&self.db, &self.numbers, request).await
    }

    async fn customer(&self, by: &CustomerRef) -> Result<Option<Record>> {
        customers::one(&self.db, by).await
    }

    async fn customers(&self, ids: &[CustomerId]) -> Result<Vec<Stored>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        dialect::stored(&mut *reads(&self.db).acquire().await?, &ids).await
    }

    async fn find(&self, criterion: &Criterion) -> Result<Vec<Hit>> {
        customers::find(&self.db, criterion).await
    }

    async fn changes(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<FeedRecord>> {
        customers::changes(&self.db, after, limit, max_bytes).await
    }

    async fn records(&self, after: u64, limit: usize, max_bytes: usize) -> Result<Vec<Record>> {
        let feed = self.changes(after, limit, max_bytes).await?;
        Ok(feed.into_iter().map(|record| record.stored.record).collect())
    }

    async fn arrive(&self, channel: &ChannelId, page: &[Arrival], now: Micros) -> Result<Vec<Arrived>> {
        dialect::arrive(&self.db, channel, page, now).await
    }

    async fn due(
        &self,
        channel: Option<&str>,
        after: i64,
        now: Micros,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<Due>> {
        arrivals::due(&self.db, channel, after, now, limit, max_bytes).await
    }

    async fn due_channels(&self, now: Micros, limit: usize) -> Result<Vec<String>> {
        arrivals::due_channels(&self.db, now, limit).await
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

    async fn report(&self, reports: &[Report], now: Micros) -> Result<()> {
        sessions::report(&self.db, reports, now).await
    }

    async fn profile(&self, channel: &ChannelId) -> Result<(FunctionalityProfile, u64)> {
        let row = sqlx::query_as(sql::PROFILE).bind(channel.as_str()).fetch_optional(reads(&self.db));
        rows::profile(row.await?)
    }

    async fn profiles(&self, channels: &[ChannelId]) -> Result<Vec<(FunctionalityProfile, u64)>> {
        settings::profiles(&self.db, channels).await
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
        rows::configuration(sqlx::query_as(sql::CONFIGURATION).fetch_optional(reads(&self.db)).await?)
    }

    async fn reconfigure(&self, change: &Reconfigure) -> Result<Reconfigured> {
        settings::reconfigure(&self.db, change).await
    }

    async fn sequences(&self) -> Result<Vec<SequenceState>> {
        let mut numbers = self.numbers.lock().await.clone();
        let row: Option<HeadColumns> = sqlx::query_as(sql::HEAD).fetch_optional(reads(&self.db)).await?;
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

    async fn refresh_sequences(&self) -> Result<()> {
        let mut numbers = self.numbers.lock().await;
        let stored = settings::sequences(&self.db, &numbers).await?;
        numbers.refresh(stored);
        Ok(())
    }

    async fn tell_listening(&self, channels: &[String]) -> Result<()> {
        dialect::tell_listening(&self.db, &self.lease, channels).await
    }

    async fn tell_alive(&self) -> Result<bool> {
        dialect::tell_alive(&self.db, &self.lease).await
    }

    async fn listening_elsewhere(&self) -> Result<Vec<String>> {
        dialect::listening_elsewhere(&self.db, &self.lease).await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        rows::schedules(sqlx::query_as(sql::SCHEDULES).fetch_all(reads(&self.db)).await?)
    }

    async fn set_schedule(&self, schedule: Schedule) -> Result<()> {
        settings::set_schedule(&self.db, schedule).await
    }

    async fn run_requests(&self) -> Result<RunRequests> {
        Ok(rows::run_requests(sqlx::query_as(sql::RUN_REQUESTS).fetch_all(reads(&self.db)).await?))
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

    async fn lineage(&self) -> Result<Vec<(Uuid, u64)>> {
        restore::lineage(&self.db).await
    }

    async fn arrived_through(&self, channel: &ChannelId) -> Result<u64> {
        restore::arrived_through(&self.db, channel).await
    }

    async fn erase(&self, by: &CustomerRef, asker: &Asker, now: Micros) -> Result<Option<CustomerId>> {
        erasures::erase(&self.db, by, asker, now).await
    }

    async fn are_erased(&self, ids: &[CustomerId]) -> Result<Vec<CustomerId>> {
        erasures::are_erased(&self.db, ids).await
    }

    async fn erasures(
        &self,
        customer: Option<CustomerId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Erasure>> {
        erasures::list(&self.db, customer, before, limit).await
    }

    async fn open_erasures(&self, limit: usize) -> Result<Vec<(CustomerId, u64)>> {
        erasures::open(&self.db, limit).await
    }

    async fn confirm_erasure(
        &self,
        customer: CustomerId,
        channels: &[ChannelId],
        done: bool,
        now: Micros,
    ) -> Result<()> {
        erasures::confirm(&self.db, customer, channels, done, now).await
    }

    async fn recover(&self, channel: &ChannelId, brought: &[Recovered], now: Micros) -> Result<()> {
        restore::recover(&self.db, &self.numbers, channel, brought, now).await
    }

    async fn awaited(&self) -> Result<Vec<String>> {
        restore::awaited(&self.db).await
    }

    async fn await_no_longer(&self, channel: Option<&ChannelId>) -> Result<()> {
        restore::await_no_longer(&self.db, channel).await
    }

    async fn duplicates_through(&self) -> Result<u64> {
        duplicates::through(&self.db).await
    }

    async fn sharing(&self, terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>> {
        dialect::sharing(&self.db, terms, limit).await
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
