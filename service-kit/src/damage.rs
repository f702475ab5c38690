//! What can be wrong with a database that is no fault of who calls, and a guard for each SQLite file: a corrupted one is
//! named and left as it is.

use std::{path::PathBuf, sync::LazyLock};

use sqlx::{SqliteConnection, SqlitePool};
use tokio::{select, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Files up to so many bytes are looked through when they are opened (about a second for each GB that the system has in
/// memory). Whether a larger one is sound is found out when what is wrong is met.
pub(crate) const MAX_LOOKED_THROUGH: u64 = 1 << 30;

/// Why a database can do nothing at present, for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its disk is full; nothing was done.
    #[error("the database has no room left")]
    NoRoom,
    /// It cannot be reached, its disk fails or cannot be written to, or it is corrupted. What became of a commit is not
    /// known.
    #[error("the database cannot be used at present")]
    Out,
    /// The same, and SQLite or PostgreSQL says that it is corrupted.
    #[error("the database is corrupted")]
    Corrupt,
}

/// What is wrong with the database, if that is why it failed.
#[must_use]
pub fn trouble(error: &sqlx::Error) -> Option<Trouble> {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(Trouble::Out),
        sqlx::Error::Database(error) => of_code(error.code()?.as_ref()),
        _ => None,
    }
}

/// PostgreSQL says it in a SQLSTATE of five characters, SQLite in primary or extended result codes of at most four digits.
fn of_code(code: &str) -> Option<Trouble> {
    match code {
        "53100" => Some(Trouble::NoRoom),
        // Out of memory or connections, an I/O error, a server that has become a standby, one that stops, has crashed, or
        // starts; and whatever class 08 says of a connection, which is how a pooler says that there is no server.
        "53200" | "53300" | "58030" | "25006" | "57P01" | "57P02" | "57P03" => Some(Trouble::Out),
        "XX001" | "XX002" => Some(Trouble::Corrupt),
        _ if code.len() == 5 && code.starts_with("08") => Some(Trouble::Out),
        _ if code.len() == 5 => None,
        // READONLY, IOERR, CANTOPEN; FULL; CORRUPT, NOTADB (sqlite.org/rescode.html).
        _ => match code.parse::<u32>().ok()? & 0xff {
            8 | 10 | 14 => Some(Trouble::Out),
            13 => Some(Trouble::NoRoom),
            11 | 26 => Some(Trouble::Corrupt),
            _ => None,
        },
    }
}

/// Grows whenever a database error says that a file is corrupted. It does not say which: each guard looks at its own.
static SUSPICION: LazyLock<watch::Sender<u64>> = LazyLock::new(watch::Sender::default);

/// Notices an error on its way to a caller: if it says that a database is corrupted, the files are looked through.
#[must_use]
pub fn noticed(error: sqlx::Error) -> sqlx::Error {
    if trouble(&error) == Some(Trouble::Corrupt) {
        SUSPICION.send_modify(|met| *met += 1);
    }
    error
}

/// Why a file is not sound; `None` if it is, as far as its structure tells.
///
/// # Errors
///
/// It could not be looked through for another reason.
pub(crate) async fn unsound(connection: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    let looked = sqlx::query_scalar::<_, String>("pragma quick_check(1)").fetch_one(connection).await;
    match looked {
        Ok(said) if said == "ok" => Ok(None),
        // Of several lines the first is enough. It names tables and pages, never values.
        Ok(said) => Ok(Some(said.lines().next().unwrap_or_default().to_owned())),
        Err(error) if trouble(&error) == Some(Trouble::Corrupt) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Looks the file through whenever something corrupted was met anywhere in the process; nothing is written meanwhile. A
/// file that is not sound is served no longer: every call is [`Trouble::Out`] from then on.
pub(crate) async fn guard(path: PathBuf, writer: SqlitePool, readers: SqlitePool, end: CancellationToken) {
    let mut suspicion = SUSPICION.subscribe();
    loop {
        select! {
            () = end.cancelled() => return,
            met = suspicion.changed() => if met.is_err() { return }
        }
        // Whoever writes waits for the only connection that does.
        let mut connection = match writer.acquire().await {
            Ok(connection) => connection,
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => {
                error!(database = %path.display(), %error, "whether it is sound is not known");
                continue;
            }
        };
        match unsound(&mut connection).await {
            Ok(None) => info!(database = %path.display(), "something corrupted was met, and not here"),
            Ok(Some(what)) => {
                error!(database = %path.display(), what, "the database file is corrupted; it is left as it is");
                keep_open(connection.leak());
                // Closed for everybody from here on; who still uses a connection of these gives it back to nobody.
                drop((writer.close(), readers.close()));
                return;
            }
            Err(error) => error!(database = %path.display(), %error, "whether it is sound is not known"),
        }
    }
}

/// Keeps a connection open for as long as the process lives: who closes a file last writes its log back into it.
pub(crate) fn keep_open(connection: SqliteConnection) {
    std::mem::forget(connection);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_codes_of_both_databases_are_told_apart() {
        for (code, expected) in [
            ("13", Some(Trouble::NoRoom)),
            ("53100", Some(Trouble::NoRoom)),
            ("8", Some(Trouble::Out)),
            ("778", Some(Trouble::Out)),  // IOERR_WRITE
            ("1034", Some(Trouble::Out)), // IOERR_FSYNC
            ("25006", Some(Trouble::Out)),
            ("57P01", Some(Trouble::Out)),
            ("08P01", Some(Trouble::Out)),
            ("08006", Some(Trouble::Out)),
            ("11", Some(Trouble::Corrupt)),
            ("779", Some(Trouble::Corrupt)), // CORRUPT_INDEX
            ("26", Some(Trouble::Corrupt)),
            ("XX002", Some(Trouble::Corrupt)),
            ("5", None),
            ("2067", None), // CONSTRAINT_UNIQUE
            ("23505", None),
            ("40001", None),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
        }
    }
}
