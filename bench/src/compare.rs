//! The comparison: start or find the services, make every run, keep the books, write it all down.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use prost_types::Timestamp;
use rts_emulator::Profile;
use service_kit::{
    clock::{Clock, SystemClock},
    config::shutdown_on_signal,
};
use tempfile::TempDir;
use tillsync_proto::{
    Micros,
    pb::{
        common::FunctionalityProfile,
        emulator::{GetProfileRequest, UpdateProfileRequest},
    },
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{
    acknowledged::Acknowledged,
    cli::CompareArgs,
    embedded::{DURABILITY, Embedded},
    error::Error,
    generator::Generator,
    ledger::read::check,
    machine::{self, Usage},
    progress::Progress,
    report,
    result::{Ledger, ResultFile, Run, SCHEMA_VERSION, Services, Setup, Warning, WarningKind},
    run::{Bench, DRAIN_LIMIT, Live, Plan, known_customer},
    say,
    services::{Addresses, Fleet},
    session::{Session, setup},
    table,
};

/// Exit code when the ledger does not hold.
const EXIT_LEDGER: u8 = 1;
/// Exit code when there is no ledger (`EX_UNAVAILABLE`).
const EXIT_NO_LEDGER: u8 = 69;
/// Longest run.
const LONGEST_S: f64 = 3_600.0;
/// Pause between two pictures of the live display.
const FRAME: Duration = Duration::from_millis(100);

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

/// The code that says whether the ledger holds.
#[must_use]
pub fn exit_code(result: &ResultFile) -> ExitCode {
    if result.setup.services == Services::Simulated {
        return ExitCode::SUCCESS;
    }
    ledger_code(result.ledger.as_ref())
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

/// Writes result and report into a folder.
///
/// # Errors
///
/// [`Error::Write`].
pub fn write(result: &ResultFile, out: &Path) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(result).map_err(std::io::Error::from)?;
    for (name, text) in [("result.json", json + "\n"), ("report.html", report::render(result))] {
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
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (began, usage) = (clock.now(), Usage::now());
    let epoch_micros = clock.wall_micros();
    let started = Timestamp::from(Micros(epoch_micros)).to_string();
    fs::create_dir_all(&args.load.out)
        .map_err(|source| Error::Write { path: args.load.out.clone(), source })?;
    let acknowledged = Arc::new(Acknowledged::create(&args.load.out.join("acknowledged.txt"))?);
    let site = Site::open(&args, &session, &clock).await?;
    let generator = Generator::start(1)?;
    let addresses = site.addresses.clone();
    let connecting = generator.spawn(async move { Fleet::connect(&addresses).await });
    let fleet = connecting.await.map_err(std::io::Error::from)??;
    let before = Before::of(&fleet, &session).await?;
    let (profile_toml, capacity_per_s) = profile(&fleet).await?;
    let plans = session.plans(capacity_per_s)?;
    let probe_customer = known_customer(&fleet, epoch_micros, args.load.seed).await?;
    acknowledged.add(probe_customer);
    let bench = Bench {
        clock: Arc::clone(&clock),
        fleet,
        generator,
        acknowledged: Arc::clone(&acknowledged),
        seed: args.load.seed,
        epoch_micros,
        probe_per_s: args.load.probe_rate,
        probe_customer,
        sample: args.load.sample.into(),
        stop,
    };
    let progress = Progress::new(args.plain, plans.len());
    let rts_timeout = Duration::from_secs_f64(args.load.rts_timeout);
    let mut warnings = Vec::new();
    let mut runs = every_run(&bench, &plans, rts_timeout, &progress, &mut warnings).await;
    runs.sort_by(|a, b| a.mode.cmp(&b.mode).then(a.offered_per_s.total_cmp(&b.offered_per_s)));
    progress.message("keeping the books");
    let ledger = check(&bench.fleet, Some(acknowledged.ids()), DRAIN_LIMIT).await;
    let ledger = ledger.map_err(|error| warnings.push(unreadable("the ledger", &error))).ok();
    if let Err(error) = before.restore(&bench.fleet).await {
        warnings.push(unreadable("setting the profiles back", &error));
    }
    if let Some(path) = acknowledged.incomplete_file() {
        let text = format!("{} could not be written to the end", path.display());
        warnings.push(Warning { kind: WarningKind::Unreadable, text });
    }
    progress.finish();
    let setup = Setup {
        services: if site.embedded.is_some() { Services::Embedded } else { Services::External },
        channels: bench.fleet.stores.len(),
        durability: site.durability().to_owned(),
        capacity_per_s,
        profile_toml,
        ..setup(&args.load, session.arrivals.clone(), session.warmup, session.measured)
    };
    let interrupted = bench.stop.is_cancelled();
    drop(bench);
    site.close().await?;
    Ok(ResultFile {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: machine::commit(),
        started,
        elapsed_s: clock.now().saturating_duration_since(began).as_secs_f64(),
        command,
        interrupted,
        machine: machine::machine(),
        setup,
        runs,
        ledger,
        warnings,
        process: usage.since(),
    })
}

/// The session that was asked for.
fn checked(args: &CompareArgs) -> Result<Session, Error> {
    if args.load.profile.is_some() && !args.channel.is_empty() && args.emulator.is_none() {
        return Err(Error::Usage("--profile needs --emulator: only an emulator has a profile".to_owned()));
    }
    if args.load.seconds.is_some_and(|seconds| seconds > LONGEST_S) {
        return Err(Error::Usage(format!(
            "--seconds is more than {LONGEST_S}: for whole days there is tillsync plan"
        )));
    }
    let external = args.channel.len();
    Session::new(&args.load, if external > 0 { external } else { args.channels.into() })
}

/// Makes the runs, until one fails or the session is ended.
async fn every_run(
    bench: &Bench,
    plans: &[Plan],
    rts_timeout: Duration,
    progress: &Progress,
    warnings: &mut Vec<Warning>,
) -> Vec<Run> {
    let mut runs = Vec::new();
    for plan in plans {
        let live = Live::default();
        progress.tick(plan, &live);
        let making = async {
            tokio::select! {
                set = bench.fleet.set_mode(plan.mode, rts_timeout) => set?,
                () = bench.stop.cancelled() => return Ok(None),
            }
            bench.run(plan, &live).await
        };
        tokio::pin!(making);
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let made = loop {
            tokio::select! {
                made = &mut making => break made,
                _ = frames.tick() => progress.tick(plan, &live),
            }
        };
        match made {
            Ok(run) => runs.extend(run.inspect(|run| progress.ended(plan, run))),
            Err(error) => {
                warnings.push(unreadable(&format!("run {} of {}", plan.number + 1, plans.len()), &error));
                break;
            }
        }
        if bench.stop.is_cancelled() {
            break;
        }
    }
    runs
}

/// The services: embedded, or where they are.
struct Site {
    addresses: Addresses,
    embedded: Option<Embedded>,
    folder: Option<TempDir>,
    keep: bool,
}

impl Site {
    async fn open(args: &CompareArgs, session: &Session, clock: &Arc<dyn Clock>) -> Result<Self, Error> {
        if let Some(hq) = &args.hq {
            let addresses =
                Addresses { hq: hq.clone(), emulator: args.emulator.clone(), channels: args.channel.clone() };
            return Ok(Self { addresses, embedded: None, folder: None, keep: false });
        }
        let folder = tempfile::Builder::new().prefix("tillsync-").tempdir()?;
        let profile = session.profile.clone().unwrap_or_default();
        let channels = args.channels.into();
        let embedded = Embedded::start(folder.path(), clock, args.load.seed, profile, channels).await?;
        let addresses = embedded.addresses.clone();
        Ok(Self { addresses, embedded: Some(embedded), folder: Some(folder), keep: args.keep })
    }

    fn durability(&self) -> &'static str {
        if self.embedded.is_some() { DURABILITY } else { "as the services are set up" }
    }

    /// Ends what was started, and removes the folder or says where it is.
    async fn close(self) -> Result<(), Error> {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        match self.folder {
            Some(folder) if self.keep => {
                let path: PathBuf = folder.keep();
                eprintln!("Databases: {}", path.display());
            }
            Some(folder) => folder.close()?,
            None => {}
        }
        Ok(())
    }
}

/// How services that were up already were set up.
struct Before {
    profiles: Vec<FunctionalityProfile>,
    emulator_toml: Option<String>,
}

impl Before {
    /// Remembers it, and gives the emulator the profile that was asked for.
    async fn of(fleet: &Fleet, session: &Session) -> Result<Self, Error> {
        let profiles = fleet.profiles().await?;
        let mut emulator_toml = None;
        if let (Some(emulator), Some(profile)) = (&fleet.emulator, &session.profile) {
            emulator_toml = profile_text(fleet).await?;
            let text = profile.to_toml().map_err(|error| Error::Usage(error.to_string()))?;
            let update = UpdateProfileRequest { profile_toml: text };
            emulator.clone().update_profile(update).await.map_err(at_emulator)?;
        }
        Ok(Self { profiles, emulator_toml })
    }

    async fn restore(self, fleet: &Fleet) -> Result<(), Error> {
        if let (Some(emulator), Some(profile_toml)) = (&fleet.emulator, self.emulator_toml) {
            let update = UpdateProfileRequest { profile_toml };
            emulator.clone().update_profile(update).await.map_err(at_emulator)?;
        }
        fleet.set_profiles(&self.profiles).await
    }
}

/// The emulator's profile, and how many creates per second it lets through.
async fn profile(fleet: &Fleet) -> Result<(Option<String>, Option<f64>), Error> {
    let text = profile_text(fleet).await?;
    let profile = text.as_deref().and_then(|text| Profile::parse(text).ok());
    let capacity = profile.map(|profile| profile.capacity_per_s()).filter(|capacity| capacity.is_finite());
    Ok((text, capacity))
}

async fn profile_text(fleet: &Fleet) -> Result<Option<String>, Error> {
    let Some(emulator) = &fleet.emulator else { return Ok(None) };
    let said = emulator.clone().get_profile(GetProfileRequest {}).await.map_err(at_emulator)?;
    Ok(Some(said.into_inner().profile_toml))
}

fn at_emulator(status: tonic::Status) -> Error {
    Error::service("the emulator", status)
}

fn unreadable(what: &str, error: &Error) -> Warning {
    let text = format!("{what}: {}", service_kit::config::Chain(error));
    Warning { kind: WarningKind::Unreadable, text }
}
