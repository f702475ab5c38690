//! Possible duplicates (rule C5).

use tillsync_proto::{CustomerId, Micros};
use uuid::Uuid;

use super::{Db, begin, reads, writes};
use crate::store::{MAX_PAIRS, NoticedPair, Pair, Result, rows, sql};

pub(super) async fn through(db: &Db) -> Result<u64> {
    let through: i64 = sqlx::query_scalar(sql::DUPLICATES_THROUGH).fetch_one(reads(db)).await?;
    Ok(rows::count(through))
}

pub(super) async fn note(db: &Db, pairs: &[Pair], through: u64, now: Micros) -> Result<()> {
    let mut tx = begin(db).await?;
    let mut left = 0;
    if !pairs.is_empty() {
        let there: i64 = sqlx::query_scalar(sql::PAIR_COUNT).fetch_one(&mut *tx).await?;
        left = (MAX_PAIRS as u64).saturating_sub(rows::count(there));
    }
    for pair in pairs {
        if left == 0 {
            break;
        }
        let note = sqlx::query(sql::NOTE_PAIR).bind(pair.customer.0).bind(pair.other.0);
        let noted = note.bind(pair.likeness as i16).bind(now.0).execute(&mut *tx).await?;
        left -= noted.rows_affected();
    }
    sqlx::query(sql::SET_DUPLICATES_THROUGH).bind(rows::number(through)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn list(db: &Db, before: Option<i64>, limit: usize) -> Result<Vec<NoticedPair>> {
    let query = sqlx::query_as(sql::PAIRS).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit));
    Ok(query.fetch_all(reads(db)).await?.into_iter().map(rows::pair).collect())
}

pub(super) async fn count(db: &Db) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(sql::PAIR_COUNT).fetch_one(reads(db)).await?;
    Ok(rows::count(count))
}

pub(super) async fn dismiss(db: &Db, one: CustomerId, other: CustomerId) -> Result<bool> {
    let (one, other): (Uuid, Uuid) = (one.0, other.0);
    let done = sqlx::query(sql::DISMISS).bind(one).bind(other).execute(writes(db)).await?;
    Ok(done.rows_affected() > 0)
}
