//! The ceiling of async creates, closed-loop: each caller waits for its answer before it calls again, so the
//! figures are rates and nothing else. An empty call on the same server in the same run is the measure, because
//! only ratios of one run count.

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use rts_emulator::Profile;
use serde::Serialize;
use service_kit::clock::{Clock, SystemClock};
use tillsync_proto::pb::{
    common::{Job, Schedule},
    hq::{ListSchedulesRequest, UpdateScheduleRequest},
};
use tokio::time::{sleep, timeout};

use crate::{
    callers::{Callers, Calls, Kind},
    cli::within,
    embedded::{DURABILITY, Embedded, Place},
    error::Error,
    generator::Generator,
    machine,
    result::Mode,
    say,
    services::{Fleet, LOOK_PAUSE, Store, at_hq},
    stats::Spread,
};

/// How long a channel waits for headquarters; no create asks it.
const RTS_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the tables may take to hold what is in the log.
const LEVEL_LIMIT: Duration = Duration::from_secs(120);

/// Options of the ceiling.
#[derive(Debug, Clone, Args)]
pub struct CeilingArgs {
    /// Rounds of Ping and create in turn, 1 to 1000.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Seconds of each half of a round, 0.25 to 3600.
    #[arg(long, default_value = "4", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Calls under way at once, 1 to 4096.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub callers: u16,
    /// Connections they share, 1 to 256; a server takes 200 calls at once on each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Leave the upload, the customer sync job and 1010 running. Without it they are held while it is measured.
    #[arg(long)]
    pub jobs: bool,
    /// Seed of the customers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.25..=3600.0)
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// How calls were made.
    pub load: String,
    /// What an acknowledgement promised.
    pub durability: &'static str,
    /// Whether upload, customer sync job and 1010 went on meanwhile.
    pub jobs_running: bool,
    /// Processors.
    pub cpus: usize,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// Create rate divided by Ping rate: the median of the rounds, and the lowest and highest.
    pub ratio: Spread,
    /// The same of the rates, per second.
    pub ping_per_s: Spread,
    /// The same of the rates, per second.
    pub create_per_s: Spread,
    /// The same of the rates, per second.
    pub searchable_per_s: Spread,
    /// Calls that failed; they are not in the rates.
    pub failed: u64,
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
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn ceiling(args: CeilingArgs) -> Result<ExitCode, Error> {
    let ceiling = measure(&args).await?;
    if args.json {
        say(&(serde_json::to_string_pretty(&ceiling).map_err(std::io::Error::from)? + "\n"));
    } else {
        say(&render(&ceiling));
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and one channel, and makes the rounds.
///
/// # Errors
///
/// As [`ceiling`].
pub async fn measure(args: &CeilingArgs) -> Result<Ceiling, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
    let embedded =
        Embedded::start(Place::Here, folder.path(), &clock, args.seed, Profile::default(), 1, None).await?;
    let cpus = machine::machine().cpus;
    let generator = Generator::start(cpus)?;
    let addresses = embedded.addresses.clone();
    let address = addresses.channels[0].clone();
    let fleet = generator.spawn(async move { Fleet::connect(&addresses).await });
    let fleet = fleet.await.map_err(std::io::Error::from)??;
    fleet.set_mode(Mode::Async, RTS_TIMEOUT).await?;
    if !args.jobs {
        hold_jobs(&fleet).await?;
    }
    let callers = Arc::new(
        Callers::connect(&generator, &address, args.callers, args.connections, args.seed, &clock).await?,
    );
    let seconds = Duration::from_secs_f64(args.seconds);
    // A short round of each first: connections, caches and files are warm then.
    for kind in [Kind::Ping, Kind::Create] {
        Callers::run(&callers, &generator, kind, seconds / 4).await;
    }
    callers.forget_failures();
    let mut rounds = Vec::new();
    level(&fleet.stores[0]).await?;
    for _ in 0..args.rounds {
        let ping_per_s = Callers::run(&callers, &generator, Kind::Ping, seconds).await.per_s();
        let begun = clock.now();
        let creates = Callers::run(&callers, &generator, Kind::Create, seconds).await;
        // The tables are level before the next round: no round does the work of another.
        level(&fleet.stores[0]).await?;
        let searchable = Calls { elapsed: clock.now().saturating_duration_since(begun), ..creates };
        let (create_per_s, searchable_per_s) = (creates.per_s(), searchable.per_s());
        let ratio = create_per_s / ping_per_s.max(1.0);
        rounds.push(Round { ping_per_s, create_per_s, searchable_per_s, ratio });
    }
    let failed = callers.failed();
    drop((callers, fleet, generator));
    embedded.stop().await;
    folder.close()?;
    let spread = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    Ok(Ceiling {
        load: format!(
            "closed-loop, {} callers on {} connections, {} s each in turn",
            args.callers, args.connections, args.seconds
        ),
        durability: DURABILITY,
        jobs_running: args.jobs,
        cpus,
        ratio: spread(|round| round.ratio),
        ping_per_s: spread(|round| round.ping_per_s),
        create_per_s: spread(|round| round.create_per_s),
        searchable_per_s: spread(|round| round.searchable_per_s),
        failed,
        rounds,
    })
}

/// Holds what would carry the creates on while they are counted.
async fn hold_jobs(fleet: &Fleet) -> Result<(), Error> {
    let mut admin = fleet.hq()?.admin.clone();
    let schedules =
        admin.list_schedules(ListSchedulesRequest {}).await.map_err(at_hq)?.into_inner().schedules;
    for schedule in schedules {
        if matches!(schedule.job(), Job::Upload | Job::CustomerSync | Job::Customers1010) {
            let schedule = Some(Schedule { held: true, ..schedule });
            admin.update_schedule(UpdateScheduleRequest { schedule }).await.map_err(at_hq)?;
        }
    }
    Ok(())
}

/// Waits until a channel's tables hold everything that is in its log.
async fn level(store: &Store) -> Result<(), Error> {
    let level = async {
        loop {
            let status = store.status().await?;
            if status.indexed_counter >= status.logged_counter {
                return Ok(());
            }
            sleep(LOOK_PAUSE).await;
        }
    };
    timeout(LEVEL_LIMIT, level).await.map_err(|_| Error::LevelTimeout(store.id.clone()))?
}

fn render(ceiling: &Ceiling) -> String {
    let mut text =
        format!("Load: {}; {} processors shared by callers and servers\n", ceiling.load, ceiling.cpus);
    text += &format!("Durable: {}\n", ceiling.durability);
    text += if ceiling.jobs_running { "Jobs: running\n\n" } else { "Jobs: held while it is measured\n\n" };
    text += "round      ping/s    create/s   ratio   searchable/s\n";
    for (number, round) in (1..).zip(&ceiling.rounds) {
        text += &format!(
            "{number:>5} {:>11.0} {:>11.0} {:>7.2} {:>14.0}\n",
            round.ping_per_s, round.create_per_s, round.ratio, round.searchable_per_s
        );
    }
    let ratio = ceiling.ratio;
    text += &format!(
        "\nAsync create runs at {:.2} of the rate of an empty call (median of {} rounds, {:.2} to {:.2}): \
         {:.0} creates/s, {:.0} empty calls/s. Until they stand in the searchable tables: {:.0}/s.\n",
        ratio.median,
        ceiling.rounds.len(),
        ratio.low,
        ratio.high,
        ceiling.create_per_s.median,
        ceiling.ping_per_s.median,
        ceiling.searchable_per_s.median
    );
    if ceiling.failed > 0 {
        text += &format!("! {} calls failed; they are not in the rates.\n", ceiling.failed);
    }
    text
}
