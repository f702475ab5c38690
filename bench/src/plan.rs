//! The planner (rule B10): the comparison in virtual time, for chains far larger than the machine. Headquarters is
//! the emulator's model, the same code that the live emulator runs; stores, jobs and traffic are modelled around
//! it.
//!
//! | module | what it does |
//! |---|---|
//! | [`traffic`] | who creates when |
//! | [`scenario`], [`sim`] | one run, event by event |
//! | [`jobs`] | P-job, customer sync job, 1010 |
//! | [`overhead`] | what stores add |
//! | `tally` | what is counted |
//! | [`check`] | the same case planned and measured |
//! | [`profiles`] | the emulator's presets under rising load |
//! | [`what_if`] | which stores should create async, when, and what that depends on |

use std::{num::NonZeroUsize, process::ExitCode, str::FromStr, time::Duration};

use clap::Args;
use rand::{SeedableRng as _, rngs::SmallRng};
use rts_emulator::{
    Profile,
    parallel::{self, in_parallel},
};

use crate::{
    arrivals::Arrival,
    cli::{ArrivalKind, ChecksArgs, LoadArgs, within},
    compare::write_and_say,
    error::Error,
    load::every,
    machine,
    measured::Measured,
    result::{Arrivals, Assumed, Checks, Mode, Process, ResultFile, Run, SCHEMA_VERSION, Services, Setup},
    session::{Session, setup},
    trust,
};

pub mod check;
pub mod jobs;
pub mod overhead;
pub mod profiles;
pub mod scenario;
pub mod sim;
mod tally;
#[cfg(test)]
mod tests;
pub mod traffic;
pub mod what_if;

use jobs::{Job, Jobs};
use overhead::Overhead;
use scenario::Scenario;
use sim::simulate;
use traffic::{Curve, Sizes, Traffic};

const DAY: Duration = Duration::from_secs(86_400);

/// Options of a plan.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// The chain.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// What it has to keep.
    #[command(flatten)]
    pub checks: ChecksArgs,
    /// Simulate and measure the same small case, and show both: the embedded services take as long as compare does.
    #[arg(long)]
    pub check: bool,
}

/// What a chain is like, beyond headquarters.
#[derive(Debug, Clone, Args)]
pub struct ChainArgs {
    /// Stores, 1 to 20000.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=20_000), value_name = "N")]
    pub stores: u32,
    /// How different in size they are: standard deviation of the logarithm of their creates; 0: all alike.
    #[arg(long, default_value = "0", value_parser = spread, allow_negative_numbers = true, value_name = "SIGMA")]
    pub spread: f64,
    /// For --arrivals daily: creates of an average store in a day.
    #[arg(long, default_value = "100", value_parser = per_day, allow_negative_numbers = true, value_name = "N")]
    pub creates_per_day: f64,
    /// What a store, and the way to it, add to a sync create, in milliseconds.
    #[arg(long, default_value = "4", value_parser = millis, allow_negative_numbers = true, value_name = "MS")]
    pub sync_overhead: f64,
    /// How long an async create takes, in milliseconds.
    #[arg(long, default_value = "1.6", value_parser = millis, allow_negative_numbers = true, value_name = "MS")]
    pub async_takes: f64,
    /// Seconds between two runs of the P-job, the customer sync job, and 1010, each 0.05 to 86400. 900 is the
    /// documented habit.
    #[arg(long, default_value = "0.5,0.5,0.5", value_name = "P,SYNC,1010")]
    pub schedules: Schedules,
    /// Workers at headquarters that the customer sync job takes from calls while it runs.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub conversion_workers: u32,
    /// Threads; the result is the same with any number [default: one for each processor].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

fn spread(text: &str) -> Result<f64, String> {
    within(text, 0.0..=3.0)
}

fn per_day(text: &str) -> Result<f64, String> {
    within(text, 0.01..=1e6)
}

fn millis(text: &str) -> Result<f64, String> {
    within(text, 0.0..=60_000.0)
}

/// Pauses between two runs of the P-job, the customer sync job, and 1010, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedules(pub [f64; 3]);

impl FromStr for Schedules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pauses: Result<Vec<f64>, String> =
            text.split(',').map(|pause| within(pause.trim(), 0.05..=86_400.0)).collect();
        let three =
            pauses?.try_into().map_err(|_| "is not three pauses in seconds, such as 5,5,5".to_owned());
        three.map(Self)
    }
}

