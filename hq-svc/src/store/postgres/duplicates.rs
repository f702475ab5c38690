//! Possible duplicates (rule C5).

use sqlx::PgPool;
use tillsync_proto::{CustomerId, Micros};
use uuid::Uuid;

use crate::store::{MAX_PAIRS, NoticedPair, Pair, Result, batch::TermRow, rows, sql};

const SHARING: &str = "select t.kind, t.term, t.customer_id \
     from unnest($1::smallint[], $2::text[]) asked (kind, term) \
     join customer_terms t on t.kind = asked.kind and t.term = asked.term limit $3";

pub(super) async fn through(db: &PgPool) -> Result<u64> {
    let through: i64 = sqlx::query_scalar(sql::DUPLICATES_THROUGH).fetch_one(db).await?;
    Ok(rows::count(through))
}

pub(super) async fn sharing(db: &PgPool, terms: &[(i16, String)], limit: usize) -> Result<Vec<TermRow>> {
    let (kinds, texts): (Vec<i16>, Vec<String>) = terms.iter().cloned().unzip();
    let query = sqlx::query_as(SHARING).bind(kinds).bind(texts).bind(rows::limit(limit));
    Ok(query.fetch_all(db).await?)
}

pub(super) async fn note(db: &PgPool, pairs: &[Pair], through: u64, now: Micros) -> Result<()> {
    let mut tx = db.begin().await?;
    for pair in pairs {
        sqlx::query(sql::NOTE_PAIR)
            .bind(pair.customer.0)
            .bind(pair.other.0)
            .bind(pair.likeness as i16)
            .bind(now.0)
            .bind(rows::limit(MAX_PAIRS))
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(sql::SET_DUPLICATES_THROUGH).bind(rows::number(through)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn list(db: &PgPool, before: Option<i64>, limit: usize) -> Result<Vec<NoticedPair>> {
    let query = sqlx::query_as(sql::PAIRS).bind(before.unwrap_or(i64::MAX)).bind(rows::limit(limit));
    Ok(query.fetch_all(db).await?.into_iter().map(rows::pair).collect())
}

pub(super) async fn count(db: &PgPool) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(sql::PAIR_COUNT).fetch_one(db).await?;
    Ok(rows::count(count))
}

pub(super) async fn dismiss(db: &PgPool, one: CustomerId, other: CustomerId) -> Result<bool> {
    let (one, other): (Uuid, Uuid) = (one.0, other.0);
    let done = sqlx::query(sql::DISMISS).bind(one).bind(other).execute(db).await?;
    Ok(done.rows_affected() > 0)
}
