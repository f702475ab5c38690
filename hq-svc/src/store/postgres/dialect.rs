//! What only PostgreSQL does so: lists are arrays, and rows that are about to be changed are locked.

use std::collections::{HashMap, HashSet};

use service_kit::lease::Lease;
use sqlx::{PgConnection, PgPool};
use tillsync_proto::{ChannelId, Job, Micros};
use uuid::Uuid;

use crate::store::{
    Arrival, Arrived, Result, SILENCE_S, StoreError, Stored, arrived,
    batch::{Batch, HeadColumns, HeadRow, Row, TermRow},
    rows, sql,
};

/// A profile that is about to be changed.
pub(super) const LOCK_PROFILE: &str =
    "select profile, profile_version from channels where id = $1 for update";
/// Flags and definitions that are about to be changed.
pub(super) const LOCK_CONFIGURATION: &str =
    "select bits, attributes, version from global_configuration where id = 1 for update";
const LOCK_HEAD: &str = "select epoch, feed_version, next_account, next_card, customers, arrivals_completed, \
     (select count(*) from awaited_channels) from hq_head where id = 1 for update";
const VERSIONS: &str = "select id, version from customers where id = any($1)";
const STORED: &str = "select version, fingerprint, body from customers where id = any($1)";
const ERASED: &str = "select customer_id from erasures where customer_id = any($1)";
const INSERT: &str = "insert into customers (id, account_number, version, fingerprint, body) \
     select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::text[])";
const REPLACE: &str = "update customers set version = new.version, body = new.body \
     from unnest($1::uuid[], $2::bigint[], $3::text[]) new (id, version, body) where customers.id = new.id";
const INSERT_TERMS: &str = "insert into customer_terms (kind, term, customer_id) \
     select * from unnest($1::smallint[], $2::text[], $3::uuid[]) on conflict do nothing";
const DELETE_TERMS: &str = "delete from customer_terms old \
     using unnest($1::smallint[], $2::text[], $3::uuid[]) gone (kind, term, customer_id) \
     where old.kind = gone.kind and old.term = gone.term and old.customer_id = gone.customer_id";
const COMPLETE: &str = "update arrivals set online_operation_completed = 1, attempts = attempts + 1, \
     next_attempt_at = null, reason = null, message = null \
     where online_operation_completed = 0 and arrival_seq = any($1)";
const EDITS: &str = "insert into edits_applied (customer_id, channel_id, counter) \
     select * from unnest($1::uuid[], $2::text[], $3::bigint[]) \
     on conflict (customer_id, channel_id) do update set counter = greatest(edits_applied.counter, excluded.counter)";
const OVERWRITTEN: &str = "update arrivals set overwritten = new.overwritten \
     from unnest($1::bigint[], $2::text[]) new (seq, overwritten) \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";
const SET_ASIDE: &str = "update arrivals set attempts = attempts + 1, reason = new.reason, \
     message = new.message, next_attempt_at = new.next_attempt_at \
     from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) \
        new (seq, reason, message, next_attempt_at) \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";

const TELL_LISTENING: &str = "insert into processes (id, channels, seen_at) values ($1, $2, clock_timestamp()) \
     on conflict (id) do update set channels = excluded.channels, seen_at = excluded.seen_at";
const TELL_ALIVE: &str = "update processes set seen_at = clock_timestamp() where id = $1";
const FORGET_PROCESSES: &str =
    "delete from processes where seen_at < clock_timestamp() - make_interval(secs => $1)";
const LISTENING: &str = "select distinct unnest(channels) from processes \
     where id is distinct from $1 and seen_at > clock_timestamp() - make_interval(secs => $2)";

const REPORT: &str = "update channels set status = said.status, last_contact_at = $3 \
     from unnest($1::text[], $2::bytea[]) said (channel_id, status) where channels.id = said.channel_id";
const CUT_OFF: &str = "update sessions set state = case when job = $3 then 9 else 10 end, error = 'the run was cut off' \
     where channel_id = any($1) and run_request = 0 and kept_at < $2 and state in (1, 2, 3, 4, 5)";
const PROFILES: &str = "select id, profile, profile_version from channels where id = any($1)";

const SHARING: &str = "select t.kind, t.term, t.customer_id \
     from unnest($1::smallint[], $2::text[]) asked (kind, term) \
     join customer_terms t on t.kind = asked.kind and t.term = asked.term limit $3";

const REQUEST_RUNS: &str = "insert into run_requests (job, channel_id, request) \
     select $1, channel, 1 from unnest($2::text[]) asked (channel) \
     on conflict (job, channel_id) do update set request = run_requests.request + 1 returning channel_id, request";

