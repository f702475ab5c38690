//! `tillsync up`: a small chain on known ports, with its data in a folder, to try things on.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use channel_svc::TerminalConfig;
use clap::Args;
use service_kit::{
    clock::{Clock, Ids, SystemClock},
    config::{listen, shutdown_on_signal},
    database::DatabaseUrl,
    door::DoorConfig,
    web::Origin,
};
use tillsync_proto::pb::{
    common::Customer,
    hq::{CreateCustomerRequest, real_time_service_client::RealTimeServiceClient},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    customers::{customer, guid, rng_of},
    embedded::{Services, start},
    error::Error,
    say,
    services::at_hq,
    session::read_profile,
    way::connect,
};

/// Calls under way at once while headquarters is filled.
const CALLERS: usize = 128;

/// How long a terminal of this chain waits for its store, and stays offline at least.
const TERMINAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(2));

/// Options of a chain to try things on.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Folder for the data. What is there from an earlier time is used again.
    #[arg(long, default_value = "tillsync-chain", value_name = "DIR")]
    pub dir: PathBuf,
    /// What headquarters is like for real-time calls: a profile of the emulator, as a TOML file, or the name of a preset
    /// (default, idle, busy, month-end, mm1, outage, platform, slow-link, stall, throttled).
    #[arg(long, default_value = "default", value_name = "FILE")]
    pub profile: PathBuf,
    /// Port of headquarters; the emulator, the stores and the terminal have theirs behind it in steps: +100, -100,
    /// -99, -90.
    #[arg(long, default_value_t = 7200, value_parser = clap::value_parser!(u16).range(1100..=65_000))]
    pub port: u16,
    /// Synthetic customers to create at headquarters before the stores join, 0 to 1000000. The stores then get them as a
    /// snapshot; tillsync hq sessions shows how long it took, and its bytes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000), value_name = "N")]
    pub customers: u32,
    /// Lets pages of this origin call the stores and the terminal from a browser (grpc-web), such as
    /// http://127.0.0.1:8080; repeat it for each.
    #[arg(long, value_name = "ORIGIN")]
    pub web_origin: Vec<Origin>,
}

/// Where each part of the chain listens.
struct Ports {
    hq: SocketAddr,
    emulator: SocketAddr,
    stores: [SocketAddr; 2],
    terminal: SocketAddr,
}

impl Ports {
    fn new(hq: u16) -> Self {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            hq: at(hq),
            emulator: at(hq + 100),
            stores: [at(hq - 100), at(hq - 99)],
            terminal: at(hq - 90),
        }
    }
}

/// Starts a chain, tells how to reach it, and waits for a signal.
///
/// # Errors
///
/// A port that is taken, a folder that cannot be made, a database that cannot be opened.
pub async fn up(args: UpArgs) -> Result<ExitCode, Error> {
    let stop = shutdown_on_signal()?;
    run(&args, stop).await
}

async fn run(args: &UpArgs, stop: CancellationToken) -> Result<ExitCode, Error> {
    let profile = read_profile(&args.profile)?;
    let ports = Ports::new(args.port);
    // All ports first: a chain that is there already is noticed before its data is touched.
    let open = DoorConfig::default();
    let hq = listen(ports.hq, &open, false).await?;
    let emulator = listen(ports.emulator, &open, false).await?;
    let stores = [listen(ports.stores[0], &open, false).await?, listen(ports.stores[1], &open, false).await?];
    let terminal = listen(ports.terminal, &open, false).await?;
    fs::create_dir_all(&args.dir).map_err(|source| Error::Write { path: args.dir.clone(), source })?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Ids::from_os(Arc::clone(&clock));
    let file = |name: &str| DatabaseUrl::Sqlite(args.dir.join(format!("{name}.db")));
    let url = |address: SocketAddr| format!("http://{address}");
    let callable = |config| channel_svc::Config { web_origins: args.web_origin.clone(), ..config };
    let mut services = Services::new(&clock);
    services.hq(hq, hq_svc::Config::new(file("hq")), ids.clone()).await?;
    services.emulator(emulator, profile, &url(ports.hq), 1);
    if args.customers > 0 {
        say(&format!("Creating {} customers at headquarters.\n", args.customers));
        fill(&url(ports.hq), args.customers, &clock).await?;
    }
    for (listener, name) in stores.into_iter().zip(["store-1", "store-2"]) {
        let id = name.parse().map_err(start("a channel"))?;
        let config = channel_svc::Config::new(id, file(name), url(ports.emulator), url(ports.hq));
        services.channel(listener, callable(config), ids.clone()).await?;
    }
    let (timeout, reconnect) = TERMINAL;
    let store = TerminalConfig { store: url(ports.stores[0]), timeout, reconnect };
    let id = "till-1".parse().map_err(start("a terminal"))?;
    let config = channel_svc::Config::terminal(id, file("till-1"), store);
    services.channel(terminal, callable(config), ids).await?;

    say(&told(args, &ports));
    tokio::select! {
        () = stop.cancelled() => {}
        // The log has said why.
        () = services.failed() => say("A service has ended; the others are stopped.\n"),
    }
    services.stop().await;
    say(&format!("Stopped. The data is in {}.\n", args.dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// Creates customers at headquarters itself, many at a time.
async fn fill(hq: &str, count: u32, clock: &Arc<dyn Clock>) -> Result<(), Error> {
    let hq = connect(hq).await?;
    let seed = u64::try_from(clock.wall_micros()).unwrap_or_default();
    let next = Arc::new(AtomicU32::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (hq, clock, next) =
            (RealTimeServiceClient::new(hq.clone()), Arc::clone(clock), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                let mut rng = rng_of(seed, 0, index.into());
                let id = guid(clock.wall_micros(), &mut rng);
                let customer = Customer { customer_id: id.to_string(), ..customer(id, &mut rng) };
                let request = CreateCustomerRequest { customer: Some(customer), fingerprint: Vec::new() };
                hq.clone().create_customer(request).await.map_err(at_hq)?;
            }
        });
    }
    callers.join_all().await.into_iter().collect()
}

fn told(args: &UpArgs, ports: &Ports) -> String {
    let [first, second] = ports.stores;
    let (hq, channel) = match args.port {
        7200 => (String::new(), String::new()),
        _ => (format!(" --hq http://{}", ports.hq), format!(" --channel http://{first}")),
    };
    format!(
        "A chain is up; its data is in {dir}. Ctrl-C stops it.\n\n  \
         headquarters  http://{}\n  \
         emulator      http://{}   before headquarters, for real-time calls\n  \
         store-1       http://{first}\n  \
         store-2       http://{second}\n  \
         till-1        http://{}   a terminal of store-1\n\n\
         Three commands to try:\n  \
         tillsync customer{channel} create --first Ann --last Smith --email ann@example.com\n  \
         tillsync hq{hq} profile store-1 --async on\n  \
         tillsync doctor{hq}\n",
        ports.hq,
        ports.emulator,
        ports.terminal,
        dir = args.dir.display(),
    )
}
