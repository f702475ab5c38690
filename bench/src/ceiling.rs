//! The ceiling of async creates, closed-loop: each caller waits for its answer before it calls again, so the
//! figures are rates and nothing else. An empty call on the same server in the same run is the measure, because
//! only ratios of one run count.

use std::{fmt, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tracing::warn;

use crate::{
    bed::{Bed, BedArgs, level, seconds},
    callers::{CREATE, Callers, Calls, Kind, PING},
    error::Error,
    h2load, machine,
    stats::Spread,
    usage::Usages,
};

/// Options of the ceiling.
#[derive(Debug, Clone, Args)]
pub struct CeilingArgs {
    /// Rounds, 1 to 1000: in each the empty call and the create in turn, with each client and number of callers.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Seconds of each half, 0.25 to 3600; of h2load whole seconds.
    #[arg(long, default_value = "4", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Who calls: h2load (Debian: nghttp2-client; left out if it is not installed), which sends one customer again and
    /// again, each time under another GUID; tonic, which sends other customers each time.
    #[arg(long, value_delimiter = ',', default_value = "h2load,tonic", value_name = "LIST")]
    pub client: Vec<Client>,
    /// Calls under way at once, 1 to 4096.
    #[arg(long, value_delimiter = ',', default_value = "64,256", value_parser = clap::value_parser!(u16).range(1..=4096), value_name = "LIST")]
    pub callers: Vec<u16>,
    /// Connections they share, 1 to 256; a server takes 128 calls at once on each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Leave the upload, the customer sync job and 1010 running. Without it they are held while it is measured.
    #[arg(long)]
    pub jobs: bool,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// That of nghttp2.
    H2load,
    /// This process.
    Tonic,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::H2load => "h2load",
            Self::Tonic => "tonic",
        })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// How long each half of a round was.
    pub seconds: f64,
    /// Connections that the callers share.
    pub connections: u16,
    /// What an acknowledgement promised.
    pub durability: &'static str,
    /// Whether upload, customer sync job and 1010 went on meanwhile.
    pub jobs_running: bool,
    /// Processors.
    pub cpus: usize,
    /// By client and number of callers.
    pub lines: Vec<Line>,
}

/// What a number of callers has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Who called.
    pub client: Client,
    /// Calls under way at once.
    pub callers: u16,
    /// Empty calls per second, of all rounds.
    pub ping_per_s: Spread,
    /// Acknowledged async creates per second.
    pub create_per_s: Spread,
    /// See [`Round::searchable_per_s`].
    pub searchable_per_s: Spread,
    /// Create rate divided by Ping rate, each of the same round.
    pub ratio: Spread,
    /// See [`Round::ping_cpu_us`].
    pub ping_cpu_us: Option<Spread>,
    /// See [`Round::create_cpu_us`].
    pub create_cpu_us: Option<Spread>,
    /// Calls that failed; they are not in the rates.
    pub failed: u64,
    /// The rounds.
    pub rounds: Vec<Round>,
}

impl Line {
    fn of(client: Client, callers: u16, rounds: Vec<Round>, failed: u64) -> Self {
        let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let known = |figure: fn(&Round) -> Option<f64>| {
            let figures: Option<Vec<f64>> = rounds.iter().map(figure).collect();
            figures.map(|figures| Spread::of(figures.into_iter()))
        };
        Self {
            client,
            callers,
            ping_per_s: spread(|round| round.ping_per_s),
            create_per_s: spread(|round| round.create_per_s),
            searchable_per_s: spread(|round| round.searchable_per_s),
            ratio: spread(|round| round.ratio),
            ping_cpu_us: known(|round| round.ping_cpu_us),
            create_cpu_us: known(|round| round.create_cpu_us),
            failed,
            rounds,
        }
    }
}

/// One round: Ping, then create.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Round {
    /// Empty calls per second.
    pub ping_per_s: f64,
    /// Acknowledged async creates per second.
    pub create_per_s: f64,
    /// The same creates, per second until the last of them stood in the searchable tables: what can be kept up.
    pub searchable_per_s: f64,
    /// Create rate divided by Ping rate.
    pub ratio: f64,
    /// CPU time of the store for each empty call, in microseconds; absent if it is not a process of its own.
    pub ping_cpu_us: Option<f64>,
    /// The same of a create, until it stands in the searchable tables.
    pub create_cpu_us: Option<f64>,
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn ceiling(args: CeilingArgs) -> Result<ExitCode, Error> {
    let ceiling = measure(&args).await?;
    args.bed.print(&ceiling, render)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and one channel, and makes the rounds.
///
/// # Errors
///
/// As [`ceiling`].
pub async fn measure(args: &CeilingArgs) -> Result<Ceiling, Error> {
    let bed = Bed::start(&args.bed, None).await?;
    if !args.jobs {
        bed.hold_jobs(true).await?;
    }
    let mut drivers = Vec::new();
    for client in &args.client {
        for (number, callers) in (0..).zip(args.callers.iter().copied()) {
            let seed = args.bed.seed.wrapping_add(number);
            let callers = bed.callers(callers, args.connections, seed);
            drivers.push(Driver {
                client: *client,
                callers: callers.await?,
                bed: &bed,
                connections: args.connections,
            });
        }
    }
    let length = Duration::from_secs_f64(args.seconds);
    let mut lines = Vec::new();
    for driver in &drivers {
        // A short round first: connections, caches and files are warm then. Who is not installed makes none.
        if driver.round(length / 4).await?.is_some() {
            lines.push((driver, Vec::new(), 0));
        } else {
            warn!(client = %driver.client, "is not installed, or has said nothing that is understood: left out");
        }
    }
    for _ in 0..args.rounds {
        for (driver, rounds, all_failed) in &mut lines {
            if let Some((round, failed)) = driver.round(length).await? {
                rounds.push(round);
                *all_failed += failed;
            }
        }
    }
    let lines = lines
        .into_iter()
        .map(|(driver, rounds, failed)| Line::of(driver.client, driver.callers.count(), rounds, failed))
        .collect();
    drop(drivers);
    bed.end().await?;
    Ok(Ceiling {
        seconds: args.seconds,
        connections: args.connections,
        durability: args.bed.durability(),
        jobs_running: args.jobs,
        cpus: machine::machine().cpus,
        lines,
    })
}

/// A client with its callers.
pub(crate) struct Driver<'a> {
    pub client: Client,
    pub callers: Arc<Callers>,
    pub bed: &'a Bed,
    pub connections: u16,
}

