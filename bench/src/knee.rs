//! The knee (rule B4): the highest rate at which a mode keeps a goal, found by repeated short runs, with an interval;
//! and the rate from which on async pays.
//!
//! What a run tells is how many of its creates missed the goal, failed ones included: that share, unlike a percentile of
//! a short run, is right on the average, and near the knee its logarithm grows with the rate on a straight line
//! ([`fit`]). Rates are tried where they tell most, until the interval is narrow enough ([`search`]).

mod check;
pub mod fit;
mod planned;
pub mod search;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use service_kit::config::shutdown_on_signal;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{ChecksArgs, HeadquartersArgs, within},
    compare::write_and_say,
    error::Error,
    goal::Goal,
    load::{Dues, Load},
    measured::Measured,
    progress::Progress,
    result::{Arrivals, Knee, Mode, ResultFile, Run, Setup, Warning, whole_millis},
    run::{CALL_DEADLINE, Plan, Recorder},
    scenario::Action,
    site::{Opening, Site, SiteArgs, unreadable},
    trust,
    verdict::number,
};

use search::{Found, Next, Search, Wanted};

/// Where to begin if nobody knows what headquarters can serve, and the most that is tried then.
const START_PER_S: f64 = 20.0;
const MOST_PER_S: f64 = 1_000.0;
/// Where to begin, and the most that is tried, in multiples of what headquarters can serve.
const START: f64 = 0.5;
const MOST: f64 = 10.0;
/// Runs near the knee are so many times as long: what is rare has to be seen there.
const FINE: f64 = 6.0;
/// The least that is tried.
const LEAST_PER_S: f64 = 0.5;

/// Options.
#[derive(Debug, Clone, Args)]
pub struct KneeArgs {
    /// What creates have to keep: a percentile and its time, such as p99=500ms. A create that fails does not.
    #[arg(long, default_value = "p99=500ms", value_name = "GOAL")]
    pub slo: Goal,
    /// Modes to look at: sync, sync-fallback, async.
    #[arg(long, value_delimiter = ',', default_value = "sync,sync-fallback,async", value_name = "LIST")]
    pub modes: Vec<Mode>,
    /// Enough is known when the interval's half width is this share of the rate, in per cent, 0.5 to 50.
    #[arg(long, default_value = "5", value_parser = precision, allow_negative_numbers = true, value_name = "PERCENT")]
    pub precision: f64,
    /// Seconds measured of each run, 1 to 3600; near the knee six times as many.
    #[arg(long, default_value = "10", value_parser = seconds, allow_negative_numbers = true, value_name = "SECONDS")]
    pub seconds: f64,
    /// Seconds of load before that, 0 to 600: long enough for the queue to become what it is.
    #[arg(long, default_value = "3", value_parser = warmup, allow_negative_numbers = true, value_name = "SECONDS")]
    pub warmup: f64,
    /// Most runs of each mode, 6 to 200.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(6..=200), value_name = "N")]
    pub runs: u16,
    /// The most that is tried, in creates per second [default: 10 times what headquarters can serve, or 1000].
    #[arg(long, value_parser = most, allow_negative_numbers = true, value_name = "PER_S")]
    pub most: Option<f64>,
    /// Seed of arrivals, customers and GUIDs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Headquarters.
    #[command(flatten)]
    pub headquarters: HeadquartersArgs,
    /// Most creates of each run that are followed until every store finds them, 0 to 400.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=400), value_name = "N")]
    pub sample: u16,
    /// Folder for result.json, runs.csv, junit.xml, report.html and acknowledged.txt.
    #[arg(long, default_value = "tillsync-report", value_name = "DIR")]
    pub out: PathBuf,
    /// Simulate the runs, in virtual time.
    #[arg(long)]
    pub plan: bool,
    /// Look for it live, simulated, and where it is known in theory, and show all: exit code 1 if they are more than 5 %
    /// apart.
    #[arg(long, conflicts_with = "plan")]
    pub check: bool,
    /// Plain lines in place of a live display; also when standard error is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// What is measured.
    #[command(flatten)]
    pub site: SiteArgs,
    /// Reasons not to trust a run are failures, exit code 3; drift and outliers, which runs near a knee have, are none.
    #[arg(long)]
    pub strict: bool,
}

