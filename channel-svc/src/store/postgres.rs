//! A store on PostgreSQL.

mod dialect;
#[path = "both/log.rs"]
mod log;
#[path = "both/tables.rs"]
mod tables;

use service_kit::{
    clock::Ids,
    database::{OpenError, Step, open_postgres},
};
use sqlx::{PgPool, Transaction};

/// What the rooms that both databases share call it.
type DatabaseStore = PostgresStore;

/// Connections for the appender, the jobs and the readers.
const CONNECTIONS: u32 = 8;
const STEPS: &[Step] = &[(1, "start", include_str!("../../migrations/postgres/0001_start.sql"))];

/// A store in one PostgreSQL database, which no other channel shares.
#[derive(Clone)]
pub(crate) struct PostgresStore {
    pool: PgPool,
    /// One connection, so that batches are applied to the tables one after the other, as SQLite does by nature.
    tables: PgPool,
    ids: Ids,
}

impl PostgresStore {
    /// Connects, and makes what is missing.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(url: &str, ids: Ids) -> Result<Self, OpenError> {
        let pool = open_postgres(url, CONNECTIONS, STEPS).await?;
        Ok(Self { pool, tables: open_postgres(url, 1, STEPS).await?, ids })
    }

    fn log_reads(&self) -> &PgPool {
        &self.pool
    }

    fn log_writes(&self) -> &PgPool {
        &self.pool
    }

    fn table_reads(&self) -> &PgPool {
        &self.pool
    }

    fn table_writes(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction that changes the tables.
    async fn begin(&self) -> sqlx::Result<Transaction<'static, sqlx::Postgres>> {
        self.tables.begin().await
    }
}