impl Driver<'_> {
    /// Both kinds of call in turn, and how many creates failed; nothing if the client is not installed.
    pub async fn round(&self, length: Duration) -> Result<Option<(Round, u64)>, Error> {
        let (clock, store, watched) = (&self.bed.clock, self.bed.store(), &self.bed.fleet.watched);
        let start = Usages::now(watched).await;
        let Some(pings) = self.calls(Kind::Ping, length).await? else { return Ok(None) };
        let between = Usages::now(watched).await;
        let (begun, before) = (clock.now(), store.status().await?.logged_counter);
        let Some(creates) = self.calls(Kind::Create, length).await? else { return Ok(None) };
        // The tables are level before the next round: no round does the work of another.
        level(store).await?;
        let end = Usages::now(watched).await;
        let logged = store.status().await?.logged_counter - before;
        let searchable = clock.now().saturating_duration_since(begun);
        // Only what stands in the log has been created, whatever a client took for an answer.
        let created = Calls { answered: creates.answered.min(logged), ..creates };
        let round = Round {
            ping_per_s: pings.per_s(),
            create_per_s: created.per_s(),
            searchable_per_s: Calls { elapsed: searchable, ..created }.per_s(),
            ratio: created.per_s() / pings.per_s().max(1.0),
            ping_cpu_us: self.cpu_us(&between, &start, pings.answered),
            create_cpu_us: self.cpu_us(&end, &between, created.answered),
        };
        Ok(Some((round, creates.failed + creates.answered - created.answered)))
    }

    /// CPU time of the store for each of so many calls.
    fn cpu_us(&self, now: &Usages, then: &Usages, calls: u64) -> Option<f64> {
        let used = now.since(then).into_iter().find(|usage| usage.name == self.bed.store().id)?;
        Some(used.cpu_s * 1e6 / (calls as f64).max(1.0))
    }

    /// Calls of one kind for so long; nothing if the client is not installed.
    pub async fn calls(&self, kind: Kind, length: Duration) -> Result<Option<Calls>, Error> {
        if self.client == Client::Tonic {
            return Ok(Some(Callers::run(&self.callers, &self.bed.generator, kind, length).await));
        }
        let (path, message) = match kind {
            Kind::Ping => (PING, Vec::new()),
            Kind::Create => (CREATE, self.callers.without_guid()),
        };
        let url = format!("{}{path}", self.bed.address());
        h2load::drive(&url, &message, self.callers.count(), self.connections, length).await
    }
}

fn cpu(us: Option<Spread>) -> String {
    us.map_or_else(|| "-".to_owned(), |us| format!("{:.0} us", us.median))
}

fn render(ceiling: &Ceiling) -> String {
    let mut text = format!(
        "Closed-loop, {} connections, {} s each in turn; {} processors shared by callers and servers.\nDurable: {}\n",
        ceiling.connections, ceiling.seconds, ceiling.cpus, ceiling.durability
    );
    text += if ceiling.jobs_running { "Jobs: running\n\n" } else { "Jobs: held while it is measured\n\n" };
    text +=
        "client  callers     empty/s   create/s   ratio                searchable/s   CPU: empty   create\n";
    for line in &ceiling.lines {
        text += &format!(
            "{:<7} {:>7} {:>11.0} {:>10.0}   {:>5.2} ({:.2} to {:.2}) {:>14.0} {:>12} {:>8}\n",
            line.client,
            line.callers,
            line.ping_per_s.median,
            line.create_per_s.median,
            line.ratio.median,
            line.ratio.low,
            line.ratio.high,
            line.searchable_per_s.median,
            cpu(line.ping_cpu_us),
            cpu(line.create_cpu_us),
        );
    }
    text += &format!(
        "\nempty: an empty call of the same server. create: an async create. searchable: creates per second until the \
         last of them stood in the searchable tables. CPU: of the store for each call, creates until they stand there. \
         Medians of {} rounds; of the ratio also the lowest and highest.\n",
        ceiling.lines.first().map_or(0, |line| line.rounds.len())
    );
    let failed: u64 = ceiling.lines.iter().map(|line| line.failed).sum();
    if failed > 0 {
        text += &format!("! {failed} creates failed; they are not in the rates.\n");
    }
    text
}
