//! A store on PostgreSQL.

mod dialect;
#[path = "both/log.rs"]
mod log;
#[path = "both/tables.rs"]
mod tables;

use service_kit::{
    clock::Ids,
    database::{OpenError, Step, open_postgres},
    lease::Lease,
};
use sqlx::{PgPool, Transaction};
use tillsync_proto::CustomerId;

use super::StoreError;

/// What the rooms that both databases share call it.
type DatabaseStore = PostgresStore;

/// Connections for the appender, the jobs and the readers.
const CONNECTIONS: u32 = 8;
const STEPS: &[Step] = &[(1, "start", include_str!("../../migrations/postgres/0001_start.sql"))];

/// A store in one PostgreSQL database, which no other channel shares; several processes of one channel may.
#[derive(Clone)]
pub(crate) struct PostgresStore {
    pool: PgPool,
    /// One connection, so that batches are applied to the tables one after the other, as SQLite does by nature.
    tables: PgPool,
    lease: Lease,
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
        let tables = open_postgres(url, 1, STEPS).await?;
        Self::on(pool, tables, ids).await
    }

    /// The same on connections that there are, to a database whose tables are up to date.
    pub async fn on(pool: PgPool, tables: PgPool, ids: Ids) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Driver { database: "the PostgreSQL database".to_owned(), source };
        let lease = Lease::shared(pool.clone(), "channel", ids.mint()).await.map_err(failed)?;
        Ok(Self { pool, tables, lease, ids })
    }

    /// Those of whom the tables have to be asked: other processes write to them, too.
    #[expect(clippy::unused_self, reason = "a SQLite store knows of some that it does not hold them")]
    fn may_hold(&self, ids: &[CustomerId]) -> Vec<CustomerId> {
        ids.to_vec()
    }

    fn log_reads(&self) -> &PgPool {
        &self.pool
    }

    fn table_reads(&self) -> &PgPool {
        &self.pool
    }

    fn table_writes(&self) -> &PgPool {
        &self.pool
    }

    /// Begins a transaction that changes the tables: one after the other, and only in the process that holds the lease.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Postgres>, StoreError> {
        let mut tx = self.tables.begin().await?;
        if self.lease.fence(&mut tx).await? { Ok(tx) } else { Err(StoreError::Fenced) }
    }

    /// Begins a transaction that notes how far the log has been carried on, on the same terms.
    async fn begin_log(&self) -> Result<Transaction<'static, sqlx::Postgres>, StoreError> {
        self.begin().await
    }
}
