//! The command line of the binary `rts-emulator`.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, builder::FalseyValueParser};
use service_kit::{
    clock::SystemClock,
    config::{EXIT_USAGE, ListenError, exit, listen, one_line, shutdown_on_signal},
    door::DoorConfig,
    telemetry,
    way::Credentials,
};
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;

use crate::{
    calibrate::{CalibrateError, Observed, calibrate},
    check_model,
    check_queue::{self, CheckError},
    overhead,
    profile::{Profile, ProfileError},
    server::{Backend, Deps, EmulatorError, serve},
    top,
};

const NAME: &str = "rts-emulator";
/// Exit code when a file of calls cannot tell what headquarters is like (`EX_DATAERR`).
const EXIT_DATA: u8 = 65;

/// Stands before headquarters' real-time service and makes it as slow, narrow or absent as a profile says.
///
/// A POS or a channel calls it as it would call headquarters. Health, reflection and Prometheus metrics
/// (/metrics) are on the same port, and so is the control: tillsync.emulator.v1.EmulatorService changes the
/// profile, starts and ends an outage, and reads live figures while traffic flows.
#[derive(Debug, Parser)]
#[command(name = NAME, version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Where to listen. Port 0 takes a free one and logs it.
    #[arg(long, env = "RTS_EMULATOR_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7300")]
    listen: SocketAddr,
    #[command(flatten)]
    door: DoorConfig,
    #[command(flatten)]
    credentials: Credentials,
    /// Accept a listen address that other machines can reach without TLS, or though nothing checks who calls.
    #[arg(long, env = "RTS_EMULATOR_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    #[command(flatten)]
    backend: BackendArgs,
    /// What headquarters is like: a TOML file, or the name of a preset (default, idle, busy, month-end, mm1,
    /// outage, platform, slow-link, throttled). The presets, with comments, are in rts-emulator/profiles.
    #[arg(long, env = "RTS_EMULATOR_PROFILE", value_name = "FILE", default_value = "default")]
    profile: PathBuf,
    /// Seed of everything that chance decides: the same profile, seed and arrivals give the same decisions.
    #[arg(long, env = "RTS_EMULATOR_SEED", value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// What is logged to standard error: off, error, warn, info, debug or trace.
    #[arg(long, env = "RTS_EMULATOR_LOG", value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BackendArgs {
    /// The real headquarters, such as http://127.0.0.1:7200.
    #[arg(long, env = "RTS_EMULATOR_HQ", value_name = "URL")]
    hq: Option<String>,
    /// No real headquarters: answer from memory, at most 100,000 customers, and forget them at the end.
    #[arg(long, env = "RTS_EMULATOR_ALONE", value_parser = FalseyValueParser::new())]
    alone: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fits a profile to observed calls, and says how well it explains them.
    ///
    /// The file is CSV; its first line names the columns start_ms (or start_s), duration_ms (or duration_s) and status
    /// (OK, or the name of a gRPC status). It should cover quiet and busy times: calls that found headquarters idle
    /// show the service time, and how long calls take when many are under way shows workers, serial section and
    /// slowing. Exits with 65 if the file cannot tell.
    Calibrate {
        /// The observed calls.
        #[arg(value_name = "CALLS.csv")]
        calls: PathBuf,
        /// Where to write the profile; nothing is overwritten [default: only print what was found].
        #[arg(long, value_name = "PROFILE.toml")]
        out: Option<PathBuf>,
    },
    /// Checks the model against queueing theory and against another simulator, in virtual time, and exits with 1 if
    /// it deviates.
    ///
    /// Simulates M/M/c, M/D/1, M/G/1, M/M/c/K, M/M/c with a longest wait, and two classes of priority, at loads from
    /// 50 % to 120 %, each until the 99 % confidence interval of its mean wait is narrower than 1 % to either side.
    /// A figure agrees if its interval contains that of the formula, or meets the interval of the other simulator
    /// (rts-emulator/reference). Takes some minutes on all processors.
    CheckModel {
        /// Seed of the arrivals and of the service times. Of intervals of 99 % one in a hundred misses by chance: with
        /// seed 1 one figure of 98 does, with seed 2 none.
        #[arg(long, value_name = "NUMBER", default_value_t = 2)]
        seed: u64,
        /// Only cases whose name begins so, such as "M/M/4".
        #[arg(long, value_name = "NAME", default_value = "")]
        case: String,
    },
    /// Shows how a running emulator is doing, until Ctrl-C: workers, queue, and what happens to calls.
    ///
    /// On a terminal the figures replace each other; elsewhere each look is a line. Nothing is reset by looking.
    Top {
        /// The emulator.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7300")]
        emulator: String,
        #[command(flatten)]
        credentials: Credentials,
        /// Seconds between two looks.
        #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        interval: u64,
        /// End after so many looks.
        #[arg(long, value_name = "N")]
        times: Option<u32>,
    },
    /// Measures what the emulator itself costs, and exits with 1 if it is too much.
    ///
    /// Calls a headquarters in memory directly and through a profile that adds nothing, in turn, one call at a time,
    /// all on one processor, and prints the medians in microseconds. The median round may add a quarter of the direct call and 100 µs.
    Overhead {
        /// Rounds of 2,000 calls each way.
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        rounds: u32,
    },
    /// Checks the live server's queue against queueing theory, and exits with 1 if it deviates.
    ///
    /// Serves 1, 4 and 16 workers with exponential service times of 10 ms on a free port and sends Poisson arrivals
    /// over gRPC, open loop, at 50, 80 and 90 % of their capacity. For each it prints the mean wait by the server's
    /// figures; the exact wait by the recursion of Kiefer and Wolfowitz over the instants at which the calls arrived and
    /// the service times that were drawn; the 99 % confidence interval of the run; Erlang's C formula; and how long
    /// callers waited beyond the service time. The check fails if the server's mean wait is more than 3 % off the
    /// recursion (5 % with 16 workers), or if the formula is not in the interval, which by chance happens to one run
    /// in a hundred.
    CheckQueue {
        /// How long to send at each load.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// Seed of the arrivals and of the service times.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
    },
}

