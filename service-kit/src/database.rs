//! Opens the two databases. Which one is said by the URL's scheme, once, in `main`.

mod background;
mod statements;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Connection as _, Executor as _, PgPool, SqlSafeStr as _, SqliteConnection, SqlitePool,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use statements::{lists, push_list, rows_of_statement};

use crate::damage::{MAX_LOOKED_THROUGH, Trouble, guard, keep_open, trouble, unsound};

/// The first SQLite without the corruption bug at the reset of a write-ahead log.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for a lock before it is `SQLITE_BUSY`.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A commit promises no less than that a power cut cannot undo it, here and at the synchronous standby.
const AT_LEAST_ON: &str = "select set_config('synchronous_commit', 'on', false) \
     where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')";
/// How often a process tries to make the tables of a PostgreSQL database.
const MIGRATE_ATTEMPTS: u32 = 5;
/// Memory-mapped part of a SQLite file, in bytes, and page cache in KiB: of the writer, which changes pages all over its indexes,
/// and of each reader, which has the system's cache behind it. What several connections have mapped counts as often as the
/// memory of the process.
const WRITER_MMAP_BYTES: &str = "67108864";
const WRITER_CACHE_KIB: &str = "-65536";
const READER_MMAP_BYTES: &str = "8388608";
const READER_CACHE_KIB: &str = "-4096";
/// Rows that the thread of a SQLite connection reads ahead of who asked for them. Beyond them the two wake each other for
/// every row, so whoever reads many asks for no more at once.
pub const ROWS_AHEAD: usize = 1_024;

/// Where a service keeps its data: `sqlite:PATH` (or a plain path) or `postgres://…`.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL URL.
    Postgres(String),
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            text.parse::<PgConnectOptions>().map_err(|error| error.to_string())?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path = match text.split_once(':') {
            Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
            Some((scheme, rest)) if rest.starts_with("//") => {
                return Err(format!("{scheme}: is not supported; use sqlite:PATH or postgres://…"));
            }
            _ => text,
        };
        if path.is_empty() { Err("no file is named".to_owned()) } else { Ok(Self::Sqlite(path.into())) }
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is a directory.
    #[error("{0} is a directory, not a database file")]
    Directory(PathBuf),
    /// The folder of the file cannot be made.
    #[error("cannot make the folder of {path}")]
    Folder {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The SQLite library has a known corruption bug.
    #[error("SQLite {0} is older than 3.51.3, which can corrupt a database; it is not used")]
    OldSqlite(String),
    /// The file is corrupted. It was not written to.
    #[error("the database file {path} is corrupted ({what}); it is left as it is")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// The database refused.
    #[error("cannot open {database}")]
    Driver {
        /// The database, without its password.
        database: String,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer version has changed the schema.
    #[error(
        "{database} was made or upgraded by a newer version: its schema is at step {found}, and this version knows \
         {known}; use that version, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The database, without its password.
        database: String,
        /// The step that it has.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the tables of {database} up to date")]
    Migrate {
        /// The database, without its password.
        database: String,
        /// Why.
        source: MigrateError,
    },
}

impl OpenError {
    fn of_migration(database: &str, steps: &[Step], source: MigrateError) -> Self {
        let (database, known) =
            (database.to_owned(), steps.iter().map(|step| step.0).max().unwrap_or_default());
        match source {
            MigrateError::VersionMissing(found) if found > known => Self::Newer { database, found, known },
            source => Self::Migrate { database, source },
        }
    }
}

/// What a commit of a SQLite file promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A power cut cannot undo it (`synchronous=FULL`).
    PowerCut,
    /// A crash of the process cannot undo it; a power cut may undo the newest commits, whole and in order
    /// (`synchronous=NORMAL`). For what can be built again: its writer yields to others.
    Crash,
}

/// A SQLite file: one writer, several readers.
#[derive(Clone)]
pub struct Sqlite {
    /// The only connection that writes. Begin with [`BEGIN_IMMEDIATE`].
    pub writer: SqlitePool,
    /// Connections that only read.
    pub readers: SqlitePool,
    /// Ends the guard with the last of these.
    _guarded: Arc<DropGuard>,
}

