//! The command line. Its help is the manual.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand};
use rts_emulator::Profile;
use tracing::level_filters::LevelFilter;

use crate::{
    ceiling::CeilingArgs,
    chain::UpArgs,
    channels::ChannelsArgs,
    costs::CostsArgs,
    diff::DiffArgs,
    drain::DrainArgs,
    error::Error,
    knee::KneeArgs,
    pacing::PacingArgs,
    plan::{PlanArgs, profiles::ProfilesArgs, what_if::WhatIfArgs},
    result::{Checks, Mode, Run},
    scenario::ScenarioArgs,
    searches::SearchesArgs,
    session::read_profile,
    shell::{customer::CustomerArgs, doctor::DoctorArgs, hq::HqArgs, token::TokenArgs},
    shelter::ShelterArgs,
    site::SiteArgs,
    slo::Slo,
    steady::SteadyArgs,
    way::Credentials,
};

/// Measures what it costs to create a customer sync (call headquarters and wait) and async (write to the
/// store's own database), and proves that nobody was lost or doubled.
///
/// Without arguments it makes the comparison: headquarters, the emulator that makes it narrow, and two channels
/// run as real servers over loopback with SQLite files in a temporary folder; creates arrive open-loop at
/// several rates below and above what headquarters can serve, in each mode, beside a steady probe of other work
/// at headquarters. It takes about a minute, prints a table, writes tillsync-report/result.json and
/// tillsync-report/report.html, and ends with the ledger.
///
/// Exit codes: 0 all is well; 1 a customer was lost or doubled, or a channel and headquarters differ, or the doctor
/// has found something amiss, or a plan and a run of the same case do not agree (plan --check); 2 a goal was missed
/// (--slo), or a comparison shows that something became worse (diff); 3 a measurement cannot be trusted (--strict), or
/// cannot tell (diff); 64 what was asked for makes no sense; 69 a service cannot be had; 74 a file cannot be written.
#[derive(Debug, Parser)]
#[command(name = "tillsync", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; nothing: compare.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of compare.
    #[command(flatten)]
    pub compare: CompareArgs,
    /// Log of the embedded services and of the harness, on standard error: off, error, warn, info, debug, trace.
    #[arg(long, global = true, default_value = "error", value_name = "LEVEL")]
    pub log: LevelFilter,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compares the modes (also without a subcommand).
    Compare(Box<CompareArgs>),
    /// Goes through a scenario that a file describes: traffic that changes, outages, stores that go offline (see
    /// scenarios/).
    Scenario(Box<ScenarioArgs>),
    /// Finds the highest rate at which each mode keeps a goal, and the rate from which on async pays.
    Knee(Box<KneeArgs>),
    /// Finds the ceiling of async creates, closed-loop: callers that each wait for the answer before the next call, in
    /// turn with an empty call (Ping) on the same server.
    Ceiling(CeilingArgs),
    /// What a store costs on SQLite, on PostgreSQL, and with a synchronous standby: rate, latency, CPU time and bytes written
    /// for each create, memory, start.
    Costs(CostsArgs),
    /// How fast customers that wait become real, and how fast they are brought to a store that joins.
    Drain(DrainArgs),
    /// What many stores take from headquarters, as far as it can see them: each listens, polls, brings and reports.
    Channels(ChannelsArgs),
    /// How fast a store finds customers among many, while others are created.
    Searches(SearchesArgs),
    /// How well async creates are sheltered from headquarters: their latency while it is idle, saturated, out, and taking in
    /// what waits; and what a sync create adds.
    Shelter(ShelterArgs),
    /// What a store keeps up: async creates at a steady rate for minutes, how far its tables are behind, who waits, memory.
    Steady(SteadyArgs),
    /// Shows how well the generator keeps time on this machine, and how much it can drive, beside h2load if that is
    /// installed.
    Pacing(PacingArgs),
    /// Answers the same questions without services, in virtual time: chains of thousands of stores, a whole day, in seconds.
    Plan(Box<PlanArgs>),
    /// Which stores should create async, when, and how the answer moves with headquarters and schedules; in virtual time.
    WhatIf(Box<WhatIfArgs>),
    /// Plots what each preset of the emulator does to sync creates under rising load; in virtual time.
    Profiles(ProfilesArgs),
    /// Checks services that are up: every acknowledged create is at headquarters once, and the same everywhere.
    Ledger(LedgerArgs),
    /// Prints the table and writes the report of a result file again, or of several laid over each other, without
    /// measuring.
    Report(ReportArgs),
    /// Makes a share of the calls of a run; for tillsync itself.
    #[command(hide = true)]
    Generate,
    /// Serves one of the services of a measurement; for tillsync itself.
    #[command(hide = true)]
    Serve,
    /// Compares two results: for each figure the change, an interval for it, and a verdict.
    Diff(DiffArgs),
    /// Starts a small chain on known ports to try things on: headquarters, emulator, two stores and a terminal.
    Up(UpArgs),
    /// What an administrator does at headquarters.
    Hq(HqArgs),
    /// What a till does: create, find, edit and watch customers.
    Customer(CustomerArgs),
    /// Looks at a running chain and answers in words: why there are still real-time calls, why a setting has no effect,
    /// why a customer is pending or not shown, what has to run next.
    Doctor(DoctorArgs),
    /// Gives callers tokens and takes them back, in the file that a service is told with --tokens.
    Token(TokenArgs),
}