/// Why the binary ended early.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("--profile {path}: {source}")]
    Profile { path: String, source: ProfileError },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path}: {source}")]
    CannotTell { path: String, source: CalibrateError },
    #[error(transparent)]
    Rules(#[from] ProfileError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Top(#[from] top::TopError),
}

/// Runs the binary: 0 when it was stopped, 1 when a check failed, 64 with one line on standard error when it
/// could not run.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            eprintln!("{NAME}: {}", one_line(&error.to_string()));
            return ExitCode::from(EXIT_USAGE);
        }
        // Help, or the version.
        Err(error) => error.exit(),
    };
    // One processor for the overhead: what is measured is work, and not how long it takes to wake another one.
    let runtime = match cli.command {
        Some(Command::Overhead { .. }) => Builder::new_current_thread().enable_all().build(),
        _ => Runtime::new(),
    };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return exit(NAME, Err(error)),
    };
    match cli.command {
        None => exit(NAME, runtime.block_on(run_server(cli.serve))),
        Some(Command::Calibrate { calls, out }) => match run_calibrate(&calls, out.as_deref()) {
            Err(CliError::CannotTell { path, source }) => {
                eprintln!("{NAME}: {path}: {source}");
                ExitCode::from(EXIT_DATA)
            }
            other => exit(NAME, other),
        },
        Some(Command::CheckModel { seed, case }) => checked(check_model(seed, &case)),
        Some(Command::Top { emulator, credentials, interval, times }) => {
            let top = async {
                let stop = shutdown_on_signal()?;
                Ok::<(), CliError>(
                    top::top(&emulator, &credentials, Duration::from_secs(interval), times, stop).await?,
                )
            };
            exit(NAME, runtime.block_on(top))
        }
        Some(Command::Overhead { rounds }) => checked(runtime.block_on(run_overhead(rounds))),
        Some(Command::CheckQueue { seconds, seed }) => checked(runtime.block_on(run_check(seconds, seed))),
    }
}

/// The exit code of a check.
fn checked(good: Result<bool, CliError>) -> ExitCode {
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => exit(NAME, Err(error)),
    }
}

async fn run_server(args: ServeArgs) -> Result<(), CliError> {
    telemetry::init_logs(args.log);
    let profile = Profile::load(&args.profile)
        .map_err(|source| CliError::Profile { path: args.profile.display().to_string(), source })?;
    let backend = args.backend.hq.map_or(Backend::Alone, Backend::Forward);
    let listener = listen(args.listen, &args.door, args.insecure).await?;
    let shutdown = shutdown_on_signal()?;
    let (door, credentials) = (args.door, args.credentials);
    let deps =
        Deps { seed: args.seed, backend, door, credentials, ..Deps::alone(profile, Arc::new(SystemClock)) };
    Ok(serve(listener, shutdown, deps).await?)
}

async fn run_overhead(rounds: u32) -> Result<bool, CliError> {
    println!("   direct   through    added   at most");
    let rounds = overhead::measure(Arc::new(SystemClock), rounds, |round| println!("{round}")).await?;
    let Some(median) = overhead::median(&rounds) else { return Ok(false) };
    println!("\n{median}  median, in microseconds");
    Ok(median.added_us() <= median.bound_us())
}

fn run_calibrate(calls: &Path, out: Option<&Path>) -> Result<(), CliError> {
    let path = calls.display().to_string();
    let text = fs::read_to_string(calls).map_err(|source| CliError::File { path: path.clone(), source })?;
    let cannot_tell = |source| CliError::CannotTell { path: path.clone(), source };
    let observed = Observed::parse(&text).map_err(|source| cannot_tell(source.into()))?;
    let fit = calibrate(&observed).map_err(cannot_tell)?;
    print!("{fit}");
    if let Some(out) = out {
        let toml = fit.to_toml(&path)?;
        let shown = out.display();
        let wrong = |source| CliError::File { path: shown.to_string(), source };
        fs::File::create_new(out).and_then(|mut file| file.write_all(toml.as_bytes())).map_err(wrong)?;
        println!("\nProfile: {shown}");
    }
    Ok(())
}

fn check_model(seed: u64, name: &str) -> Result<bool, CliError> {
    let mut cases = check_model::cases();
    cases.retain(|case| case.name.starts_with(name));
    println!("{}", check_model::HEADER);
    let rows = check_model::check(cases, seed, check_model::BATCH, |row| println!("{row}"))?;
    let figures: usize = rows.iter().map(|row| row.measured.len()).sum();
    let good: usize =
        rows.iter().map(|row| (0..row.measured.len()).filter(|place| row.agrees(*place)).count()).sum();
    println!("\n{good} of {figures} figures agree.");
    Ok(good == figures && figures > 0)
}

async fn run_check(seconds: u64, seed: u64) -> Result<bool, CliError> {
    println!("{}", check_queue::HEADER);
    let mut good = true;
    for workers in check_queue::WORKERS {
        for load in check_queue::LOADS {
            let time = Duration::from_secs(seconds);
            let row = check_queue::check(Arc::new(SystemClock), workers, load, time, seed).await?;
            println!("{row}");
            good &= row.is_good();
        }
    }
    Ok(good)
}