const ARRIVE: &str = "insert into arrivals \
     (channel_id, counter, customer_id, kind, operation, raw, arrived_at, reason, message, logged_at) \
     select $1, counter, customer_id, kind, operation, raw, $2, reason, message, logged_at \
     from unnest($3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::text[], \
        $10::bigint[]) \
        with ordinality page \
        (counter, customer_id, kind, operation, raw, reason, message, logged_at, place) \
     order by place on conflict (channel_id, counter) do nothing returning counter";
const STANDING: &str = "select a.counter, a.customer_id, a.logged_at, a.reason, c.account_number \
     from arrivals a left join customers c on c.id = a.customer_id \
     where a.channel_id = $1 and a.counter = any($2)";

/// Whether this process may do background work, to the end of the transaction.
pub(super) async fn fence(lease: &Lease, connection: &mut PgConnection) -> Result<bool> {
    Ok(lease.fence(connection).await?)
}

/// Which channels listen to this process; those that have ended are forgotten.
pub(super) async fn tell_listening(db: &PgPool, lease: &Lease, channels: &[String]) -> Result<()> {
    sqlx::query(FORGET_PROCESSES).bind(SILENCE_S).execute(db).await?;
    sqlx::query(TELL_LISTENING).bind(lease.holder()).bind(channels).execute(db).await?;
    Ok(())
}

pub(super) async fn tell_alive(db: &PgPool, lease: &Lease) -> Result<bool> {
    let told = sqlx::query(TELL_ALIVE).bind(lease.holder()).execute(db).await?;
    Ok(told.rows_affected() > 0)
}

pub(super) async fn listening_elsewhere(db: &PgPool, lease: &Lease) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(LISTENING).bind(lease.holder()).bind(SILENCE_S).fetch_all(db).await?)
}

/// Old versions of rows go with the next vacuum, old write-ahead logs with their archive.
#[expect(clippy::unused_async, reason = "SQLite has something to do")]
pub(super) async fn before_erasing(_: &PgPool) -> Result<()> {
    Ok(())
}

#[expect(clippy::unused_async, reason = "SQLite has something to do")]
pub(super) async fn after_erasing(_: &PgPool) -> Result<()> {
    Ok(())
}

/// Those of the customers that are erased.
pub(super) async fn erased(db: &PgPool, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    Ok(sqlx::query_scalar(ERASED).bind(ids).fetch_all(db).await?)
}

/// The row of `hq_head`, locked until the transaction ends: this is what puts all changes of customers in
/// one order.
pub(super) async fn head(connection: &mut PgConnection) -> Result<HeadRow> {
    let row: Option<HeadColumns> = sqlx::query_as(LOCK_HEAD).fetch_optional(connection).await?;
    row.map(HeadRow::from).ok_or(StoreError::Missing("hq_head"))
}

