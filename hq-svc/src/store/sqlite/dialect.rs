//! What only SQLite does so: new rows and long lists are bound, other lists are one JSON parameter, and whoever writes has
//! the only writer.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use service_kit::{
    database::{BEGIN_IMMEDIATE, Sqlite, lists, push_list, rows_of_statement},
    lease::Lease,
};
use sqlx::{FromRow, QueryBuilder, SqliteConnection, sqlite::SqliteRow};
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
const VERSIONS: &str = "select id, version from customers where id in";
const STORED: &str = "select version, fingerprint, body from customers where id in";
const ANY_ERASED: &str = "select exists (select 1 from erasures)";
const ERASED: &str = "select customer_id from erasures where customer_id in";
const INSERT: &str = "insert into customers (id, account_number, version, fingerprint, body) ";
const REPLACE: &str = "update customers set version = new.version, body = new.body \
     from (select unhex(value ->> 0, '-') as id, value ->> 1 as version, value ->> 2 as body \
        from json_each($1)) new \
     where customers.id = new.id";
const INSERT_TERMS: &str = "insert into customer_terms (kind, term, customer_id) ";
const DELETE_TERMS: &str = "delete from customer_terms where (kind, term, customer_id) in \
     (select value ->> 0, value ->> 1, unhex(value ->> 2, '-') from json_each($1))";
const COMPLETE: &str = "update arrivals set online_operation_completed = 1, attempts = attempts + 1, \
     next_attempt_at = null, reason = null, message = null \
     where online_operation_completed = 0 and arrival_seq";
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
     (channel_id, counter, customer_id, kind, operation, raw, arrived_at, reason, message, logged_at) ";
const ACCOUNTS: &str = "select id, account_number from customers where id in";
const STANDING: &str = "select a.counter, a.customer_id, a.logged_at, a.reason, c.account_number \
     from arrivals a left join customers c on c.id = a.customer_id \
     where a.channel_id = ";

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

/// From here on the writer overwrites what it frees.
pub(super) async fn before_erasing(db: &Sqlite) -> Result<()> {
    sqlx::query("pragma secure_delete = on").execute(&db.writer).await?;
    Ok(())
}

/// To here. The write-ahead log, which holds what pages were like before, is written back and cut, unless somebody reads
/// from it at the moment; then the next one does it.
pub(super) async fn after_erasing(db: &Sqlite) -> Result<()> {
    sqlx::query("pragma secure_delete = off").execute(&db.writer).await?;
    sqlx::query("pragma wal_checkpoint(truncate)").execute(&db.writer).await?;
    Ok(())
}

