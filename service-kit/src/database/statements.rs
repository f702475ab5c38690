//! Statements on SQLite about many rows or values: few texts, each prepared once.

use sqlx::{Encode, QueryBuilder, Type};

/// How many rows a statement on SQLite writes: as many as there are of a few sizes, so that there are few texts and each
/// is prepared once.
const STATEMENT_ROWS: [usize; 5] = [256, 64, 16, 4, 1];

/// Takes the rows of the next statement on SQLite, at most 256; none at the end. With values that are bound a row costs
/// half of what it costs as JSON that the database takes apart.
pub fn rows_of_statement<T>(rows: &mut impl ExactSizeIterator<Item = T>) -> Vec<T> {
    let size = STATEMENT_ROWS.into_iter().find(|size| *size <= rows.len()).unwrap_or_default();
    rows.take(size).collect()
}

/// Most values of a list in a statement on SQLite, and how many a short one has.
const LIST: usize = 256;
const SHORT_LIST: usize = 16;

/// What is looked for on SQLite, in parts that [`push_list`] takes. No part has more rows than a connection reads ahead: who
/// asks and who reads never wait for each other row by row.
pub fn lists<T>(values: &[T]) -> impl Iterator<Item = &[T]> {
    values.chunks(LIST)
}

/// Adds a part of [`lists`], bound and in brackets. Its last value is repeated up to one of two sizes, so that there are few
/// texts and each is prepared once.
pub fn push_list<'a, T>(query: &mut QueryBuilder<sqlx::Sqlite>, values: &'a [T])
where
    &'a T: Encode<'a, sqlx::Sqlite> + Type<sqlx::Sqlite>,
{
    let size = if values.len() > SHORT_LIST { LIST } else { SHORT_LIST };
    let mut list = query.push(" (").separated(", ");
    for value in values.iter().chain(values.last().into_iter().cycle()).take(size) {
        list.push_bind(value);
    }
    query.push(")");
}
