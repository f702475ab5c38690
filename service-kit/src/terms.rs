//! Finding by words: a table of terms, each row a kind, a term and whose it is, keyed in this order. The statements are the same
//! for both databases, so both find the same in the same order; how many rows they read is bounded, however many there are.

use std::collections::HashSet;

use sqlx::{ColumnIndex, Database, Decode, Encode, Executor, IntoArguments, Pool, QueryBuilder, Type};
use uuid::Uuid;

/// Most rows that a search looks at for those who match in part, shared by its words. Exact ones come first, by owner: of a
/// word that more owners have than its share, what is left out may be exact too.
const MAX_TERMS: usize = 10_000;
/// Most owners of the rarest of several words of whom a search asks whether they have the others, by owner.
const MAX_OWNERS: i64 = 100_000;

/// The terms that match a word: the first of them, which is the word whole; behind the last; and the points of a whole word,
/// at least 1. Any other is worth 1.
pub type Range = (String, String, i64);

/// A table of terms.
pub struct Terms<'a, DB: Database> {
    /// Connections that read it.
    pub pool: &'a Pool<DB>,
    /// Its name; its columns are `kind`, `term` and [`Terms::owner`].
    pub table: &'static str,
    /// The column that says whose a term is.
    pub owner: &'static str,
}

impl<DB> Terms<'_, DB>
where
    DB: Database,
    DB::Arguments: IntoArguments<DB> + Default,
    for<'c> &'c Pool<DB>: Executor<'c, Database = DB>,
    for<'q> String: Encode<'q, DB> + Type<DB>,
    for<'q> i64: Encode<'q, DB> + Decode<'q, DB> + Type<DB>,
    for<'q> Uuid: Encode<'q, DB> + Decode<'q, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    /// Those with a term of this kind in any of the ranges, and their points in all of them: most points first, then by owner,
    /// at most `limit`.
    ///
    /// # Errors
    ///
    /// Of the database.
    pub async fn find(
        &self,
        kind: i64,
        ranges: &[Range],
        limit: usize,
    ) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
        // Without degrees of matching nobody matches better than others.
        let graded = ranges.iter().all(|(_, _, points)| *points > 1);
        let mut found = if graded { self.whole(kind, ranges, limit).await? } else { Vec::new() };
        if found.len() < limit {
            let best: HashSet<Uuid> = found.iter().map(|(owner, _)| *owner).collect();
            let any = self.any(kind, ranges, limit).await?;
            found.extend(any.into_iter().filter(|(owner, _)| !best.contains(owner)));
            found.truncate(limit);
        }
        Ok(found)
    }

    /// Those who match best: every word is there whole. Often these are enough, and they are found without looking at all others
    /// who match: of those who have the rarest word, the first [`MAX_OWNERS`] of them, each is asked for the others, until there
    /// are `limit`.
    async fn whole(
        &self,
        kind: i64,
        ranges: &[Range],
        limit: usize,
    ) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
        let words: Vec<&String> = ranges.iter().map(|(word, _, _)| word).collect();
        let points: i64 = ranges.iter().map(|(_, _, points)| points).sum();
        let (rarest, is_common) = self.rarest(kind, &words).await?;
        let Some(rarest) = words.get(rarest).copied() else { return Ok(Vec::new()) };
        let last = if is_common { self.last_asked(kind, rarest).await? } else { None };
        let (table, owner) = (self.table, self.owner);
        let mut sql = QueryBuilder::new(format!("select {owner}, cast("));
        sql.push_bind(points).push(format!(" as bigint) from {table} as one where kind = ")).push_bind(kind);
        sql.push(" and term = ").push_bind(rarest.clone());
        if let Some(last) = last {
            sql.push(format!(" and {owner} <= ")).push_bind(last);
        }
        for word in words.iter().filter(|word| **word != rarest) {
            sql.push(format!(
                " and exists (select 1 from {table} as other where other.kind = one.kind and other.term = "
            ));
            sql.push_bind((*word).clone()).push(format!(" and other.{owner} = one.{owner})"));
        }
        sql.push(format!(" order by {owner} limit ")).push_bind(signed(limit));
        sql.build_query_as().fetch_all(self.pool).await
    }

    /// The place of the word that the fewest have whole, as far as a search looks; and whether even that is more than it counts.
    async fn rarest(&self, kind: i64, words: &[&String]) -> Result<(usize, bool), sqlx::Error> {
        // Of one word nobody is asked for another.
        if words.len() < 2 {
            return Ok((0, false));
        }
        let counted = share(words.len());
        let mut sql = QueryBuilder::new("select place, number from (");
        for (place, word) in words.iter().enumerate() {
            sql.push(if place == 0 { "select cast(" } else { " union all select cast(" });
            sql.push_bind(signed(place))
                .push(" as bigint) as place, count(*) as number from (select 1 from ");
            sql.push(self.table).push(" where kind = ").push_bind(kind);
            sql.push(" and term = ").push_bind((*word).clone());
            sql.push(" limit ").push_bind(counted).push(") as word");
        }
        sql.push(") as counts order by number, place limit 1");
        let (place, number): (i64, i64) = sql.build_query_as().fetch_one(self.pool).await?;
        Ok((usize::try_from(place).unwrap_or(0), number >= counted))
    }

    /// The last of the owners of a whole word who are asked for the other words; `None`: all are.
    async fn last_asked(&self, kind: i64, word: &str) -> Result<Option<Uuid>, sqlx::Error> {
        let (table, owner) = (self.table, self.owner);
        let mut sql = QueryBuilder::new(format!("select {owner} from {table} where kind = "));
        sql.push_bind(kind).push(" and term = ").push_bind(word.to_owned());
        sql.push(format!(" order by {owner} limit 1 offset ")).push_bind(MAX_OWNERS - 1);
        sql.build_query_scalar().fetch_optional(self.pool).await
    }

    /// All who match, in whatever part.
    async fn any(&self, kind: i64, ranges: &[Range], limit: usize) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
        let (table, owner) = (self.table, self.owner);
        let mut sql =
            QueryBuilder::new(format!("select {owner}, cast(sum(points) as bigint) as points from ("));
        for (place, (from, to, points)) in ranges.iter().enumerate() {
            sql.push(if place == 0 { "" } else { " union all " });
            sql.push(format!("select {owner}, max(case when term = ")).push_bind(from.clone());
            sql.push(" then ").push_bind(*points).push(" else 1 end) as points from (");
            sql.push(format!("select {owner}, term from {table} where kind = ")).push_bind(kind);
            sql.push(" and term >= ").push_bind(from.clone()).push(" and term < ").push_bind(to.clone());
            sql.push(format!(" order by term, {owner} limit ")).push_bind(share(ranges.len()));
            sql.push(format!(") as word group by {owner}"));
        }
        sql.push(format!(") as words group by {owner} order by points desc, {owner} limit "));
        sql.push_bind(signed(limit));
        sql.build_query_as().fetch_all(self.pool).await
    }
}

