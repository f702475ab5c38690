//! Headquarters on PostgreSQL. Nothing is bound to a session: no LISTEN, no advisory locks.

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
    database::{OpenError, Step, open_postgres},
    lease::Lease,
};
use sqlx::{PgConnection, PgPool, Transaction};
use tillsync_proto::ChannelId;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::StoreError;
use crate::{
    config::Config,
    numbers::{NumberSequence, NumberSequences},
};

/// What the rooms that both databases share call it.
type DatabaseStore = PostgresStore;
type Db = PgPool;
type Driver = sqlx::Postgres;
type Connection = PgConnection;

/// Where is read.
fn reads(db: &Db) -> &PgPool {
    db
}

/// Where a single statement writes.
fn writes(db: &Db) -> &PgPool {
    db
}

/// Begins a transaction that writes.
async fn begin(db: &Db) -> sqlx::Result<Transaction<'static, Driver>> {
    db.begin().await
}

pub(super) const STEPS: &[Step] = &[
    (1, "start", include_str!("../../migrations/postgres/0001_start.sql")),
    (2, "restore", include_str!("../../migrations/postgres/0002_restore.sql")),
    (3, "erase", include_str!("../../migrations/postgres/0003_erase.sql")),
    (4, "erase caller", include_str!("../../migrations/postgres/0004_erase_caller.sql")),
];

/// Connections to keep at most. More only wait for each other at the row of `hq_head`.
const CONNECTIONS: u32 = 16;

/// The store on PostgreSQL.
#[derive(Clone)]
pub struct PostgresStore {
    db: PgPool,
    /// Held from the first number that a transaction takes to its commit.
    numbers: Arc<Mutex<NumberSequences>>,
    lease: Lease,
}

impl PostgresStore {
    /// Connects. At the first open the database gets its epoch and its schedules.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(url: &str, config: &Config, ids: &Ids) -> Result<Self, OpenError> {
        Self::on(open_postgres(url, CONNECTIONS, STEPS).await?, config, ids).await
    }

    /// The same on connections that there are, to a database whose tables are up to date.
    pub(super) async fn on(db: PgPool, config: &Config, ids: &Ids) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Driver { database: "the PostgreSQL database".to_owned(), source };
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
        let lease = Lease::shared(db.clone(), "headquarters", ids.mint()).await.map_err(failed)?;
        Ok(Self { db, numbers: Arc::new(Mutex::new(numbers)), lease })
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

    /// For tests that look with their own SQL.
    #[cfg(test)]
    pub(super) fn database(&self) -> &PgPool {
        &self.db
    }
}
