//! The comparison: start or find the services, make every run, keep the books, write it all down.

use std::{fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use service_kit::config::shutdown_on_signal;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::CompareArgs,
    error::Error,
    export,
    measured::Measured,
    progress::Progress,
    report,
    result::{Ledger, ResultFile, Run, Services, Warning},
    run::{Bench, Plan, Recorder},
    say,
    scenario::Action,
    session::{Session, setup},
    site::{Opening, Site, unreadable},
    table, trust,
};

/// Exit code when the ledger does not hold.
const EXIT_LEDGER: u8 = 1;
/// Exit code when a goal is missed, or something became worse.
pub(crate) const EXIT_MISSED: u8 = 2;
/// Exit code when a measurement cannot be trusted, or cannot tell.
pub(crate) const EXIT_DOUBT: u8 = 3;
/// Exit code when there is no ledger (`EX_UNAVAILABLE`).
const EXIT_NO_LEDGER: u8 = 69;
/// Longest run.
const LONGEST_S: f64 = 3_600.0;

/// Makes the comparison, prints the table, and says with which code to end.
///
/// # Errors
///
/// Anything that keeps it from starting, or from writing its files.
pub async fn compare(args: CompareArgs, command: Vec<String>) -> Result<ExitCode, Error> {
    let stop = shutdown_on_signal()?;
    let out = args.load.out.clone();
    let result = measure(args, command, stop).await?;
    write_and_say(&result, &out)
}

/// Writes the files, prints the table, and gives the exit code.
///
/// # Errors
///
/// [`Error::Write`].
pub(crate) fn write_and_say(result: &ResultFile, out: &Path) -> Result<ExitCode, Error> {
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    write(result, out)?;
    let (report, figures) = (out.join("report.html"), out.join("result.json"));
    say(&format!(
        "{}\nReport: {}   Figures: {}\n",
        table::render(result),
        report.display(),
        figures.display()
    ));
    Ok(exit_code(result))
}

/// The code that says whether the ledger holds, the goals are kept, and, if it is strict, the runs can be trusted.
#[must_use]
pub fn exit_code(result: &ResultFile) -> ExitCode {
    let ledger = ledger_code(result.ledger.as_ref());
    if result.setup.services != Services::Simulated && ledger != ExitCode::SUCCESS {
        return ledger;
    }
    let mut warnings = result.warnings.iter().chain(result.runs.iter().flat_map(|run| &run.warnings));
    if result.checks.slos.iter().any(|slo| !slo.kept) {
        ExitCode::from(EXIT_MISSED)
    } else if result.checks.strict && warnings.any(|warning| warning.kind.is_doubt()) {
        ExitCode::from(EXIT_DOUBT)
    } else {
        ExitCode::SUCCESS
    }
}

/// The same for a ledger alone.
#[must_use]
pub fn ledger_code(ledger: Option<&Ledger>) -> ExitCode {
    match ledger {
        Some(ledger) if ledger.holds() => ExitCode::SUCCESS,
        Some(_) => ExitCode::from(EXIT_LEDGER),
        None => ExitCode::from(EXIT_NO_LEDGER),
    }
}

/// Writes result, table of runs, tests and report into a folder.
///
/// # Errors
///
/// [`Error::Write`].
pub fn write(result: &ResultFile, out: &Path) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(result).map_err(std::io::Error::from)?;
    let junit = export::junit(result).map_err(|error| std::io::Error::other(error.to_string()))?;
    for (name, text) in [
        ("result.json", json + "\n"),
        ("runs.csv", export::csv(result)),
        ("junit.xml", junit),
        ("report.html", report::render(result)),
    ] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// Makes every run until `stop` is cancelled, and keeps the books. The GUIDs of acknowledged creates go to
/// `acknowledged.txt` in the folder for results.
///
/// # Errors
///
/// Anything that keeps it from starting. What goes wrong later is a warning in the result.
pub async fn measure(
    args: CompareArgs,
    command: Vec<String>,
    stop: CancellationToken,
) -> Result<ResultFile, Error> {
    let session = checked(&args)?;
    let load = &args.load;
    let opening = Opening {
        site: &args.site,
        seed: load.seed,
        profile: session.profile.clone(),
        probe_per_s: load.headquarters.probe_rate,
        rts_timeout: load.headquarters.timeout(),
        sample: load.sample.into(),
        out: &load.out,
        with_relays: false,
    };
    let site = Site::open(opening, stop).await?;
    let plans = session.plans(site.capacity_per_s)?;
    let progress = Progress::new(args.plain, Some(plans.len()));
    let mut warnings = Vec::new();
    let mut runs = every_run(&site.bench, &plans, &progress, &mut warnings).await;
    runs.sort_by(|a, b| a.mode.cmp(&b.mode).then(a.offered_per_s.total_cmp(&b.offered_per_s)));
    progress.message("keeping the books");
    let setup = setup(load, session.arrivals.clone(), session.warmup, session.measured);
    let checks = args.checks.judge(&runs);
    let result = site.close(setup, runs, warnings, command).await;
    progress.finish();
    Ok(ResultFile { checks, ..result? })
}

/// The session that was asked for.
fn checked(args: &CompareArgs) -> Result<Session, Error> {
    args.site.check(args.load.headquarters.profile.is_some())?;
    args.site.check_modes(&args.load.modes)?;
    if args.load.seconds.is_some_and(|seconds| seconds > LONGEST_S) {
        return Err(Error::Usage(format!(
            "--seconds is more than {LONGEST_S}: for whole days there is tillsync plan"
        )));
    }
    Session::new(&args.load, args.site.count())
}

/// Makes the runs, until one fails or the session is ended; repetitions of a run become one.
async fn every_run(
    bench: &Bench,
    plans: &[Plan],
    progress: &Progress,
    warnings: &mut Vec<Warning>,
) -> Vec<Run> {
    let mut runs: Vec<Measured> = Vec::new();
    for plan in plans {
        let recorder = Arc::new(Recorder::new(plan.load.window(), Duration::MAX));
        let mode = Action::Mode(plan.mode);
        let making = async {
            tokio::select! {
                set = bench.change(&mode) => set?,
                () = bench.stop.cancelled() => return Ok(None),
            }
            bench.run(plan, &recorder).await
        };
        let made = progress.watch(plan, &recorder, making).await;
        match made {
            Ok(None) => {}
            Ok(Some(measured)) => {
                progress.ended(plan, &measured.run());
                match runs.iter_mut().find(|other| other.is_of(&measured)) {
                    Some(other) => other.add(measured),
                    None => runs.push(measured),
                }
            }
            Err(error) => {
                warnings.push(unreadable(&format!("run {} of {}", plan.number + 1, plans.len()), &error));
                break;
            }
        }
        if bench.stop.is_cancelled() {
            break;
        }
    }
    runs.iter().map(trust::run).collect()
}