/// How much longer a pause between two runs of a job is by chance, at most; as the services have it.
const JITTER: f64 = 0.2;
/// How long the three jobs take, and for each customer, in milliseconds: of the size that the services show on the
/// machine of the README.
const JOBS_MS: [(f64, f64); 3] = [(5.0, 0.05), (5.0, 0.1), (5.0, 0.05)];
/// Most creates of a simulated day: some minutes.
const MAX_CREATES: f64 = 200_000_000.0;
/// Keeps the sizes of stores apart from everything else that the seed decides.
const SEED_OF_SIZES: u64 = 0x7469_6c6c;

impl ChainArgs {
    fn overhead(&self) -> Overhead {
        Overhead::fixed(self.sync_overhead, self.async_takes)
    }

    fn jobs(&self) -> Jobs {
        jobs(self.schedules)
    }

    fn sizes(&self, seed: u64) -> Sizes {
        let mut rng = SmallRng::seed_from_u64(seed ^ SEED_OF_SIZES);
        Sizes::drawn(self.stores as usize, self.spread, &mut rng)
    }

    fn creates_per_day(&self) -> f64 {
        self.creates_per_day * f64::from(self.stores)
    }

    /// Whether so many creates can be simulated.
    fn check(&self, creates: f64) -> Result<(), Error> {
        if creates > MAX_CREATES {
            return Err(Error::Usage(format!(
                "these are {creates:.0} creates; at most {MAX_CREATES} are simulated"
            )));
        }
        Ok(())
    }

    fn threads(&self) -> usize {
        self.threads.map_or_else(parallel::threads, NonZeroUsize::get)
    }
}

/// The jobs at these pauses.
pub(crate) fn jobs(schedules: Schedules) -> Jobs {
    let job = |place: usize| {
        let (per_run, per_customer) = JOBS_MS[place];
        Job {
            interval: Duration::from_secs_f64(schedules.0[place]),
            jitter: JITTER,
            per_run: Duration::from_secs_f64(per_run / 1e3),
            per_customer: Duration::from_secs_f64(per_customer / 1e3),
        }
    };
    Jobs { upload: job(0), conversion: job(1), feed: job(2) }
}

/// Plans, prints the table, and says with which code to end.
///
/// # Errors
///
/// What makes no sense, or a file that cannot be written.
pub async fn plan(args: PlanArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    if args.check {
        return check::check(args, command).await;
    }
    let out = args.load.out.clone();
    let result = run(&args, command)?;
    write_and_say(&result, &out)
}

/// Makes every run of a plan.
///
/// # Errors
///
/// [`Error::Usage`] or [`Error::Read`].
pub fn run(args: &PlanArgs, command: Vec<String>) -> Result<ResultFile, Error> {
    let load = &args.load;
    let profile = load.headquarters.read()?.unwrap_or_default();
    let capacity = profile.limit_per_s();
    if matches!(load.arrivals, ArrivalKind::Closed(_)) {
        return Err(Error::Usage(
            "--arrivals closed:N is for tillsync compare: a plan has no callers".to_owned(),
        ));
    }
    let mut runs = if load.arrivals == ArrivalKind::Daily {
        day(args, &profile)?
    } else {
        let session = Session::new(load, args.chain.stores as usize)?;
        let loads = session.loads(capacity)?;
        let work = loads.iter().flat_map(|load| session.modes().iter().map(move |mode| (load, *mode)));
        in_parallel(args.chain.threads(), work.collect(), |(load, mode)| {
            let mut all: Option<Measured> = None;
            for repeat in 1..=session.repeat {
                let load = load.repeated(repeat);
                let scenario = scenario(args, &profile, mode, load.expected(), load.warmup, load.measured);
                let seed = scenario.seed.wrapping_add(u64::from(repeat) - 1);
                let scenario = Scenario { seed, repeat, ..scenario };
                let simulated = simulated(&scenario, mode, load.per_s, load.arrivals())?;
                match &mut all {
                    Some(all) => all.add(simulated),
                    None => all = Some(simulated),
                }
            }
            let run = all.as_ref().map(trust::run);
            Ok::<_, Error>(run.map(|run| Run { speedup: load.speedup, ..run }))
        })?
        .into_iter()
        .flatten()
        .collect()
    };
    runs.sort_by(|a, b| a.mode.cmp(&b.mode).then(a.offered_per_s.total_cmp(&b.offered_per_s)));
    Ok(result(args, command, &profile, runs))
}

