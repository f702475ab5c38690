//! Which processors answer.

use std::{env, io, num::NonZero, thread::available_parallelism};

use service_kit::database::DatabaseUrl;
use tokio::runtime::{Builder, Runtime};

/// Says how many threads answer, in the place of what is worked out here.
const WORKERS: &str = "TOKIO_WORKER_THREADS";

/// The runtime of a store or terminal with this database. The threads of SQLite do as much for a create as those that answer,
/// and answers that are worked out on every processor wait for them and for each other: half of the processors answer, one at
/// least. PostgreSQL has processes of its own, as a rule elsewhere. `TOKIO_WORKER_THREADS` says another number.
///
/// # Errors
///
/// The operating system refuses.
pub fn runtime(database: &DatabaseUrl) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let (DatabaseUrl::Sqlite(_), None) = (database, env::var_os(WORKERS)) {
        let processors = available_parallelism().map_or(1, NonZero::get);
        builder.worker_threads((processors / 2).max(1));
    }
    builder.enable_all().build()
}
