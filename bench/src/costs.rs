//! What a store costs on each database: how many creates it takes and how fast, what it writes and computes for each, its
//! memory, and how fast it starts. PostgreSQL servers are the machine's own, started for this.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde::Serialize;
use service_kit::process::Usage;
use tokio::time::sleep;

use crate::{
    bed::{Bed, BedArgs, level, ms, seconds},
    callers::{Callers, Kind},
    cli::within,
    database::Database,
    error::Error,
    machine, report,
    result::{ServiceUsage, TwoPercentiles},
    say,
    stats::Spread,
    usage::Usages,
};

/// Callers of the ceiling, and their connections.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
/// How long nobody calls before memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// The share of the ceiling at which latency is measured.
const SHARE: f64 = 0.25;

/// Options of the cost table.
#[derive(Debug, Clone, Args)]
pub struct CostsArgs {
    /// Databases of the store.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "sqlite,postgresql,standby,standby-apply",
        value_name = "LIST"
    )]
    pub databases: Vec<Database>,
    /// Rounds of the ceiling on each, 1 to 1000.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Seconds of each half of a round, and of each latency, 0.25 to 3600.
    #[arg(long, default_value = "4", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Calls per second while latency is measured, 1 to 100000 [default: a quarter of the create rate].
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Run the services in this process, in place of one for each: then what the store used is what all have used.
    #[arg(long)]
    pub one_process: bool,
    /// Seed of the customers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a page too.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=100_000.0)
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Processors.
    pub cpus: usize,
    /// Rounds, and seconds of each half.
    pub rounds: u16,
    /// See [`Costs::rounds`].
    pub seconds: f64,
    /// How headquarters and the emulator started and idle.
    pub services: Vec<Service>,
    /// By database.
    pub stores: Vec<StoreCosts>,
}

/// A service that nobody calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// Which.
    pub name: String,
    /// From the start of its process until it serves, on a database that has to be made.
    pub start_ms: f64,
    /// Its memory.
    pub idle_bytes: f64,
}

/// What a store costs on a database.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreCosts {
    /// Which.
    pub database: Database,
    /// Empty calls per second.
    pub ping_per_s: Spread,
    /// Async creates per second, acknowledged.
    pub create_per_s: Spread,
    /// One divided by the other, each of the same round.
    pub ratio: Spread,
    /// Calls per second while latency was measured, open-loop.
    pub paced_per_s: f64,
    /// How long an empty call took then, and a create.
    pub ping_ms: TwoPercentiles,
    /// See [`StoreCosts::ping_ms`].
    pub create_ms: TwoPercentiles,
    /// Those of them that failed.
    pub failed: u64,
    /// For each create at the ceiling, until it is searchable: CPU time of the store, in microseconds.
    pub store_cpu_us: f64,
    /// The same of the database's servers; of SQLite it is in the store's.
    pub database_cpu_us: Option<f64>,
    /// Bytes handed to disks, of all servers together; absent where that cannot be read.
    pub written_bytes: Option<f64>,
    /// The store's memory at the end.
    pub rss_bytes: f64,
    /// Its memory before the first call.
    pub idle_bytes: f64,
    /// See [`Service::start_ms`].
    pub start_ms: f64,
}

/// Measures, prints, writes the page, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn costs(args: CostsArgs) -> Result<ExitCode, Error> {
    let costs = measure(&args).await?;
    if let Some(out) = &args.out {
        fs::write(out, report::costs(&costs)).map_err(|source| Error::Write { path: out.clone(), source })?;
    }
    say(&if args.json {
        serde_json::to_string_pretty(&costs).map_err(std::io::Error::from)? + "\n"
    } else {
        render(&costs)
    });
    Ok(ExitCode::SUCCESS)
}

/// Measures one database after the other.
///
/// # Errors
///
/// As [`costs`].
pub async fn measure(args: &CostsArgs) -> Result<Costs, Error> {
    let (mut services, mut stores) = (Vec::new(), Vec::new());
    for database in &args.databases {
        let (idle, costs) = on(*database, args).await?;
        services = idle;
        stores.push(costs);
    }
    let cpus = machine::machine().cpus;
    Ok(Costs { cpus, rounds: args.rounds, seconds: args.seconds, services, stores })
}