fn precision(text: &str) -> Result<f64, String> {
    within(text, 0.5..=50.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 1.0..=3_600.0)
}

fn warmup(text: &str) -> Result<f64, String> {
    within(text, 0.0..=600.0)
}

fn most(text: &str) -> Result<f64, String> {
    within(text, 1.0..=100_000.0)
}

impl KneeArgs {
    fn wanted(&self, capacity_per_s: Option<f64>) -> Wanted {
        let most = self.most.or(capacity_per_s.map(|capacity| capacity * MOST)).unwrap_or(MOST_PER_S);
        Wanted {
            share: 1.0 - self.slo.share,
            start: capacity_per_s.map_or(START_PER_S, |capacity| capacity * START),
            range: (LEAST_PER_S.min(most), most),
            precision: self.precision / 100.0,
            runs: self.runs.into(),
        }
    }

    /// A run of the search, with arrivals of its own.
    fn load(&self, next: Next, number: u64) -> Load {
        let seconds = if next.is_fine { self.seconds * FINE } else { self.seconds };
        Load {
            per_s: next.per_s,
            speedup: None,
            warmup: Duration::from_secs_f64(self.warmup),
            measured: Duration::from_secs_f64(seconds),
            dues: Dues::Poisson(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            channels: self.site.count(),
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            channels: self.site.count(),
            seed: self.seed,
            arrivals: Arrivals::Poisson,
            seconds: self.seconds,
            warmup_s: self.warmup,
            probe_per_s: self.headquarters.probe_rate,
            rts_timeout_ms: whole_millis(self.headquarters.timeout()),
            call_deadline_ms: whole_millis(CALL_DEADLINE),
            sample: self.sample.into(),
            repeat: 1,
            generators: 1,
            ..Setup::default()
        }
    }
}

/// What a run has shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Seen {
    /// Creates that fell due per second.
    pub per_s: f64,
    /// How many fell due.
    pub arrivals: u64,
    /// How many of them missed the goal.
    pub missed: u64,
    /// How often some did, one after the other.
    pub clusters: u64,
    /// The squares of how many did each time, summed up.
    pub squares: u64,
}

impl Seen {
    fn of(measured: &Measured) -> Self {
        let (arrivals, within_goal) = measured.kept();
        let clusters = measured.clusters();
        Self {
            per_s: measured.offered_per_s,
            arrivals,
            missed: arrivals - within_goal,
            clusters: clusters.len() as u64,
            squares: clusters.iter().map(|missed| missed * missed).sum(),
        }
    }

    /// The share that missed it.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.missed as f64 / (self.arrivals as f64).max(1.0)
    }
}

/// What was found of a mode, as the result has it.
fn knee(goal: Goal, mode: Mode, search: &Search) -> Knee {
    let (per_s, low, high) = match search.found() {
        Found::Knee(knee) => (Some(knee.middle), Some(knee.low), Some(knee.high)),
        Found::AtLeast(rate) => (None, Some(rate), None),
        Found::Below(rate) => (None, None, Some(rate)),
        Found::Between(low, high) => (None, Some(low), Some(high)),
    };
    Knee { mode, goal, per_s, low, high, runs: u32::try_from(search.seen.len()).unwrap_or(u32::MAX) }
}

/// Finds the knees, prints them, writes the files, and says with which code to end.
///
/// # Errors
///
/// Anything that keeps it from starting, or from writing its files.
pub async fn find(args: KneeArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    if args.check {
        return check::check(args, command).await;
    }
    let result = if args.plan {
        planned::find(&args, command)?
    } else {
        measure(&args, command, shutdown_on_signal()?).await?
    };
    write_and_say(&result, &args.out)
}

