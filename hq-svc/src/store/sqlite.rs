//! Headquarters on a SQLite file: one writer, whose transactions begin immediately.

#[path = "both/arrivals.rs"]
mod arrivals;
#[path = "both/customers.rs"]
mod customers;
mod dialect;
#[path = "both/duplicates.rs"]
mod duplicates;
#[path = "both/erasures.rs"]
mod erasures;
#[path = "both/operations.rs"]
mod operations;
#[path = "both/restore.rs"]
mod restore;
#[path = "both/sessions.rs"]
mod sessions;
#[path = "both/settings.rs"]
mod settings;
#[path = "both/store.rs"]
mod store;

use std::sync::Arc;

use service_kit::{
    clock::Ids,
    database::{BEGIN_IMMEDIATE, Durability, OpenError, Sqlite, Step, open_sqlite},
    lease::Lease,
};
use sqlx::{SqliteConnection, SqlitePool, Transaction};
use tillsync_proto::ChannelId;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::StoreError;
use crate::{
    config::Config,
    numbers::{NumberSequence, NumberSequences},
};

/// What the rooms that both databases share call it.
type DatabaseStore = SqliteStore;
type Db = Sqlite;
type Driver = sqlx::Sqlite;
type Connection = SqliteConnection;

/// Where is read.
fn reads(db: &Db) -> &SqlitePool {
    &db.readers
}

/// Where a single statement writes.
fn writes(db: &Db) -> &SqlitePool {
    &db.writer
}

/// Begins a transaction that writes.
async fn begin(db: &Db) -> sqlx::Result<Transaction<'static, Driver>> {
    db.writer.begin_with(BEGIN_IMMEDIATE).await
}

pub(super) const STEPS: &[Step] = &[
    (1, "start", include_str!("../../migrations/sqlite/0001_start.sql")),
    (2, "restore", include_str!("../../migrations/sqlite/0002_restore.sql")),
    (3, "erase", include_str!("../../migrations/sqlite/0003_erase.sql")),
    (4, "erase caller", include_str!("../../migrations/sqlite/0004_erase_caller.sql")),
];

/// The store on SQLite.
#[derive(Clone)]
pub struct SqliteStore {
    db: Sqlite,
    /// Held from the first number that a transaction takes to its commit.
    numbers: Arc<Mutex<NumberSequences>>,
    lease: Lease,
}

impl SqliteStore {
    /// Opens the file, makes it if it is missing. At the first open it gets its epoch and its schedules.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(path: &std::path::Path, config: &Config, ids: &Ids) -> Result<Self, OpenError> {
        let db = open_sqlite(path, Durability::PowerCut, STEPS).await?;
        let failed = |source| OpenError::Driver { database: path.display().to_string(), source };
        // Pages are written again and again by a job that drains: seldom back into the file.
        db.set_writer("wal_autocheckpoint", "8192").await.map_err(failed)?;
        settings::first_open(&db, ids.mint(), config).await.map_err(failed)?;
        let fallback = NumberSequences {
            accounts: NumberSequence::new(config.number_format.clone(), 0),
            cards: NumberSequence::new(config.card_format.clone(), 0),
        };
        let numbers = settings::sequences(&db, &fallback).await;
        let numbers = numbers.map_err(|error| match error {
            StoreError::Driver(source) => failed(source),
            other => failed(sqlx::Error::Decode(other.into())),
        })?;
        Ok(Self { db, numbers: Arc::new(Mutex::new(numbers)), lease: Lease::alone() })
    }

    /// Notes that the database was restored from a backup: another epoch begins, and nothing changes until the channels
    /// that it knows, and `expected` ones, have brought what it has lost. Gives whom it waits for.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn mark_restored(
        &self,
        epoch: Uuid,
        expected: &[ChannelId],
    ) -> Result<Vec<String>, StoreError> {
        restore::mark(&self.db, epoch, expected).await?;
        restore::awaited(&self.db).await
    }

    /// Closes every connection, readers first: whoever closes a file last writes it back.
    #[cfg(feature = "simulation")]
    pub(crate) async fn close(&self) {
        self.db.readers.close().await;
        self.db.writer.close().await;
    }

    /// For tests that look with their own SQL.
    #[cfg(test)]
    pub(super) fn database(&self) -> &Sqlite {
        &self.db
    }
}
