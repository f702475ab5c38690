//! Which stores should create async, when, and how the answer moves with headquarters and schedules (rule B10).

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use rts_emulator::{Profile, parallel::in_parallel, profile::ServiceTime};
use serde::Serialize;

use super::{
    ChainArgs, Schedules,
    scenario::Scenario,
    sim::simulate,
    traffic::{Curve, Sizes, Traffic},
};
use crate::{
    cli::HeadquartersArgs,
    error::Error,
    goal::Goal,
    load::every,
    measured::Measured,
    report,
    result::{Mode, TwoPercentiles},
    say,
};

mod words;

/// How much of a simulation's time is warming up, and the longest time that is simulated to judge a rate.
const WARMUP: f64 = 0.1;
const LONGEST_S: f64 = 14_400.0;
/// Simulations, each with another seed, from which the answer and its uncertainty are.
const SEEDS: u64 = 5;
/// Halvings of the interval in which the highest rate is looked for: to a thousandth.
const HALVINGS: u32 = 10;
/// How the answer moves: factors of workers and of service time, and pauses between runs of all jobs in seconds.
const FACTORS: [f64; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];
const SCHEDULES_S: [f64; 5] = [0.5, 5.0, 60.0, 300.0, 900.0];
/// Creates of a simulation of schedules that are followed to every store.
const FOLLOWED: usize = 200;
/// By how much less headquarters is asked to do, as long as the busiest hour does not keep the goal; and where that
/// ends.
const PRUDENCE: f64 = 0.99;
const LEAST_RATE: f64 = 0.01;
const HOUR: Duration = Duration::from_secs(3_600);

/// Options.
#[derive(Debug, Clone, Args)]
pub struct WhatIfArgs {
    /// What a create must keep: a percentile and its time, such as p99=500ms or p90=1s. A create that fails does not.
    #[arg(long, default_value = "p99=500ms", value_name = "GOAL")]
    pub goal: Goal,
    /// Headquarters.
    #[command(flatten)]
    pub headquarters: HeadquartersArgs,
    /// The chain.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Creates of each simulation by which a rate is judged, 1000 to 10000000.
    #[arg(long, default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000), value_name = "N")]
    pub creates: u32,
    /// Seed of everything that chance decides.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for what-if.json and what-if.html.
    #[arg(long, default_value = "tillsync-report", value_name = "DIR")]
    pub out: PathBuf,
}

/// The highest rate at which sync keeps the goal, in creates per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Knee {
    /// Mean over the simulations.
    pub per_s: f64,
    /// The lowest and the highest of them.
    pub range: (f64, f64),
}

/// An hour of the day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hour {
    /// 0 to 23.
    pub hour: usize,
    /// Creates of all stores per second.
    pub offered_per_s: f64,
    /// Whether sync keeps the goal if all stores use it.
    pub sync_keeps_goal: bool,
    /// The fewest stores, the largest first, that have to create async so that the others keep it.
    pub stores_async: usize,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIf {
    /// What a create must keep.
    pub goal: Goal,
    /// The highest rate at which sync keeps it; absent if no rate is too high for this headquarters.
    pub knee: Option<Knee>,
    /// What headquarters can serve; absent if nothing limits it.
    pub capacity_per_s: Option<f64>,
    /// Stores.
    pub stores: usize,
    /// Creates of all of them in a day.
    pub creates_per_day: f64,
    /// The day.
    pub hours: Vec<Hour>,
    /// The most that [`Hour::stores_async`] is, and the share of the day's creates that these stores make.
    pub stores_async: (usize, f64),
    /// In the busiest hour, with these stores async: p50 and p99 of the sync creates of the others, and how busy
    /// headquarters is; absent if all stores are async.
    pub others: Option<(TwoPercentiles, f64)>,
    /// The same hour, if all create sync.
    pub all_sync: (TwoPercentiles, f64),
    /// How many workers there would be, and mean service times in milliseconds.
    pub workers: Vec<u32>,
    /// See there.
    pub service_ms: Vec<f64>,
    /// The highest rate, by service time and then by workers; absent where no rate is too high.
    pub knees: Vec<Vec<Option<f64>>>,
    /// Pauses between two runs of all jobs, in seconds, each with the time until the account number is back and
    /// until every store finds the customer.
    pub schedules: Vec<(f64, TwoPercentiles, TwoPercentiles)>,
}

