//! What a comparison is to do, checked before anything is started.

use std::{fs, path::Path, time::Duration};

use rts_emulator::Profile;

use crate::{
    arrivals::MAX_ARRIVALS,
    cli::{ArrivalKind, LoadArgs, Rate},
    error::Error,
    load::{Dues, Load},
    result::{Arrivals, Mode, Setup, whole_millis},
    run::{CALL_DEADLINE, Plan},
    trace::{Day, Trace},
};

/// Seconds measured of a run, unless said otherwise.
const DEFAULT_SECONDS: f64 = 4.0;
/// Most seconds of a trace that are replayed, unless said otherwise.
const TRACE_SECONDS: f64 = 60.0;
/// Most runs of a session.
const MAX_RUNS: usize = 1_000;

/// A checked comparison.
#[derive(Debug, Clone)]
pub struct Session {
    source: Source,
    modes: Vec<Mode>,
    channels: usize,
    seed: u64,
    /// How often each run is made.
    pub repeat: u32,
    /// The profile that was asked for.
    pub profile: Option<Profile>,
    /// Where arrivals come from, for the result.
    pub arrivals: Arrivals,
    /// Load before anything is measured.
    pub warmup: Duration,
    /// How long is measured; of a trace, at most.
    pub measured: Duration,
}

#[derive(Debug, Clone)]
enum Source {
    Rates { rates: Vec<Rate>, poisson: bool },
    Replay { trace: Trace, speedups: Vec<f64> },
    Closed(u16),
}

