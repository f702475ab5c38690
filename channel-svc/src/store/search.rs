//! The search statement, built the same for both databases.

use sqlx::{Database, Encode, QueryBuilder, Type};
use tillsync_proto::{Criterion, TermKind, prefix_end};

/// Most terms that a search looks at for those who match in part, shared by its words. Exact ones come first, by GUID: of a
/// word that more customers have than its share, what is left out may be exact too.
const MAX_TERMS: usize = 10_000;

/// The place of the word that the fewest customers have whole, as far as a search looks. `None`: there are not several words.
pub(super) fn rarest<DB>(criterion: &Criterion) -> Option<QueryBuilder<DB>>
where
    DB: Database,
    DB::Arguments: Default,
    for<'a> String: Encode<'a, DB> + Type<DB>,
    for<'a> i64: Encode<'a, DB> + Type<DB>,
{
    let Criterion::Name(words) = criterion else { return None };
    if words.len() < 2 {
        return None;
    }
    let mut sql = QueryBuilder::new("select place from (");
    for (place, word) in (0_i64..).zip(words) {
        sql.push(if place == 0 { "select cast(" } else { " union all select cast(" }).push_bind(place);
        sql.push(" as bigint) as place, count(*) as number from (select 1 from customer_terms where kind = ");
        sql.push_bind(TermKind::Name as i64).push(" and term = ").push_bind(word.clone());
        sql.push(" limit ").push_bind(share(words.len())).push(") as word");
    }
    sql.push(") as counts order by number, place limit 1");
    Some(sql)
}

/// Those who match best: every word is there whole, however common each is. Often these are enough, and they are found without
/// looking at all others who match. Of those who have the `rarest` of the words each is asked for the others, until there are
/// `limit`: with several words, as many at most as have it. Columns as in [`statement`], by GUID. `None`: a whole term is worth
/// no more than its beginning.
pub(super) fn whole<DB>(criterion: &Criterion, rarest: i64, limit: usize) -> Option<QueryBuilder<DB>>
where
    DB: Database,
    DB::Arguments: Default,
    for<'a> String: Encode<'a, DB> + Type<DB>,
    for<'a> i64: Encode<'a, DB> + Type<DB>,
{
    let Criterion::Name(words) = criterion else { return None };
    let rarest = words.get(usize::try_from(rarest).ok()?)?;
    let points = i64::try_from(words.len() * 2).unwrap_or(i64::MAX);
    let mut sql = QueryBuilder::new("select customer_id, cast(");
    sql.push_bind(points).push(" as bigint) as points from customer_terms as one where kind = ");
    sql.push_bind(TermKind::Name as i64).push(" and term = ").push_bind(rarest.clone());
    for word in words.iter().filter(|word| *word != rarest) {
        sql.push(" and exists (select 1 from customer_terms as other where other.kind = one.kind and other.term = ");
        sql.push_bind(word.clone()).push(" and other.customer_id = one.customer_id)");
    }
    sql.push(" order by customer_id limit ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Some(sql)
}

/// How many terms a search looks at for each of so many words.
fn share(words: usize) -> i64 {
    i64::try_from(MAX_TERMS / words.max(1)).unwrap_or(i64::MAX)
}

/// All who match, by rank, then GUID. Columns: `customer_id`, `points`.
pub(super) fn statement<DB>(criterion: &Criterion, limit: usize) -> QueryBuilder<DB>
where
    DB: Database,
    DB::Arguments: Default,
    for<'a> String: Encode<'a, DB> + Type<DB>,
    for<'a> i64: Encode<'a, DB> + Type<DB>,
{
    let mut sql = QueryBuilder::new("select customer_id, cast(sum(points) as bigint) as points from (");
    let (kind, ranges) = ranges(criterion);
    let terms = share(ranges.len());
    for (i, (from, to, whole)) in ranges.into_iter().enumerate() {
        sql.push(if i == 0 { "" } else { " union all " });
        sql.push("select customer_id, max(case when term = ").push_bind(from.clone());
        sql.push(" then ").push_bind(whole).push(" else 1 end) as points from (");
        sql.push("select customer_id, term from customer_terms where kind = ").push_bind(kind);
        sql.push(" and term >= ").push_bind(from).push(" and term < ").push_bind(to);
        sql.push(" order by term, customer_id limit ").push_bind(terms);
        sql.push(") as word group by customer_id");
    }
    sql.push(") as words group by customer_id order by points desc, customer_id limit ");
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql
}

/// The kind of term, and for each word the range of terms that match and the points of the whole word.
fn ranges(criterion: &Criterion) -> (i64, Vec<(String, String, i64)>) {
    let prefix = |text: &String, whole| (text.clone(), prefix_end(text), whole);
    // The smallest text behind this one: no text holds a NUL.
    let exact = |text: &String| vec![(text.clone(), format!("{text}\u{1}"), 1)];
    match criterion {
        Criterion::Name(words) => (TermKind::Name as i64, words.iter().map(|word| prefix(word, 2)).collect()),
        Criterion::Email(text) => (TermKind::Email as i64, vec![prefix(text, 1)]),
        Criterion::Phone(text) => (TermKind::Phone as i64, vec![prefix(text, 1)]),
        Criterion::Account(text) => (TermKind::Account as i64, exact(text)),
        Criterion::Card(text) => (TermKind::Card as i64, exact(text)),
    }
}