/// Finds them live, until `stop` is cancelled.
///
/// # Errors
///
/// Anything that keeps it from starting.
pub async fn measure(
    args: &KneeArgs,
    command: Vec<String>,
    stop: CancellationToken,
) -> Result<ResultFile, Error> {
    let profile = args.headquarters.read()?;
    args.site.check(profile.is_some())?;
    args.site.check_modes(&args.modes)?;
    let opening = Opening {
        site: &args.site,
        seed: args.seed,
        profile,
        probe_per_s: args.headquarters.probe_rate,
        rts_timeout: args.headquarters.timeout(),
        sample: args.sample.into(),
        out: &args.out,
        with_relays: false,
    };
    let site = Site::open(opening, stop).await?;
    let progress = Progress::new(args.plain, None);
    let (mut runs, mut knees, mut warnings): (Vec<Run>, Vec<Knee>, Vec<Warning>) = Default::default();
    let mut number = 0;
    for mode in Mode::distinct(&args.modes) {
        let looked = look(args, &site, mode, &progress, &mut number).await;
        let (measured, search) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                warnings.push(unreadable(&format!("looking for the knee of {mode}"), &error));
                break;
            }
        };
        // Near a knee runs drift, which the search knows.
        runs.extend(measured.iter().map(trust::run_that_changes));
        if !site.bench.stop.is_cancelled() {
            knees.push(knee(args.slo, mode, &search));
        }
    }
    sort(&mut runs);
    progress.message("keeping the books");
    let checks = ChecksArgs { slo: Vec::new(), strict: args.strict }.judge(&runs);
    let result = site.close(args.setup(), runs, warnings, command).await;
    progress.finish();
    Ok(ResultFile { knees, checks, ..result? })
}

/// Looks for the knee of one mode.
async fn look(
    args: &KneeArgs,
    site: &Site,
    mode: Mode,
    progress: &Progress,
    number: &mut u64,
) -> Result<(Vec<Measured>, Search), Error> {
    let bench = &site.bench;
    let mut search = Search::new(args.wanted(site.capacity_per_s));
    let mut measured = Vec::new();
    bench.change(&Action::Mode(mode)).await?;
    while let Some(next) = search.next() {
        let plan = Plan {
            number: *number,
            mode,
            load: args.load(next, *number),
            repeat: 1,
            dues: Default::default(),
        };
        *number += 1;
        let recorder = Arc::new(Recorder::new(plan.load.window(), args.slo.time()));
        let Some(run) = progress.watch(&plan, &recorder, bench.run(&plan, &recorder)).await? else { break };
        let seen = Seen::of(&run);
        measured.push(run);
        if bench.stop.is_cancelled() {
            break;
        }
        search.add(seen);
        progress.say(&format!("{:>3}  {}", number, line(args.slo, mode, seen, &search)));
    }
    Ok((measured, search))
}

/// What a run has shown, and what is known by then.
fn line(goal: Goal, mode: Mode, seen: Seen, search: &Search) -> String {
    let known = match search.found() {
        Found::Knee(knee) => {
            format!("{} to {}/s", number(knee.low), number(knee.high))
        }
        Found::AtLeast(rate) => format!("{}/s or more", number(rate)),
        Found::Below(rate) => format!("below {}/s", number(rate)),
        Found::Between(low, high) => format!("between {} and {}/s", number(low), number(high)),
    };
    let (rate, share) = (number(seen.per_s), seen.share() * 100.0);
    format!(
        "{mode:<13} {rate:>6}/s  {share:>6.2} % beyond {}  knee: {known}",
        crate::verdict::millis(goal.ms)
    )
}

fn sort(runs: &mut [Run]) {
    runs.sort_by(|a, b| a.mode.cmp(&b.mode).then(a.offered_per_s.total_cmp(&b.offered_per_s)));
}