impl Session {
    /// Reads profile and trace, and checks what was asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] or [`Error::Read`].
    pub fn new(args: &LoadArgs, channels: usize) -> Result<Self, Error> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        let replay = matches!(args.arrivals, ArrivalKind::Trace(_));
        if !replay && (args.day.is_some() || args.skip_idle.is_some()) {
            return usage("--day and --skip-idle are for --arrivals trace:FILE");
        }
        if args.arrivals == ArrivalKind::Daily {
            return usage(
                "--arrivals daily is for tillsync plan and tillsync what-if; a trace can be replayed",
            );
        }
        let seconds = args.seconds.unwrap_or(if replay { TRACE_SECONDS } else { DEFAULT_SECONDS });
        let (source, arrivals) = match &args.arrivals {
            ArrivalKind::Trace(file) => {
                let trace = read_trace(file, args.day.as_deref(), args.skip_idle)?;
                let arrivals = Arrivals::Trace {
                    file: file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
                    day: args.day.clone(),
                    skip_idle_s: args.skip_idle,
                };
                (Source::Replay { trace, speedups: args.speedup.clone() }, arrivals)
            }
            ArrivalKind::Closed(callers) => {
                (Source::Closed(*callers), Arrivals::Closed { callers: *callers })
            }
            kind => {
                let poisson = *kind == ArrivalKind::Poisson;
                let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
                (Source::Rates { rates: args.rates.clone(), poisson }, arrivals)
            }
        };
        Ok(Self {
            source,
            modes: Mode::distinct(&args.modes),
            channels,
            seed: args.seed,
            repeat: args.repeat,
            profile: args.headquarters.read()?,
            arrivals,
            warmup: Duration::from_secs_f64(if replay { 0.0 } else { args.warmup }),
            measured: Duration::from_secs_f64(seconds),
        })
    }

    /// Every run, rate by rate, the modes of a rate one after the other; all of it as often as it is repeated, so that
    /// what the machine does meanwhile is shared by all.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`]: multiples of a capacity that nobody knows, or more arrivals or runs than are possible.
    pub fn plans(&self, capacity_per_s: Option<f64>) -> Result<Vec<Plan>, Error> {
        let mut plans = Vec::new();
        let loads = self.loads(capacity_per_s)?;
        for repeat in 1..=self.repeat {
            for load in &loads {
                for mode in &self.modes {
                    let (number, load) = (plans.len() as u64, load.repeated(repeat));
                    plans.push(Plan { number, mode: *mode, load, repeat, dues: Default::default() });
                }
            }
        }
        Ok(plans)
    }

    /// The modes, each once.
    #[must_use]
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// Every load that the modes are put to.
    ///
    /// # Errors
    ///
    /// As for [`Session::plans`].
    pub fn loads(&self, capacity_per_s: Option<f64>) -> Result<Vec<Load>, Error> {
        let loads = match &self.source {
            Source::Rates { rates, poisson } => self.rates(rates, *poisson, capacity_per_s)?,
            Source::Replay { trace, speedups } => self.replays(trace, speedups),
            Source::Closed(callers) => vec![self.load(0.0, None, Dues::Closed(*callers), self.measured)],
        };
        let runs = loads.len() * self.modes.len() * self.repeat as usize;
        if runs > MAX_RUNS {
            return Err(Error::Usage(format!("these are {runs} runs; at most {MAX_RUNS} are made")));
        }
        Ok(loads)
    }

    fn rates(&self, rates: &[Rate], is_poisson: bool, capacity: Option<f64>) -> Result<Vec<Load>, Error> {
        const UNKNOWN: &str = "this headquarters has no limit, or none that is known, so there are no multiples of \
                               it: give rates in creates per second, such as --rates 50,100";
        let length = self.warmup + self.measured;
        let mut loads = Vec::new();
        for rate in rates {
            let per_s = match rate {
                Rate::PerSecond(per_s) => *per_s,
                Rate::OfCapacity(times) => {
                    times * capacity.ok_or_else(|| Error::Usage(UNKNOWN.to_owned()))?
                }
            };
            if per_s * length.as_secs_f64() > MAX_ARRIVALS as f64 {
                return Err(Error::Usage(format!(
                    "{per_s} creates per second for {} s are more than {MAX_ARRIVALS}",
                    length.as_secs_f64()
                )));
            }
            // The modes of a rate get the same arrivals; every rate its own.
            let dues = if is_poisson { Dues::Poisson(self.seed ^ per_s.to_bits()) } else { Dues::Constant };
            loads.push(self.load(per_s, None, dues, self.measured));
        }
        Ok(loads)
    }

    fn replays(&self, trace: &Trace, speedups: &[f64]) -> Vec<Load> {
        let load = |speedup: &f64| {
            let arrivals = trace.arrivals(*speedup, self.measured, self.channels);
            // The last arrival belongs to what is measured.
            let whole = trace.length(*speedup) + Duration::from_millis(250);
            let measured = whole.min(self.measured);
            let per_s = arrivals.len() as f64 / measured.as_secs_f64();
            self.load(per_s, Some(*speedup), Dues::Listed(arrivals.into()), measured)
        };
        speedups.iter().map(load).collect()
    }

    fn load(&self, per_s: f64, speedup: Option<f64>, dues: Dues, measured: Duration) -> Load {
        Load { per_s, speedup, warmup: self.warmup, measured, dues, channels: self.channels }
    }
}

/// What was asked for, as the result has it; who made it fills in the rest.
pub(crate) fn setup(load: &LoadArgs, arrivals: Arrivals, warmup: Duration, measured: Duration) -> Setup {
    Setup {
        seed: load.seed,
        arrivals,
        seconds: measured.as_secs_f64(),
        warmup_s: warmup.as_secs_f64(),
        probe_per_s: load.headquarters.probe_rate,
        rts_timeout_ms: whole_millis(load.headquarters.timeout()),
        call_deadline_ms: whole_millis(CALL_DEADLINE),
        sample: load.sample.into(),
        repeat: load.repeat,
        generators: 1,
        ..Setup::default()
    }
}

/// A preset by its name, or a file.
pub(crate) fn read_profile(path: &Path) -> Result<Profile, Error> {
    Profile::load(path).map_err(|error| Error::Usage(format!("profile {}: {error}", path.display())))
}

