//! Channels, profiles, flags, schedules, requests to run, sessions.

use service_kit::database::{BEGIN_IMMEDIATE, Sqlite};
use sqlx::SqliteConnection;
use tillsync_proto::{ChannelId, Feature, FunctionalityProfile, Job, Micros, Schedule};
use uuid::Uuid;

use crate::store::{ChannelRow, MAX_CHANNELS, MAX_SESSIONS, Result, Session, Switched, rows, sql};

const REQUEST_RUNS: &str = "insert into run_requests (job, channel_id, request) \
     select $1, value, 1 from json_each($2) where true \
     on conflict (job, channel_id) do update set request = request + 1 returning channel_id, request";

pub(super) async fn first_open(
    db: &Sqlite,
    epoch: Uuid,
    schedules: &[Schedule],
) -> std::result::Result<(), sqlx::Error> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    sqlx::query(sql::MAKE_HEAD).bind(epoch).execute(&mut *tx).await?;
    for schedule in schedules {
        let body = rows::write(schedule).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query(sql::FIRST_SCHEDULE).bind(schedule.job.name()).bind(body).execute(&mut *tx).await?;
    }
    tx.commit().await
}

pub(super) async fn register_channel(db: &Sqlite, channel: &ChannelId) -> Result<bool> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let make = sqlx::query(sql::REGISTER).bind(channel.as_str()).bind(rows::limit(MAX_CHANNELS));
    make.execute(&mut *tx).await?;
    let known: i64 =
        sqlx::query_scalar(sql::IS_REGISTERED).bind(channel.as_str()).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(known > 0)
}

pub(super) async fn channels(db: &Sqlite) -> Result<Vec<ChannelRow>> {
    let query = sqlx::query_as(sql::CHANNELS).bind(rows::limit(MAX_CHANNELS));
    Ok(query.fetch_all(&db.readers).await?.into_iter().filter_map(rows::channel).collect())
}

pub(super) async fn report(
    db: &Sqlite,
    channel: &ChannelId,
    status: Vec<u8>,
    runs: &[Session],
    now: Micros,
) -> Result<()> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    sqlx::query(sql::REPORT).bind(channel.as_str()).bind(status).bind(now.0).execute(&mut *tx).await?;
    insert_sessions(&mut tx, runs).await?;
    tx.commit().await?;
    Ok(())
}

async fn insert_sessions(tx: &mut SqliteConnection, sessions: &[Session]) -> Result<()> {
    for session in sessions {
        let (channel, job, request, start, micros, moved, error) = rows::session_values(session);
        sqlx::query(sql::INSERT_SESSION)
            .bind(channel)
            .bind(job)
            .bind(request)
            .bind(start)
            .bind(micros)
            .bind(moved)
            .bind(error)
            .execute(&mut *tx)
            .await?;
    }
    if !sessions.is_empty() {
        sqlx::query(sql::PRUNE_SESSIONS).bind(MAX_SESSIONS).execute(tx).await?;
    }
    Ok(())
}

pub(super) async fn set_profile(
    db: &Sqlite,
    channel: &ChannelId,
    profile: FunctionalityProfile,
) -> Result<u64> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let row = sqlx::query_as(sql::PROFILE).bind(channel.as_str()).fetch_optional(&mut *tx).await?;
    let (before, version) = rows::profile(row)?;
    if before == profile {
        return Ok(version);
    }
    let body = rows::write(&profile)?;
    sqlx::query(sql::SET_PROFILE).bind(channel.as_str()).bind(body).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(version + 1)
}

pub(super) async fn set_flag(db: &Sqlite, feature: Feature, enabled: bool) -> Result<Switched> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    let (before, version) = rows::flags(sqlx::query_as(sql::FLAGS).fetch_optional(&mut *tx).await?)?;
    let after = before.with(feature, enabled);
    if before == after {
        return Ok(Switched::Done(version));
    }
    let in_the_way = before.in_the_way(feature, enabled);
    if !in_the_way.is_empty() {
        return Ok(Switched::InTheWay(in_the_way));
    }
    sqlx::query(sql::SET_FLAGS).bind(after.bits()).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Switched::Done(version + 1))
}

pub(super) async fn set_schedule(db: &Sqlite, schedule: Schedule) -> Result<()> {
    let query = sqlx::query(sql::SET_SCHEDULE).bind(schedule.job.name()).bind(rows::write(&schedule)?);
    query.execute(&db.writer).await?;
    Ok(())
}

pub(super) async fn request_runs(db: &Sqlite, job: Job, channels: &[String]) -> Result<Vec<(String, u64)>> {
    let query = sqlx::query_as(REQUEST_RUNS).bind(job.name()).bind(rows::write(&channels)?);
    let requests: Vec<(String, i64)> = query.fetch_all(&db.writer).await?;
    Ok(requests.into_iter().map(|(channel, request)| (channel, rows::count(request))).collect())
}

pub(super) async fn add_session(db: &Sqlite, session: &Session) -> Result<()> {
    let mut tx = db.writer.begin_with(BEGIN_IMMEDIATE).await?;
    insert_sessions(&mut tx, std::slice::from_ref(session)).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn sessions(db: &Sqlite, before: Option<i64>, limit: usize) -> Result<Vec<(i64, Session)>> {
    let query = sqlx::query_as(sql::SESSIONS).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit));
    Ok(query.fetch_all(&db.readers).await?.into_iter().filter_map(rows::session).collect())
}

pub(super) async fn session_of(
    db: &Sqlite,
    job: Job,
    channel: &str,
    request: u64,
) -> Result<Option<Session>> {
    let query = sqlx::query_as(sql::SESSION_OF).bind(job.name()).bind(channel).bind(rows::number(request));
    let row = query.fetch_optional(&db.readers).await?;
    Ok(row.and_then(rows::session).map(|(_, session)| session))
}

pub(super) async fn last_conversion(db: &Sqlite) -> Result<Option<Session>> {
    let query = sqlx::query_as(sql::LAST_WITH_ROWS).bind(Job::CustomerSync.name());
    let row = query.fetch_optional(&db.readers).await?;
    Ok(row.and_then(rows::session).map(|(_, session)| session))
}
