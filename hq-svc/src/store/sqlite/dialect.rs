//! What only SQLite does so: lists are one JSON parameter, and whoever writes has the only writer.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use service_kit::{
    database::{BEGIN_IMMEDIATE, Sqlite},
    lease::Lease,
};
use sqlx::SqliteConnection;
use tillsync_proto::{ChannelId, Job, Micros};
use uuid::Uuid;

use crate::store::{
    Arrival, Arrived, Result, StoreError, Stored, arrived,
    batch::{Batch, HeadColumns, HeadRow, TermRow},
    rows, sql,
};

/// A profile that is about to be changed: the transaction has the only writer.
pub(super) const LOCK_PROFILE: &str = sql::PROFILE;
/// The same of flags and definitions.
pub(super) const LOCK_CONFIGURATION: &str = sql::CONFIGURATION;
const VERSIONS: &str =
    "select id, version from customers where id in (select unhex(value, '-') from json_each($1))";
const STORED: &str = "select version, fingerprint, body from customers \
     where id in (select unhex(value, '-') from json_each($1))";
const INSERT: &str = "insert into customers (id, account_number, version, fingerprint, body) \
     select unhex(value ->> 0, '-'), value ->> 1, value ->> 2, unhex(value ->> 3, '-'), \
     value ->> 4 from json_each($1)";
const REPLACE: &str = "update customers set version = new.version, body = new.body \
     from (select unhex(value ->> 0, '-') as id, value ->> 1 as version, value ->> 2 as body \
        from json_each($1)) new \
     where customers.id = new.id";
const INSERT_TERMS: &str = "insert into customer_terms (kind, term, customer_id) \
     select value ->> 0, value ->> 1, unhex(value ->> 2, '-') from json_each($1) where true \
     on conflict do nothing";
const DELETE_TERMS: &str = "delete from customer_terms where (kind, term, customer_id) in \
     (select value ->> 0, value ->> 1, unhex(value ->> 2, '-') from json_each($1))";
const COMPLETE: &str = "update arrivals set online_operation_completed = 1, attempts = attempts + 1, \
     next_attempt_at = null, reason = null, message = null \
     where online_operation_completed = 0 and arrival_seq in (select value from json_each($1))";
const EDITS: &str = "insert into edits_applied (customer_id, channel_id, counter) \
     select unhex(value ->> 0, '-'), value ->> 1, value ->> 2 from json_each($1) where true \
     on conflict (customer_id, channel_id) do update set counter = max(counter, excluded.counter)";
const OVERWRITTEN: &str = "update arrivals set overwritten = new.overwritten \
     from (select value ->> 0 as seq, value ->> 1 as overwritten from json_each($1)) new \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";
const SET_ASIDE: &str = "update arrivals set attempts = attempts + 1, reason = new.reason, \
     message = new.message, next_attempt_at = new.next_attempt_at \
     from (select value ->> 0 as seq, value ->> 1 as reason, value ->> 2 as message, \
        value ->> 3 as next_attempt_at from json_each($1)) new \
     where arrivals.arrival_seq = new.seq and online_operation_completed = 0";

const REPORT: &str = "update channels set status = unhex(said.value ->> 1), last_contact_at = $2 \
     from json_each($1) said where channels.id = said.value ->> 0";
const CUT_OFF: &str = "update sessions set state = case when job = $3 then 9 else 10 end, error = 'the run was cut off' \
     where channel_id in (select value from json_each($1)) and run_request = 0 and kept_at < $2 \
     and state in (1, 2, 3, 4, 5)";
const PROFILES: &str = "select id, profile, profile_version from channels \
     where id in (select value from json_each($1))";

const SHARING: &str = "select t.kind, t.term, t.customer_id from json_each($1) asked \
     join customer_terms t on t.kind = asked.value ->> 0 and t.term = asked.value ->> 1 limit $2";

