//! A store's service. `channel-svc --help` is the manual.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use channel_svc::{Config, OpenError, ServeError, TerminalConfig, log_file, mark_restored, open, serve};
use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use service_kit::{
    backup::{BackupError, backup_sqlite, compact_sqlite, restore_sqlite},
    clock::{Clock, Ids, SystemClock},
    config::{ListenError, exit, listen, one_line, shutdown_on_signal},
    database::DatabaseUrl,
    door::DoorConfig,
    telemetry::init_logs,
    way::Credentials,
    web::Origin,
};
use tillsync_proto::ChannelId;
use tracing::{info, level_filters::LevelFilter};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A store: creates customers sync (one call to headquarters) or async (its own log), and exchanges them.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
enum Command {
    /// A till's own service: passes calls on to its store, and while the store does not answer creates customers in a
    /// database of its own, which go up to the store afterwards.
    Terminal(TerminalOptions),
    /// Copies the SQLite files of a running store or terminal: the tables, and the log beside them (FILE with .log.db).
    Backup {
        #[command(flatten)]
        database: Database,
        /// Where the copy goes: a file that does not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Writes the SQLite files of a store or terminal anew, without what was deleted or erased in them. Best while it is stopped.
    Compact {
        #[command(flatten)]
        database: Database,
    },
    /// Brings a copy back, before the store or terminal starts: puts it in its place, and notes in it that it was restored. SQLite
    /// files do not exist before that; a PostgreSQL database has been brought back by pg_restore.
    Restore {
        #[command(flatten)]
        database: Database,
        /// The copy of SQLite files.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct Database {
    /// sqlite:PATH (the log is kept beside it, in PATH with .log.db) or postgres://….
    #[arg(
        long = "database-url",
        env = "CHANNEL_DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:store.db"
    )]
    url: DatabaseUrl,
}

#[derive(Debug, Args)]
struct TerminalOptions {
    /// Name of the terminal: 1 to 60 letters, digits, dots, hyphens and underscores.
    #[arg(long, env = "TERMINAL_ID", default_value = "till-1")]
    terminal_id: ChannelId,
    /// The store.
    #[arg(long, env = "TERMINAL_STORE", default_value = "http://127.0.0.1:7100")]
    store: String,
    /// Seconds that a call to the store may take before the terminal goes offline, 0.1 to 3600.
    #[arg(long, env = "TERMINAL_TIMEOUT", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Seconds that it stays offline at least before it asks the store again, 0.1 to 3600.
    #[arg(long, env = "TERMINAL_RECONNECT", default_value = "10", value_parser = seconds)]
    reconnect: Duration,
    /// Where to listen. Port 0 takes a free one; the log says which.
    #[arg(long, env = "TERMINAL_LISTEN", default_value = "127.0.0.1:7110")]
    listen: SocketAddr,
    /// sqlite:PATH (the log is kept beside it, in PATH with .log.db).
    #[arg(long, env = "TERMINAL_DATABASE_URL", hide_env_values = true, default_value = "sqlite:till.db")]
    database_url: DatabaseUrl,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Args)]
struct StoreOptions {
    /// Name of the channel: 1 to 60 letters, digits, dots, hyphens and underscores.
    #[arg(long, env = "CHANNEL_ID", default_value = "store-1")]
    channel_id: ChannelId,
    /// Where to listen. Port 0 takes a free one; the log says which.
    #[arg(long, env = "CHANNEL_LISTEN", default_value = "127.0.0.1:7100")]
    listen: SocketAddr,
    #[command(flatten)]
    database: Database,
    /// Headquarters' real-time service: the emulator, or headquarters itself.
    #[arg(long, env = "CHANNEL_RTS", default_value = "http://127.0.0.1:7300")]
    rts: String,
    /// Headquarters' data exchange.
    #[arg(long, env = "CHANNEL_HQ", default_value = "http://127.0.0.1:7200")]
    hq: String,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Debug, Args)]
