//! The same case planned and measured (rule B10). The plan is given the arrivals and the GUIDs of the measured run,
//! so headquarters' chance is the same in both; what the stores add is measured before, at a headquarters that is
//! never busy.

use std::{fmt, path::Path, process::ExitCode, time::Duration};

use prost_types::Timestamp;
use rts_emulator::{
    Profile,
    profile::{Distribution, ServiceTime},
};
use tokio_util::sync::CancellationToken;

use super::{
    PlanArgs,
    overhead::Overhead,
    scenario,
    scenario::{Names, Scenario},
    simulated,
};
use crate::{
    cli::{ChecksArgs, CompareArgs, HeadquartersArgs, LoadArgs, Rate},
    compare::measure,
    error::Error,
    result::{Mode, ResultFile, Run},
    say,
    services::toml_of,
    session::Session,
    site::SiteArgs,
    verdict,
};

/// How far plan and run may differ: completed per second, and percentiles of the answer.
const COMPLETED: f64 = 0.02;
const PERCENTILES: f64 = 0.10;
/// Rate of the case, unless another is given.
const RATE: Rate = Rate::OfCapacity(0.8);
/// Seconds that are measured, unless said otherwise: enough samples for a p99.
const SECONDS: f64 = 20.0;
/// Service time while the stores' own part is measured.
const SERVICE_MS: f64 = 20.0;
/// Most stores that are run at once.
const MAX_STORES: u32 = 16;
/// Exit code when a figure is off.
const EXIT_OFF: u8 = 1;

/// A figure of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    mode: Mode,
    offered_per_s: f64,
    name: &'static str,
    live: f64,
    plan: f64,
    bound: f64,
}

impl Row {
    /// By which share the plan's figure is more than that of the run.
    #[must_use]
    pub fn off_by(&self) -> f64 {
        self.plan / self.live - 1.0
    }

    /// Whether the two are as near as they have to be. Two nothings are.
    #[must_use]
    pub fn agrees(&self) -> bool {
        (self.live == 0.0 && self.plan == 0.0) || self.off_by().abs() <= self.bound
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |figure: f64| match self.name {
            "done/s" => verdict::number(figure),
            _ => verdict::millis(figure),
        };
        let (mode, offered) = match self.name {
            "done/s" => (self.mode.name(), verdict::number(self.offered_per_s)),
            _ => ("", String::new()),
        };
        write!(
            f,
            "{mode:<13} {offered:>7}  {:<7} {:>9} {:>9} {:>+11.1} %{}",
            self.name,
            show(self.live),
            show(self.plan),
            self.off_by() * 100.0,
            if self.agrees() { String::new() } else { format!("  <- more than {:.0} %", self.bound * 100.0) }
        )
    }
}

/// Measures, plans, prints both, and ends with 1 if they differ by more than they may.
///
/// # Errors
///
/// What makes no sense, or keeps the services from starting.
pub async fn check(args: PlanArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    if args.chain.stores > MAX_STORES {
        return Err(Error::Usage(format!("--check measures too: at most {MAX_STORES} stores")));
    }
    let rows = rows(args, command, |line| say(&format!("{line}\n"))).await?;
    let good = rows.iter().all(Row::agrees);
    let words = if good { "agree" } else { "do not agree" };
    say(&format!("\nPlan and run {words}: done within 2 %, percentiles within 10 %.\n"));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_OFF) })
}

