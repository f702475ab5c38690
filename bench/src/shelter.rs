//! How well async creates are sheltered from headquarters: the latency of creates at a steady rate while headquarters is
//! idle, saturated, out, and while it takes in what waits. And what a sync create adds to an async one when nothing is in
//! its way.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use rts_emulator::Profile;
use serde::Serialize;
use service_kit::clock::Clock;
use tillsync_proto::{
    CustomerId, convert,
    pb::{
        channel::{CreateCustomerRequest, PingRequest},
        common::Customer,
        hq::{
            self, SearchCustomersRequest, real_time_service_client::RealTimeServiceClient,
            search_customers_request::Criterion,
        },
    },
};
use tokio::{task::JoinSet, time::sleep};
use tonic::Status;

use crate::{
    bed::{Bed, BedArgs, customers, database, follow, rate, seconds},
    callers::{Callers, Kind, Paced},
    customers::{customer, guid, rng_of},
    error::Error,
    machine,
    relay::Relays,
    result::{Mode, TwoPercentiles},
    services::toml_of,
    stats::{Durations, Spread},
    way::connect,
};

/// Callers that find the capacity and make the customers who wait, and their connections.
const CALLERS: u16 = 64;
const CONNECTIONS: u16 = 4;
/// How long each spell of them is.
const SPELL: Duration = Duration::from_secs(1);
/// How long a store needs at most to hear of a schedule.
const HEARD: Duration = Duration::from_millis(200);
/// What share of the capacity creates come in at.
const SHARE: f64 = 0.25;
/// A headquarters that is narrow: so many workers, each so long with a call; and callers that always wait for it, more than
/// there are workers.
const WORKERS: u32 = 4;
const SERVICE_MS: u32 = 20;
const WAITING: usize = 16;
/// How long a store waits for a sync create.
const RTS_TIMEOUT: Duration = Duration::from_secs(5);

/// Options.
#[derive(Debug, Clone, Args)]
pub struct ShelterArgs {
    /// Creates per second, 1 to 100000 [default: a quarter of what the store takes].
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub creates: Option<f64>,
    /// Seconds of each spell, 0.25 to 3600.
    #[arg(long, default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    pub seconds: f64,
    /// Rounds, 1 to 1000; in each all states of headquarters in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// Customers that wait when headquarters begins to take them in, 1000 to 100 million.
    #[arg(long, default_value = "50000", value_parser = customers, allow_negative_numbers = true)]
    pub customers: u64,
    /// Creates of each kind, one after the other, to compare sync with async, 10 to 1000000.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub calls: u32,
    /// Headquarters' database, which has to be empty [default: a SQLite file].
    #[arg(long, value_parser = database, value_name = "URL")]
    pub hq_database_url: Option<String>,
    /// Where.
    #[command(flatten)]
    pub bed: BedArgs,
}

/// What headquarters is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing.
    Idle,
    /// More is asked of it than it can serve.
    Saturated,
    /// It cannot be reached.
    Out,
    /// It takes in customers that wait.
    Draining,
}

impl State {
    const ALL: [Self; 4] = [Self::Idle, Self::Saturated, Self::Out, Self::Draining];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Saturated => "saturated",
            Self::Out => "out",
            Self::Draining => "taking in what waits",
        }
    }
}

/// Async creates beside a state of headquarters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Beside {
    /// Which.
    pub state: State,
    /// Median of a spell, in milliseconds.
    pub p50_ms: Spread,
    /// 99th percentile of a spell.
    pub p99_ms: Spread,
    /// The 99th percentile divided by that beside an idle headquarters in the same round.
    pub to_idle: Spread,
    /// Creates that failed.
    pub failed: u64,
}

/// Calls that were made one after the other, with nothing else going on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alone {
    /// An empty call of the store.
    pub ping_ms: TwoPercentiles,
    /// An async create.
    pub async_ms: TwoPercentiles,
    /// A create at headquarters itself.
    pub hq_ms: TwoPercentiles,
    /// A sync create through an emulator that lets everything pass.
    pub sync_ms: TwoPercentiles,
}