struct CommonOptions {
    /// Seconds that the cache of profile and flags lasts, 0 to 3600: what 1070 and 1110 bring is in force so long after.
    #[arg(long, env = "CHANNEL_CONFIGURATION_CACHE", default_value = "0", value_parser = cache_seconds)]
    configuration_cache: Duration,
    /// Seconds that something may wait without anything moving before that is an error, 0.1 to 3600.
    #[arg(long, env = "CHANNEL_WATCHDOG", default_value = "60", value_parser = seconds)]
    watchdog: Duration,
    /// Lets pages of this origin call from a browser (grpc-web), such as https://till.example; repeat it for each, or
    /// separate them by commas. Without it no page can.
    #[arg(long, env = "CHANNEL_WEB_ORIGIN", value_delimiter = ',', value_name = "ORIGIN")]
    web_origin: Vec<Origin>,
    #[command(flatten)]
    door: DoorConfig,
    #[command(flatten)]
    credentials: Credentials,
    /// Listen beyond loopback without TLS, or although nobody checks who calls.
    #[arg(long, env = "CHANNEL_INSECURE")]
    insecure: bool,
    /// Least severe level that is logged: off, error, warn, info, debug or trace.
    #[arg(long, env = "CHANNEL_LOG", default_value = "info")]
    log: LevelFilter,
}

/// Why the channel does not run.
#[derive(Debug, thiserror::Error)]
enum MainError {
    #[error("{0}")]
    Options(String),
    #[error("the help cannot be printed")]
    Print(#[source] std::io::Error),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("signals cannot be caught")]
    Signal(#[from] std::io::Error),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

#[tokio::main]
async fn main() -> ExitCode {
    exit("channel-svc", run().await)
}

async fn run() -> Result<(), MainError> {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => return Err(MainError::Options(one_line(&error.to_string()))),
        // Help and version are no errors.
        Err(asked) => return asked.print().map_err(MainError::Print),
    };
    let (config, address, common) = match options.command {
        Some(Command::Backup { database, to }) => return backup(&database.url, &to).await,
        Some(Command::Compact { database }) => return compact(&database.url).await,
        Some(Command::Restore { database, from }) => return restore(&database.url, from).await,
        None => {
            let StoreOptions { channel_id, listen, database, rts, hq, common } = options.store;
            (Config::new(channel_id, database.url, rts, hq), listen, common)
        }
        Some(Command::Terminal(options)) => {
            let TerminalOptions { terminal_id, store, timeout, reconnect, listen, database_url, common } =
                options;
            let terminal = TerminalConfig { store, timeout, reconnect };
            (Config::terminal(terminal_id, database_url, terminal), listen, common)
        }
    };
    let CommonOptions { configuration_cache, watchdog, web_origin: web_origins, .. } = common;
    let CommonOptions { door, credentials, insecure, log, .. } = common;
    let config = Config { configuration_cache, watchdog, web_origins, door, credentials, ..config };
    init_logs(log);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let channel = open(&config, Arc::clone(&clock), Ids::from_os(clock)).await?;
    let listener = listen(address, &config.door, insecure).await?;
    let shutdown = shutdown_on_signal()?;
    let address = listener.local_addr()?;
    info!(channel = %config.channel_id, %address, database = ?config.database, "serving");
    serve(listener, shutdown, channel).await?;
    Ok(())
}

/// Copies the tables first: what the log has beyond them is made tables of when the copy is opened.
async fn backup(database: &DatabaseUrl, to: &Path) -> Result<(), MainError> {
    let DatabaseUrl::Sqlite(path) = database else { return Err(BackupError::Postgres.into()) };
    backup_sqlite(path, to).await?;
    Ok(backup_sqlite(&log_file(path), &log_file(to)).await?)
}

async fn compact(database: &DatabaseUrl) -> Result<(), MainError> {
    let DatabaseUrl::Sqlite(path) = database else { return Err(BackupError::Postgres.into()) };
    compact_sqlite(&log_file(path)).await?;
    Ok(compact_sqlite(path).await?)
}

async fn restore(database: &DatabaseUrl, from: Option<PathBuf>) -> Result<(), MainError> {
    match (database, from) {
        (DatabaseUrl::Sqlite(path), Some(from)) => {
            restore_sqlite(&log_file(&from), &log_file(path)).await?;
            restore_sqlite(&from, path).await?;
        }
        (DatabaseUrl::Sqlite(_), None) => {
            let missing = "--from is missing: which copy is to be brought back?";
            return Err(MainError::Options(missing.to_owned()));
        }
        (DatabaseUrl::Postgres(_), Some(_)) => return Err(BackupError::Postgres.into()),
        (DatabaseUrl::Postgres(_), None) => {}
    }
    mark_restored(database, Ids::from_os(Arc::new(SystemClock))).await?;
    println!("The database is restored.");
    Ok(())
}

/// Reads a time in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let read = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    read.map(Duration::from_secs_f64).ok_or_else(|| "is not between 0.1 and 3600".to_owned())
}

/// The same, with none.
fn cache_seconds(text: &str) -> Result<Duration, String> {
    let read = text.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
    read.map(Duration::from_secs_f64).ok_or_else(|| "is not between 0 and 3600".to_owned())
}