/// Below and above what headquarters can serve.
const DEFAULT_RATES: &str = "0.5x,0.8x,1.2x,2x";

/// What creates fall due where, and what headquarters is like.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Rates to offer: creates per second such as 80, or multiples of what headquarters can serve such as 1.2x.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = DEFAULT_RATES,
        allow_negative_numbers = true,
        value_name = "LIST"
    )]
    pub rates: Vec<Rate>,
    /// Modes to compare: sync (headquarters or failure), sync-fallback (the documented one), async.
    #[arg(long, value_delimiter = ',', default_value = "sync,sync-fallback,async", value_name = "LIST")]
    pub modes: Vec<Mode>,
    /// Seconds to measure in each run, 0.25 to 3600, in a plan to 604800 [default: 4; of a trace: all of it, at most 60].
    #[arg(long, value_parser = measured, allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Seconds of load before that, 0 to 600; none for a trace.
    #[arg(long, default_value = "0.5", value_parser = warmup, allow_negative_numbers = true, value_name = "SECONDS")]
    pub warmup: f64,
    /// When creates fall due: poisson, constant, daily (plan and what-if only: the shape of a real retailer's day),
    /// trace:FILE (see bench/traces/README.md), or closed:N: so many callers that each wait for the answer before the
    /// next create, for ceilings only (in place of --rates).
    #[arg(long, default_value = "poisson", value_name = "KIND")]
    pub arrivals: ArrivalKind,
    /// For a trace, in place of --rates: how many times faster than recorded; a list gives a run for each.
    #[arg(long, value_delimiter = ',', default_value = "1000", value_parser = speedup, allow_negative_numbers = true, value_name = "LIST")]
    pub speedup: Vec<f64>,
    /// For a trace: only this day, such as 2011-10-06, or "busiest".
    #[arg(long, value_name = "DAY")]
    pub day: Option<String>,
    /// For a trace: shorten pauses (nights, closed days) to this many recorded seconds.
    #[arg(long, value_parser = idle, allow_negative_numbers = true, value_name = "SECONDS")]
    pub skip_idle: Option<f64>,
    /// Seed of arrivals, customers and GUIDs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Headquarters.
    #[command(flatten)]
    pub headquarters: HeadquartersArgs,
    /// Most creates of each run that are followed until every store finds them, 0 to 400.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=400), value_name = "N")]
    pub sample: u16,
    /// How often each run is made, 1 to 100, all runs in turn, each time with other Poisson arrivals and other chance at
    /// headquarters: the uncertainty of a comparison (tillsync diff) is taken from it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100), value_name = "N")]
    pub repeat: u32,
    /// Folder for result.json and report.html; compare also writes acknowledged.txt.
    #[arg(long, default_value = "tillsync-report", value_name = "DIR")]
    pub out: PathBuf,
}