/// Those of the customers that are erased.
pub(super) async fn erased(db: &Sqlite, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let any: bool = sqlx::query_scalar(ANY_ERASED).fetch_one(&db.readers).await?;
    if !any {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid,)> = of_ids(&mut *db.readers.acquire().await?, ERASED, ids).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
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

/// The rows of some customers.
async fn of_ids<T>(connection: &mut SqliteConnection, sql: &'static str, ids: &[Uuid]) -> Result<Vec<T>>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut found = Vec::new();
    for ids in lists(ids) {
        let mut query = QueryBuilder::new(sql);
        push_list(&mut query, ids);
        found.append(&mut query.build_query_as().fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// Adds which numbers are meant: those from one to another if they are all between, which is so for what was logged or has
/// arrived one after the other, or else a list. `numbers` are one of the [`parts`].
fn push_numbers(query: &mut QueryBuilder<sqlx::Sqlite>, numbers: &[i64]) {
    match numbers {
        [first, .., last] if is_run(numbers) => {
            query.push(" between ").push_bind(*first).push(" and ").push_bind(*last);
        }
        _ => push_list(query.push(" in"), numbers),
    }
}

/// Numbers in order, each once, in parts that [`push_numbers`] takes.
fn parts(numbers: &[i64]) -> Box<dyn Iterator<Item = &[i64]> + Send + '_> {
    if is_run(numbers) { Box::new(std::iter::once(numbers)) } else { Box::new(lists(numbers)) }
}

/// Whether numbers in order, each once, have no gaps.
fn is_run(numbers: &[i64]) -> bool {
    let count = i64::try_from(numbers.len()).unwrap_or(i64::MAX);
    matches!(numbers, [first, .., last] if last - first == count - 1)
}

pub(super) async fn versions(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, i64>> {
    let rows: Vec<(Uuid, i64)> = of_ids(connection, VERSIONS, ids).await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn stored(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<Vec<Stored>> {
    of_ids(connection, STORED, ids).await?.into_iter().map(rows::stored).collect()
}

pub(super) async fn write_customers(tx: &mut SqliteConnection, batch: &Batch) -> Result<()> {
    let bodies = batch.inserts.iter().map(|row| rows::write(&row.customer)).collect::<Result<Vec<_>>>()?;
    let mut inserts = batch.inserts.iter().zip(bodies);
    while inserts.len() > 0 {
        let mut insert = QueryBuilder::new(INSERT);
        insert.push_values(rows_of_statement(&mut inserts), |mut values, (row, body)| {
            values.push_bind(row.id()).push_bind(row.account()).push_bind(row.version);
            values.push_bind(row.fingerprint).push_bind(body);
        });
        insert.build().execute(&mut *tx).await?;
    }
    if !batch.replaces.is_empty() {
        let rows = batch.replaces.iter();
        let rows = rows.map(|row| Ok((row.id(), row.version, rows::write(&row.customer)?)));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        sqlx::query(REPLACE).bind(rows::write(&rows)?).execute(&mut *tx).await?;
    }
    if !batch.terms_gone.is_empty() {
        sqlx::query(DELETE_TERMS).bind(rows::write(&batch.terms_gone)?).execute(&mut *tx).await?;
    }
    let mut terms = batch.terms_new.iter();
    while terms.len() > 0 {
        let mut insert = QueryBuilder::new(INSERT_TERMS);
        insert.push_values(rows_of_statement(&mut terms), |mut values, (kind, term, customer)| {
            values.push_bind(kind).push_bind(term).push_bind(customer);
        });
        insert.push(" on conflict do nothing").build().execute(&mut *tx).await?;
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
    let (mut completed, mut done) = (batch.completed.clone(), 0);
    completed.sort_unstable();
    completed.dedup();
    for part in parts(&completed) {
        let mut query = QueryBuilder::new(COMPLETE);
        push_numbers(&mut query, part);
        done += query.build().execute(&mut *tx).await?.rows_affected();
    }
    Ok(rows::number(done))
}

/// Takes a page of operations. Whoever writes is alone: what stands there is looked up first, and the rest is new.
pub(super) async fn arrive(
    db: &Sqlite,
    channel: &ChannelId,
    page: &[Arrival],
    now: Micros,
) -> Result<Vec<Arrived>> {
    let counters: Vec<i64> = page.iter().map(|arrival| arrival.counter).collect();
    let mut new = Vec::with_capacity(page.len());
    for row in arrived::in_order(page) {
        new.push((row.operation.map(rows::write).transpose()?, row));
    }
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let sorted: Vec<i64> = new.iter().map(|(_, row)| row.counter).collect();
    let mut standing: HashMap<i64, arrived::StandingColumns> = HashMap::new();
    for part in parts(&sorted) {
        let mut query = QueryBuilder::new(STANDING);
        query.push_bind(channel.as_str()).push(" and a.counter");
        push_numbers(&mut query, part);
        let there: Vec<arrived::StandingColumns> = query.build_query_as().fetch_all(&mut *tx).await?;
        standing.extend(there.into_iter().map(|row| (row.0, row)));
    }
    new.retain(|(_, row)| !standing.contains_key(&row.counter));
    let mut rows = new.iter_mut();
    while rows.len() > 0 {
        let mut insert = QueryBuilder::new(ARRIVE);
        insert.push_values(rows_of_statement(&mut rows), |mut values, (operation, row)| {
            values.push_bind(channel.as_str()).push_bind(row.counter).push_bind(row.customer);
            values.push_bind(row.kind).push_bind(operation.take()).push_bind(row.raw).push_bind(now.0);
            values.push_bind(row.reason).push_bind(row.message).push_bind(row.logged_at);
        });
        insert.build().execute(&mut *tx).await?;
    }
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    sqlx::query(sql::COUNT_ARRIVED).bind(channel.as_str()).bind(count).execute(&mut *tx).await?;
    let customers: Vec<Uuid> = new.iter().filter_map(|(_, row)| row.customer).collect();
    let accounts: Vec<(Uuid, String)> = of_ids(&mut tx, ACCOUNTS, &customers).await?;
    tx.commit().await?;
    let accounts: HashMap<Uuid, String> = accounts.into_iter().collect();
    let new_counters: HashSet<i64> = new.iter().map(|(_, row)| row.counter).collect();
    standing.extend(new.into_iter().map(|(_, row)| {
        let account = row.customer.and_then(|customer| accounts.get(&customer).cloned());
        (row.counter, (row.counter, row.customer, row.logged_at, row.reason.map(str::to_owned), account))
    }));
    Ok(arrived::answers(&counters, new_counters, &standing))
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