/// Answers, prints, writes.
///
/// # Errors
///
/// What makes no sense, or a file that cannot be written.
pub fn what_if(args: WhatIfArgs) -> Result<ExitCode, Error> {
    let found = find(&args)?;
    let write = |name: &str, text: String| {
        let path = args.out.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok::<PathBuf, Error>(path)
    };
    fs::create_dir_all(&args.out).map_err(|source| Error::Write { path: args.out.clone(), source })?;
    let json = serde_json::to_string_pretty(&found).map_err(std::io::Error::from)?;
    let figures = write("what-if.json", json + "\n")?;
    let page = write("what-if.html", report::what_if(&found))?;
    say(&format!("{}\nPage: {}   Figures: {}\n", words::render(&found), page.display(), figures.display()));
    Ok(ExitCode::SUCCESS)
}

/// Everything that is to be known.
///
/// # Errors
///
/// [`Error::Usage`] or [`Error::Read`].
pub fn find(args: &WhatIfArgs) -> Result<WhatIf, Error> {
    let profile = args.headquarters.read()?.unwrap_or_default();
    args.chain.check(args.chain.creates_per_day())?;
    let threads = args.chain.threads();
    let knees = in_parallel(threads, (0..SEEDS).collect(), |seed| knee(args, &profile, args.seed + seed))?;
    let knee = together(&knees);
    let (curve, sizes) = (Curve::day(args.chain.creates_per_day()), args.chain.sizes(args.seed));
    let all_sync = an_hour(args, &profile, curve.peak())?;
    let mut most = knee.map_or(f64::INFINITY, |knee| knee.per_s);
    let (hours, stores_async, others) = loop {
        let hours: Vec<Hour> = (0..24).map(|hour| at_hour(hour, curve.at_hour(hour), &sizes, most)).collect();
        let stores: usize = hours.iter().map(|hour| hour.stores_async).max().unwrap_or_default();
        let share: f64 = (0..stores).map(|store| sizes.share(store)).sum();
        if stores == sizes.len() {
            break (hours, (stores, share), None);
        }
        let others = an_hour(args, &profile, curve.peak() * (1.0 - share))?;
        // Close to the knee chance decides about an hour: what is advised has to keep the goal in it.
        if stores == 0 || keeps(args.goal, &others) || most < LEAST_RATE {
            break (hours, (stores, share), Some(others));
        }
        most *= PRUDENCE;
    };
    let summary = |hour: &Measured| {
        let hour = hour.run();
        let latency = &hour.latency_ms;
        let two = TwoPercentiles { count: latency.count, p50: latency.p50, p99: latency.p99 };
        (two, hour.hq.as_ref().map_or(0.0, |hq| hq.utilization))
    };
    let (workers, service_ms, knees) = moved(args, &profile, threads)?;
    Ok(WhatIf {
        goal: args.goal,
        knee,
        capacity_per_s: profile.limit_per_s(),
        stores: sizes.len(),
        creates_per_day: args.chain.creates_per_day(),
        hours,
        stores_async,
        others: others.as_ref().map(summary),
        all_sync: summary(&all_sync),
        workers,
        service_ms,
        knees,
        schedules: in_parallel(threads, SCHEDULES_S.to_vec(), |pause| scheduled(args, &profile, pause))?,
    })
}

/// Mean and range; nothing if one of them knows no limit.
fn together(knees: &[Option<f64>]) -> Option<Knee> {
    let knees: Option<Vec<f64>> = knees.iter().copied().collect();
    let knees = knees.filter(|knees| !knees.is_empty())?;
    let range =
        (knees.iter().copied().fold(f64::INFINITY, f64::min), knees.iter().copied().fold(0.0, f64::max));
    Some(Knee { per_s: knees.iter().sum::<f64>() / knees.len() as f64, range })
}

fn at_hour(hour: usize, offered_per_s: f64, sizes: &Sizes, most: f64) -> Hour {
    let (mut left, mut stores_async) = (offered_per_s, 0);
    while left > most && stores_async < sizes.len() {
        left -= offered_per_s * sizes.share(stores_async);
        stores_async += 1;
    }
    Hour { hour, offered_per_s, sync_keeps_goal: stores_async == 0, stores_async }
}

fn keeps(goal: Goal, simulated: &Measured) -> bool {
    let (arrivals, within_goal) = simulated.kept();
    within_goal as f64 >= goal.share * arrivals as f64
}