/// What headquarters is like, how long channels wait for it, and what else it has to do.
#[derive(Debug, Clone, Args)]
pub struct HeadquartersArgs {
    /// What headquarters is like: a profile of the emulator, as a TOML file, or the name of a preset (default,
    /// idle, busy, month-end, mm1, outage, platform, slow-link, stall, throttled) [default: 4 workers, 40 ms each].
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// How long a channel waits for headquarters, in seconds, 0.01 to 600.
    #[arg(long, default_value = "2", value_parser = rts_timeout, allow_negative_numbers = true, value_name = "SECONDS")]
    pub rts_timeout: f64,
    /// Calls per second of the probe of other work at headquarters; 0 for none. It takes part of the capacity.
    #[arg(long, default_value = "10", value_parser = probe, allow_negative_numbers = true, value_name = "PER_S")]
    pub probe_rate: f64,
}

impl HeadquartersArgs {
    /// Reads the profile, if one was asked for.
    ///
    /// # Errors
    ///
    /// As for [`read_profile`].
    pub fn read(&self) -> Result<Option<Profile>, Error> {
        self.profile.as_deref().map(read_profile).transpose()
    }

    /// How long a channel waits for it.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.rts_timeout)
    }
}

impl LoadArgs {
    /// The rates that are offered unless others are asked for.
    #[must_use]
    pub fn default_rates() -> Vec<Rate> {
        DEFAULT_RATES.split(',').filter_map(|rate| rate.parse().ok()).collect()
    }
}

/// Options of the comparison.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// What is measured.
    #[command(flatten)]
    pub site: SiteArgs,
    /// What it has to keep.
    #[command(flatten)]
    pub checks: ChecksArgs,
    /// Plain lines in place of a live display; also when standard error is no terminal.
    #[arg(long)]
    pub plain: bool,
}

/// What runs have to keep.
#[derive(Debug, Clone, Default, Args)]
pub struct ChecksArgs {
    /// A goal that every run has to keep, or exit code 2: p99=500ms (p50 to p9999, max; a create that fails takes for
    /// ever), failed=1%, findable-p50=5s, account-p99=10s, probe-p99=1s; of one mode: async:p99=20ms. Repeat it.
    #[arg(long, value_name = "GOAL")]
    pub slo: Vec<Slo>,
    /// Reasons not to trust a run are failures, exit code 3: a late generator, a busy machine, too few samples, drift,
    /// outliers.
    #[arg(long)]
    pub strict: bool,
}

impl ChecksArgs {
    /// How runs keep the goals.
    #[must_use]
    pub fn judge(&self, runs: &[Run]) -> Checks {
        let slos = self.slo.iter().flat_map(|slo| slo.judge(runs)).collect();
        Checks { strict: self.strict, slos }
    }
}

/// Options of the ledger.
#[derive(Debug, Clone, Args)]
pub struct LedgerArgs {
    /// A channel; repeat it for each.
    #[arg(long, value_name = "URL", required = true)]
    pub channel: Vec<String>,
    /// Headquarters.
    #[arg(long, value_name = "URL")]
    pub hq: String,
    /// What proves to them who calls.
    #[command(flatten)]
    pub credentials: Credentials,
    /// GUIDs of acknowledged creates, one a line, as compare writes them. Without it: every customer that any of
    /// the services knows.
    #[arg(long, value_name = "FILE")]
    pub acknowledged: Option<PathBuf>,
    /// Wait at most this many seconds until nothing is pending, 0 to 3600.
    #[arg(long, default_value = "30", value_parser = wait, allow_negative_numbers = true, value_name = "SECONDS")]
    pub wait: f64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of the report.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The result file; several are laid over each other.
    #[arg(value_name = "RESULT.json", required = true)]
    pub result: Vec<PathBuf>,
    /// Where to write the report [default: report.html beside the first result file].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// An offered rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Creates per second.
    PerSecond(f64),
    /// So many times what headquarters can serve.
    OfCapacity(f64),
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "is not a rate: use creates per second such as 80, or a multiple such as 1.2x";
        let (digits, of_capacity) = text.strip_suffix('x').map_or((text, false), |digits| (digits, true));
        let value: f64 = digits.parse().map_err(|_| WRONG)?;
        if !(value.is_finite() && (0.01..=1_000_000.0).contains(&value)) {
            return Err("is not a rate from 0.01 to 1000000");
        }
        Ok(if of_capacity { Self::OfCapacity(value) } else { Self::PerSecond(value) })
    }
}