impl Alone {
    /// What a sync create adds at the median, and three empty calls with headquarters' own work.
    fn added_ms(&self) -> Option<(f64, f64)> {
        let (ping, hq) = (self.ping_ms.p50?, self.hq_ms.p50?);
        Some((self.sync_ms.p50? - self.async_ms.p50?, 3.0 * ping + (hq - ping)))
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shelter {
    /// Processors.
    pub cpus: usize,
    /// Creates per second.
    pub creates_per_s: f64,
    /// Seconds of each spell.
    pub seconds: f64,
    /// By state of headquarters.
    pub beside: Vec<Beside>,
    /// Sync and async.
    pub alone: Alone,
}

/// Measures, prints, and ends with success.
///
/// # Errors
///
/// Anything that keeps it from measuring.
pub async fn shelter(args: ShelterArgs) -> Result<ExitCode, Error> {
    let found = measure(&args).await?;
    args.bed.print(&found, render)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts headquarters and a store, and makes the rounds.
///
/// # Errors
///
/// As [`shelter`].
pub async fn measure(args: &ShelterArgs) -> Result<Shelter, Error> {
    let relays = Relays::default();
    let bed = Bed::start_behind(&args.bed, args.hq_database_url.clone(), Some(&relays)).await?;
    let wide = preset("idle")?;
    let narrow = Profile::parse(&format!(
        "workers = {WORKERS}\nqueue_capacity = 64\nlongest_wait_ms = 2000\n\n[service]\ndistribution = \"constant\"\n\
         mean_ms = {SERVICE_MS}\n"
    ));
    let narrow = narrow.map_err(|error| Error::Usage(error.to_string()))?;
    let length = Duration::from_secs_f64(args.seconds);
    bed.fleet.set_emulator(&toml_of(&wide)?).await?;
    let alone = alone(&bed, args).await?;
    bed.fleet.set_mode(Mode::Async, RTS_TIMEOUT).await?;
    bed.hold_jobs(true).await?;

    let callers = bed.callers(CALLERS, CONNECTIONS, args.bed.seed).await?;
    Callers::run(&callers, &bed.generator, Kind::Create, SPELL).await;
    let creates_per_s = match args.creates {
        Some(rate) => rate,
        None => Callers::run(&callers, &bed.generator, Kind::Create, 2 * SPELL).await.per_s() * SHARE,
    };
    let mut spells: Vec<(State, Paced)> = Vec::new();
    for _ in 0..args.rounds {
        for state in State::ALL {
            let spell = Callers::pace_for(&callers, &bed.generator, Kind::Create, creates_per_s, length);
            let spell = match state {
                State::Idle => spell.await?,
                State::Saturated => {
                    bed.fleet.set_emulator(&toml_of(&narrow)?).await?;
                    let asking = ask(&bed)?;
                    let spell = spell.await?;
                    drop(asking);
                    bed.fleet.set_emulator(&toml_of(&wide)?).await?;
                    spell
                }
                State::Out => {
                    // The store hears that jobs may run before the ways are cut: they try, and cannot.
                    bed.hold_jobs(false).await?;
                    sleep(HEARD).await;
                    relays.cut();
                    let spell = spell.await?;
                    relays.mend();
                    bed.hold_jobs(true).await?;
                    spell
                }
                State::Draining => {
                    while bed.store().status().await?.pending_customers < args.customers {
                        Callers::run(&callers, &bed.generator, Kind::Create, SPELL).await;
                    }
                    bed.hold_jobs(false).await?;
                    let spell = spell.await?;
                    follow(bed.store(), bed.clock.as_ref(), async |status| status.pending_customers == 0)
                        .await?;
                    bed.hold_jobs(true).await?;
                    spell
                }
            };
            spells.push((state, spell));
        }
    }
    drop(callers);
    bed.end().await?;
    let beside = State::ALL.map(|state| beside(state, &spells)).to_vec();
    Ok(Shelter { cpus: machine::machine().cpus, creates_per_s, seconds: args.seconds, beside, alone })
}

fn preset(name: &str) -> Result<Profile, Error> {
    Profile::preset(name).map_err(|error| Error::Usage(error.to_string()))
}

fn beside(state: State, spells: &[(State, Paced)]) -> Beside {
    let of = |state: State| spells.iter().filter(move |(of, _)| *of == state).map(|(_, spell)| spell);
    let p99 = |spell: &Paced| spell.answer.quantile_ms(0.99).unwrap_or_default();
    let to_idle =
        of(state).zip(of(State::Idle)).map(|(spell, idle)| p99(spell) / p99(idle).max(f64::EPSILON));
    Beside {
        state,
        p50_ms: Spread::of(of(state).map(|spell| spell.answer.quantile_ms(0.5).unwrap_or_default())),
        p99_ms: Spread::of(of(state).map(p99)),
        to_idle: Spread::of(to_idle),
        failed: of(state).map(|spell| spell.failed).sum(),
    }
}

/// Asks more of headquarters than it can serve, until it is dropped.
fn ask(bed: &Bed) -> Result<JoinSet<()>, Error> {
    let mut asking = JoinSet::new();
    for _ in 0..WAITING {
        let mut rts = bed.fleet.hq()?.rts.clone();
        let ask = async move {
            loop {
                let criterion = Some(Criterion::Name("nobody".to_owned()));
                // Refused or answered: it is asked again.
                let _ =
                    rts.search_customers(SearchCustomersRequest { criterion, ..Default::default() }).await;
            }
        };
        asking.spawn_on(ask, &bed.generator.handle());
    }
    Ok(asking)
}

/// Calls of each kind, one after the other.
async fn alone(bed: &Bed, args: &ShelterArgs) -> Result<Alone, Error> {
    let address = bed.embedded.addresses.hq.clone().unwrap_or_default();
    let connecting = bed.generator.spawn(async move { connect(&address).await });
    let way = connecting.await.map_err(std::io::Error::from)??;
    let (store, calls) = (bed.store(), u64::from(args.calls));
    let clock = bed.clock.as_ref();
    let create = async |number: u64| {
        let mut rng = rng_of(args.bed.seed, 5, number);
        let id = guid(clock.wall_micros(), &mut rng);
        let request = CreateCustomerRequest { customer: Some(customer(id, &mut rng)), ..Default::default() };
        store.till(0).create_customer(request).await.map(drop)
    };
    let ping = timed(clock, calls, async |_| store.status.clone().ping(PingRequest {}).await.map(drop)).await;
    let async_ms = timed(clock, calls, create).await;
    let hq = timed(clock, calls, async |number| {
        let mut rng = rng_of(args.bed.seed, 6, number);
        let id = guid(clock.wall_micros(), &mut rng);
        let content = convert::content(CustomerId(id), customer(id, &mut rng));
        let content = content.map_err(|violations| Status::internal(violations.to_string()))?;
        let customer = Some(Customer { customer_id: id.to_string(), ..content.into() });
        let request = hq::CreateCustomerRequest { customer, fingerprint: Vec::new() };
        RealTimeServiceClient::new(way.clone()).create_customer(request).await.map(drop)
    });
    let hq = hq.await;
    bed.fleet.set_mode(Mode::Sync, RTS_TIMEOUT).await?;
    let sync = timed(clock, calls, async |number| create(number + calls).await).await;
    let of = |found: Result<Durations, Status>| match found {
        Ok(found) => Ok(found.two()),
        Err(status) => Err(Error::service(&store.id, status)),
    };
    Ok(Alone { ping_ms: of(ping)?, async_ms: of(async_ms)?, hq_ms: of(hq)?, sync_ms: of(sync)? })
}

async fn timed(
    clock: &dyn Clock,
    calls: u64,
    call: impl AsyncFn(u64) -> Result<(), Status>,
) -> Result<Durations, Status> {
    let mut took = Durations::default();
    for number in 0..calls {
        let begun = clock.now();
        call(number).await?;
        took.record(clock.now().saturating_duration_since(begun));
    }
    Ok(took)
}

fn render(found: &Shelter) -> String {
    let mut text = format!(
        "Async creates at {:.0}/s, open-loop, {} s at a time; {} processors shared by everything.\n\n{:<24} {:>8} {:>8} {:>24} \
         {:>7}\n",
        found.creates_per_s,
        found.seconds,
        found.cpus,
        "headquarters",
        "p50 ms",
        "p99 ms",
        "p99 to idle",
        "failed"
    );
    for beside in &found.beside {
        text += &format!(
            "{:<24} {:>8.2} {:>8.2} {:>8.2} ({:.2} to {:.2}) {:>7}\n",
            beside.state.name(),
            beside.p50_ms.median,
            beside.p99_ms.median,
            beside.to_idle.median,
            beside.to_idle.low,
            beside.to_idle.high,
            beside.failed
        );
    }
    let ms = |two: &TwoPercentiles| two.p50.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3} ms"));
    let Alone { ping_ms, async_ms, hq_ms, sync_ms } = &found.alone;
    text += &format!(
        "\nOne after the other, at the median: empty call {}, async create {}, create at headquarters itself {}, sync create \
         {}.\n",
        ms(ping_ms),
        ms(async_ms),
        ms(hq_ms),
        ms(sync_ms)
    );
    if let Some((added, bound)) = found.alone.added_ms() {
        text += &format!(
            "A sync create adds {added:.3} ms to an async one; three empty calls and headquarters' own work are {bound:.3} ms.\n"
        );
    }
    text
}
