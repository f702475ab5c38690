//! A store's service. `channel-svc --help` is the manual.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use channel_svc::{Config, OpenError, ServeError, open, serve};
use clap::Parser;
use mimalloc::MiMalloc;
use service_kit::{
    clock::{Clock, Ids, SystemClock},
    config::{ListenError, exit, listen, shutdown_on_signal},
    database::DatabaseUrl,
    telemetry::init_logs,
};
use tillsync_proto::ChannelId;
use tracing::{info, level_filters::LevelFilter};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A store: creates customers sync (one call to headquarters) or async (its own log), and exchanges them.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Name of the channel: 1 to 60 letters, digits, dots, hyphens and underscores.
    #[arg(long, env = "CHANNEL_ID", default_value = "store-1")]
    channel_id: ChannelId,
    /// Where to listen. Port 0 takes a free one; the log says which.
    #[arg(long, env = "CHANNEL_LISTEN", default_value = "127.0.0.1:7100")]
    listen: SocketAddr,
    /// sqlite:PATH (the log is kept beside it, in PATH with .log.db) or postgres://….
    #[arg(long, env = "CHANNEL_DATABASE_URL", default_value = "sqlite:store.db")]
    database_url: DatabaseUrl,
    /// Headquarters' real-time service: the emulator, or headquarters itself.
    #[arg(long, env = "CHANNEL_RTS", default_value = "http://127.0.0.1:7300")]
    rts: String,
    /// Headquarters' data exchange.
    #[arg(long, env = "CHANNEL_HQ", default_value = "http://127.0.0.1:7200")]
    hq: String,
    /// Listen beyond loopback although nobody checks who calls.
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
        Err(error) if error.use_stderr() => return Err(MainError::Options(first_line(&error.to_string()))),
        // Help and version are no errors.
        Err(asked) => return asked.print().map_err(MainError::Print),
    };
    init_logs(options.log);
    let config = Config::new(options.channel_id.clone(), options.database_url, options.rts, options.hq);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let channel = open(&config, Arc::clone(&clock), Ids::from_os(clock)).await?;
    let listener = listen(options.listen, options.insecure).await?;
    let shutdown = shutdown_on_signal()?;
    let address = listener.local_addr()?;
    info!(channel = %options.channel_id, %address, database = ?config.database, "serving");
    serve(listener, shutdown, channel).await?;
    Ok(())
}

/// What is wrong, without the manual that follows it.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
