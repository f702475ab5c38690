//! A store in two SQLite files: the log, durable against a power cut, and the tables, which can be built again.

mod dialect;
mod gap;
#[path = "both/log.rs"]
mod log;
#[path = "both/tables.rs"]
mod tables;

use std::{path::Path, sync::Arc};

use service_kit::{
    clock::Ids,
    database::{BEGIN_IMMEDIATE, Durability, OpenError, Sqlite, open_sqlite},
    lease::Lease,
};
use sqlx::{SqlitePool, Transaction};
use tillsync_proto::CustomerId;

use super::StoreError;
use gap::Gap;

/// What the rooms that both databases share call it.
type DatabaseStore = SqliteStore;

/// A store in two SQLite files: the log, and the tables beside it.
#[derive(Clone)]
pub(crate) struct SqliteStore {
    log: Sqlite,
    tables: Sqlite,
    gap: Arc<Gap>,
    lease: Lease,
    ids: Ids,
}

impl SqliteStore {
    /// Opens `store.db` and `store.log.db`, or makes them.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(path: &Path, ids: Ids) -> Result<Self, OpenError> {
        let tables_steps = [(1, "tables", include_str!("../../migrations/sqlite/0001_tables.sql"))];
        let tables = open_sqlite(path, Durability::Crash, &tables_steps).await?;
        let log_steps = [(1, "log", include_str!("../../migrations/sqlite/0001_log.sql"))];
        let log = open_sqlite(&super::log_file(path), Durability::PowerCut, &log_steps).await?;
        let driver = |source| OpenError::Driver { database: path.display().to_string(), source };
        // Commits of the log never write back: `checkpoint` does. Those of the tables do it less often. Who only appends
        // needs few pages.
        for (file, pragma, value) in [
            (&log, "wal_autocheckpoint", "0"),
            (&log, "cache_size", "-2048"),
            (&tables, "wal_autocheckpoint", "8192"),
        ] {
            file.set_writer(pragma, value).await.map_err(driver)?;
        }
        Ok(Self { log, tables, gap: Arc::default(), lease: Lease::alone(), ids })
    }

    /// Those of whom the tables have to be asked: all, once they were found to be corrupted, so that it is said.
    fn may_hold(&self, ids: &[CustomerId]) -> Vec<CustomerId> {
        if self.tables.readers.is_closed() { ids.to_vec() } else { self.gap.outside(ids) }
    }

    fn log_reads(&self) -> &SqlitePool {
        &self.log.readers
    }

    fn table_reads(&self) -> &SqlitePool {
        &self.tables.readers
    }

    fn table_writes(&self) -> &SqlitePool {
        &self.tables.writer
    }

    /// Begins a transaction that changes the tables.
    async fn begin(&self) -> Result<Transaction<'static, sqlx::Sqlite>, StoreError> {
        Ok(self.tables.writer.begin_with(BEGIN_IMMEDIATE).await?)
    }

    /// Begins a transaction that notes how far the log has been carried on.
    async fn begin_log(&self) -> Result<Transaction<'static, sqlx::Sqlite>, StoreError> {
        Ok(self.log.writer.begin_with(BEGIN_IMMEDIATE).await?)
    }
}
