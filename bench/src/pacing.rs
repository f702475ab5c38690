//! How well the generator keeps time on this machine, and how much it can drive: what a run's figures owe to it.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Args;
use prost::bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use service_kit::clock::{Clock, SystemClock};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::client::Grpc;

use crate::{
    arrivals::poisson,
    callers::{Callers, Calls, Kind, PING, connected},
    cli::within,
    embedded::{Embedded, Place, Wanted},
    error::Error,
    generator::Generator,
    h2load, machine,
    pacer::pace,
    raw::call,
    result::TwoPercentiles,
    say,
    stats::{Durations, Spread},
    verdict::millis,
};

/// Callers of the closed-loop part, and connections that they and the paced calls share.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
/// Between everything being ready and the first arrival.
const LEAD: Duration = Duration::from_millis(50);

/// Options.
#[derive(Debug, Clone, Args)]
pub struct PacingArgs {
    /// Arrivals per second with nothing to call, 1 to 1000000.
    #[arg(long, default_value = "10000", value_parser = rate, value_name = "PER_S")]
    pub idle_rate: f64,
    /// Arrivals per second of an empty call, 1 to 1000000.
    #[arg(long, default_value = "5000", value_parser = rate, value_name = "PER_S")]
    pub call_rate: f64,
    /// Seconds of each part, 0.25 to 600.
    #[arg(long, default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Rounds, 1 to 100.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 1.0..=1e6)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.25..=600.0)
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pacing {
    /// Processors, shared by the generator and the server.
    pub cpus: usize,
    /// Arrivals per second with nothing to call.
    pub idle_rate_per_s: f64,
    /// Arrivals per second of an empty call.
    pub call_rate_per_s: f64,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// A round: each part once, in turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Round {
    /// How late arrivals were with nothing to call, in milliseconds.
    pub idle_late_ms: TwoPercentiles,
    /// How late calls left that had something to call.
    pub call_late_ms: TwoPercentiles,
    /// How long these took, from the due instant.
    pub call_ms: TwoPercentiles,
    /// Empty calls per second, closed-loop.
    pub most_per_s: f64,
    /// The same by h2load; absent if it is not installed.
    pub h2load_per_s: Option<f64>,
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn pacing(args: PacingArgs) -> Result<ExitCode, Error> {
    let found = measure(&args).await?;
    if args.json {
        say(&(serde_json::to_string_pretty(&found).map_err(std::io::Error::from)? + "\n"));
    } else {
        say(&render(&found));
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a channel to call, and makes the rounds.
///
/// # Errors
///
/// As for [`pacing`].
pub async fn measure(args: &PacingArgs) -> Result<Pacing, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
    let embedded = Embedded::start(Wanted::new(Place::Here, folder.path()), &clock).await?;
    let address = embedded.addresses.channels[0].clone();
    let cpus = machine::machine().cpus;
    let (paced, closed) = (Generator::start(1)?, Generator::start(cpus)?);
    let callers = Arc::new(Callers::connect(&closed, &address, CALLERS, CONNECTIONS, 1, &clock).await?);
    let length = Duration::from_secs_f64(args.seconds);
    Callers::run(&callers, &closed, Kind::Ping, length / 4).await;
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let seed = u64::from(number);
        let idle_late_ms = idle(&clock, args.idle_rate, length, seed).await?;
        let (call_late_ms, call_ms) = calls(&clock, &paced, &address, args.call_rate, length, seed).await?;
        let most_per_s = Callers::run(&callers, &closed, Kind::Ping, length).await.per_s();
        let url = format!("{address}{PING}");
        let h2load = h2load::drive(&url, &[], CALLERS, CONNECTIONS, length).await?;
        let h2load_per_s = h2load.map(Calls::per_s);
        rounds.push(Round { idle_late_ms, call_late_ms, call_ms, most_per_s, h2load_per_s });
    }
    drop((callers, paced, closed));
    embedded.stop().await;
    folder.close()?;
    Ok(Pacing { cpus, idle_rate_per_s: args.idle_rate, call_rate_per_s: args.call_rate, rounds })
}

/// Lateness with nothing to call.
async fn idle(
    clock: &Arc<dyn Clock>,
    per_s: f64,
    length: Duration,
    seed: u64,
) -> Result<TwoPercentiles, Error> {
    let late = Arc::new(Mutex::new(Durations::default()));
    let (recorded, now) = (Arc::clone(&late), Arc::clone(clock));
    let dues = poisson(per_s, length, 1, StdRng::seed_from_u64(seed)).map(|arrival| (arrival.due, ()));
    let send = move |(), due| lock(&recorded).record(now.now().saturating_duration_since(due));
    let start = clock.now() + LEAD;
    // Ends by itself with the last arrival.
    let _ = pace(Arc::clone(clock), start, dues, CancellationToken::new(), send)?.await;
    let two = lock(&late).two();
    Ok(two)
}

/// Lateness and latency of paced empty calls.
async fn calls(
    clock: &Arc<dyn Clock>,
    generator: &Generator,
    address: &str,
    per_s: f64,
    length: Duration,
    seed: u64,
) -> Result<(TwoPercentiles, TwoPercentiles), Error> {
    let connections = connected(generator, address, CONNECTIONS).await?;
    let figures = Arc::new(Mutex::new((Durations::default(), Durations::default())));
    let (recorded, now, handle) = (Arc::clone(&figures), Arc::clone(clock), generator.handle());
    let arrivals = poisson(per_s, length, 1, StdRng::seed_from_u64(seed));
    let dues = arrivals.zip(0_usize..).map(|(arrival, number)| (arrival.due, number));
    let tasks = TaskTracker::new();
    let spawning = tasks.clone();
    let send = move |number: usize, due| {
        let (recorded, now) = (Arc::clone(&recorded), Arc::clone(&now));
        let mut client = Grpc::new(connections[number % connections.len()].clone());
        let calling = async move {
            let sent = now.now();
            let answered = call(&mut client, PING, Bytes::new()).await.is_ok();
            let took = now.now().saturating_duration_since(due);
            let mut figures = lock(&recorded);
            figures.0.record(sent.saturating_duration_since(due));
            if answered {
                figures.1.record(took);
            }
        };
        spawning.spawn_on(calling, &handle);
    };
    let start = clock.now() + LEAD;
    let _ = pace(Arc::clone(clock), start, dues, CancellationToken::new(), send)?.await;
    tasks.close();
    tasks.wait().await;
    let figures = lock(&figures);
    Ok((figures.0.two(), figures.1.two()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn render(found: &Pacing) -> String {
    let mut text = format!(
        "Late: how long after its due instant an arrival was sent. {} processors shared by generator and server.\n\n",
        found.cpus
    );
    let head = |rate: f64, what: &str| format!("{rate:.0}/s {what}");
    text += &format!(
        "         {:<22}{:<32}closed-loop\n",
        head(found.idle_rate_per_s, "to nothing"),
        head(found.call_rate_per_s, "to an empty call")
    );
    text += "round    late p50    p99       late p50    p99   answer p99      calls/s   h2load/s   ratio\n";
    let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
    for (number, round) in (1..).zip(&found.rounds) {
        let ratio = round
            .h2load_per_s
            .map_or_else(|| "-".to_owned(), |h2load| format!("{:.2}", round.most_per_s / h2load));
        let h2load = round.h2load_per_s.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
        text += &format!(
            "{number:>5}    {:>8} {:>6}       {:>8} {:>6} {:>12} {:>12.0} {h2load:>10} {ratio:>7}\n",
            ms(round.idle_late_ms.p50),
            ms(round.idle_late_ms.p99),
            ms(round.call_late_ms.p50),
            ms(round.call_late_ms.p99),
            ms(round.call_ms.p99),
            round.most_per_s,
        );
    }
    let median =
        |figure: &dyn Fn(&Round) -> Option<f64>| Spread::of(found.rounds.iter().filter_map(figure)).median;
    let (idle, calls) = (median(&|r| r.idle_late_ms.p99), median(&|r| r.call_late_ms.p99));
    text += &format!(
        "\nMedians of the p99: {} late with nothing to call, {} with an empty call.\n",
        millis_fine(idle),
        millis_fine(calls)
    );
    let ratio = median(&|round| round.h2load_per_s.map(|h2load| round.most_per_s / h2load));
    text += &if ratio > 0.0 {
        format!(
            "Closed-loop it drives {ratio:.2} of the calls that h2load drives to the same server (median).\n"
        )
    } else {
        "h2load is not installed (Debian: nghttp2-client): there is nothing to compare the rate with.\n"
            .to_owned()
    };
    text
}

/// Fractions of a millisecond matter here.
fn millis_fine(ms: f64) -> String {
    if ms < 1.0 { format!("{ms:.3} ms") } else { millis(ms) }
}