pub(super) async fn save_head(connection: &mut PgConnection, head: HeadRow) -> Result<()> {
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

pub(super) async fn versions(connection: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(VERSIONS).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn stored(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Stored>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_as(STORED).bind(ids).fetch_all(connection).await?;
    found.into_iter().map(rows::stored).collect()
}

pub(super) async fn write_customers(tx: &mut PgConnection, batch: &Batch) -> Result<()> {
    let bodies =
        |rows: &[Row]| -> Result<Vec<String>> { rows.iter().map(|row| rows::write(&row.customer)).collect() };
    if !batch.inserts.is_empty() {
        sqlx::query(INSERT)
            .bind(batch.inserts.iter().map(Row::id).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(Row::account).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(batch.inserts.iter().map(|row| row.fingerprint).collect::<Vec<_>>())
            .bind(bodies(&batch.inserts)?)
            .execute(&mut *tx)
            .await?;
    }
    if !batch.replaces.is_empty() {
        sqlx::query(REPLACE)
            .bind(batch.replaces.iter().map(Row::id).collect::<Vec<_>>())
            .bind(batch.replaces.iter().map(|row| row.version).collect::<Vec<_>>())
            .bind(bodies(&batch.replaces)?)
            .execute(&mut *tx)
            .await?;
    }
    write_terms(tx, DELETE_TERMS, &batch.terms_gone).await?;
    write_terms(tx, INSERT_TERMS, &batch.terms_new).await
}

async fn write_terms(tx: &mut PgConnection, sql: &'static str, terms: &[TermRow]) -> Result<()> {
    if !terms.is_empty() {
        sqlx::query(sql)
            .bind(terms.iter().map(|(kind, _, _)| *kind).collect::<Vec<_>>())
            .bind(terms.iter().map(|(_, term, _)| term.as_str()).collect::<Vec<_>>())
            .bind(terms.iter().map(|(_, _, customer)| *customer).collect::<Vec<_>>())
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Gives how many arrivals are processed now that were not.
pub(super) async fn judge(tx: &mut PgConnection, batch: &Batch) -> Result<i64> {
    if !batch.set_aside.is_empty() {
        let rows = &batch.set_aside;
        sqlx::query(SET_ASIDE)
            .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.3).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    let edits = batch.edits();
    if !edits.is_empty() {
        sqlx::query(EDITS)
            .bind(edits.iter().map(|row| row.0).collect::<Vec<_>>())
            .bind(edits.iter().map(|row| row.1.as_str()).collect::<Vec<_>>())
            .bind(edits.iter().map(|row| row.2).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await?;
    }
    if !batch.overwritten.is_empty() {
        let (seqs, values): (Vec<i64>, Vec<String>) = batch.overwritten.iter().cloned().unzip();
        sqlx::query(OVERWRITTEN).bind(seqs).bind(values).execute(&mut *tx).await?;
    }
    if batch.completed.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(COMPLETE).bind(&batch.completed).execute(tx).await?;
    Ok(rows::number(done.rows_affected()))
}

/// Takes a page of operations.
pub(super) async fn arrive(
    db: &PgPool,
    channel: &ChannelId,
    page: &[Arrival],
    now: Micros,
) -> Result<Vec<Arrived>> {
    let counters: Vec<i64> = page.iter().map(|arrival| arrival.counter).collect();
    let rows: Vec<arrived::NewRow<'_>> = arrived::in_order(page).collect();
    let operation = |row: &arrived::NewRow<'_>| row.operation.map(rows::write).transpose();
    let operations: Vec<Option<String>> = rows.iter().map(operation).collect::<Result<_>>()?;
    let mut tx = db.begin().await?;
    let new: Vec<i64> = sqlx::query_scalar(ARRIVE)
        .bind(channel.as_str())
        .bind(now.0)
        .bind(rows.iter().map(|row| row.counter).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.customer).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.kind).collect::<Vec<_>>())
        .bind(operations)
        .bind(rows.iter().map(|row| row.raw).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reason).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.message).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.logged_at).collect::<Vec<_>>())
        .fetch_all(&mut *tx)
        .await?;
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    sqlx::query(sql::COUNT_ARRIVED).bind(channel.as_str()).bind(count).execute(&mut *tx).await?;
    let standing: Vec<arrived::StandingColumns> =
        sqlx::query_as(STANDING).bind(channel.as_str()).bind(&counters).fetch_all(&mut *tx).await?;
    tx.commit().await?;
    let standing: HashMap<i64, _> = standing.into_iter().map(|row| (row.0, row)).collect();
    Ok(arrived::answers(&counters, new.into_iter().collect::<HashSet<_>>(), &standing))
}

/// Who has these terms.
pub(super) async fn sharing(db: &PgPool, terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>> {
    let (kinds, texts): (Vec<i16>, Vec<String>) = terms.iter().cloned().unzip();
    let query = sqlx::query_as(SHARING).bind(kinds).bind(texts).bind(rows::limit(limit));
    Ok(query.fetch_all(db).await?)
}

/// What channels say of themselves, each once.
pub(super) async fn report(tx: &mut PgConnection, said: &[(&str, &[u8])], now: Micros) -> Result<()> {
    let (channels, statuses): (Vec<&str>, Vec<&[u8]>) = said.iter().copied().unzip();
    sqlx::query(REPORT).bind(channels).bind(statuses).bind(now.0).execute(tx).await?;
    Ok(())
}

/// The scheduled runs of channels that were under way, and that their newest report knows nothing of. States 9 and 10:
/// the upload or the download has failed.
pub(super) async fn cut_off(tx: &mut PgConnection, channels: &[&str], now: Micros) -> Result<()> {
    sqlx::query(CUT_OFF).bind(channels).bind(now.0).bind(Job::Upload.name()).execute(tx).await?;
    Ok(())
}

/// The profiles of those channels that are known.
pub(super) async fn profiles(db: &PgPool, channels: &[&str]) -> Result<Vec<rows::ProfileColumns>> {
    Ok(sqlx::query_as(PROFILES).bind(channels).fetch_all(db).await?)
}

/// Makes one more request for each channel, and gives their numbers.
pub(super) async fn request_runs(
    tx: &mut PgConnection,
    job: Job,
    channels: &[String],
) -> Result<Vec<(String, i64)>> {
    let query = sqlx::query_as(REQUEST_RUNS).bind(job.name()).bind(channels);
    Ok(query.fetch_all(tx).await?)
}
