//! `hq-svc`: headquarters as a process.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use hq_svc::{Config, NumberFormat, OpenError, RestoreError, ServeError, mark_restored, open, serve};
use service_kit::{
    backup::{BackupError, backup_sqlite, compact_sqlite, restore_sqlite},
    clock::{Clock, Ids, SystemClock},
    config::{EXIT_USAGE, ListenError, exit, listen, one_line, shutdown_on_signal},
    database::DatabaseUrl,
    door::DoorConfig,
    telemetry,
};
use tillsync_proto::ChannelId;
use tracing::{info, level_filters::LevelFilter};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Headquarters of Tillsync: owns the customers and gives out their account numbers.
///
/// Serves the real-time service, the data exchange and the admin service, with health, reflection and
/// Prometheus metrics at /metrics, on one port. Runs the customer sync job.
#[derive(Parser)]
#[command(name = "hq-svc", version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to listen. Port 0 takes a free one; the log says which.
    #[arg(long, env = "HQ_LISTEN", default_value = "127.0.0.1:7200", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    database: Database,
    /// Format of account numbers on a new database: a prefix, then # for each digit.
    /// Later it is changed with tillsync hq sequence.
    #[arg(long, env = "HQ_ACCOUNT_NUMBERS", default_value = "C-########", value_name = "FORMAT")]
    account_numbers: NumberFormat,
    /// Format of loyalty card numbers on a new database.
    #[arg(long, env = "HQ_CARD_NUMBERS", default_value = "L-########", value_name = "FORMAT")]
    card_numbers: NumberFormat,
    /// Seconds that arrivals may wait without any being processed before that is an error, 0.1 to 3600.
    #[arg(long, env = "HQ_WATCHDOG", default_value = "60", value_parser = seconds, value_name = "SECONDS")]
    watchdog: Duration,
    #[command(flatten)]
    door: DoorConfig,
    /// Accept callers from other machines without TLS, or without checking who they are.
    #[arg(long, env = "HQ_INSECURE")]
    insecure: bool,
    /// Least severe log line to write to standard error: off, error, warn, info, debug, trace.
    #[arg(long, env = "HQ_LOG", default_value = "info", value_name = "LEVEL")]
    log: LevelFilter,
}

#[derive(clap::Args)]
struct Database {
    /// Where the data is: sqlite:FILE or postgres://…
    #[arg(
        long = "database-url",
        env = "HQ_DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:hq.db",
        value_name = "URL"
    )]
    url: DatabaseUrl,
}

#[derive(Subcommand)]
enum Command {
    /// Copies the SQLite file of a running service, as it is at one instant.
    Backup {
        #[command(flatten)]
        database: Database,
        /// Where the copy goes: a file that does not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Writes the SQLite file anew without what was deleted or erased in it. Best while the service is stopped.
    Compact {
        #[command(flatten)]
        database: Database,
    },
    /// Brings a copy back, before the service starts: puts it in its place, and notes in it that it was restored. Then
    /// nothing changes at headquarters until its channels have brought what is not in the copy. A SQLite file does not exist
    /// before that; a PostgreSQL database has been brought back by pg_restore.
    Restore {
        #[command(flatten)]
        database: Database,
        /// The copy of a SQLite file.
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// A channel to wait for that the copy does not know, because it is newer; repeat it for each.
        #[arg(long, value_name = "CHANNEL")]
        expect: Vec<ChannelId>,
    },
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the operating system refuses")]
    System(#[from] std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => exit("hq-svc", run(args).await),
        // Help and version are no errors.
        Err(help) if !help.use_stderr() => {
            print!("{help}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hq-svc: {}", one_line(&error.to_string()));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Reads a time in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let read = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    read.map(Duration::from_secs_f64).ok_or_else(|| "is not between 0.1 and 3600".to_owned())
}

async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Backup { database: Database { url: DatabaseUrl::Sqlite(path) }, to } => {
            Ok(backup_sqlite(&path, &to).await?)
        }
        Command::Compact { database: Database { url: DatabaseUrl::Sqlite(path) } } => {
            Ok(compact_sqlite(&path).await?)
        }
        Command::Backup { .. } | Command::Compact { .. } => Err(BackupError::Postgres.into()),
        Command::Restore { database: Database { url }, from, expect } => {
            match (&url, from) {
                (DatabaseUrl::Sqlite(path), Some(from)) => restore_sqlite(&from, path).await?,
                (DatabaseUrl::Sqlite(_), None) => {
                    return Err(Failure::Usage("--from is missing: which copy is to be brought back?"));
                }
                (DatabaseUrl::Postgres(_), Some(_)) => return Err(BackupError::Postgres.into()),
                (DatabaseUrl::Postgres(_), None) => {}
            }
            let ids = Ids::from_os(Arc::new(SystemClock));
            match mark_restored(&Config::new(url), &expect, ids).await?.as_slice() {
                [] => println!("The database is restored. It knows no channel to wait for."),
                awaited => println!(
                    "The database is restored. Nothing changes until these have brought what it has lost: {}",
                    awaited.join(", ")
                ),
            }
            Ok(())
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    if let Some(asked) = args.command {
        return command(asked).await;
    }
    telemetry::init_logs(args.log);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Ids::from_os(Arc::clone(&clock));
    let config = Config {
        number_format: args.account_numbers,
        card_format: args.card_numbers,
        watchdog: args.watchdog,
        door: args.door,
        ..Config::new(args.database.url)
    };
    let hq = open(&config, clock, ids).await?;
    let listener = listen(args.listen, &config.door, args.insecure).await?;
    let shutdown = shutdown_on_signal()?;
    let address = listener.local_addr()?;
    info!(%address, database = ?config.database, "headquarters serves");
    serve(listener, shutdown, hq).await?;
    info!("stopped");
    Ok(())
}