async fn on(database: Database, args: &CostsArgs) -> Result<(Vec<Service>, StoreCosts), Error> {
    let (one_process, seed) = (args.one_process, args.seed);
    let bed = BedArgs { database, database_url: None, one_process, seed, json: false };
    let bed = Bed::start(&bed, None).await?;
    sleep(IDLE).await;
    let idle = Usages::now(&bed.fleet.watched).await.since_start();
    let services = idle.into_iter().map(|usage| service(&bed, usage));
    let (store, others): (Vec<Service>, Vec<Service>) =
        services.partition(|service| is_store(&bed, &service.name));
    bed.hold_jobs(true).await?;

    let (length, generator) = (Duration::from_secs_f64(args.seconds), &bed.generator);
    let callers = bed.callers(CALLERS, CONNECTIONS, args.seed).await?;
    // A short round first: connections, caches and files are warm then.
    Callers::run(&callers, generator, Kind::Create, length / 4).await;
    let (mut pings, mut creates, mut created, mut used) = (Vec::new(), Vec::new(), 0, Used::default());
    for _ in 0..args.rounds {
        pings.push(Callers::run(&callers, generator, Kind::Ping, length).await.per_s());
        let before = Used::now(&bed).await;
        let calls = Callers::run(&callers, generator, Kind::Create, length).await;
        level(bed.store()).await?;
        used = used.and(&Used::now(&bed).await.since(&before));
        created += calls.answered;
        creates.push(calls.per_s());
    }
    let create_per_s = Spread::of(creates.iter().copied());
    let rate = args.rate.unwrap_or((create_per_s.median * SHARE).max(1.0));
    let ping = Callers::pace_for(&callers, generator, Kind::Ping, rate, length).await?;
    let create = Callers::pace_for(&callers, generator, Kind::Create, rate, length).await?;
    level(bed.store()).await?;
    let rss_bytes = Used::now(&bed).await.rss_bytes;
    let has_servers = bed.servers.is_some();
    drop(callers);
    bed.end().await?;
    let each = |all: f64| all / (created as f64).max(1.0);
    let costs = StoreCosts {
        database,
        ratio: Spread::of(creates.iter().zip(&pings).map(|(create, ping)| create / ping.max(1.0))),
        ping_per_s: Spread::of(pings.into_iter()),
        create_per_s,
        paced_per_s: rate,
        ping_ms: ping.answer.two(),
        create_ms: create.answer.two(),
        failed: ping.failed + create.failed,
        store_cpu_us: each(used.store_cpu_s * 1e6),
        database_cpu_us: has_servers.then(|| each(used.servers_cpu_s * 1e6)),
        written_bytes: used.written_bytes.map(each),
        rss_bytes,
        idle_bytes: store.first().map_or(0.0, |store| store.idle_bytes),
        start_ms: store.first().map_or(0.0, |store| store.start_ms),
    };
    Ok((others, costs))
}

/// Whether that is the store; services that are one process have the names of all together.
fn is_store(bed: &Bed, name: &str) -> bool {
    name.split(" + ").any(|name| name == bed.store().id)
}

/// What the store and its database's servers have used.
struct Used {
    store_cpu_s: f64,
    servers_cpu_s: f64,
    /// By all of them; absent where that cannot be read.
    written_bytes: Option<f64>,
    /// The store's memory.
    rss_bytes: f64,
}

impl Default for Used {
    fn default() -> Self {
        Self { store_cpu_s: 0.0, servers_cpu_s: 0.0, written_bytes: Some(0.0), rss_bytes: 0.0 }
    }
}

