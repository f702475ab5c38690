//! Requests to run, sessions, and what channels report of both (rules X8, X9).

use std::collections::BTreeMap;

use tillsync_proto::{ChannelId, Job, JobRun, Micros, SessionState};

use super::{Connection, Db, begin, dialect, reads};
use crate::store::{MAX_SESSION_AGE, MAX_SESSIONS, Report, Result, Session, rows, sql};

pub(super) async fn report(db: &Db, reports: &[Report], now: Micros) -> Result<()> {
    // Of a channel that says it twice the newest counts, and no row is written twice in one statement.
    let said: BTreeMap<&str, &[u8]> =
        reports.iter().map(|report| (report.channel.as_str(), report.status.as_slice())).collect();
    let (channels, said): (Vec<&str>, Vec<_>) = said.into_iter().map(|said| (said.0, said)).unzip();
    let mut tx = begin(db).await?;
    dialect::report(&mut tx, &said, now).await?;
    for report in reports {
        keep(&mut tx, &report.runs, now).await?;
    }
    dialect::cut_off(&mut tx, &channels, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Keeps sessions: how far those came that are known, and the others as new ones.
async fn keep(tx: &mut Connection, sessions: &[Session], now: Micros) -> Result<()> {
    for session in sessions {
        let (channel, job, request, start, micros, moved, error, state, bytes) =
            rows::session_values(session);
        if request > 0 {
            sqlx::query(sql::MOVE_SESSIONS)
                .bind(channel)
                .bind(job)
                .bind(request)
                .bind(micros)
                .bind(moved)
                .bind(error)
                .bind(state)
                .bind(bytes)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query(sql::INSERT_SESSION)
            .bind(channel)
            .bind(job)
            .bind(request)
            .bind(start)
            .bind(micros)
            .bind(moved)
            .bind(error)
            .bind(state)
            .bind(bytes)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
    }
    if !sessions.is_empty() {
        let oldest = now.0.saturating_sub(MAX_SESSION_AGE);
        sqlx::query(sql::PRUNE_SESSIONS).bind(MAX_SESSIONS).bind(oldest).execute(tx).await?;
    }
    Ok(())
}

pub(super) async fn request_runs(
    db: &Db,
    job: Job,
    channels: &[String],
    now: Micros,
) -> Result<Vec<(String, u64)>> {
    let mut tx = begin(db).await?;
    let requests = dialect::request_runs(&mut tx, job, channels).await?;
    let requests: Vec<(String, u64)> =
        requests.into_iter().map(|(channel, request)| (channel, rows::count(request))).collect();
    let state = if job.is_upload() { SessionState::Started } else { SessionState::Requested };
    let session = |(channel, request): &(String, u64)| Session {
        seq: 0,
        channel: channel.parse().ok(),
        run: JobRun { run_request: *request, started_at: now, state, ..JobRun::new(job) },
    };
    let sessions: Vec<Session> = requests.iter().map(session).collect();
    keep(&mut tx, &sessions, now).await?;
    tx.commit().await?;
    Ok(requests)
}

pub(super) async fn add(db: &Db, session: &Session, now: Micros) -> Result<()> {
    let mut tx = begin(db).await?;
    keep(&mut tx, std::slice::from_ref(session), now).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn list(db: &Db, before: Option<i64>, limit: usize) -> Result<Vec<Session>> {
    let query = sqlx::query_as(sql::SESSIONS).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit));
    Ok(query.fetch_all(reads(db)).await?.into_iter().filter_map(rows::session).collect())
}

pub(super) async fn one(db: &Db, seq: i64) -> Result<Option<Session>> {
    let row = sqlx::query_as(sql::SESSION).bind(seq).fetch_optional(reads(db)).await?;
    Ok(row.and_then(rows::session))
}

pub(super) async fn cancel(db: &Db, seq: i64) -> Result<Option<Session>> {
    let mut tx = begin(db).await?;
    let canceled = sqlx::query(sql::CANCEL_SESSION).bind(seq).execute(&mut *tx).await?.rows_affected() > 0;
    let row = sqlx::query_as(sql::SESSION).bind(seq).fetch_optional(&mut *tx).await?;
    let session = row.and_then(rows::session).filter(|_| canceled);
    if let Some(Session { channel, run, .. }) = &session {
        let channel = channel.as_ref().map_or("", ChannelId::as_str);
        let (sql, place) = match run.run_request {
            0 => (sql::CANCEL_SCHEDULED, run.started_at.0),
            request => (sql::CANCEL_REQUEST, rows::number(request)),
        };
        sqlx::query(sql).bind(run.job.name()).bind(channel).bind(place).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(session)
}

pub(super) async fn of_request(db: &Db, job: Job, channel: &str, request: u64) -> Result<Option<Session>> {
    let query = sqlx::query_as(sql::SESSION_OF).bind(job.name()).bind(channel).bind(rows::number(request));
    Ok(query.fetch_optional(reads(db)).await?.and_then(rows::session))
}

pub(super) async fn last_conversion(db: &Db) -> Result<Option<Session>> {
    let query = sqlx::query_as(sql::LAST_WITH_ROWS).bind(Job::CustomerSync.name());
    let row = query.fetch_optional(reads(db)).await?;
    Ok(row.and_then(rows::session))
}