const REQUEST_RUNS: &str = "insert into run_requests (job, channel_id, request) \
     select $1, value, 1 from json_each($2) where true \
     on conflict (job, channel_id) do update set request = request + 1 returning channel_id, request";

const ARRIVE: &str = "insert into arrivals \
     (channel_id, counter, customer_id, kind, operation, raw, arrived_at, reason, message, logged_at) \
     select $1, value ->> 0, unhex(value ->> 1, '-'), value ->> 2, value ->> 3, \
     unhex(value ->> 4), $2, value ->> 5, value ->> 6, value ->> 7 from json_each($3) where true \
     on conflict (channel_id, counter) do nothing returning counter";
const STANDING: &str = "select a.counter, a.customer_id, a.reason, c.account_number \
     from arrivals a left join customers c on c.id = a.customer_id \
     where a.channel_id = $1 and a.counter in (select value from json_each($2))";

/// A SQLite file has one process, which may do everything.
#[expect(clippy::unused_async, reason = "PostgreSQL has to be asked")]
pub(super) async fn fence(lease: &Lease, _: &mut SqliteConnection) -> Result<bool> {
    Ok(lease.is_held())
}

/// There is nobody to tell.
#[expect(clippy::unused_async, reason = "PostgreSQL has to be asked")]
pub(super) async fn tell_listening(_: &Sqlite, _: &Lease, _: &[String]) -> Result<()> {
    Ok(())
}

#[expect(clippy::unused_async, reason = "PostgreSQL has to be asked")]
pub(super) async fn tell_alive(_: &Sqlite, _: &Lease) -> Result<bool> {
    Ok(true)
}

#[expect(clippy::unused_async, reason = "PostgreSQL has to be asked")]
pub(super) async fn listening_elsewhere(_: &Sqlite, _: &Lease) -> Result<Vec<String>> {
    Ok(Vec::new())
}

/// The row of `hq_head`. The transaction has the only writer, which is what puts all changes of customers in one
/// order.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<HeadRow> {
    let row: Option<HeadColumns> = sqlx::query_as(sql::HEAD).fetch_optional(connection).await?;
    row.map(HeadRow::from).ok_or(StoreError::Missing("hq_head"))
}

