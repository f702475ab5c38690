//! Channels, profiles, flags, definitions of attributes, schedules, number sequences.

use std::collections::HashMap;

use tillsync_proto::{ChannelId, FunctionalityProfile, Schedule};
use uuid::Uuid;

use super::{
    Db, begin,
    dialect::{self, LOCK_CONFIGURATION, LOCK_PROFILE},
    reads, writes,
};
use crate::{
    config::Config,
    numbers::{NumberSequences, SequenceKind},
    store::{ChannelRow, MAX_CHANNELS, Reconfigure, Reconfigured, Result, rows, sql},
};

pub(super) async fn first_open(
    db: &Db,
    epoch: Uuid,
    config: &Config,
) -> std::result::Result<(), sqlx::Error> {
    let mut tx = begin(db).await?;
    sqlx::query(sql::MAKE_HEAD).bind(epoch).execute(&mut *tx).await?;
    for schedule in &config.first_schedules() {
        let body = rows::write(schedule).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query(sql::FIRST_SCHEDULE).bind(schedule.job.name()).bind(body).execute(&mut *tx).await?;
    }
    for (kind, format) in
        [(SequenceKind::Accounts, &config.number_format), (SequenceKind::Cards, &config.card_format)]
    {
        let query = sqlx::query(sql::FIRST_SEQUENCE).bind(kind.name()).bind(format.to_string()).bind(0_i64);
        query.execute(&mut *tx).await?;
    }
    tx.commit().await
}

pub(super) async fn sequences(db: &Db, fallback: &NumberSequences) -> Result<NumberSequences> {
    let stored: Vec<(String, String, i64)> = sqlx::query_as(sql::SEQUENCES).fetch_all(reads(db)).await?;
    Ok(rows::sequences(&stored, fallback))
}

pub(super) async fn set_sequence(db: &Db, kind: SequenceKind, format: &str, block: u32) -> Result<()> {
    let query = sqlx::query(sql::SET_SEQUENCE).bind(kind.name()).bind(format).bind(i64::from(block));
    query.execute(writes(db)).await?;
    Ok(())
}

pub(super) async fn register_channel(db: &Db, channel: &ChannelId) -> Result<bool> {
    let mut tx = begin(db).await?;
    let make = sqlx::query(sql::REGISTER).bind(channel.as_str()).bind(rows::limit(MAX_CHANNELS));
    make.execute(&mut *tx).await?;
    let known: i64 =
        sqlx::query_scalar(sql::IS_REGISTERED).bind(channel.as_str()).fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(known > 0)
}

pub(super) async fn channels(db: &Db) -> Result<Vec<ChannelRow>> {
    let query = sqlx::query_as(sql::CHANNELS).bind(rows::limit(MAX_CHANNELS));
    Ok(query.fetch_all(reads(db)).await?.into_iter().filter_map(rows::channel).collect())
}

pub(super) async fn set_profile(
    db: &Db,
    channel: &ChannelId,
    profile: &FunctionalityProfile,
    from_version: u64,
) -> Result<Option<u64>> {
    let mut tx = begin(db).await?;
    let row = sqlx::query_as(LOCK_PROFILE).bind(channel.as_str()).fetch_optional(&mut *tx).await?;
    let (before, version) = rows::profile(row)?;
    if from_version != 0 && from_version != version {
        return Ok(None);
    }
    if before == *profile {
        return Ok(Some(version));
    }
    let body = rows::write(profile)?;
    sqlx::query(sql::SET_PROFILE).bind(channel.as_str()).bind(body).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Some(version + 1))
}

pub(super) async fn reconfigure(db: &Db, change: &Reconfigure) -> Result<Reconfigured> {
    let mut tx = begin(db).await?;
    let row = sqlx::query_as(LOCK_CONFIGURATION).fetch_optional(&mut *tx).await?;
    let before = rows::configuration(row)?;
    let mut after = before.clone();
    let done = after.change(change);
    let Reconfigured::Done(version) = done else { return Ok(done) };
    if before == after {
        return Ok(done);
    }
    let query = sqlx::query(sql::SET_CONFIGURATION).bind(after.features.bits());
    query.bind(rows::write(&after.attributes)?).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(Reconfigured::Done(version + 1))
}

pub(super) async fn set_schedule(db: &Db, schedule: Schedule) -> Result<()> {
    let query = sqlx::query(sql::SET_SCHEDULE).bind(schedule.job.name()).bind(rows::write(&schedule)?);
    query.execute(writes(db)).await?;
    Ok(())
}

/// The profiles of channels, in their order; the default for one that has none.
pub(super) async fn profiles(db: &Db, channels: &[ChannelId]) -> Result<Vec<(FunctionalityProfile, u64)>> {
    let names: Vec<&str> = channels.iter().map(ChannelId::as_str).collect();
    let found = dialect::profiles(db, &names).await?.into_iter();
    let found: HashMap<String, _> =
        found.map(|(channel, text, version)| (channel, (text, version))).collect();
    names.iter().map(|channel| rows::profile(found.get(*channel).cloned())).collect()
}
