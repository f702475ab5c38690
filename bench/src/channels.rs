//! What many stores take from headquarters: channels that are simulated as far as headquarters can see. Each has a
//! connection of its own, listens for schedules and keeps to them, brings its operations, follows the feed from page to
//! page, asks for configuration and reports, but keeps nothing. At the end each has to have been told of every customer
//! once.

mod simulated;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use serde::Serialize;
use tillsync_proto::pb::hq::GetStatusRequest;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    bed::{Bed, BedArgs, database, ms},
    cli::within,
    error::Error,
    machine,
    result::{ServiceUsage, TwoPercentiles},
    services::at_hq,
    usage::{HEADQUARTERS, Usages, Watched},
};

use simulated::{Call, Seen, Shared, Simulated};

/// How many channels connect at once.
const CONNECTING: usize = 64;
/// How long the last customers may take to reach every channel.
const LAST: Duration = Duration::from_secs(60);
/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(200);

/// Options of the simulated channels.
#[derive(Debug, Clone, Args)]
pub struct ChannelsArgs {
    /// How many, 1 to 10000.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub channels: u16,
    /// Creates per second of all of them together, 0 to 10000.
    #[arg(long, default_value = "10", value_parser = rate, allow_negative_numbers = true)]
    pub creates: f64,
    /// Seconds to measure, 1 to 86400.
    #[arg(long, default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Seconds of the same before that.
    #[arg(long, default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    pub warmup: f64,
    /// Headquarters' database, which has to be empty [default: a SQLite file].
    #[arg(long, value_parser = database, value_name = "URL")]
    pub hq_database_url: Option<String>,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.0..=10_000.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 1.0..=86_400.0)
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// Processors.
    pub cpus: usize,
    /// Channels.
    pub channels: u16,
    /// How long was measured.
    pub seconds: f64,
    /// Creates per second that were brought to headquarters.
    pub creates_per_s: f64,
    /// Customers per second that headquarters told channels of.
    pub told_per_s: f64,
    /// Share of one processor that headquarters took.
    pub cpu_share: f64,
    /// Its memory.
    pub services: Vec<ServiceUsage>,
    /// By kind.
    pub calls: Vec<Calls>,
    /// Customers at headquarters in the end; every channel has been told of each of them once.
    pub customers: u64,
}

/// One kind of call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calls {
    /// Which.
    pub call: Call,
    /// Per second.
    pub per_s: f64,
    /// Those that failed.
    pub failed: u64,
    /// How long one took.
    pub answer_ms: TwoPercentiles,
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn channels(args: ChannelsArgs) -> Result<ExitCode, Error> {
    let found = measure(&args).await?;
    args.bed.print(&found, render)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and so many channels.
///
/// # Errors
///
/// As [`channels`]; [`Error::Stands`] if a channel has not been told of every customer once.
pub async fn measure(args: &ChannelsArgs) -> Result<Found, Error> {
    let bed = Bed::start(&args.bed, args.hq_database_url.clone()).await?;
    let rate = args.creates / f64::from(args.channels);
    let shared = Arc::new(Shared::new(&bed.clock, args.bed.seed, rate));
    let simulated = connect(&bed, args.channels, &shared).await?;
    let mut running = JoinSet::new();
    for channel in &simulated {
        running.spawn_on(Arc::clone(channel).run(), &bed.generator.handle());
    }
    sleep(Duration::from_secs_f64(args.warmup)).await;

    let watched = bed.fleet.watched.iter().filter(|watched| watched.name == HEADQUARTERS);
    let watched: Vec<Watched> = watched.cloned().collect();
    let before = (bed.clock.now(), Usages::now(&watched).await, shared.seen());
    drop(shared.calls(0.0));
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let seconds = bed.clock.now().saturating_duration_since(before.0).as_secs_f64();
    let (services, seen) = (Usages::now(&watched).await.since(&before.1), shared.seen().since(before.2));
    let calls = shared.calls(seconds);

    shared.creating.cancel();
    let mut admin = bed.fleet.hq()?.admin.clone();
    let level = async {
        loop {
            let said = admin.get_status(GetStatusRequest {}).await.map_err(at_hq)?.into_inner();
            let taken = shared.seen().taken;
            if said.customers == taken && simulated.iter().all(|channel| channel.told() == taken) {
                return Ok::<u64, Error>(taken);
            }
            sleep(LOOK).await;
        }
    };
    let customers = timeout(LAST, level).await;
    let customers = customers.map_err(|_| Error::Stands("a simulated channel".to_owned()))??;
    shared.stop.cancel();
    while running.join_next().await.is_some() {}
    drop((simulated, shared));
    bed.end().await?;
    let Seen { taken, told } = seen;
    Ok(Found {
        cpus: machine::machine().cpus,
        channels: args.channels,
        seconds,
        creates_per_s: taken as f64 / seconds,
        told_per_s: told as f64 / seconds,
        cpu_share: services.iter().map(|usage| usage.cpu_s).sum::<f64>() / seconds,
        services,
        calls,
        customers,
    })
}

/// Connects them, some at a time.
async fn connect(bed: &Bed, channels: u16, shared: &Arc<Shared>) -> Result<Vec<Arc<Simulated>>, Error> {
    let address = bed.embedded.addresses.hq.clone().unwrap_or_default();
    let mut simulated = Vec::new();
    let mut numbers = 1..=u64::from(channels);
    while simulated.len() < usize::from(channels) {
        let mut connecting = JoinSet::new();
        for number in numbers.by_ref().take(CONNECTING) {
            let (address, shared) = (address.clone(), Arc::clone(shared));
            let connected = async move { Simulated::connect(number, &address, shared).await };
            connecting.spawn_on(connected, &bed.generator.handle());
        }
        for connected in connecting.join_all().await {
            simulated.push(Arc::new(connected?));
        }
    }
    Ok(simulated)
}

fn render(found: &Found) -> String {
    let Found { cpus, channels, seconds, creates_per_s, told_per_s, cpu_share, customers, .. } = found;
    let memory: f64 = found.services.iter().map(|usage| usage.rss_bytes).sum::<f64>() / 1e6;
    let mut text = format!(
        "{channels} channels, default schedules, {creates_per_s:.1} creates/s in all; {seconds:.0} s; {cpus} processors \
         shared by callers and servers.\n\nHeadquarters: {:.0} % of one processor, {memory:.0} MB\n\n{:<28} {:>9} {:>9} \
         {:>9} {:>7}\n",
        cpu_share * 100.0,
        "asked",
        "per s",
        "p50 ms",
        "p99 ms",
        "failed"
    );
    for calls in &found.calls {
        let (p50, p99) = (ms(calls.answer_ms.p50), ms(calls.answer_ms.p99));
        let (call, per_s, failed) = (calls.call.name(), calls.per_s, calls.failed);
        text += &format!("{call:<28} {per_s:>9.0} {p50:>9} {p99:>9} {failed:>7}\n");
    }
    text + &format!(
        "\n{told_per_s:.0} customers told per second. In the end {customers} customers, and every channel was told of each \
         of them once.\n"
    )
}