/// A trace, or one day of it, with pauses no longer than so many seconds.
pub(crate) fn read_trace(
    path: &Path,
    day: Option<&str>,
    longest_idle_s: Option<f64>,
) -> Result<Trace, Error> {
    let wrong = |error: String| Error::Usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut trace = Trace::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if let Some(day) = day {
        let day: Day = day.parse().map_err(|wrong| Error::Usage(format!("--day {day} {wrong}")))?;
        trace = trace.day(day).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(match longest_idle_s {
        Some(longest) => trace.skip_idle(Duration::from_secs_f64(longest)),
        None => trace,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn session(arguments: &[&str]) -> Result<Session, Error> {
        let cli = Cli::try_parse_from(["tillsync"].iter().chain(arguments)).unwrap();
        Session::new(&cli.compare.load, 2)
    }

    fn wrong(arguments: &[&str]) -> String {
        match session(arguments).and_then(|session| session.plans(Some(100.0)).map(drop)) {
            Err(error) => error.to_string(),
            Ok(()) => panic!("{arguments:?} was accepted"),
        }
    }

    #[test]
    fn the_default_is_every_mode_at_four_rates_with_the_same_arrivals() {
        let plans = session(&[]).unwrap().plans(Some(100.0)).unwrap();
        let rates: Vec<f64> = plans.iter().map(|plan| plan.load.per_s).collect();
        assert_eq!(rates, [50.0, 50.0, 50.0, 80.0, 80.0, 80.0, 120.0, 120.0, 120.0, 200.0, 200.0, 200.0]);
        let arrivals = |place: usize| plans[place].load.arrivals().collect::<Vec<_>>();
        assert_eq!(arrivals(0), arrivals(2));
        assert_ne!(arrivals(0), arrivals(3));
        assert_eq!(plans.iter().map(|plan| plan.number).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
        let seconds: f64 =
            plans.iter().map(|plan| (plan.load.warmup + plan.load.measured).as_secs_f64()).sum();
        assert!(seconds < 60.0);
    }

    #[test]
    fn b7_repetitions_take_turns_and_have_arrivals_of_their_own() {
        let arguments = ["--rates", "50,80", "--modes", "sync,async", "--repeat", "3"];
        let plans = session(&arguments).unwrap().plans(None).unwrap();
        assert_eq!(
            plans.iter().map(|plan| plan.repeat).collect::<Vec<_>>(),
            [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
        );
        let arrivals = |place: usize| plans[place].load.arrivals().collect::<Vec<_>>();
        assert_eq!(arrivals(4), arrivals(5));
        assert_ne!(arrivals(0), arrivals(4));
    }

    #[test]
    fn z1_what_makes_no_sense_is_told() {
        assert!(wrong(&["--day", "busiest"]).contains("trace:FILE"));
        assert!(wrong(&["--rates", "1000000", "--seconds", "3600"]).contains("more than 5000000"));
        assert!(wrong(&["--profile", "/nowhere/profile.toml"]).contains("No such file"));
        assert!(wrong(&["--arrivals", "trace:/nowhere.csv"]).contains("cannot read"));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let profile = file("profile.toml", "workers = \"many\"");
        assert!(wrong(&["--profile", &profile]).contains("line 1"));
        let trace = format!("trace:{}", file("trace.csv", "offset_ms,store\nnow,GB"));
        assert!(wrong(&["--arrivals", &trace]).contains("line 2"));
        let unknown = session(&[]).unwrap().plans(None).unwrap_err();
        assert!(unknown.to_string().contains("--rates 50,100"));
        let many = vec!["1"; 400].join(",");
        assert!(wrong(&["--rates", &many]).contains("1200 runs"));
    }

    #[test]
    fn a_replay_measures_the_whole_trace_or_what_fits() {
        let trace = concat!("trace:", env!("CARGO_MANIFEST_DIR"), "/traces/online-retail-invoices.csv");
        let arguments = ["--arrivals", trace, "--day", "busiest", "--speedup", "5000,1"];
        let plans = session(&arguments).unwrap().plans(None).unwrap();
        assert_eq!((plans.len(), plans[0].load.expected(), plans[0].load.speedup), (6, 218, Some(5_000.0)));
        assert!(plans[0].load.measured < Duration::from_secs(12) && plans[0].load.warmup.is_zero());
        assert_eq!(plans[3].load.measured, Duration::from_secs(60));
        assert!(plans[3].load.expected() < 10);
    }
}
