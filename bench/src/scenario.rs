//! Scenarios: a file says what a chain goes through, and each mode goes through it (see `scenarios/`).

mod file;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use service_kit::config::shutdown_on_signal;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{ChecksArgs, within},
    compare::write_and_say,
    error::Error,
    progress::Progress,
    result::{Played, ResultFile, Run, Setup, Warning, whole_millis},
    run::{CALL_DEADLINE, Plan, Recorder},
    site::{Opening, Site, SiteArgs, unreadable},
    trust,
};

pub use file::{Action, Due, Scenario, read};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct ScenarioArgs {
    /// The scenario, such as scenarios/flash-sale.toml.
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// All its times become so many times as long, 0.01 to 100: 0.1 to try it, more to be sure.
    #[arg(long, default_value = "1", value_parser = shorten, allow_negative_numbers = true, value_name = "TIMES")]
    pub shorten: f64,
    /// Seed of arrivals, customers and GUIDs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Most creates of each run that are followed until every store finds them, 0 to 400.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=400), value_name = "N")]
    pub sample: u16,
    /// Folder for result.json, runs.csv, junit.xml, report.html and acknowledged.txt.
    #[arg(long, default_value = "tillsync-report", value_name = "DIR")]
    pub out: PathBuf,
    /// Plain lines in place of a live display; also when standard error is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// What is measured; the scenario says how many embedded channels there are.
    #[command(flatten)]
    pub site: SiteArgs,
    /// What it has to keep, beside the scenario's own goals.
    #[command(flatten)]
    pub checks: ChecksArgs,
}

fn shorten(text: &str) -> Result<f64, String> {
    within(text, 0.01..=100.0)
}

/// Goes through a scenario, prints the table, writes the files, and says with which code to end.
///
/// # Errors
///
/// A file that makes no sense, or anything that keeps it from starting or from writing its files.
pub async fn scenario(args: ScenarioArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    let stop = shutdown_on_signal()?;
    let out = args.out.clone();
    let result = measure(args, command, stop).await?;
    write_and_say(&result, &out)
}

/// Goes through a scenario until `stop` is cancelled.
///
/// # Errors
///
/// As for [`scenario`].
pub async fn measure(
    args: ScenarioArgs,
    command: Vec<String>,
    stop: CancellationToken,
) -> Result<ResultFile, Error> {
    let external = (!args.site.channel.is_empty()).then_some(args.site.channel.len());
    let scenario = read(&args.file, args.shorten, args.seed, external)?;
    let goes_offline = scenario.dues.iter().any(|due| due.action == Action::Cut);
    if goes_offline && !args.site.channel.is_empty() {
        return Err(Error::Usage(
            "stores go offline in this scenario: only the way between embedded services can be cut"
                .to_owned(),
        ));
    }
    let site = SiteArgs { channels: scenario.stores, ..args.site.clone() };
    site.check(true)?;
    if !site.channel.is_empty() && site.hq.is_none() {
        return Err(Error::Usage("a scenario needs --hq and --emulator beside --channel".to_owned()));
    }
    let opening = Opening {
        site: &site,
        seed: args.seed,
        profile: Some(scenario.profile.clone()),
        probe_per_s: scenario.probe_per_s,
        rts_timeout: scenario.rts_timeout,
        sample: args.sample.into(),
        out: &args.out,
        with_relays: goes_offline,
    };
    let site = Site::open(opening, stop).await?;
    let progress = Progress::new(args.plain, Some(scenario.modes.len()));
    let (mut runs, mut warnings): (Vec<Run>, Vec<Warning>) = Default::default();
    for (number, mode) in (0..).zip(scenario.modes.iter().copied()) {
        let dues = scenario.dues.clone().into();
        let plan = Plan { number, mode, load: scenario.load.clone(), repeat: 1, dues };
        let recorder = Arc::new(Recorder::new(plan.load.window(), Duration::MAX));
        let making = async {
            // What the one before has left behind is over, and schedules of the profile begin anew.
            site.bench.change(&Action::Profile(Box::new(scenario.profile.clone()))).await?;
            site.bench.change(&Action::Mode(mode)).await?;
            site.bench.run(&plan, &recorder).await
        };
        match progress.watch(&plan, &recorder, making).await {
            Ok(None) => {}
            Ok(Some(measured)) => {
                let run = trust::run_that_changes(&measured);
                progress.ended(&plan, &run);
                runs.push(run);
            }
            Err(error) => {
                warnings.push(unreadable(&format!("the run of {mode}"), &error));
                break;
            }
        }
        if site.bench.stop.is_cancelled() {
            break;
        }
    }
    progress.message("keeping the books");
    let checks = ChecksArgs {
        slo: scenario.goals.iter().chain(&args.checks.slo).copied().collect(),
        strict: args.checks.strict,
    };
    let checks = checks.judge(&runs);
    let result = site.close(setup(&args, &scenario), runs, warnings, command).await;
    progress.finish();
    Ok(ResultFile { checks, ..result? })
}

fn setup(args: &ScenarioArgs, scenario: &Scenario) -> Setup {
    Setup {
        channels: scenario.stores.into(),
        scenario: Some(Played {
            name: scenario.name.clone(),
            look_for: scenario.look_for.clone(),
            events: scenario.events.clone(),
        }),
        seed: args.seed,
        arrivals: scenario.arrivals.clone(),
        seconds: scenario.load.measured.as_secs_f64(),
        probe_per_s: scenario.probe_per_s,
        rts_timeout_ms: whole_millis(scenario.rts_timeout),
        call_deadline_ms: whole_millis(CALL_DEADLINE),
        sample: args.sample.into(),
        repeat: 1,
        generators: 1,
        ..Setup::default()
    }
}