impl Sqlite {
    /// Sets a pragma of the writer, and of the connection that takes its place.
    ///
    /// # Errors
    ///
    /// The database refuses.
    pub async fn set_writer(&self, pragma: &'static str, value: &'static str) -> Result<(), sqlx::Error> {
        let sql = format!("pragma {pragma} = {value}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&self.writer).await?;
        let options = self.writer.connect_options().as_ref().clone();
        self.writer.set_connect_options(options.pragma(pragma, value));
        Ok(())
    }
}

/// How every writing transaction on SQLite begins: a deferred one fails under contention whatever the busy
/// timeout.
pub const BEGIN_IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// One step of a schema: its number, its name, its SQL.
pub type Step = (i64, &'static str, &'static str);

/// Opens a SQLite file, makes it if it is missing, and brings its tables up to date.
///
/// # Errors
///
/// [`OpenError`].
pub async fn open_sqlite(path: &Path, durability: Durability, steps: &[Step]) -> Result<Sqlite, OpenError> {
    if path.is_dir() {
        return Err(OpenError::Directory(path.to_owned()));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| OpenError::Folder { path: path.to_owned(), source })?;
    }
    let database = path.display().to_string();
    let driver = |source| OpenError::Driver { database: database.clone(), source };
    let synchronous = match durability {
        Durability::PowerCut => SqliteSynchronous::Full,
        Durability::Crash => SqliteSynchronous::Normal,
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .row_buffer_size(ROWS_AHEAD)
        .pragma("mmap_size", WRITER_MMAP_BYTES)
        .pragma("cache_size", WRITER_CACHE_KIB);
    let pool = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A connection to a file does not break while it waits; asking would be a trip to its thread.
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
    };
    let writer = match durability {
        Durability::PowerCut => {
            let writers = pool(1).before_acquire(|connection, _| Box::pin(out_of_transaction(connection)));
            writers.connect_with(options.clone()).await
        }
        Durability::Crash => background::connect(path, pool(1), options.clone()).await,
    };
    let writer = writer.map_err(|error| match trouble(&error) {
        Some(Trouble::Corrupt) => OpenError::Corrupt { path: path.to_owned(), what: error.to_string() },
        _ => driver(error),
    })?;
    let version: String =
        sqlx::query_scalar("select sqlite_version()").fetch_one(&writer).await.map_err(driver)?;
    if parse_version(&version) < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite(version));
    }
    let mut connection = writer.acquire().await.map_err(driver)?;
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_LOOKED_THROUGH)
        && let Some(what) = unsound(&mut connection).await.map_err(driver)?
    {
        keep_open(connection.leak());
        return Err(OpenError::Corrupt { path: path.to_owned(), what });
    }
    migrate(&mut *connection, steps)
        .await
        .map_err(|source| OpenError::of_migration(&database, steps, source))?;
    drop(connection);
    let reading = options.pragma("mmap_size", READER_MMAP_BYTES).pragma("cache_size", READER_CACHE_KIB);
    let readers = pool(4).connect_lazy_with(reading.pragma("query_only", "on"));
    let end = CancellationToken::new();
    tokio::spawn(guard(path.to_owned(), writer.clone(), readers.clone(), end.clone()));
    Ok(Sqlite { writer, readers, _guarded: Arc::new(end.drop_guard()) })
}

/// Whether a connection can begin a transaction. When a disk is full or fails, SQLite rolls back by itself; sqlx, of which the
/// rollback then fails, believes the transaction open, and would never begin another. A new connection takes its place.
async fn out_of_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // A rollback that is under way ends first.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// Connects to PostgreSQL and brings the tables up to date. Every connection commits with `synchronous_commit=on` at
/// least, so that it waits for the synchronous standby where there is one (rule M8); `remote_apply` stays as it is.
///
/// # Errors
///
/// [`OpenError`].
pub async fn open_postgres(url: &str, connections: u32, steps: &[Step]) -> Result<PgPool, OpenError> {
    let database = "the PostgreSQL database".to_owned();
    let driver = |source| OpenError::Driver { database: database.clone(), source };
    let options: PgConnectOptions = url.parse().map_err(driver)?;
    // Migrations run on a connection of their own: they need no pool and leave no state behind.
    let mut connection = sqlx::PgConnection::connect_with(&options).await.map_err(driver)?;
    // That the list of steps is there already is no news.
    connection.execute("set client_min_messages = warning").await.map_err(driver)?;
    let mut migrated = migrate(&mut connection, steps).await;
    for _ in 1..MIGRATE_ATTEMPTS {
        // Of two processes that make the same tables at once one fails, and finds them made the next time.
        let Err(MigrateError::Execute(_) | MigrateError::ExecuteMigration(..)) = migrated else { break };
        migrated = migrate(&mut connection, steps).await;
    }
    migrated.map_err(|source| OpenError::of_migration(&database, steps, source))?;
    connection.close().await.map_err(driver)?;
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Not as an option of the connection, which a pooler would refuse.
        .after_connect(|connection, _| Box::pin(async { connection.execute(AT_LEAST_ON).await.map(|_| ()) }))
        .connect_with(options)
        .await
        .map_err(driver)
}