/// Every figure; each is told as it is found.
///
/// # Errors
///
/// As for [`check`].
pub async fn rows(mut args: PlanArgs, command: Vec<String>, told: impl Fn(&str)) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    args.load.seconds.get_or_insert(SECONDS);
    if args.load.rates == LoadArgs::default_rates() {
        args.load.rates = vec![RATE];
    }
    let profile = args.load.headquarters.read()?.unwrap_or_default();
    let capacity = profile.limit_per_s();
    let plans = Session::new(&args.load, args.chain.stores as usize)?.plans(capacity)?;
    let most = plans.iter().map(|plan| plan.load.per_s).fold(0.0, f64::max);
    told("measuring what stores add to a call, at a headquarters that is never busy");
    let overhead = overhead(&args, &command, most, folder.path()).await?;
    let (sync_ms, async_ms) = overhead.means_ms();
    told(&format!(
        "sync: {} besides the call; async: {} (means)\n",
        verdict::millis(sync_ms),
        verdict::millis(async_ms)
    ));
    told("mode          offered  figure       live      plan  difference");
    told("──────────────────────────────────────────────────────────────");
    let mut rows = Vec::new();
    for plan in plans {
        // Services of its own for each run, so that headquarters' chance begins anew.
        let load = LoadArgs {
            rates: vec![Rate::PerSecond(plan.load.per_s)],
            modes: vec![plan.mode],
            ..args.load.clone()
        };
        let result = measured(load, &args, &command, folder.path()).await?;
        let Some(live) = result.runs.first() else { break };
        let load = &plan.load;
        let names = Names::Session { run: 0, epoch_micros: micros(&result)? };
        let scenario = Scenario {
            names,
            overhead: overhead.clone(),
            ..scenario(&args, &profile, plan.mode, load.expected(), load.warmup, load.measured)
        };
        let planned = simulated(&scenario, plan.mode, load.per_s, load.arrivals())?;
        for row in compare(live, &planned.run()) {
            told(&row.to_string());
            rows.push(row);
        }
    }
    Ok(rows)
}

fn compare(live: &Run, plan: &Run) -> [Row; 3] {
    let row = |name, bound, figure: fn(&Run) -> f64| Row {
        mode: live.mode,
        offered_per_s: live.offered_per_s,
        name,
        live: figure(live),
        plan: figure(plan),
        bound,
    };
    [
        row("done/s", COMPLETED, |run| run.completed_per_s),
        row("p50", PERCENTILES, |run| run.latency_ms.p50.unwrap_or_default()),
        row("p99", PERCENTILES, |run| run.latency_ms.p99.unwrap_or_default()),
    ]
}

/// What stores add, by runs at a headquarters where nobody waits.
async fn overhead(args: &PlanArgs, command: &[String], per_s: f64, folder: &Path) -> Result<Overhead, Error> {
    let patient = Profile {
        workers: 10_000,
        service: ServiceTime::new(Distribution::Constant, SERVICE_MS),
        ..Profile::default()
    };
    let file = folder.join("nobody-waits.toml");
    std::fs::write(&file, toml_of(&patient)?)
        .map_err(|source| Error::Write { path: file.clone(), source })?;
    let load = LoadArgs {
        rates: vec![Rate::PerSecond(per_s)],
        modes: vec![Mode::Sync, Mode::Async],
        seed: args.load.seed.wrapping_add(1),
        headquarters: HeadquartersArgs { profile: Some(file), ..args.load.headquarters.clone() },
        ..args.load.clone()
    };
    let result = measured(load, args, command, folder).await?;
    let of = |mode: Mode, less_ms: f64| -> Vec<(f64, f64)> {
        let run = result.runs.iter().find(|run| run.mode == mode);
        let quantiles = run.map(|run| run.latency_distribution.as_slice()).unwrap_or_default();
        quantiles.iter().map(|(quantile, ms)| (*quantile, ms - less_ms)).collect()
    };
    Ok(Overhead::measured(&of(Mode::Sync, SERVICE_MS), &of(Mode::Async, 0.0)))
}

async fn measured(
    load: LoadArgs,
    args: &PlanArgs,
    command: &[String],
    folder: &Path,
) -> Result<ResultFile, Error> {
    let compare = CompareArgs {
        load: LoadArgs { out: folder.to_owned(), ..load },
        checks: ChecksArgs::default(),
        site: SiteArgs::here(u8::try_from(args.chain.stores).unwrap_or(u8::MAX)),
        plain: true,
    };
    measure(compare, command.to_vec(), CancellationToken::new()).await
}

/// When a session began, in microseconds of wall time.
fn micros(result: &ResultFile) -> Result<i64, Error> {
    let wrong = || Error::Usage(format!("{} is not a time", result.started));
    let started: Timestamp = result.started.parse().map_err(|_| wrong())?;
    let nanos = Duration::from_nanos(u64::try_from(started.nanos).map_err(|_| wrong())?);
    Ok(started.seconds * 1_000_000 + i64::try_from(nanos.as_micros()).unwrap_or_default())
}