/// A day, in each mode.
fn day(args: &PlanArgs, profile: &Profile) -> Result<Vec<Run>, Error> {
    let load = &args.load;
    let (curve, sizes) = (Curve::day(args.chain.creates_per_day()), args.chain.sizes(load.seed));
    let measured = load.seconds.map_or(DAY, Duration::from_secs_f64);
    let expected = args.chain.creates_per_day() * (measured.as_secs_f64() / DAY.as_secs_f64());
    args.chain.check(expected)?;
    in_parallel(args.chain.threads(), Mode::distinct(&load.modes), |mode| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
        let scenario = scenario(args, profile, mode, expected as u64, Duration::ZERO, measured);
        let traffic = Traffic::drawn(&curve, &sizes, measured, load.seed);
        simulated(&scenario, mode, expected / measured.as_secs_f64(), traffic).map(|day| trust::run(&day))
    })
}

/// A simulated run.
pub(crate) fn simulated(
    scenario: &Scenario,
    mode: Mode,
    per_s: f64,
    arrivals: impl Iterator<Item = Arrival>,
) -> Result<Measured, Error> {
    simulate(scenario, mode, per_s, arrivals).map_err(|error| Error::Usage(error.to_string()))
}

fn scenario(
    args: &PlanArgs,
    profile: &Profile,
    mode: Mode,
    creates: u64,
    warmup: Duration,
    measured: Duration,
) -> Scenario {
    let (load, chain) = (&args.load, &args.chain);
    Scenario {
        seed: load.seed,
        conversion_workers: chain.conversion_workers,
        rts_timeout: load.headquarters.timeout(),
        probe_per_s: load.headquarters.probe_rate,
        warmup,
        measured,
        follow_every: every(creates, load.sample.into()),
        ..Scenario::new(profile.clone(), mode, chain.stores as usize, chain.overhead(), chain.jobs())
    }
}

/// The result file. It holds nothing that is different when the same plan is made again: no time of day, and no
/// number of threads.
fn result(args: &PlanArgs, command: Vec<String>, profile: &Profile, runs: Vec<Run>) -> ResultFile {
    let load = &args.load;
    let daily = Arrivals::Daily { creates_per_day: args.chain.creates_per_day() };
    // Checked already, unless it is a day.
    let (arrivals, warmup) = Session::new(load, args.chain.stores as usize)
        .map_or((daily, Duration::ZERO), |session| (session.arrivals, session.warmup));
    let seconds = runs.iter().map(|run| run.seconds).fold(0.0, f64::max);
    let setup = Setup {
        channels: args.chain.stores as usize,
        assumed: Some(assumed(
            (args.chain.sync_overhead, args.chain.async_takes),
            args.chain.schedules,
            args.chain.conversion_workers,
        )),
        ..setup(load, arrivals, warmup, Duration::from_secs_f64(seconds))
    };
    let checks = args.checks.judge(&runs);
    ResultFile { checks, ..simulated_result(setup, profile, without_threads(command), runs) }
}

/// The result of a simulation: without a time of day, and without anything that only services have.
pub(crate) fn simulated_result(
    setup: Setup,
    profile: &Profile,
    command: Vec<String>,
    runs: Vec<Run>,
) -> ResultFile {
    ResultFile {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: machine::commit(),
        started: "1970-01-01T00:00:00Z".to_owned(),
        elapsed_s: runs.iter().map(|run| run.seconds).sum(),
        command,
        interrupted: false,
        machine: machine::machine(),
        setup: Setup {
            services: Services::Simulated,
            durability: "simulated".to_owned(),
            capacity_per_s: profile.limit_per_s(),
            profile_toml: profile.to_toml().ok(),
            ..setup
        },
        runs,
        knees: Vec::new(),
        ledger: None,
        warnings: Vec::new(),
        checks: Checks::default(),
        process: Process::default(),
    }
}

/// What a simulation assumes: what stores add to a sync create and take for an async one, in milliseconds; the pauses
/// of the jobs; and the workers that the customer sync job takes.
pub(crate) fn assumed(overhead_ms: (f64, f64), schedules: Schedules, conversion_workers: u32) -> Assumed {
    let ms = |place: usize| schedules.0[place] * 1e3 * (1.0 + JITTER / 2.0);
    Assumed {
        sync_overhead_ms: overhead_ms.0,
        async_ms: overhead_ms.1,
        schedules_ms: [ms(0), ms(1), ms(2)],
        jitter: JITTER,
        jobs_ms: JOBS_MS,
        conversion_workers,
    }
}

/// The command line, but for the option that changes nothing.
fn without_threads(command: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = command.into_iter();
    while let Some(word) = words.next() {
        if word == "--threads" {
            words.next();
        } else if !word.starts_with("--threads=") {
            kept.push(word);
        }
    }
    kept
}