/// When creates fall due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivalKind {
    /// Independent of each other.
    Poisson,
    /// At equal distances.
    Constant,
    /// Poisson, at a rate that follows the day.
    Daily,
    /// As recorded in this file.
    Trace(PathBuf),
    /// When the answer to the one before has come, by so many callers.
    Closed(u16),
}

impl FromStr for ArrivalKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            None if text == "poisson" => Ok(Self::Poisson),
            None if text == "constant" => Ok(Self::Constant),
            None if text == "daily" => Ok(Self::Daily),
            Some(("trace", file)) if !file.is_empty() => Ok(Self::Trace(file.into())),
            Some(("closed", callers)) => match callers.parse() {
                Ok(callers @ 1..=4096) => Ok(Self::Closed(callers)),
                _ => Err("is not a number of callers: use closed:1 to closed:4096"),
            },
            _ => Err("is not a kind of arrivals: use poisson, constant, daily, trace:FILE, or closed:N"),
        }
    }
}

pub(crate) fn within(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|_| "is not a number".to_owned())?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("is not from {} to {}", range.start(), range.end()))
    }
}

fn measured(text: &str) -> Result<f64, String> {
    within(text, 0.25..=604_800.0)
}

fn warmup(text: &str) -> Result<f64, String> {
    within(text, 0.0..=600.0)
}

fn wait(text: &str) -> Result<f64, String> {
    within(text, 0.0..=3600.0)
}

fn speedup(text: &str) -> Result<f64, String> {
    within(text, 0.001..=1e9)
}

fn idle(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1e9)
}

fn rts_timeout(text: &str) -> Result<f64, String> {
    within(text, 0.01..=600.0)
}

fn probe(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1000.0)
}

/// A clap error in one line: what is wrong, without usage and hints.
#[must_use]
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn wrong(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(["tillsync"].iter().chain(arguments)).unwrap_err();
        let line = one_line(&error);
        assert!(!line.contains('\n'));
        line
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_are_the_comparison() {
        let cli = Cli::try_parse_from(["tillsync"]).unwrap();
        assert!(cli.command.is_none());
        let rates = [0.5, 0.8, 1.2, 2.0].map(Rate::OfCapacity);
        assert_eq!(
            (cli.compare.load.rates.as_slice(), cli.compare.load.modes.as_slice()),
            (&rates[..], &Mode::ALL[..])
        );
        let cli = Cli::try_parse_from(["tillsync", "compare", "--rates", "80,1.5x", "--plain"]).unwrap();
        let Some(Command::Compare(args)) = cli.command else { panic!() };
        assert_eq!(args.load.rates, [Rate::PerSecond(80.0), Rate::OfCapacity(1.5)]);
        assert!(args.plain);
    }

    #[test]
    fn z1_bad_arguments_are_named_in_one_line() {
        for (arguments, named) in [
            (&["--rates", "fast"][..], "--rates"),
            (&["--rates", "0"], "0.01 to 1000000"),
            (&["--rates", "NaNx"], "0.01 to 1000000"),
            (&["--rates="], "--rates"),
            (&["--modes", "semi"], "sync-fallback"),
            (&["--seconds", "0"], "0.25 to 604800"),
            (&["--warmup", "-1"], "--warmup"),
            (&["--arrivals", "trace:"], "trace:FILE"),
            (&["--arrivals", "closed:0"], "closed:1"),
            (&["--speedup", "NaN"], "--speedup"),
            (&["--sample", "1000"], "--sample"),
            (&["--channels", "0"], "--channels"),
            (&["--hq", "http://127.0.0.1:1"], "--channel"),
            (&["ledger"], "--channel"),
            (&["--log", "loud"], "--log"),
            (&["nonsense"], "nonsense"),
        ] {
            let line = wrong(arguments);
            assert!(line.contains(named), "{arguments:?}: {line}");
        }
    }
}
