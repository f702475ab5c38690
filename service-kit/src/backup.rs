//! Copies of SQLite files that are in use, and their way back. PostgreSQL has its own tools for that.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL is not copied here.
    #[error(
        "a PostgreSQL database has its own pg_dump, pg_restore and vacuum; docs/backup.md has the commands"
    )]
    Postgres,
    /// There is something where the copy would go.
    #[error("{0} exists; nothing is written over it")]
    Exists(PathBuf),
    /// There is nothing to copy.
    #[error("{0} is missing")]
    Missing(PathBuf),
    /// The database refused.
    #[error("{path} cannot be copied")]
    Driver {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// The copy is not sound.
    #[error("{path} is damaged: {found}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        found: String,
    },
    /// The operating system refused.
    #[error("{path} cannot be written")]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Copies a SQLite file as it is at one instant, while services go on to use it. The copy is whole, compact, on the disk
/// when this returns, and has been looked through.
///
/// # Errors
///
/// [`BackupError`]. What has been written of the copy then is of no use.
pub async fn backup_sqlite(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !from.is_file() {
        return Err(BackupError::Missing(from.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let driver = |source| BackupError::Driver { path: from.to_owned(), source };
    let mut connection = open(from).await.map_err(driver)?;
    let into = to.to_string_lossy().into_owned();
    sqlx::query("vacuum into $1").bind(into).execute(&mut connection).await.map_err(driver)?;
    connection.close().await.map_err(driver)?;
    sync(to)?;
    check(to).await
}

/// Puts a copy in the place of a database that no service uses, and that is not there any more.
///
/// # Errors
///
/// [`BackupError`].
pub async fn restore_sqlite(from: &Path, to: &Path) -> Result<(), BackupError> {
    if !from.is_file() {
        return Err(BackupError::Missing(from.to_owned()));
    }
    // What a write-ahead log holds would be taken for the newest changes of the copy.
    for end in ["", "-wal", "-shm"] {
        let mut there = to.as_os_str().to_owned();
        there.push(end);
        let there = PathBuf::from(there);
        if there.exists() {
            return Err(BackupError::Exists(there));
        }
    }
    check(from).await?;
    std::fs::copy(from, to).map_err(|source| BackupError::System { path: to.to_owned(), source })?;
    sync(to)
}

/// Writes a file anew without what was deleted in it, which else stays in it until its place is used again, and cuts its
/// write-ahead log. Writers wait meanwhile, so the service is stopped, or has little to do.
///
/// # Errors
///
/// [`BackupError`]; the file is as it was.
pub async fn compact_sqlite(path: &Path) -> Result<(), BackupError> {
    if !path.is_file() {
        return Err(BackupError::Missing(path.to_owned()));
    }
    let driver = |source| BackupError::Driver { path: path.to_owned(), source };
    let mut connection = open(path).await.map_err(driver)?;
    for sql in ["vacuum", "pragma wal_checkpoint(truncate)"] {
        sqlx::query(sql).execute(&mut connection).await.map_err(driver)?;
    }
    connection.close().await.map_err(driver)
}

/// Looks a file through.
async fn check(path: &Path) -> Result<(), BackupError> {
    let driver = |source| BackupError::Driver { path: path.to_owned(), source };
    let mut connection = open(path).await.map_err(driver)?;
    let found: String =
        sqlx::query_scalar("pragma integrity_check(1)").fetch_one(&mut connection).await.map_err(driver)?;
    connection.close().await.map_err(driver)?;
    if found == "ok" { Ok(()) } else { Err(BackupError::Damaged { path: path.to_owned(), found }) }
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(crate::database::BUSY_TIMEOUT);
    SqliteConnection::connect_with(&options).await
}

/// A power cut does not undo the copy.
fn sync(path: &Path) -> Result<(), BackupError> {
    let system = |source| BackupError::System { path: path.to_owned(), source };
    File::open(path).and_then(|file| file.sync_all()).map_err(system)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Durability, Step, open_sqlite};

    const STEPS: &[Step] = &[(1, "start", "create table t (id integer primary key)")];

    #[tokio::test]
    async fn a_file_is_copied_while_it_is_used_and_nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let database = open_sqlite(&file("a.db"), Durability::PowerCut, STEPS).await.unwrap();
        let insert = "insert into t default values";
        sqlx::query(insert).execute(&database.writer).await.unwrap();
        // Somebody is in the middle of a transaction: what it has not committed is not in the copy.
        let mut tx = database.writer.begin().await.unwrap();
        sqlx::query(insert).execute(&mut *tx).await.unwrap();
        backup_sqlite(&file("a.db"), &file("copy.db")).await.unwrap();
        tx.commit().await.unwrap();
        assert!(matches!(backup_sqlite(&file("a.db"), &file("copy.db")).await, Err(BackupError::Exists(_))));
        assert!(matches!(backup_sqlite(&file("b.db"), &file("c.db")).await, Err(BackupError::Missing(_))));
        assert!(matches!(restore_sqlite(&file("copy.db"), &file("a.db")).await, Err(BackupError::Exists(_))));
        restore_sqlite(&file("copy.db"), &file("back.db")).await.unwrap();
        let back = open_sqlite(&file("back.db"), Durability::PowerCut, STEPS).await.unwrap();
        let rows: i64 = sqlx::query_scalar("select count(*) from t").fetch_one(&back.readers).await.unwrap();
        assert_eq!(rows, 1);
        std::fs::write(file("junk.db"), vec![7; 8192]).unwrap();
        assert!(restore_sqlite(&file("junk.db"), &file("never.db")).await.is_err());
        assert!(!file("never.db").exists());
    }
}