pub(super) async fn save_head(connection: &mut SqliteConnection, head: HeadRow) -> Result<()> {
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

/// GUIDs as one JSON parameter.
fn guids(ids: &[Uuid]) -> Result<String> {
    rows::write(&ids)
}

pub(super) async fn versions(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(VERSIONS).bind(guids(ids)?).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn stored(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<Vec<Stored>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_as(STORED).bind(guids(ids)?).fetch_all(connection).await?;
    found.into_iter().map(rows::stored).collect()
}

pub(super) async fn write_customers(tx: &mut SqliteConnection, batch: &Batch) -> Result<()> {
    if !batch.inserts.is_empty() {
        // A body is text within the text: it is not taken apart on its way.
        let rows = batch.inserts.iter().map(|row| {
            Ok((row.id(), row.account(), row.version, row.fingerprint, rows::write(&row.customer)?))
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        sqlx::query(INSERT).bind(rows::write(&rows)?).execute(&mut *tx).await?;
    }
    if !batch.replaces.is_empty() {
        let rows = batch.replaces.iter();
        let rows = rows.map(|row| Ok((row.id(), row.version, rows::write(&row.customer)?)));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        sqlx::query(REPLACE).bind(rows::write(&rows)?).execute(&mut *tx).await?;
    }
    write_terms(tx, DELETE_TERMS, &batch.terms_gone).await?;
    write_terms(tx, INSERT_TERMS, &batch.terms_new).await
}

async fn write_terms(tx: &mut SqliteConnection, sql: &'static str, terms: &[TermRow]) -> Result<()> {
    if !terms.is_empty() {
        sqlx::query(sql).bind(rows::write(&terms)?).execute(tx).await?;
    }
    Ok(())
}

/// Gives how many arrivals are processed now that were not.
pub(super) async fn judge(tx: &mut SqliteConnection, batch: &Batch) -> Result<i64> {
    if !batch.set_aside.is_empty() {
        sqlx::query(SET_ASIDE).bind(rows::write(&batch.set_aside)?).execute(&mut *tx).await?;
    }
    let edits = batch.edits();
    if !edits.is_empty() {
        sqlx::query(EDITS).bind(rows::write(&edits)?).execute(&mut *tx).await?;
    }
    if !batch.overwritten.is_empty() {
        sqlx::query(OVERWRITTEN).bind(rows::write(&batch.overwritten)?).execute(&mut *tx).await?;
    }
    if batch.completed.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(COMPLETE).bind(rows::write(&batch.completed)?).execute(tx).await?;
    Ok(rows::number(done.rows_affected()))
}

/// Takes a page of operations.
pub(super) async fn arrive(
    db: &Sqlite,
    channel: &ChannelId,
    page: Vec<Arrival>,
    now: Micros,
) -> Result<Vec<Arrived>> {
    let counters: Vec<i64> = page.iter().map(|arrival| arrival.counter).collect();
    let rows: Vec<_> = arrived::in_order(&page)
        .map(|row| {
            let raw = row.raw.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            let operation = row.operation.map(rows::write).transpose()?;
            Ok((row.counter, row.customer, row.kind, operation, raw, row.reason, row.message, row.logged_at))
        })
        .collect::<Result<_>>()?;
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let new: Vec<i64> = sqlx::query_scalar(ARRIVE)
        .bind(channel.as_str())
        .bind(now.0)
        .bind(rows::write(&rows)?)
        .fetch_all(&mut *tx)
        .await?;
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    sqlx::query(sql::COUNT_ARRIVED).bind(channel.as_str()).bind(count).execute(&mut *tx).await?;
    let standing: Vec<arrived::StandingColumns> = sqlx::query_as(STANDING)
        .bind(channel.as_str())
        .bind(rows::write(&counters)?)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    let standing: HashMap<i64, _> = standing.into_iter().map(|row| (row.0, row)).collect();
    Ok(arrived::answers(&counters, new.into_iter().collect::<HashSet<_>>(), &standing))
}

/// Who has these terms.
pub(super) async fn sharing(db: &Sqlite, terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>> {
    let query = sqlx::query_as(SHARING).bind(rows::write(&terms)?).bind(rows::limit(limit));
    Ok(query.fetch_all(&db.readers).await?)
}

/// What channels say of themselves, each once.
pub(super) async fn report(tx: &mut SqliteConnection, said: &[(&str, &[u8])], now: Micros) -> Result<()> {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let said: Vec<(&str, String)> = said.iter().map(|(channel, status)| (*channel, hex(status))).collect();
    sqlx::query(REPORT).bind(rows::write(&said)?).bind(now.0).execute(tx).await?;
    Ok(())
}

/// The scheduled runs of channels that were under way, and that their newest report knows nothing of. States 9 and 10:
/// the upload or the download has failed.
pub(super) async fn cut_off(tx: &mut SqliteConnection, channels: &[&str], now: Micros) -> Result<()> {
    let query = sqlx::query(CUT_OFF).bind(rows::write(&channels)?).bind(now.0).bind(Job::Upload.name());
    query.execute(tx).await?;
    Ok(())
}

/// The profiles of those channels that are known.
pub(super) async fn profiles(db: &Sqlite, channels: &[&str]) -> Result<Vec<rows::ProfileColumns>> {
    Ok(sqlx::query_as(PROFILES).bind(rows::write(&channels)?).fetch_all(&db.readers).await?)
}

/// Makes one more request for each channel, and gives their numbers.
pub(super) async fn request_runs(
    tx: &mut SqliteConnection,
    job: Job,
    channels: &[String],
) -> Result<Vec<(String, i64)>> {
    let query = sqlx::query_as(REQUEST_RUNS).bind(job.name()).bind(rows::write(&channels)?);
    Ok(query.fetch_all(tx).await?)
}
