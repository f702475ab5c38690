//! How fast plain rows go into a database, by the most ordinary way that is fast: many rows in a statement, each statement
//! a durable commit. The measure for what jobs do with a database.

use service_kit::{
    clock::Clock,
    database::{DatabaseUrl, Durability, open_sqlite},
};
use sqlx::{Executor as _, PgPool, QueryBuilder, SqlitePool};
use uuid::Uuid;

use crate::{
    customers::{guid, rng_of},
    embedded::start,
    error::Error,
};

/// Rows of one statement.
const STATEMENT: u32 = 256;
/// Columns beside the key; together they have as many characters as a customer.
const COLUMNS: usize = 11;
const TEXT: &str = "a plain text of some 27 chars";
const MAKE: &str = "create table plain (id blob primary key, c1 text, c2 text, c3 text, c4 text, c5 text, c6 text, \
     c7 text, c8 text, c9 text, c10 text, c11 text)";

/// Makes a table, fills it with so many rows, and removes it; gives rows per second.
///
/// # Errors
///
/// [`Error::Start`], named after the database.
pub async fn per_s(database: &DatabaseUrl, rows: u32, clock: &dyn Clock) -> Result<f64, Error> {
    let begun = clock.now();
    let filled = match database {
        DatabaseUrl::Sqlite(path) => {
            let opened = open_sqlite(path, Durability::PowerCut, &[]).await;
            let file = opened.map_err(start("the database of plain rows"))?;
            sqlite(&file.writer, rows, clock).await
        }
        DatabaseUrl::Postgres(url) => {
            // As it is: it may be somebody's, whose tables are none of ours.
            let opened = PgPool::connect(url).await;
            postgres(&opened.map_err(start("the database of plain rows"))?, rows, clock).await
        }
    };
    filled.map_err(start("the database of plain rows"))?;
    Ok(f64::from(rows) / clock.now().saturating_duration_since(begun).as_secs_f64())
}

/// Keys as customers have them.
fn keys(clock: &dyn Clock, from: u32) -> impl Iterator<Item = Uuid> {
    let now = clock.wall_micros();
    (from..from + STATEMENT).map(move |number| guid(now, &mut rng_of(2, 2, number.into())))
}

async fn sqlite(pool: &SqlitePool, rows: u32, clock: &dyn Clock) -> sqlx::Result<()> {
    pool.execute(MAKE).await?;
    for from in (0..rows).step_by(STATEMENT as usize) {
        let mut insert = QueryBuilder::new("insert into plain ");
        insert.push_values(keys(clock, from), |mut row, key| {
            row.push_bind(key);
            (0..COLUMNS).for_each(|_| {
                row.push_bind(TEXT);
            });
        });
        insert.build().execute(pool).await?;
    }
    pool.execute("drop table plain").await.map(|_| ())
}

async fn postgres(pool: &PgPool, rows: u32, clock: &dyn Clock) -> sqlx::Result<()> {
    pool.execute(sqlx::AssertSqlSafe(MAKE.replace("blob", "uuid"))).await?;
    let sql = "insert into plain select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], \
         $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])";
    for from in (0..rows).step_by(STATEMENT as usize) {
        let mut insert = sqlx::query(sql).bind(keys(clock, from).collect::<Vec<_>>());
        for _ in 0..COLUMNS {
            insert = insert.bind(vec![TEXT; STATEMENT as usize]);
        }
        insert.execute(pool).await?;
    }
    pool.execute("drop table plain").await.map(|_| ())
}
