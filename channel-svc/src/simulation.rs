//! A channel on a simulated disk. Its store is the one on SQLite files; the disk says how long each transaction takes.

use std::{path::Path, sync::Arc};

use service_kit::{
    at_its_pace,
    clock::{Clock, Ids},
    lease::Lease,
    network::Incoming,
    serve::{Boxed, ServeError},
    simulation::Disk,
};
use tillsync_proto::{Criterion, CustomerId, JobRun};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::Config,
    log::entry::Row,
    open::{Deps, OpenError},
    store::{
        Applied, Batch, LogProgress, LogRow, LogStore, Setting, Settings, SqliteStore, StoreError,
        TableProgress, TableStore,
    },
};

/// A store on a simulated disk.
#[derive(Clone)]
pub(crate) struct Simulated {
    store: SqliteStore,
    disk: Disk,
}

impl LogStore for Simulated {
    type Locked = <SqliteStore as LogStore>::Locked;

    fn lease(&self) -> &Lease {
        self.store.lease()
    }

    async fn newest_of_all(&self) -> Result<Option<u64>, StoreError> {
        // Nobody is asked.
        self.store.newest_of_all().await
    }

    at_its_pace! {
        read read(after: u64) -> Result<Vec<LogRow>, StoreError>;
        read read_operations(after: u64) -> Result<Vec<LogRow>, StoreError>;
        read log_progress() -> Result<LogProgress, StoreError>;
    }

    at_its_pace! {
        write append(newest: u64, rows: Vec<LogRow>) -> Result<bool, StoreError>;
        write lock() -> Result<(Self::Locked, u64), StoreError>;
        write append_locked(locked: Self::Locked, rows: Vec<LogRow>) -> Result<(), StoreError>;
        write set_uploaded(through: u64, epoch: &str) -> Result<(), StoreError>;
        write rewrite(rows: Vec<LogRow>) -> Result<(), StoreError>;
        write overwrite_freed(on: bool) -> Result<(), StoreError>;
        write prune(through: u64) -> Result<u64, StoreError>;
        write [nothing] checkpoint() -> Result<(), StoreError>;
        write close() -> ();
    }
}

impl TableStore for Simulated {
    at_its_pace! {
        read rows(ids: &[CustomerId]) -> Result<Vec<Row>, StoreError>;
        read id_of_account(number: &str) -> Result<Option<CustomerId>, StoreError>;
        read search(criterion: &Criterion, limit: usize) -> Result<Vec<(CustomerId, usize)>, StoreError>;
        read page(after: Option<CustomerId>, limit: usize) -> Result<Vec<Row>, StoreError>;
        read table_progress() -> Result<TableProgress, StoreError>;
        read settings() -> Result<Settings, StoreError>;
        read job_runs() -> Result<Vec<JobRun>, StoreError>;
    }

    at_its_pace! {
        write apply(batch: Arc<Batch>) -> Result<Applied, StoreError>;
        write [settings] identify(identity: Uuid) -> Result<(), StoreError>;
        write [settings] identify_anew(identity: Uuid) -> Result<(), StoreError>;
        write [settings] save_setting(setting: Setting) -> Result<(), StoreError>;
        write [job_runs] save_run(run: &JobRun) -> Result<(), StoreError>;
    }
}

/// The files of a channel, open.
pub struct Files(Simulated);

impl Files {
    /// Opens or makes them, which takes no time.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(path: &Path, disk: Disk, ids: Ids) -> Result<Self, OpenError> {
        Ok(Self(Simulated { store: disk.at_once(SqliteStore::open(path, ids))?, disk }))
    }

    /// Closes them, whoever still holds them: a process that has ended.
    pub fn close(&self) {
        self.0.disk.at_once(self.0.store.close());
    }

    /// Serves a channel from them, as [`crate::open`] and [`crate::serve`] do.
    ///
    /// # Errors
    ///
    /// [`OpenError`] while the channel is put together; what comes later is the inner result.
    pub fn serve(
        &self,
        incoming: Incoming,
        shutdown: CancellationToken,
        config: Config,
        (clock, ids): (Arc<dyn Clock>, Ids),
    ) -> Boxed<'static, Result<Result<(), ServeError>, OpenError>> {
        let store = self.0.clone();
        Box::pin(async move {
            let channel = Deps::read(&config, store, clock, ids).await?;
            Ok(channel.serve(incoming, shutdown).await)
        })
    }
}