/// The highest rate at which sync keeps the goal, by halving; nothing if there is no limit.
fn knee(args: &WhatIfArgs, profile: &Profile, seed: u64) -> Result<Option<f64>, Error> {
    let capacity = profile.capacity_per_s();
    if !capacity.is_finite() {
        return Ok(None);
    }
    let (mut low, mut high) = (0.0, capacity);
    for _ in 0..HALVINGS {
        let rate = f64::midpoint(low, high);
        let measured = Duration::from_secs_f64((f64::from(args.creates) / rate).min(LONGEST_S));
        let simulated = steady(args, profile, Mode::Sync, rate, measured, seed)?;
        (low, high) = if keeps(args.goal, &simulated) { (rate, high) } else { (low, rate) };
    }
    Ok(Some(low))
}

/// How the highest rate moves with workers and service time.
#[expect(clippy::type_complexity, reason = "two scales and what stands between them")]
fn moved(
    args: &WhatIfArgs,
    profile: &Profile,
    threads: usize,
) -> Result<(Vec<u32>, Vec<f64>, Vec<Vec<Option<f64>>>), Error> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few times the workers")]
    let scaled = |factor: f64| (f64::from(profile.workers) * factor).round().clamp(1.0, 100_000.0) as u32;
    let mut workers: Vec<u32> = FACTORS.iter().map(|factor| scaled(*factor)).collect();
    workers.dedup();
    let service_ms: Vec<f64> = FACTORS.iter().map(|factor| profile.service.mean() * factor).collect();
    let cells = FACTORS.iter().flat_map(|factor| workers.iter().map(move |workers| (*factor, *workers)));
    let knees = in_parallel(threads, cells.collect(), |(factor, workers)| {
        let longer = |time: &ServiceTime| ServiceTime {
            mean_ms: Some(time.mean() * factor),
            half_width_ms: time.half_width_ms.map(|width| width * factor),
            ..time.clone()
        };
        let by_method =
            profile.service_by_method.iter().map(|(method, time)| (*method, longer(time))).collect();
        let other = Profile {
            workers,
            service: longer(&profile.service),
            service_by_method: by_method,
            ..profile.clone()
        };
        knee(args, &other, args.seed)
    })?;
    let rows = knees.chunks(workers.len()).map(<[_]>::to_vec).collect();
    Ok((workers, service_ms, rows))
}

/// The busiest hour, all of it sync.
fn an_hour(args: &WhatIfArgs, profile: &Profile, per_s: f64) -> Result<Measured, Error> {
    steady(args, profile, Mode::Sync, per_s, HOUR, args.seed)
}

/// What async costs at these pauses of all jobs, at the mean rate of the day.
fn scheduled(
    args: &WhatIfArgs,
    profile: &Profile,
    pause_s: f64,
) -> Result<(f64, TwoPercentiles, TwoPercentiles), Error> {
    let chain = ChainArgs { schedules: Schedules([pause_s; 3]), ..args.chain.clone() };
    let args = WhatIfArgs { chain, ..args.clone() };
    let per_s = args.chain.creates_per_day() / 86_400.0;
    // Long enough for both: many creates, and many runs of every job.
    let measured = Duration::from_secs_f64((5_000.0 / per_s).clamp(20.0 * pause_s, 86_400.0).max(60.0));
    let simulated = steady(&args, profile, Mode::Async, per_s, measured, args.seed)?;
    let run = simulated.run();
    Ok((pause_s, run.account_number_ms, run.findable_everywhere_ms))
}

/// A steady load, all stores in the same mode.
fn steady(
    args: &WhatIfArgs,
    profile: &Profile,
    mode: Mode,
    per_s: f64,
    measured: Duration,
    seed: u64,
) -> Result<Measured, Error> {
    // Headquarters knows no difference between stores, unless it limits each by itself.
    let sizes = args.chain.sizes(args.seed);
    let warmup = if mode == Mode::Sync { measured.mul_f64(WARMUP) } else { Duration::ZERO };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
    let creates = (per_s * measured.as_secs_f64()) as u64;
    let chain = &args.chain;
    let scenario = Scenario {
        seed,
        conversion_workers: chain.conversion_workers,
        rts_timeout: args.headquarters.timeout(),
        probe_per_s: args.headquarters.probe_rate,
        warmup,
        measured,
        follow_every: if mode == Mode::Async { every(creates, FOLLOWED) } else { u64::MAX },
        goal: args.goal.time(),
        ..Scenario::new(profile.clone(), mode, sizes.len(), chain.overhead(), chain.jobs())
    };
    let curve = Curve::steady(per_s);
    let traffic = Traffic::drawn(&curve, &sizes, warmup + measured, seed);
    simulate(&scenario, mode, per_s, traffic).map_err(|error| Error::Usage(error.to_string()))
}