impl Used {
    /// Until now.
    async fn now(bed: &Bed) -> Self {
        let all = Usages::now(&bed.fleet.watched).await.since_start();
        let store = all.into_iter().find(|usage| is_store(bed, &usage.name));
        let store = store.map_or_else(Self::default, |usage| Self {
            store_cpu_s: usage.cpu_s,
            servers_cpu_s: 0.0,
            written_bytes: usage.written_bytes,
            rss_bytes: usage.rss_bytes,
        });
        let servers = bed.servers.as_ref();
        let servers = servers.map(|servers| [servers.primary_process(), servers.standby_process()]);
        let families = servers.into_iter().flatten().flatten().map(Usage::family);
        families.fold(store, |all, family| {
            all.and(&Self {
                servers_cpu_s: family.cpu_s.unwrap_or_default(),
                written_bytes: family.written_bytes.map(|bytes| bytes as f64),
                ..Self::default()
            })
        })
    }

    fn and(&self, other: &Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    fn since(&self, then: &Self) -> Self {
        self.with(then, |now, then| now - then)
    }

    fn with(&self, other: &Self, each: fn(f64, f64) -> f64) -> Self {
        Self {
            store_cpu_s: each(self.store_cpu_s, other.store_cpu_s),
            servers_cpu_s: each(self.servers_cpu_s, other.servers_cpu_s),
            written_bytes: self.written_bytes.zip(other.written_bytes).map(|(one, other)| each(one, other)),
            rss_bytes: self.rss_bytes.max(other.rss_bytes),
        }
    }
}

fn service(bed: &Bed, usage: ServiceUsage) -> Service {
    let took = bed.embedded.started.iter().find(|(name, _)| *name == usage.name).map(|(_, took)| *took);
    Service {
        start_ms: took.unwrap_or_default().as_secs_f64() * 1e3,
        idle_bytes: usage.rss_bytes,
        name: usage.name,
    }
}

/// Bytes as people say them.
#[must_use]
pub fn megabytes(bytes: f64) -> String {
    format!("{:.0} MB", bytes / 1e6)
}

/// Two percentiles as people say them.
#[must_use]
pub fn millis(two: TwoPercentiles) -> String {
    format!("{} / {}", ms(two.p50), ms(two.p99))
}

fn render(costs: &Costs) -> String {
    let mut text = format!(
        "Async creates; {CALLERS} callers on {CONNECTIONS} connections; {} rounds of {} s; {} processors shared by callers, \
         store and database.\n\n{:<36} {:>10} {:>10} {:>21} {:>17} {:>17} {:>9} {:>9} {:>9} {:>8}\n",
        costs.rounds,
        costs.seconds,
        costs.cpus,
        "database of the store",
        "empty/s",
        "create/s",
        "ratio",
        "empty p50/p99 ms",
        "create p50/p99",
        "CPU store",
        "database",
        "written",
        "memory"
    );
    for store in &costs.stores {
        let cpu = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), |us| format!("{us:.0} us"));
        text += &format!(
            "{:<36} {:>10.0} {:>10.0} {:>5.2} ({:.2} to {:.2}) {:>17} {:>17} {:>9} {:>9} {:>9} {:>8}\n",
            store.database.name(),
            store.ping_per_s.median,
            store.create_per_s.median,
            store.ratio.median,
            store.ratio.low,
            store.ratio.high,
            millis(store.ping_ms),
            millis(store.create_ms),
            cpu(Some(store.store_cpu_us)),
            cpu(store.database_cpu_us),
            store.written_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0} B")),
            megabytes(store.rss_bytes),
        );
    }
    text += "\nStart, and memory before the first call:\n";
    for service in &costs.services {
        text += &format!(
            "{:<46} {:>7.0} ms {:>8}\n",
            service.name,
            service.start_ms,
            megabytes(service.idle_bytes)
        );
    }
    for store in &costs.stores {
        let (name, memory) = (format!("store on {}", store.database.name()), megabytes(store.idle_bytes));
        text += &format!("{name:<46} {:>7.0} ms {memory:>8}\n", store.start_ms);
    }
    let failed: u64 = costs.stores.iter().map(|store| store.failed).sum();
    if failed > 0 {
        text += &format!("\n! {failed} of the paced calls failed.\n");
    }
    text + "\nempty: an empty call of the same store. p50/p99: open-loop at a quarter of the create rate or the --rate asked \
            for, from the instant at which a call was due. CPU and written: for each create until it is searchable; written to disk by the store and \
            all its database servers, the standby too. memory: of the store at the end.\n"
}