/// Applies the steps that a database does not have yet. Without an advisory lock, which would bind the
/// session: a step that two processes run at once fails in one of them, which then tries again.
async fn migrate<C>(connection: &mut C, steps: &[Step]) -> Result<(), MigrateError>
where
    C: Migrate + Send,
{
    let steps = steps.iter().map(|(version, name, sql)| {
        let sql = sqlx::AssertSqlSafe(*sql).into_sql_str();
        Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
    });
    let mut migrator = Migrator::with_migrations(steps.collect());
    migrator.set_locking(false);
    migrator.run_direct(None, connection, false).await
}

fn parse_version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// Whether the same transaction may succeed if it is tried again: serialization failure, deadlock, a lock
/// that was not to be had, or SQLite busy.
#[must_use]
pub fn is_transient(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    // PostgreSQL: SQLSTATE; SQLite: primary (5, 6) or extended (517, 262, …) result codes.
    match error.code().as_deref() {
        Some("40001" | "40P01" | "55P03") => true,
        Some(code) => code.parse::<u32>().is_ok_and(|code| code < 4096 && matches!(code & 0xff, 5 | 6)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Step] = &[(1, "start", "create table t (id integer primary key)")];

    #[test]
    fn urls_name_their_database() {
        assert_eq!("sqlite:a.db".parse(), Ok(DatabaseUrl::Sqlite("a.db".into())));
        assert_eq!("sqlite:///x/a.db".parse(), Ok(DatabaseUrl::Sqlite("/x/a.db".into())));
        assert_eq!("a.db".parse(), Ok(DatabaseUrl::Sqlite("a.db".into())));
        assert!("mysql://x".parse::<DatabaseUrl>().is_err());
        assert!("sqlite:".parse::<DatabaseUrl>().is_err());
        let url: DatabaseUrl = "postgres://me:secret@host/db".parse().unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[tokio::test]
    async fn m8_a_commit_promises_no_less_than_the_standbys_disk_whatever_the_server_says() {
        let Some(DatabaseUrl::Postgres(url)) = crate::testing::postgres("m8 role").await else { return };
        for (said, kept) in [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")] {
            let pool = open_postgres(&url, 1, STEPS).await.unwrap();
            let name: String =
                sqlx::query_scalar("select current_database()").fetch_one(&pool).await.unwrap();
            let sql = format!("alter database {name} set synchronous_commit = {said}");
            pool.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            let pool = open_postgres(&url, 1, STEPS).await.unwrap();
            let found: String = sqlx::query_scalar("show synchronous_commit").fetch_one(&pool).await.unwrap();
            assert_eq!(found, kept, "{said}");
        }
    }

    #[tokio::test]
    async fn a_schema_of_a_newer_version_is_refused_and_left_alone() {
        let newer = [STEPS[0], (2, "more", "create table more (id integer primary key)")];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        open_sqlite(&path, Durability::PowerCut, &newer).await.unwrap();
        let refused = open_sqlite(&path, Durability::PowerCut, STEPS).await.err().unwrap();
        assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused:?}");
        assert!(refused.to_string().contains("newer version"), "{refused}");
        open_sqlite(&path, Durability::PowerCut, &newer).await.unwrap();
        let Some(DatabaseUrl::Postgres(url)) = crate::testing::postgres("newer schema").await else { return };
        open_postgres(&url, 1, &newer).await.unwrap();
        let refused = open_postgres(&url, 1, STEPS).await.err().unwrap();
        assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn a_file_is_made_migrated_once_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/store.db");
        for _ in 0..2 {
            let database = open_sqlite(&path, Durability::PowerCut, STEPS).await.unwrap();
            let full: i64 =
                sqlx::query_scalar("pragma synchronous").fetch_one(&database.writer).await.unwrap();
            assert_eq!(full, 2, "synchronous=FULL (rule M8)");
            sqlx::query("insert into t default values").execute(&database.writer).await.unwrap();
            let write = sqlx::query("insert into t default values").execute(&database.readers).await;
            assert!(write.is_err(), "readers only read");
        }
        // As SQLite does where a disk is full.
        let database = open_sqlite(&path, Durability::PowerCut, STEPS).await.unwrap();
        let mut rolled_back = database.writer.begin_with(BEGIN_IMMEDIATE).await.unwrap();
        sqlx::query("rollback").execute(&mut *rolled_back).await.unwrap();
        assert!(rolled_back.commit().await.is_err());
        let next = database.writer.begin_with(BEGIN_IMMEDIATE).await.expect("the writer goes on");
        next.commit().await.unwrap();
        let folder_as_file = open_sqlite(folder.path(), Durability::PowerCut, STEPS).await;
        assert!(matches!(folder_as_file, Err(OpenError::Directory(_))));
    }
}