/// How many rows a search looks at for each of so many words.
fn share(words: usize) -> i64 {
    signed(MAX_TERMS / words.max(1))
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use sqlx::{SqlitePool, raw_sql, sqlite::SqlitePoolOptions};

    use super::*;
    use crate::{
        database::{DatabaseUrl, open_postgres},
        testing::postgres,
    };

    /// Two common words. Two have both, of whom one is behind those who are asked.
    const TERMS: &str = "insert into terms select 1, 'ann', owner from numbers where n <= 100001; \
         insert into terms select 1, 'smith', owner from numbers where n >= 100000";
    const SQLITE: &str = "create table terms (kind integer, term text, owner blob, primary key (kind, term, owner)) \
         without rowid; create view numbers as with recursive all_numbers (n) as \
         (select 1 union all select n + 1 from all_numbers where n < 250000) \
         select n, unhex(printf('%032x', n)) as owner from all_numbers;";
    const POSTGRES: &str = "create table terms (kind bigint, term text collate \"C\", owner uuid, \
         primary key (kind, term, owner)); create view numbers as \
         select n, lpad(to_hex(n), 32, '0')::uuid as owner from generate_series(1, 250000) as n;";

    macro_rules! finds_among_many {
        ($pool:expr, $schema:expr) => {
            let pool = $pool;
            raw_sql($schema).execute(&pool).await.unwrap();
            raw_sql(TERMS).execute(&pool).await.unwrap();
            let terms = Terms { pool: &pool, table: "terms", owner: "owner" };
            let range = |word: &str| (word.to_owned(), format!("{word}{}", char::MAX), 2);
            let both = terms.find(1, &[range("ann"), range("smith")], 2).await.unwrap();
            assert_eq!(both, [(Uuid::from_u128(100_000), 4), (Uuid::from_u128(1), 2)]);
            let one = terms.find(1, &[range("smith")], 2).await.unwrap();
            assert_eq!(one, [(Uuid::from_u128(100_000), 2), (Uuid::from_u128(100_001), 2)]);
        };
    }

    #[tokio::test]
    async fn z3_of_a_common_word_a_bounded_number_is_asked_for_the_others() {
        let pool: SqlitePool =
            SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        finds_among_many!(pool, SQLITE);
        if let Some(DatabaseUrl::Postgres(url)) = postgres("terms").await {
            finds_among_many!(open_postgres(&url, 2, &[]).await.unwrap(), POSTGRES);
        }
    }
}
